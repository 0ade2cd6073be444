"""Examples of a degradation: blurred crops of photographs, which get their noise each time that they are used.

Frames [4, H, W, 1]: what is given, the photograph, and as constants the standard deviations of blur and noise.
"""

from __future__ import annotations

import math
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf

from blade_tf import config as config_lib
from blade_tf import image as image_lib
from blade_tf.data.crops import training_crops

__all__ = ["add_noise", "check", "examples"]


def check(config: ml_collections.ConfigDict) -> None:
    """ValueError, naming the key, for ranges that make no sense."""
    config_lib.check(config)
    for key in ("blur", "noise"):
        given: Any = tuple(config.degradation[key])
        if len(given) != 2 or not 0 <= given[0] <= given[1] < math.inf:
            raise ValueError(f"degradation.{key}: expected (lowest, highest), not negative, got {given}")
    if config.degradation.blur[1] == config.degradation.noise[1] == 0:
        raise ValueError("degradation.noise: expected more than 0 where there is no blur either, got (0, 0)")


def examples(image: np.ndarray, config: ml_collections.ConfigDict, rng: np.random.Generator) -> list[np.ndarray]:
    """Random crops of a photograph's luma, blurred by a Gaussian of a standard deviation drawn from
    degradation.blur, as they were, and that standard deviation everywhere: [3, crop, crop, 1] each.
    """
    found = []
    for crop in training_crops(image, config.data, rng):
        blur = rng.uniform(*config.degradation.blur)
        blurred = image_lib.gaussian_smooth(tf.constant(crop[np.newaxis]), blur)
        found.append(np.stack([blurred[0].numpy(), crop, np.full_like(crop, blur)]))
    return found


def add_noise(frames: np.ndarray, config: ml_collections.ConfigDict, rng: np.random.Generator) -> np.ndarray:
    """Adds to frame 0 white Gaussian noise of a standard deviation drawn from degradation.noise, which comes last.

    It is lowest + (highest - lowest) t^2 with t uniform in [0, 1]: a gray level matters more where the noise is weak.
    """
    low, high = config.degradation.noise
    sigma = low + (high - low) * rng.random() ** 2
    noise = sigma * rng.standard_normal(frames[0].shape)
    return np.stack([frames[0] + noise.astype(frames.dtype), *frames[1:], np.full_like(frames[0], sigma)])
