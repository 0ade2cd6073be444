"""The noise level of images."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from blade_tf import ops

__all__ = ["estimate_noise", "noise_level"]


def estimate_noise(f: Any, known: Any = None) -> tf.Tensor:
    """The standard deviation of white Gaussian noise in each image: a median absolute deviation (Donoho, Johnstone).

    `sigma = median |f * L| / (6 * 0.6745)`, L = [1 -2 1; -2 4 -2; 1 -2 1] (Immerkaer's, the diagonal band of linear
    spline wavelets), of norm 6, which neither constants nor straight slopes excite. Blurred photographs leave the noise
    alone there. Fine texture does not: of sharp photographs it is overestimated, by about one gray level of 255 where
    there is little noise and up to seven. What correlates noise between pixels, such as JPEG, scaling or denoising,
    makes it underestimate.

    Args:
      f: float [N, H, W, C], H and W at least 3.
      known: where pixels are known, what broadcasts to f; only where all of L's pixels are is it asked.

    Returns:
      [N] of f's dtype; infinity where no response is known.

    Raises:
      TypeError: if f is not float.
      ValueError: another rank, or fewer than 3 x 3 pixels.

    Source: Donoho, Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81, 1994; Immerkaer, "Fast
    noise variance estimation", Computer Vision and Image Understanding 64, 1996.
    """
    f = ops.image_tensor(f)
    if any(size is not None and size < 3 for size in f.shape[1:3]):
        raise ValueError(f"f: expected at least 3 x 3 pixels to estimate noise from, got {f.shape}")
    asked = tf.ones_like(f) if known is None else tf.broadcast_to(tf.cast(known, f.dtype), tf.shape(f))
    f = tf.where(asked > 0, f, tf.zeros_like(f))
    f = f[:, :-2] - 2 * f[:, 1:-1] + f[:, 2:]
    f = f[:, :, :-2] - 2 * f[:, :, 1:-1] + f[:, :, 2:]
    asked = asked[:, :-2] * asked[:, 1:-1] * asked[:, 2:]
    asked = asked[:, :, :-2] * asked[:, :, 1:-1] * asked[:, :, 2:]
    responses = tf.reshape(tf.where(asked > 0, tf.abs(f), tf.constant(math.inf, f.dtype)), [tf.shape(f)[0], -1])
    count = tf.reduce_sum(tf.cast(asked > 0, tf.int32), [1, 2, 3])
    median = tf.gather(tf.sort(responses, axis=1), count // 2, axis=1, batch_dims=1)
    return median / (6 * 0.6745)


def noise_level(f: Any, known: Any = None) -> Any:
    """`estimate_noise` as a number where there is one image, so that the regulariser may depend on it, else as [N].

    Raises:
      ValueError: as `estimate_noise`; nowhere 3 x 3 known pixels.
    """
    found = estimate_noise(f, known)
    if not tf.executing_eagerly():
        return found
    if not bool(tf.reduce_all(tf.math.is_finite(found))):
        raise ValueError("noise: expected 3 x 3 known pixels to estimate it from; state the noise level")
    return float(found[0]) if len(found) == 1 else found
