"""Linear operators on images, their adjoints, and the data terms of restoration made of them (section 4).

An `Operator` maps float tensors [N, H, W, C]; `A @ B` is the composition "first B, then A". What has been observed as
f = A u + noise pulls a state towards itself by the rate `data_term(A, f, weight)`, which adds to others
(`blade_tf.integrate.sum_rates`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import arguments, convolution, names, norms

__all__ = [
    "BORDERS",
    "Operator",
    "blur",
    "data_term",
    "downsample",
    "identity",
    "mask",
    "pseudo_inverse",
    "squared_norm",
    "subsample",
    "transfer",
]

Map = Callable[[tf.Tensor], tf.Tensor]

BORDERS = convolution.BORDERS


@dataclasses.dataclass(frozen=True)
class Operator:
    """A linear map of images A with its adjoint: `sum(A(u) v) = sum(u A.adjoint(v))` for all u and v.

    Attributes:
      forward: u -> A u.
      adjoint: v -> A^T v.
      bound: an upper bound of ||A||^2, whatever the images' sizes; None if none is known.
    """

    forward: Map
    adjoint: Map
    bound: float | None = None

    def __call__(self, u: Any) -> tf.Tensor:
        return self.forward(u)

    def __matmul__(self, other: Operator) -> Operator:
        bound = None if self.bound is None or other.bound is None else self.bound * other.bound
        return Operator(lambda u: self.forward(other.forward(u)), lambda v: other.adjoint(self.adjoint(v)), bound)


def identity() -> Operator:
    """The operator of denoising: A u = u."""
    return Operator(tf.convert_to_tensor, tf.convert_to_tensor, 1.0)


def mask(known: Any) -> Operator:
    """The operator of inpainting: A u = known u, which is its own adjoint.

    Args:
      known: an array, 1 or True where a pixel is known, 0 elsewhere; what broadcasts to [N, H, W, C].

    Raises:
      ValueError: no pixel is known, a value is neither 0 nor 1, or a tensor without values, of a graph.
    """
    if tf.is_tensor(known) and not hasattr(known, "numpy"):
        raise ValueError(f"known: expected an array, got a tensor of a graph, {known.dtype.name} {known.shape}")
    values = np.asarray(known)
    wrong = ~np.isin(values, (0, 1))
    if wrong.any():
        raise ValueError(f"known: expected values 0 and 1, or False and True, got {values[wrong].flat[0]}")
    if values.size and not values.any():
        raise ValueError(f"known: expected at least one known pixel, got none in {list(values.shape)}")

    def apply(u: Any) -> tf.Tensor:
        u = tf.convert_to_tensor(u)
        # Not a product: what is unknown may be NaN.
        return tf.where(tf.constant(values.astype(bool)), u, tf.zeros_like(u))

    return Operator(apply, apply, 1.0)


def _kernel(kernel: Any) -> np.ndarray:
    found = np.asarray(kernel, np.float64)
    if found.ndim != 2 or not found.size:
        raise ValueError(f"kernel: expected [R, S], got {list(found.shape)}")
    if not np.isfinite(found).all() or not found.any():
        raise ValueError(f"kernel: expected finite values, not all of them 0, got {found.tolist()}")
    return found


def _of_sizes(u: tf.Tensor, right: Map, message: str) -> tf.Tensor:
    """The image [N, H, W, C]; an error, for open sizes when a graph runs, unless its [H, W] are right."""
    known = [size is not None for size in u.shape[1:3]]
    if not np.all(right(np.array([size or 0 for size in u.shape[1:3]]))[known]):
        raise ValueError(f"{message} {list(u.shape)}")
    if all(known):
        return u
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(right(tf.shape(u)[1:3])), [message, tf.shape(u)])]):
        return tf.identity(u)


def _divisible(u: tf.Tensor, factor: int) -> tf.Tensor:
    return _of_sizes(u, lambda sizes: sizes % factor == 0, f"u: expected sizes that {factor} divides, got")


def _checked(u: Any, name: str, kernel: np.ndarray, factor: int = 1) -> tf.Tensor:
    """The image as a tensor; an error unless it is float [N, H, W, C] and, times the factor, as large as the kernel."""
    most = "the image's size" if factor == 1 else f"{factor} times the image's size"
    message = f"kernel: expected at most {most}, got {list(kernel.shape)} for"
    return _of_sizes(arguments.images(name, u), lambda sizes: factor * sizes >= kernel.shape, message)


def blur(kernel: Any, border: str = "replicate") -> Operator:
    """Convolution, `(A u)[y, x] = sum_rs kernel[r, s] u[y - r + (R - 1) // 2, x - s + (S - 1) // 2]`, of each channel.

    A kernel that is an outer product is applied along y and x one after the other.

    Args:
      kernel: [R, S], not larger than the images.
      border: what lies outside of an image: "replicate", its border pixels, or "periodic", the image again.

    Raises:
      ValueError: another shape, a value that is not finite, or an unknown border; when applied: no float image, or
        one smaller than the kernel (tf.errors.InvalidArgumentError where sizes are unknown before a graph runs).
    """
    found = _kernel(kernel)
    if border not in BORDERS:
        raise ValueError(f"border: unknown border {border!r}{names.hint(str(border), BORDERS)}")
    factors = convolution.factors(found)

    def forward(u: Any) -> tf.Tensor:
        u = _checked(u, "u", found)
        for factor in factors:
            u = convolution.convolve(u, factor, border)
        return u

    def adjoint(v: Any) -> tf.Tensor:
        v = _checked(v, "v", found)
        for factor in reversed(factors):
            v = convolution.transpose(v, factor, border)
        return v

    return Operator(forward, adjoint, np.abs(found).sum() ** 2 if border == "periodic" else norms.blur_bound(factors))


def _check_factor(factor: Any, offset: Any) -> tuple[int, int]:
    """The factor and the offset as integers; ValueError unless they are and make sense."""
    if isinstance(factor, bool) or factor != int(factor) or factor < 1:
        raise ValueError(f"factor: expected a positive integer, got {factor!r}")
    if isinstance(offset, bool) or offset != int(offset) or not 0 <= offset < factor:
        raise ValueError(f"offset: expected an integer in [0, {factor}), got {offset!r}")
    return int(factor), int(offset)


def subsample(factor: int, offset: int = 0) -> Operator:
    """Every `factor`-th pixel, `(A u)[y, x] = u[factor y + offset, factor x + offset]`; the adjoint inserts zeros.

    Args:
      factor: at least 1; it has to divide the sizes of u.
      offset: of the pixels that are kept, in [0, factor).

    Raises:
      ValueError: for such a factor or offset, or, when it is applied, another dtype or rank, no pixel, or sizes that
        the factor does not divide (tf.errors.InvalidArgumentError where they are unknown before a graph runs).
    """
    factor, offset = _check_factor(factor, offset)

    def forward(u: Any) -> tf.Tensor:
        return _divisible(arguments.images("u", u), factor)[:, offset::factor, offset::factor]

    def adjoint(v: Any) -> tf.Tensor:
        v = arguments.images("v", v)
        n, h, w, c = tf.unstack(tf.shape(v))
        around = [offset, factor - 1 - offset]
        spread = tf.pad(v[:, :, tf.newaxis, :, tf.newaxis], [[0, 0], [0, 0], around, [0, 0], around, [0, 0]])
        static = [size and factor * size for size in v.shape[1:3]]
        return tf.ensure_shape(tf.reshape(spread, [n, h * factor, w * factor, c]), [v.shape[0], *static, v.shape[3]])

    return Operator(forward, adjoint, 1.0)


def downsample(kernel: Any, factor: int, offset: int = 0) -> Operator:
    """`subsample(factor, offset) @ blur(kernel, "periodic")` in less time.

    A kernel that is an outer product is applied natively along y, to the rows that are kept, and then along x. Others
    in polyphase form: the factor^2 pixels of a block are channels of the coarse grid, where A and A^T are convolutions
    with the parts of the kernel that fall on each; the cost grows as the square of C, which suits images.

    Args:
      kernel: [R, S], not larger than the fine grid.
      factor: at least 1; it has to divide the sizes of u.
      offset: of the pixels that are kept, in [0, factor).

    Raises:
      ValueError: as `blur` and `subsample`.
    """
    found = _kernel(kernel)
    factor, offset = _check_factor(factor, offset)
    # Where the taps fall along y and x, relative to the block of the pixel that is kept, and the blocks they reach.
    at = [offset + (size - 1) // 2 - np.arange(size) for size in found.shape]
    (first_y, first_x), (last_y, last_x) = ([int(end(t)) // factor for t in at] for end in (np.min, np.max))
    blocks = last_y - first_y + 1, last_x - first_x + 1
    spread = np.zeros([factor * count for count in blocks])
    spread[np.ix_(at[0] - factor * first_y, at[1] - factor * first_x)] = found
    phases = spread.reshape(blocks[0], factor, blocks[1], factor).transpose(0, 2, 1, 3)
    axes = convolution.factors(found)

    def separates(u: tf.Tensor) -> bool:
        return len(axes) > 1 and convolution.is_native(u)

    def taps(u: tf.Tensor) -> tf.Tensor:
        """For images of u's channels, [blocks along y, blocks along x, factor^2 C, C]."""
        channels = u.shape[3] or tf.shape(u)[3]
        each = tf.constant(phases.reshape(*blocks, factor**2, 1, 1), u.dtype) * tf.eye(channels, dtype=u.dtype)
        return tf.reshape(each, [*blocks, factor**2 * channels, channels])

    def forward(u: Any) -> tf.Tensor:
        u = _divisible(_checked(u, "u", found), factor)
        if separates(u):
            return convolution.downsample(u, axes, factor, offset, "periodic")
        coarse = tf.nn.space_to_depth(u, factor) if factor > 1 else u
        padded = convolution.pad(coarse, (-first_y, last_y, -first_x, last_x), "periodic")
        return tf.ensure_shape(tf.nn.conv2d(padded, taps(u), 1, "VALID"), [*coarse.shape[:3], u.shape[3]])

    def adjoint(v: Any) -> tf.Tensor:
        v = _checked(v, "v", found, factor)
        if separates(v):
            return convolution.downsample_transpose(v, axes, factor, offset, "periodic")
        padded = convolution.pad(v, (last_y, -first_y, last_x, -first_x), "periodic")
        turned = tf.transpose(tf.reverse(taps(v), [0, 1]), [0, 1, 3, 2])
        u = tf.nn.conv2d(padded, turned, 1, "VALID")
        u = tf.nn.depth_to_space(u, factor) if factor > 1 else u
        return tf.ensure_shape(u, [v.shape[0], *(size and factor * size for size in v.shape[1:3]), v.shape[3]])

    return Operator(forward, adjoint, float(np.abs(found).sum() ** 2))


