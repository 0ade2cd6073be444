"""What BLADE is compared with: the classical scheme on the operating grid, tuned on the validation photographs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf

from blade_tf import metrics, pdes
from blade_tf.data import reference

__all__ = ["converged_steps", "tune_coarse"]

FACTORS = (0.5, 1 / 2**0.5, 2**0.5, 2.0)
TIME_FACTORS = (0.95, 0.98, 1.02, 1.05)


def converged_steps(config: ml_collections.ConfigDict) -> int:
    """The smallest number of steps, at least BLADE's, at which the classical scheme on the operating grid is stable."""
    ref = config.reference
    total = ref.frames * ref.steps_per_frame * ref.dt
    return max(
        ref.frames, int(np.ceil(total / pdes.build(config.pde.name, **config.pde.parameters).stable_dt(1.0) - 1e-9))
    )


def tune_coarse(
    sequences: np.ndarray, config: ml_collections.ConfigDict, steps: tuple[int, ...] = (10, 25, 50, 100, 200, 400)
) -> dict[str, Any]:
    """The parameters, steps and time scale with which the classical scheme on the operating grid comes nearest.

    Coordinate search from config.pde's parameters for the highest mean PSNR of the final frame.

    Args:
      sequences: reference sequences [N, frames + 1, H, W, C] of validation photographs.
      config: see `blade_tf.config`.
      steps: the numbers of steps to choose from.

    Returns:
      {"steps", "time_scale", "parameters", "psnr"}.
    """
    first, last = tf.constant(sequences[:, 0]), sequences[:, -1]
    scores: dict[tuple[Any, ...], float] = {}
    names = list(config.pde.parameters)

    def score(choice: tuple[float, ...]) -> float:
        if choice not in scores:
            count, scale, *values = choice
            found = reference.coarse_sequence(
                first, config, int(count), time_scale=scale, **dict(zip(names, values, strict=True))
            ).numpy()
            value = float(np.mean(metrics.psnr(last, found)))
            scores[choice] = -np.inf if np.isnan(value) else value
        return scores[choice]

    start = (1.0, *(float(config.pde.parameters[name]) for name in names))
    best = max(((count, *start) for count in steps), key=score)
    options: list[Callable[[float], list[float]]] = [
        lambda _: list(map(float, steps)),
        lambda v: [v * f for f in TIME_FACTORS],
    ]
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
        "steps": int(count),
        "time_scale": scale,
        "parameters": dict(zip(names, values, strict=True)),
        "psnr": score(best),
    }
