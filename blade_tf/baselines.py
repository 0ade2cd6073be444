"""What BLADE is compared with: the classical scheme on the operating grid, tuned on the validation photographs."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import pathlib
from collections.abc import Callable
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf

from blade_tf import files, metrics, pdes
from blade_tf.data import reference

__all__ = ["converged_steps", "tune_coarse", "tuned"]

log = logging.getLogger("blade_tf")

FACTORS = (0.5, 1 / 2**0.5, 2**0.5, 2.0)
TIME_FACTORS = (0.95, 0.98, 1.02, 1.05)


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
    sequences: np.ndarray, config: ml_collections.ConfigDict, steps: tuple[int, ...] = (10, 25, 50, 100, 200, 400)
) -> dict[str, Any]:
    """The scheme, steps, time scale and parameters with which a classical solver on the operating grid comes nearest.

    For each of the equation's schemes, coordinate search from config.pde's parameters for the highest mean PSNR of the
    final frame.

    Args:
      sequences: reference sequences [N, frames + 1, H, W, C] of validation photographs.
      config: see `blade_tf.config`.
      steps: the numbers of steps to choose from.

    Returns:
      {"scheme", "steps", "time_scale", "parameters", "psnr"}: what `coarse_sequence` takes, and what it reaches.
    """
    tuned = [_tune(scheme, sequences, config, steps) for scheme in pdes.schemes(config.pde.name)]
    return max(tuned, key=lambda found: found["psnr"])


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
    found = {
        "coarse_tuned": tune_coarse(sequences, config),
        "coarse_10_tuned": tune_coarse(sequences, config, (config.reference.frames,)),
    }
    try:
        files.write_json(path, found)
    except OSError as error:
        log.warning("cannot keep the tuned classical schemes for other models: %s", error)
    return found


def _tune(
    scheme: str, sequences: np.ndarray, config: ml_collections.ConfigDict, steps: tuple[int, ...]
) -> dict[str, Any]:
    first, last = tf.constant(sequences[:, 0]), sequences[:, -1]
    scores: dict[tuple[float, ...], float] = {}
    initial = _parameters(scheme, config)
    names = list(initial)

    def score(choice: tuple[float, ...]) -> float:
        if choice not in scores:
            count, scale, *values = choice
            parameters = dict(zip(names, values, strict=True))
            try:
                pdes.build(scheme, **{**config.pde.parameters, **parameters})
            except ValueError:  # the search left a parameter's range
                scores[choice] = -np.inf
                return scores[choice]
            found = reference.coarse_sequence(
                first, config, int(count), scheme=scheme, time_scale=scale, **parameters
            ).numpy()
            value = float(np.mean(metrics.psnr(last, found)))
            scores[choice] = -np.inf if np.isnan(value) else value
        return scores[choice]

    def nearby(count: float) -> list[float]:
        place = sorted(steps).index(int(count))
        return list(map(float, sorted(steps)[max(place - 1, 0) : place + 2]))

    best = max(((count, 1.0, *initial.values()) for count in steps), key=score)
    options: list[Callable[[float], list[float]]] = [nearby, lambda v: [v * f for f in TIME_FACTORS]]
    options += [lambda v: [v * f for f in FACTORS]] * len(names)
    improved = True
    while improved:
        improved = False
        for i, option in enumerate(options):
            candidate = max(((*best[:i], value, *best[i + 1 :]) for value in option(best[i])), key=score)
            if score(candidate) > score(best) + 1e-3:
                best, improved = candidate, True
    count, scale, *values = best
    return {
        "scheme": scheme,
        "steps": int(count),
        "time_scale": scale,
        "parameters": dict(zip(names, values, strict=True)),
        "psnr": score(best),
    }


def _parameters(scheme: str, config: ml_collections.ConfigDict) -> dict[str, float]:
    """Those of config.pde, then those that the scheme adds to its equation's, with their defaults."""
    pde = pdes.build(scheme, **config.pde.parameters)
    equation = {field.name for field in dataclasses.fields(pdes.PDES[config.pde.name])}  # type: ignore[arg-type]
    own = [field.name for field in dataclasses.fields(pde) if field.name not in equation]  # type: ignore[arg-type]
    return {
        **{name: float(value) for name, value in config.pde.parameters.items()},
        **{name: float(getattr(pde, name)) for name in own},
    }
