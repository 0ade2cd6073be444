"""Classical interpolation by an integer factor: separable kernels, in phases."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import image as image_lib

__all__ = ["cubic", "interpolate", "lanczos"]


def lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    """sinc(t) sinc(t / radius) for |t| < radius, else 0."""
    return lambda t: np.where(np.abs(t) < radius, np.sinc(t) * np.sinc(t / radius), 0)


def cubic(a: float) -> Callable[[np.ndarray], np.ndarray]:
    """Keys's cubic convolution kernel of slope a at 1: -1/2 is Pillow's "bicubic", -3/4 OpenCV's.

    Source: Keys, "Cubic convolution interpolation for digital image processing", IEEE Trans. ASSP 29, 1981.
    """

    def profile(t: np.ndarray) -> np.ndarray:
        s = np.abs(t)
        near = (a + 2) * s**3 - (a + 3) * s**2 + 1
        far = a * (s**3 - 5 * s**2 + 8 * s - 4)
        return np.where(s < 1, near, np.where(s < 2, far, 0))

    return profile


LANCZOS3 = lanczos(3)


def interpolate(
    image: Any,
    factor: int,
    position: tuple[float, float],
    profile: Callable[[np.ndarray], np.ndarray] = LANCZOS3,
    radius: int = 3,
) -> tf.Tensor:
    """Interpolation on the high-resolution grid, u[n] = sum_k w[n, k] f[k], along y and x one after the other.

    w[n, k] = profile((n - position) / factor - k), divided by their sum over k, so that constants stay; border pixels
    are replicated.

    Args:
      image: f, float [N, h, w, C].
      factor: of the resolutions.
      position: (y, x) in high-resolution pixels of low-resolution pixel (0, 0).
      profile: of the kernel, in low-resolution pixels.
      radius: where the profile ends, an integer.

    Returns:
      [N, factor h, factor w, C] of the same dtype.
    """
    u = tf.convert_to_tensor(image)
    for axis, at in ((2, position[1]), (1, position[0])):
        t = (np.arange(factor) - at) / factor
        # t is in [0, 1) where the position is within the block.
        reach = radius + max(math.ceil(max(-t.min(), t.max() - 1)), 0)
        weights = profile(t - np.arange(-reach, reach + 1)[:, np.newaxis])
        weights = (weights / weights.sum(0)).reshape(2 * reach + 1, 1, 1, factor).swapaxes(0, axis - 1)
        ends = (reach, reach, 0, 0) if axis == 1 else (0, 0, reach, reach)
        filters = tf.tile(tf.constant(weights, u.dtype), [1, 1, tf.shape(u)[3], 1])
        phases = tf.nn.depthwise_conv2d(image_lib.pad_replicate(u, *ends), filters, [1, 1, 1, 1], "VALID")
        n, h, w, c = tf.unstack(tf.shape(u))
        phases = tf.reshape(phases, [n, h, w, c, factor])
        if axis == 1:
            u = tf.reshape(tf.transpose(phases, [0, 1, 4, 2, 3]), [n, h * factor, w, c])
        else:
            u = tf.reshape(tf.transpose(phases, [0, 1, 2, 4, 3]), [n, h, w * factor, c])
    given = tf.convert_to_tensor(image).shape
    return tf.ensure_shape(u, [given[0], *(size and factor * size for size in given[1:3]), given[3]])
