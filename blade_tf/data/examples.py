"""What a photograph becomes for training, by the task that a config names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import ml_collections
import numpy as np

from blade_tf import config as config_lib
from blade_tf import names, pdes
from blade_tf.data import reference, resampling, restoration, upscaling
from blade_tf.data.crops import training_crops

__all__ = ["EXAMPLES", "Examples", "of"]


def turned(frames: np.ndarray, quarters: int, mirrored: bool) -> np.ndarray:
    """Frames [F, H, W, C] in one of the square's eight symmetries."""
    frames = np.rot90(frames, quarters, (1, 2))
    return frames[:, :, ::-1] if mirrored else frames


def _unchanged(frames: np.ndarray, _config: ml_collections.ConfigDict, _rng: np.random.Generator) -> np.ndarray:
    return frames


@dataclasses.dataclass(frozen=True)
class Examples:
    """How a task makes examples, float32 [F, H, W, C] each, frame 0 being what a model is given.

    Attributes:
      sections: of the config that the examples depend on, beside "data".
      check: ValueError, naming the key, for a config that makes no sense.
      make: a photograph's pixels [H, W, 1 or 3] in [0, 1] to its examples; ValueError if it is of no use.
      turn: a window of an example in one of the square's symmetries, given as `turned` takes it.
      finish: what is drawn anew each time that a window is used, such as noise.
    """

    sections: tuple[str, ...]
    check: Callable[[ml_collections.ConfigDict], Any]
    make: Callable[[np.ndarray, ml_collections.ConfigDict, np.random.Generator], list[np.ndarray]]
    turn: Callable[[np.ndarray, int, bool], np.ndarray] = turned
    finish: Callable[[np.ndarray, ml_collections.ConfigDict, np.random.Generator], np.ndarray] = _unchanged


def _sequences(image: np.ndarray, config: ml_collections.ConfigDict, rng: np.random.Generator) -> list[np.ndarray]:
    crops = training_crops(image, config.data, rng)
    sequences = [reference.reference_sequence(crop, config) for crop in crops]
    if not np.isfinite(sequences).all():
        raise ValueError("the reference solver diverged; a smaller reference.dt may help")
    return sequences


def _check_equation(config: ml_collections.ConfigDict) -> None:
    config_lib.check(config)
    pdes.build(config.pde.name, **config.pde.parameters)


EXAMPLES = {
    "evolution": Examples(("pde", "reference"), _check_equation, _sequences),
    "resampling": Examples(
        ("camera",), resampling.check, resampling.examples, turn=resampling.turned, finish=resampling.hops
    ),
    "restoration": Examples(("degradation",), restoration.check, restoration.examples, finish=restoration.add_noise),
    "upscaling": Examples((), upscaling.check, upscaling.examples, finish=upscaling.degraded),
}


def of(config: ml_collections.ConfigDict) -> Examples:
    """Those of the task that a config names; ValueError for an unknown one."""
    task = config_lib.task(config)
    if task not in EXAMPLES:
        raise ValueError(f"task: unknown task {task!r}{names.hint(task, EXAMPLES)}")
    return EXAMPLES[task]
