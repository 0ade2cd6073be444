"""What BLADE is compared with: the classical scheme on the operating grid, tuned on the validation photographs."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import math
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf

from blade_tf import files, metrics, pdes
from blade_tf.data import reference

__all__ = ["converged_steps", "tune_coarse", "tuned"]

log = logging.getLogger("blade_tf")

STEPS = (10, 25, 50, 100, 200, 400)
# What the search multiplies the time scale by, and the parameters: first in large strides, then in small ones.
STRIDES = (
    ((0.9, 1.1), (0.5, 2**-0.5, 2**0.5, 2.0)),
    ((0.95, 0.98, 1.02, 1.05), (2**-0.25, 2**-0.125, 2**0.125, 2**0.25)),
)
WORTH_ANOTHER_ROUND = 0.01  # dB
WORTH_MORE_STEPS = 0.05  # dB
SEARCHED = 14  # sequences, at most, that the search itself looks at

Choice = tuple[float, ...]  # the time scale, then the parameters


def converged_steps(config: ml_collections.ConfigDict) -> int:
    """The number of steps at which the reference scheme, on the operating grid, counts as converged in time.

    The reference's own, since its step is the one whose convergence is checked, and on the coarser grid it is no less
    accurate; or as many as the scheme needs to be stable there. A stable step alone says nothing of its error where
    the scheme is implicit in part.
    """
    ref = config.reference
    steps = ref.frames * ref.steps_per_frame
    stable = pdes.build(config.pde.name, **config.pde.parameters).stable_dt(1.0)
    return max(steps, math.ceil(steps * ref.dt / stable - 1e-9))


def tune_coarse(
    sequences: np.ndarray, config: ml_collections.ConfigDict, steps: Sequence[int] = STEPS
) -> dict[str, Any]:
    """The scheme, steps, time scale and parameters with which a classical solver on the operating grid comes nearest.

    For each of the equation's schemes and each number of steps, coordinate search from config.pde's parameters for the
    highest mean PSNR of the final frame; on some of the sequences where there are many. A scheme's search ends when
    twice in a row more steps have brought nothing.

    Args:
      sequences: reference sequences [N, frames + 1, H, W, C] of validation photographs.
      config: see `blade_tf.config`.
      steps: the numbers of steps to choose from.

    Returns:
      {"scheme", "steps", "time_scale", "parameters", "psnr"}: what `coarse_sequence` takes, and what it reaches.
    """
    return max(_tune(sequences, config, steps), key=lambda found: found["psnr"])


def tuned(folder: str | os.PathLike[str], sequences: np.ndarray, config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The rivals of any model of config.pde: "coarse_tuned" with any number of steps, "coarse_10_tuned" with BLADE's.

    They depend on the prepared data alone, and are kept there, in baselines.json.

    Args:
      folder: the prepared data.
      sequences: its validation sequences.
      config: see `blade_tf.config`.
    """
    path = pathlib.Path(folder, "baselines.json")
    if path.exists():
        return json.loads(path.read_text())
    frames = config.reference.frames
    log.info("tuning the classical schemes on the validation photographs")
    rivals = _tune(sequences, config, sorted({frames, *STEPS}))
    alike = (rival for rival in rivals if rival["steps"] == frames)
    found = {
        "coarse_tuned": max(rivals, key=lambda rival: rival["psnr"]),
        "coarse_10_tuned": max(alike, key=lambda rival: rival["psnr"]),
    }
    try:
        files.write_json(path, found)
    except OSError as error:
        log.warning("cannot keep the tuned classical schemes for other models: %s", error)
    return found


def _tune(sequences: np.ndarray, config: ml_collections.ConfigDict, steps: Sequence[int]) -> list[dict[str, Any]]:
    """The best choice for each scheme and each number of steps that was tried."""
    few = sequences[:: -(-len(sequences) // SEARCHED)]
    found = []
    for scheme in pdes.schemes(config.pde.name):
        parameters = _parameters(scheme, config)
        initial = best = (1.0, *parameters.values())
        highest, in_vain = -np.inf, 0
        for count in sorted(steps):

            def score(choice: Choice, of: np.ndarray = few, scheme: str = scheme, count: int = count) -> float:
                named = dict(zip(_parameters(scheme, config), choice[1:], strict=True))
                return _score(of, config, scheme, count, choice[0], named)

            reached, best = _search(functools.lru_cache(maxsize=None)(score), (initial, best))
            of_all, choice = max((score(choice, sequences), choice) for choice in {initial, best})
            named = dict(zip(parameters, choice[1:], strict=True))
            rival = {"scheme": scheme, "steps": int(count), "time_scale": choice[0], "parameters": named}
            found.append(rival | {"psnr": of_all})
            in_vain = 0 if reached > highest + WORTH_MORE_STEPS or not np.isfinite(reached) else in_vain + 1
            highest = max(highest, reached)
            if in_vain == 2:
                break
    return found


def _score(
    sequences: np.ndarray,
    config: ml_collections.ConfigDict,
    scheme: str,
    steps: int,
    time_scale: float,
    parameters: dict[str, float],
) -> float:
    """Mean PSNR of the final frame; -inf for a state that is not finite, or a parameter out of its range."""
    try:
        pdes.build(scheme, **{**config.pde.parameters, **parameters})
    except ValueError:
        return -np.inf
    first = tf.constant(sequences[:, 0])
    found = reference.coarse_sequence(first, config, steps, scheme=scheme, time_scale=time_scale, **parameters)
    value = float(np.mean(metrics.psnr(sequences[:, -1], found.numpy())))
    return -np.inf if np.isnan(value) else value


def _search(score: Callable[[Choice], float], starts: Sequence[Choice]) -> tuple[float, Choice]:
    """Coordinate search for the choice of the highest score: the score and the choice."""
    best = max(starts, key=score)
    for of_time, of_parameters in STRIDES:
        improved = True
        while improved:
            improved = False
            for i, value in enumerate(best):
                factors = of_parameters if i else of_time
                candidate = max(((*best[:i], value * factor, *best[i + 1 :]) for factor in factors), key=score)
                if score(candidate) > score(best) + WORTH_ANOTHER_ROUND:
                    best, improved = candidate, True
    return score(best), best


def _parameters(scheme: str, config: ml_collections.ConfigDict) -> dict[str, float]:
    """Those of config.pde, then those that the scheme adds to its equation's, with their defaults."""
    pde = pdes.build(scheme, **config.pde.parameters)
    equation = {field.name for field in dataclasses.fields(pdes.PDES[config.pde.name])}  # type: ignore[arg-type]
    own = [field.name for field in dataclasses.fields(pde) if field.name not in equation]  # type: ignore[arg-type]
    return {
        **{name: float(value) for name, value in config.pde.parameters.items()},
        **{name: float(getattr(pde, name)) for name in own},
    }