def data_term(operator: Operator, f: Any, weight: Any) -> Map:
    """The rate `u -> weight A^T (f - A u)` (eq 4.2) that draws A u towards f: minus the gradient of
    `weight / 2 ||A u - f||^2`.

    Args:
      operator: A.
      f: what has been observed, of the shape of A u.
      weight: lambda, positive; or a tensor that broadcasts to u.

    Raises:
      ValueError: for a weight that is a number and not positive and finite.
    """
    f = tf.convert_to_tensor(f)
    if tf.is_tensor(weight):
        return lambda u: tf.cast(weight, u.dtype) * operator.adjoint(f - operator(u))
    weight = arguments.positive("weight", weight)
    return lambda u: weight * operator.adjoint(f - operator(u))


def _lags(kernel: np.ndarray, factor: int) -> np.ndarray:
    """sum_n kernel[n] kernel[n + factor j] for j = -m..m along y and x: A A^T is the convolution with it."""
    rows, columns = (factor * np.arange(-((size - 1) // factor), (size - 1) // factor + 1) for size in kernel.shape)
    size = [2 * size - 1 for size in kernel.shape]
    correlation = np.fft.irfft2(np.abs(np.fft.rfft2(kernel, size)) ** 2, size)
    return correlation[np.ix_(rows, columns)]


def squared_norm(kernel: Any, factor: int) -> float:
    """||A||^2 of A = subsample(factor) @ blur(kernel, "periodic"), on images of any size.

    What a data term's step may be is its reciprocal: `dt weight ||A||^2 < 2`. For a kernel with negative entries, an
    upper bound.

    Raises:
      ValueError: as `blur` and `subsample`.
    """
    return float(np.abs(_lags(_kernel(kernel), _check_factor(factor, 0)[0])).sum())


def _transfer(lags: np.ndarray, h: Any, w: Any) -> tf.Tensor:
    """The transfer function of a convolution with [2 a + 1, 2 b + 1] taps, [h, w // 2 + 1] as of `rfft2`."""

    def waves(size: Any, frequencies: Any, count: int) -> tf.Tensor:
        reach = count // 2
        at = tf.cast(tf.range(frequencies), tf.float64) * (-2 * math.pi / tf.cast(size, tf.float64))
        phase = at[:, tf.newaxis] * tf.range(-reach, reach + 1, dtype=tf.float64)
        return tf.complex(tf.cos(phase), tf.sin(phase))

    left = waves(h, h, lags.shape[0]) @ tf.constant(lags, tf.complex128)
    return tf.math.real(tf.matmul(left, waves(w, w // 2 + 1, lags.shape[1]), transpose_b=True))


def transfer(kernel: Any, factor: int, size: int) -> np.ndarray:
    """The transfer function of A A^T, A = subsample(factor) @ blur(kernel, "periodic"), on a coarse grid [size, size].

    float64 [size, size // 2 + 1], the frequencies of `np.fft.rfft2`.

    Raises:
      ValueError: as `blur` and `subsample`.
    """
    lags, grid = _lags(_kernel(kernel), _check_factor(factor, 0)[0]), np.zeros([size, size])
    rows, columns = (np.arange(n) - n // 2 for n in lags.shape)
    np.add.at(grid, (rows[:, np.newaxis] % size, columns % size), lags)
    return np.fft.rfft2(grid).real


def pseudo_inverse(kernel: Any, factor: int, offset: int = 0) -> Map:
    """The pseudo-inverse A^+ of A = subsample(factor, offset) @ blur(kernel, "periodic"), in the Fourier domain.

    A A^T is a convolution on the coarse grid, whose transfer function S is the mean of |kernel^|^2 over the factor^2
    frequencies that fall together there: A^+ f = A^T (f^ / S)^v. Hence A(A^+ f) = f wherever S is not 0, and
    u - A^+(A u) is the orthogonal projection of u on the null space {u : A u = 0} (P0 of eq 4.7).

    Args:
      kernel: [R, S], not larger than the fine grid.
      factor, offset: of the subsampling.

    Returns:
      f [N, h, w, C] -> [N, factor h, factor w, C] of the same dtype, any h and w. The transforms are in float64.

    Raises:
      ValueError: as `blur` and `subsample`; when it is applied: f is not float [N, h, w, C], or the fine grid is
        smaller than the kernel.
    """
    found = _kernel(kernel)
    factor, offset = _check_factor(factor, offset)
    operator = downsample(found, factor, offset)
    lags = _lags(found, factor)

    def apply(f: Any) -> tf.Tensor:
        f = arguments.images("f", f)
        h, w = tf.shape(f)[1], tf.shape(f)[2]
        response = _transfer(lags, h, w)
        usable = response > 1e-14 * np.abs(lags).sum()
        inverse = tf.where(usable, 1 / tf.where(usable, response, 1), 0)
        planes = tf.transpose(tf.cast(f, tf.float64), [0, 3, 1, 2])
        spectrum = tf.signal.rfft2d(planes) * tf.cast(inverse, tf.complex128)
        solved = tf.transpose(tf.signal.irfft2d(spectrum, [h, w]), [0, 2, 3, 1])
        return operator.adjoint(tf.ensure_shape(tf.cast(solved, f.dtype), f.shape))

    return apply
