"""Convolution of images [N, H, W, C] with one kernel for all channels, over either border, and its adjoint.

Native for float32 and float64 where `blade_tf.ops` is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from blade_tf import image as image_lib
from blade_tf import native, ops

__all__ = [
    "BORDERS",
    "convolve",
    "downsample",
    "downsample_transpose",
    "factors",
    "gaussian",
    "is_native",
    "pad",
    "symmetric",
    "transpose",
]

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


def _native(
    u: tf.Tensor,
    kernel: np.ndarray,
    border: str,
    transposed: bool,
    factors: tuple[int, int] = (1, 1),
    offsets: tuple[int, int] = (0, 0),
) -> tf.Tensor:
    return native.library.blade_convolve(
        image=u,
        kernel=tf.constant(kernel, u.dtype),
        border=border,
        transposed=transposed,
        factors=factors,
        offsets=offsets,
    )


def is_native(u: tf.Tensor) -> bool:
    """Whether the native operation convolves this image."""
    return ops.uses_native() and u.dtype in (tf.float32, tf.float64)


def convolve(u: tf.Tensor, kernel: np.ndarray, border: str = "replicate") -> tf.Tensor:
    """Convolution: see `blade_tf.operators.blur`."""
    if is_native(u):
        return _native(u, kernel, border, transposed=False)
    rows, columns = kernel.shape
    return _correlate(pad(u, (*_reach(rows), *_reach(columns)), border), kernel[::-1, ::-1])


def transpose(v: tf.Tensor, kernel: np.ndarray, border: str = "replicate") -> tf.Tensor:
    """The adjoint of `convolve`."""
    if is_native(v):
        return _native(v, kernel, border, transposed=True)
    rows, columns = kernel.shape
    spread = _correlate(tf.pad(v, [[0, 0], [rows - 1] * 2, [columns - 1] * 2, [0, 0]]), kernel)
    return _fold(_fold(spread, 1, *_reach(rows), border), 2, *_reach(columns), border)


def gaussian(u: tf.Tensor, sigma: float) -> tf.Tensor:
    """`blade_tf.image.gaussian_smooth` to rounding, and faster."""
    kernel = image_lib.gaussian_kernel(sigma)
    return symmetric(u, kernel[len(kernel) // 2 :].tolist())


def downsample(u: tf.Tensor, axes: Sequence[np.ndarray], factor: int, offset: int, border: str) -> tf.Tensor:
    """Convolution with a column and with a row, of which every `factor`-th pixel is kept; native alone."""
    column, row = axes
    u = _native(u, column, border, False, (factor, 1), (offset, 0))
    return _native(u, row, border, False, (1, factor), (0, offset))


def downsample_transpose(v: tf.Tensor, axes: Sequence[np.ndarray], factor: int, offset: int, border: str) -> tf.Tensor:
    """The adjoint of `downsample`."""
    column, row = axes
    v = _native(v, row, border, True, (1, factor), (0, offset))
    return _native(v, column, border, True, (factor, 1), (offset, 0))


def symmetric(u: tf.Tensor, half: Sequence[float]) -> tf.Tensor:
    """`blade_tf.image.symmetric_filter` to rounding, and faster: `half[0] u[i] + sum_k half[k] (u[i-k] + u[i+k])` along
    both axes."""
    if not is_native(u):
        return image_lib.symmetric_filter(u, half)
    taps = np.array([*half[:0:-1], *half])
    return convolve(convolve(u, taps[np.newaxis]), taps[:, np.newaxis])


@tf.RegisterGradient("BladeConvolve")
def _gradient(op: tf.Operation, upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
    """To the image; kernels are constants here."""
    settings = {name: op.get_attr(name) for name in ("border", "transposed", "factors", "offsets")}
    settings["transposed"] = not settings["transposed"]
    return native.library.blade_convolve(image=upstream, kernel=op.inputs[1], **settings), None
