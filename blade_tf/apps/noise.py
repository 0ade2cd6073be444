"""The noise level of images."""

from __future__ import annotations

import math
import numbers
from typing import Any

import tensorflow as tf

from blade_tf import arguments, ops

__all__ = ["check_level", "estimate_noise", "levels", "noise_level"]


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
      ValueError: if f is not float [N, H, W, C], or has fewer than 3 x 3 pixels.

    Source: Donoho, Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81, 1994; Immerkaer, "Fast
    noise variance estimation", Computer Vision and Image Understanding 64, 1996.
    """
    f = arguments.images("f", f)
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


def check_level(noise: Any) -> None:
    """ValueError unless the number is finite and at least 0."""
    if isinstance(noise, bool) or not 0 <= noise < math.inf:
        raise ValueError(f"noise: expected a standard deviation of at least 0, got {noise!r}")


def levels(noise: Any, f: tf.Tensor) -> Any:
    """A noise level that is given: None, a number, or a tensor [N], one for each image of f.

    Raises:
      ValueError: another shape (in graphs of open sizes tf.errors.InvalidArgumentError), or a level that is negative or
        not finite, which of tensors is found eagerly alone.
    """
    if noise is None:
        return None
    if isinstance(noise, numbers.Real):
        check_level(noise)
        return noise
    noise = tf.convert_to_tensor(noise, None if tf.is_tensor(noise) else f.dtype)
    if not noise.shape.is_compatible_with(f.shape[:1]):
        raise ValueError(f"noise: expected a number, or one for each image, [{f.shape[0]}], got {noise.shape}")
    if tf.executing_eagerly() and not bool(tf.reduce_all((noise >= 0) & tf.math.is_finite(noise))):
        raise ValueError(f"noise: expected standard deviations of at least 0, got {noise.numpy().tolist()}")
    return ops.of_shape("noise", noise, "[N]", f, 1)
