"""Convolution of images [N, H, W, C] with one kernel for all channels, over either border, and its adjoint."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from blade_tf import image as image_lib

__all__ = ["BORDERS", "convolve", "factors", "pad", "transpose"]

BORDERS = ("replicate", "periodic")


def factors(kernel: np.ndarray) -> list[np.ndarray]:
    """The kernel, or a column and a row whose outer product it is."""
    left, values, right = np.linalg.svd(kernel)
    if min(kernel.shape) == 1 or (values[1:] > 1e-14 * values[0]).any():
        return [kernel]
    scale = math.sqrt(values[0])
    return [scale * left[:, :1], scale * right[:1]]


def pad(u: tf.Tensor, amounts: tuple[int, int, int, int], border: str) -> tf.Tensor:
    """Extends an image at its top, bottom, left and right."""
    if border == "replicate":
        return image_lib.pad_replicate(u, *amounts)
    top, bottom, left, right = amounts
    u = tf.concat([u[:, tf.shape(u)[1] - top :], u, u[:, :bottom]], axis=1)
    return tf.concat([u[:, :, tf.shape(u)[2] - left :], u, u[:, :, :right]], axis=2)


def _fold(u: tf.Tensor, axis: int, before: int, after: int, border: str) -> tf.Tensor:
    """The adjoint of padding along an axis, of which at least max(2, before, after) pixels remain."""
    if not before and not after:
        return u
    size = tf.shape(u)[axis] - before - after
    if border == "replicate":
        first, middle, last = tf.split(u, [before + 1, size - 2, after + 1], axis)
        return tf.concat([tf.reduce_sum(first, axis, True), middle, tf.reduce_sum(last, axis, True)], axis)
    first, middle, last = tf.split(u, [before, size, after], axis)
    ends = [[[0, 0]] * axis + [amounts] + [[0, 0]] * (3 - axis) for amounts in ([size - before, 0], [0, size - after])]
    return middle + tf.pad(first, ends[0]) + tf.pad(last, ends[1])


def _correlate(u: tf.Tensor, kernel: np.ndarray) -> tf.Tensor:
    taps = tf.constant(np.ascontiguousarray(kernel)[:, :, np.newaxis, np.newaxis], u.dtype)
    return tf.nn.depthwise_conv2d(u, tf.tile(taps, [1, 1, tf.shape(u)[3], 1]), [1, 1, 1, 1], "VALID")


def _reach(size: int) -> tuple[int, int]:
    """How many pixels before the first and after the last one a kernel of this size sees."""
    return size - 1 - (size - 1) // 2, (size - 1) // 2


def convolve(u: tf.Tensor, kernel: np.ndarray, border: str) -> tf.Tensor:
    """Convolution: see `blade_tf.operators.blur`."""
    rows, columns = kernel.shape
    return _correlate(pad(u, (*_reach(rows), *_reach(columns)), border), kernel[::-1, ::-1])


def transpose(v: tf.Tensor, kernel: np.ndarray, border: str) -> tf.Tensor:
    """The adjoint of `convolve`."""
    rows, columns = kernel.shape
    spread = _correlate(tf.pad(v, [[0, 0], [rows - 1] * 2, [columns - 1] * 2, [0, 0]]), kernel)
    return _fold(_fold(spread, 1, *_reach(rows), border), 2, *_reach(columns), border)
