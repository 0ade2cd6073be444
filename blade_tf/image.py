"""TensorFlow image primitives: pure functions on float tensors [N, H, W, C], any of N, H, W known, unknown, 0 or 1.

Axis 1 is y (rows), axis 2 is x (columns). Outside the image the border pixels are replicated: zero-flux boundaries.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = [
    "LUMA_WEIGHTS",
    "area_downscale",
    "flux_difference",
    "forward_difference",
    "gaussian_kernel",
    "gaussian_smooth",
    "luma",
    "pad_replicate",
    "scharr_divergence",
    "scharr_gradient",
    "symmetric_filter",
]

LUMA_WEIGHTS = (0.299, 0.587, 0.114)

TensorLike = Any


def luma(image: TensorLike) -> tf.Tensor:
    """Luma 0.299 R + 0.587 G + 0.114 B without rounding to gray levels; a gray image is returned as it is.

    Args:
      image: float [N, H, W, C], C = 1 or 3. half and bfloat16 compute in float32 and round once.

    Returns:
      [N, H, W, 1] of the same dtype.

    Raises:
      ValueError: image is not float [N, H, W, C], or C is not known to be 1 or 3.
    """
    image = _float_nhwc(image)
    channels = image.shape[-1]
    if channels == 1:
        return image
    if channels != 3:
        raise ValueError(f"image: expected 1 or 3 channels, got {_shape(image)}")
    u = _widen(image)
    r, g, b = (weight * u[..., c : c + 1] for c, weight in enumerate(LUMA_WEIGHTS))
    return tf.cast(r + g + b, image.dtype)


def pad_replicate(image: TensorLike, top: int, bottom: int, left: int, right: int) -> tf.Tensor:
    """Extends [N, H, W, C] to [N, top + H + bottom, left + W + right, C] by replicating border pixels (numpy's "edge").

    An axis of length 0 has nothing to replicate and stays empty. Any dtype.

    Raises:
      ValueError: image is not [N, H, W, C], or an amount is negative.
    """
    image = _nhwc(image)
    for name, amount in (("top", top), ("bottom", bottom), ("left", left), ("right", right)):
        if amount < 0:
            raise ValueError(f"{name}: expected a non-negative amount, got {amount}")
    if left or right:
        image = tf.concat([image[:, :, :1]] * left + [image] + [image[:, :, -1:]] * right, axis=2)
    if top or bottom:
        image = tf.concat([image[:, :1]] * top + [image] + [image[:, -1:]] * bottom, axis=1)
    return image


def area_downscale(image: TensorLike, factor: int) -> tf.Tensor:
    """Means over disjoint factor x factor blocks (section 2.3, step 3): [N, H, W, C] -> [N, H/factor, W/factor, C].

    half and bfloat16 sum in float32 and round once.

    Raises:
      ValueError: image is not float [N, H, W, C], factor is not a positive integer, or it does not divide H and W.
      tf.errors.InvalidArgumentError: the same for an H or W known only when a graph runs.
    """
    image = _float_nhwc(image)
    if factor < 1 or factor != int(factor):
        raise ValueError(f"factor: expected a positive integer, got {factor}")
    if any(size is not None and size % factor for size in image.shape[1:3]):
        raise ValueError(f"image: expected H and W divisible by {factor}, got {_shape(image)}")
    n, h, w, c = (
        size if size is not None else tf.shape(image)[axis] for axis, size in enumerate(image.shape.as_list())
    )
    checks = []
    if image.shape[1] is None or image.shape[2] is None:
        divisible = tf.logical_and(h % factor == 0, w % factor == 0)
        checks = [tf.debugging.Assert(divisible, [f"image: expected H and W divisible by {factor}, got", [n, h, w, c]])]
    with tf.control_dependencies(checks):
        u = tf.identity(_widen(image))
    u = tf.reduce_sum(tf.reshape(u, [n, h // factor, factor, w, c]), axis=2)
    u = tf.reduce_sum(tf.reshape(u, [n, h // factor, w // factor, factor, c]), axis=3)
    return tf.cast(u / (factor * factor), image.dtype)


def forward_difference(image: TensorLike, axis: int, grid_step: float = 1.0) -> tf.Tensor:
    """D+ u[i] = (u[i+1] - u[i]) / grid_step along y (axis 1) or x (axis 2), and 0 at the last pixel.

    Entry i is the derivative at the face between pixels i and i + 1; the last face is the border, where zero-flux
    boundaries make it 0.
    """
    image = _float_nhwc(image)
    axis = _spatial(axis)
    return (_shifted(_pad_axis(image, axis, 0, 1), axis, 1, 0) - image) / grid_step


def flux_difference(flux: TensorLike, axis: int, grid_step: float = 1.0) -> tf.Tensor:
    """D- f[i] = (f[i] - f[i-1]) / grid_step for fluxes: f[i] flows through the face between pixels i and i + 1.

    No flux crosses the image's border: f[-1] = 0, and the last entry counts as 0 whatever it holds. The sum over the
    axis is therefore 0 (mass is conserved), and this is minus the adjoint of `forward_difference`.
    """
    flux = _float_nhwc(flux, "flux")
    axis = _spatial(axis)
    inner = _shifted(flux, axis, 0, 1)
    edge = tf.zeros_like(flux[:, :1] if axis == 1 else flux[:, :, :1])
    difference = tf.concat([inner, edge], axis) - tf.concat([edge, inner], axis)
    return difference / grid_step


def scharr_gradient(image: TensorLike, grid_step: float = 1.0) -> tuple[tf.Tensor, tf.Tensor]:
    """Derivatives along x and y by the rotation-optimised filters `[-3 0 3; -10 0 10; -3 0 3] / 32` and its transpose.

    Divided by grid_step; borders are replicated. [N, H, W, C] each.

    Source: Weickert, Scharr, "A scheme for coherence-enhancing diffusion filtering with optimized rotation
    invariance", Journal of Visual Communication and Image Representation 13, 2002.
    """
    u = _float_nhwc(image)
    along_x, along_y = (_central(_across(u, 3 - axis), axis, 1) / grid_step for axis in (2, 1))
    return along_x, along_y


def scharr_divergence(flux_x: TensorLike, flux_y: TensorLike, grid_step: float = 1.0) -> tf.Tensor:
    """Minus the adjoint of `scharr_gradient`: the same filters, summed over the two fluxes given at the pixels.

    In the interior these are the filters themselves. At the border the flux is continued by its negative along its
    own direction, so that none crosses the border, and by replication across. The sum over the image is 0.
    """
    total: Any = 0
    for flux, axis in ((_float_nhwc(flux_x, "flux_x"), 2), (_float_nhwc(flux_y, "flux_y"), 1)):
        total += _central(_across(flux, 3 - axis), axis, -1) / grid_step
    return total


def gaussian_kernel(sigma: float, radius: int | None = None) -> np.ndarray:
    """Sampled Gaussian exp(-k^2 / (2 sigma^2)), k = -radius..radius, of sum 1; float64 [2 radius + 1].

    radius defaults to ceil(3 sigma); sigma = 0 gives a single 1 amid zeros. The sum is w0 + 2 w1 + 2 w2 + ... in that
    order, and exp is the C library's: native code gets the same bits.

    Raises:
      ValueError: sigma is negative or not finite, or radius is negative.
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"sigma: expected a finite value >= 0, got {sigma}")
    if radius is None:
        radius = math.ceil(3 * sigma)
    if radius < 0:
        raise ValueError(f"radius: expected a value >= 0, got {radius}")
    half = [1.0] + [math.exp(-(k * k) / (2 * sigma * sigma)) if sigma else 0.0 for k in range(1, radius + 1)]
    total = half[0]
    for weight in half[1:]:
        total += 2 * weight
    return np.array([half[abs(k)] / total for k in range(-radius, radius + 1)])


