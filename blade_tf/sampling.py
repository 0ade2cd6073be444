"""How a low-resolution image comes about, A u = down(phi * u), and what undoes it up to the null space of A."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import arguments, operators

__all__ = ["LARGEST", "LEAST_CONDITION", "MARGIN", "Sampling", "gaussian", "within_reflection"]

MARGIN = 8  # low-resolution pixels; the pseudo-inverse of the default PSF decays to 1e-5 in as many
# Of A A^T, for what A^+ corrects: what 8 bits round away becomes noise of 12/255 at most.
LEAST_CONDITION = 1e-4
LARGEST = 501  # pixels along each axis of a kernel that is given by numbers
GRID = 128  # on which transfer functions are looked at: twice the largest margin


@dataclasses.dataclass(frozen=True, eq=False)
class Sampling:
    """How a low-resolution image comes about: A u = subsample(factor, offset)(kernel * u).

    Attributes:
      factor: at least 2.
      kernel: the point spread function phi in high-resolution pixels, [R, S] of sum 1, as of `operators.blur`.
      offset: of the subsampling, an integer in [0, factor).

    Raises:
      ValueError: for another factor, kernel or offset.
    """

    factor: int
    kernel: np.ndarray
    offset: int

    def __post_init__(self) -> None:
        arguments.count("factor", self.factor, 2)
        operators.subsample(self.factor, self.offset)
        object.__setattr__(self, "kernel", np.asarray(self.kernel, np.float64))
        object.__setattr__(self, "offset", int(self.offset))
        operators.blur(self.kernel, "periodic")
        if abs(np.sum(self.kernel) - 1) > 1e-6:
            raise ValueError(f"kernel: expected a sum of 1, got {np.sum(self.kernel):g}")

    @property
    def position(self) -> tuple[float, float]:
        """Where low-resolution pixel (0, 0) sits, (y, x) in high-resolution pixels: the middle of what it sees."""
        places = [self.offset + (size - 1) // 2 - np.arange(size) for size in self.kernel.shape]
        return float(places[0] @ self.kernel.sum(1)), float(places[1] @ self.kernel.sum(0))

    @property
    def squared_norm(self) -> float:
        """||A||^2: see `operators.squared_norm`."""
        return operators.squared_norm(self.kernel, self.factor)

    @functools.cached_property
    def transfer(self) -> np.ndarray:
        """The transfer function of A A^T, a convolution on the low-resolution grid, of 128 x 128 pixels."""
        return operators.transfer(self.kernel, self.factor, GRID)

    @property
    def condition(self) -> float:
        """The smallest value of `transfer` over the largest: noise becomes up to condition^(-1/2) as large in A^+ f."""
        return float(self.transfer.min() / self.transfer.max())

    @functools.cached_property
    def margin(self) -> int:
        """Low-resolution pixels in which A^+ decays to 1e-5, at least `MARGIN` and at most 63."""
        response = np.abs(np.fft.irfft2(1 / np.maximum(self.transfer, 1e-14 * self.transfer.max())))
        away = np.minimum(np.arange(GRID), GRID - np.arange(GRID))
        seen = np.maximum.outer(away, away)[response > 1e-5 * response.max()]
        return int(np.clip(seen.max(), MARGIN, GRID // 2 - 1))

    def operator(self, border: str = "periodic") -> operators.Operator:
        """A, on images whose sizes the factor divides."""
        if border == "periodic":
            return operators.downsample(self.kernel, self.factor, self.offset)
        return operators.subsample(self.factor, self.offset) @ operators.blur(self.kernel, border)

    def explaining(self, f: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
        """`u -> u + A^+ (f - A u)`: the image nearest to u that satisfies f = A u, borders being periodic."""
        inverse = operators.pseudo_inverse(self.kernel, self.factor, self.offset)
        operator = self.operator()
        return lambda u: u + inverse(f - operator(u))


def gaussian(factor: int, sigma: float, position: float | None = None) -> Sampling:
    """A Gaussian point spread function, `phi[n] ~ exp(-(n - position)^2 / (2 sigma^2))` along y and x, of sum 1.

    Args:
      factor: at least 2.
      sigma: standard deviation in high-resolution pixels: 0.4 low-resolution ones are 0.4 factor.
      position: of low-resolution pixel k in high-resolution pixels, position + factor k, both along y and x. By
        default (factor - 1) / 2, the centre of the block that it stands for, as image viewers and Pillow have it;
        0 samples u[::factor, ::factor].

    Raises:
      ValueError: for a factor that is not an integer of at least 2, a sigma that is not positive or above 83.3 pixels,
        or a position outside of [0, factor - 1].
    """
    factor = arguments.count("factor", factor, 2)
    sigma = arguments.positive("sigma", sigma)
    at = (factor - 1) / 2 if position is None else float(position)
    if not 0 <= at <= factor - 1:
        raise ValueError(f"position: expected a number in [0, {factor - 1}], got {position!r}")
    if 6 * sigma > LARGEST - 1:
        raise ValueError(f"sigma: expected at most {(LARGEST - 1) / 6:.1f} high-resolution pixels, got {sigma:g}")
    radius = math.ceil(3 * sigma)
    first, last = math.ceil(at - radius), math.floor(at + radius)
    # A convolution's kernel runs against the pixels.
    distances = (np.arange(last, first - 1, -1) - at) ** 2
    weights = np.exp((distances.min() - distances) / (2 * sigma * sigma))
    weights /= weights.sum()
    return Sampling(factor, np.outer(weights, weights), last - (len(weights) - 1) // 2)


def _reflected(f: tf.Tensor, margin: int, axis: int) -> tf.Tensor:
    """An image with `margin` pixels more at both ends of an axis: of its reflection, of that one's, and so on."""
    size = tf.shape(f)[axis]
    place = tf.range(-margin, size + margin) % (2 * size)
    return tf.gather(f, tf.minimum(place, 2 * size - 1 - place), axis=axis)


def within_reflection(
    image: Any, factor: int, function: Callable[[tf.Tensor], tf.Tensor], margin: int = MARGIN
) -> tf.Tensor:
    """function(f) of an image extended by its reflection, without what came of the extension.

    Args:
      image: f, float [N, h, w, C].
      factor: of the resolutions.
      function: from f to u [N, factor h, factor w, C].
      margin: low-resolution pixels of the extension.

    Raises:
      ValueError: an image that is not float [N, h, w, C], without pixels, or, outside of graphs, with NaN or infinity.
    """
    f = arguments.images("image", image, finite=True)
    extended = _reflected(_reflected(f, margin, 1), margin, 2)
    u = function(tf.ensure_shape(extended, [f.shape[0], *(s and s + 2 * margin for s in f.shape[1:3]), f.shape[3]]))
    cut = slice(factor * margin, -factor * margin or None)
    return tf.ensure_shape(u[:, cut, cut], [f.shape[0], *(s and factor * s for s in f.shape[1:3]), f.shape[3]])
