"""Examples of upscaling: crops of photographs, blurred and subsampled when they are used."""

from __future__ import annotations

import ml_collections
import numpy as np

from blade_tf import config as config_lib
from blade_tf.data.crops import training_crops
from blade_tf.sampling import LEAST_CONDITION, Sampling, gaussian

__all__ = ["check", "degraded", "examples", "sampling"]


def sampling(config: ml_collections.ConfigDict) -> Sampling:
    """A, as the config's `sampling` says."""
    given = config.sampling
    return gaussian(given.factor, given.factor * given.blur, given.position * (given.factor - 1))


def check(config: ml_collections.ConfigDict) -> None:
    """ValueError, naming the key, for what makes no sense."""
    config_lib.check(config)
    try:
        given = sampling(config)
    except ValueError as error:
        raise ValueError(f"sampling: {error}") from error
    factor = given.factor
    if given.condition < LEAST_CONDITION:
        raise ValueError(
            f"sampling.blur: expected one that can be undone, below about 0.74 pixels, got {config.sampling.blur:g}"
        )
    for section in ("data", "train"):
        if config[section].crop % factor:
            raise ValueError(
                f"{section}.crop: expected a multiple of sampling.factor = {factor}, got {config[section].crop}"
            )


def examples(image: np.ndarray, config: ml_collections.ConfigDict, rng: np.random.Generator) -> list[np.ndarray]:
    """Random crops of a photograph's luma: [1, crop, crop, 1] each."""
    return [crop[np.newaxis] for crop in training_crops(image, config.data, rng)]


def degraded(frames: np.ndarray, config: ml_collections.ConfigDict, _rng: np.random.Generator) -> np.ndarray:
    """[2, H, W, 1] from a window: frame 0 is f = A u, borders replicated, its pixels as blocks; frame 1 is u."""
    given = sampling(config)
    f = given.operator("replicate")(frames).numpy()
    return np.concatenate([f.repeat(given.factor, axis=1).repeat(given.factor, axis=2), frames])