def gaussian_smooth(image: TensorLike, rho: float) -> tf.Tensor:
    """Gaussian of standard deviation rho pixels, separable, replicate borders; rho = 0 returns the image.

    Along x, then along y: a = w0 u[i]; a = a + wk (u[i-k] + u[i+k]) for k = 1..ceil(3 rho), with the weights of
    `gaussian_kernel` rounded to the image's dtype. This order is part of the definition: native code does the same.

    Raises:
      ValueError: image is not float [N, H, W, C], or rho is negative or not finite.
    """
    image = _float_nhwc(image)
    kernel = gaussian_kernel(rho)
    radius = len(kernel) // 2
    return symmetric_filter(image, kernel[radius:].tolist()) if radius else image


def symmetric_filter(image: TensorLike, half: Sequence[float]) -> tf.Tensor:
    """`half[0] u[i] + sum_k half[k] (u[i-k] + u[i+k])` along x, then along y; replicate borders.

    Raises:
      ValueError: image is not float [N, H, W, C].
    """
    image = _float_nhwc(image)
    for axis in (2, 1):
        image = _filter_axis(image, half, axis)
    return image


def _filter_axis(image: tf.Tensor, half: Sequence[float], axis: int) -> tf.Tensor:
    radius = len(half) - 1
    padded = _pad_axis(image, axis, radius, radius)
    out = half[0] * image
    for k in range(1, radius + 1):
        before = _shifted(padded, axis, radius - k, radius + k)
        after = _shifted(padded, axis, radius + k, radius - k)
        # Not a chain of additions: the graph optimiser would merge and reorder them.
        out = out - -half[k] * (before + after)
    return out


def _across(u: tf.Tensor, axis: int) -> tf.Tensor:
    """[3 10 3] / 16 along an axis, replicated borders."""
    p = _pad_axis(u, axis, 1, 1)
    return (3 / 16) * (_shifted(p, axis, 0, 2) + _shifted(p, axis, 2, 0)) + (10 / 16) * u


def _central(u: tf.Tensor, axis: int, sign: int) -> tf.Tensor:
    """(u[i+1] - u[i-1]) / 2 along an axis; beyond the border stands `sign` times the border pixel."""
    first, last = (u[:, :1], u[:, -1:]) if axis == 1 else (u[:, :, :1], u[:, :, -1:])
    p = tf.concat([sign * first, u, sign * last], axis)
    return 0.5 * (_shifted(p, axis, 2, 0) - _shifted(p, axis, 0, 2))


def _pad_axis(image: tf.Tensor, axis: int, before: int, after: int) -> tf.Tensor:
    return pad_replicate(image, before, after, 0, 0) if axis == 1 else pad_replicate(image, 0, 0, before, after)


def _shifted(image: tf.Tensor, axis: int, head: int, tail: int) -> tf.Tensor:
    """Drops `head` entries at the start of an axis and `tail` at its end."""
    kept = slice(head, -tail if tail else None)
    return image[:, kept] if axis == 1 else image[:, :, kept]


def _spatial(axis: int) -> int:
    if axis not in (1, 2):
        raise ValueError(f"axis: expected 1 (y) or 2 (x), got {axis}")
    return axis


def _nhwc(image: TensorLike, name: str = "image") -> tf.Tensor:
    image = tf.convert_to_tensor(image)
    if image.shape.rank not in (None, 4):
        raise ValueError(f"{name}: expected [N, H, W, C], got {_shape(image)}")
    return image if image.shape.rank else tf.ensure_shape(image, [None] * 4)


def _float_nhwc(image: TensorLike, name: str = "image") -> tf.Tensor:
    image = _nhwc(image, name)
    if not image.dtype.is_floating:
        raise ValueError(f"{name}: expected a float dtype, got {image.dtype.name} {_shape(image)}")
    return image


def _shape(image: tf.Tensor) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in image.shape) + "]"


def _widen(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(image, tf.float32) if image.dtype.size < 4 else image
