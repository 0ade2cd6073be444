"""Coherence-enhancing diffusion by adaptive stencils: a finer scheme for coarse grids than the reference's."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from blade_tf import image as image_lib
from blade_tf.pdes import separable
from blade_tf.pdes.coherence_enhancing import CoherenceEnhancing

__all__ = ["CoherenceEnhancingLBR", "selling"]

_MOST_TURNS = 1000


def selling(
    d11: tf.Tensor, d12: tf.Tensor, d22: tf.Tensor
) -> tuple[tuple[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tuple[tf.Tensor, tf.Tensor], ...]]:
    """Selling's decomposition of positive definite D: `D = sum_k weight_k e_k e_k^T`, k = 0, 1, 2, no weight negative.

    The e_k are integer vectors, adapted to D: the perpendiculars of a superbase v0 + v1 + v2 = 0 of the lattice with
    v_i^T D v_j <= 0, which reversing v_i wherever a product is positive reaches in finitely many turns; weight_k is
    minus the product of the two others.

    Args:
      d11, d12, d22: the matrices' entries, of one shape.

    Returns:
      The three weights, and the three pairs (x, y) of e_k as integers, each of the entries' shape.

    Source: Selling, "Ueber die binaeren und ternaeren quadratischen Formen", Journal fuer die reine und angewandte
    Mathematik 77, 1874.
    """
    one, zero = tf.ones_like(d11), tf.zeros_like(d11)
    # v0 = (1, 0), v1 = (0, 1), v2 = -v0 - v1.
    start = (one, zero, zero, one, d12, -d11 - d12, -d12 - d22)
    # Products this near to 0 may be rounding, and either sign serves.
    slack = 4 * float(np.finfo(d11.dtype.as_numpy_dtype).eps) * (d11 + d22)

    def acute(*state: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(tf.maximum(tf.maximum(state[4], state[5]), state[6]) > slack)

    def turn(x0: Any, y0: Any, x1: Any, y1: Any, s01: Any, s02: Any, s12: Any) -> tuple[tf.Tensor, ...]:
        # Where v0 and v1 are acute: (-v0, v1, v0 - v1). Then each takes the next one's place.
        flip = s01 > slack
        x0, y0 = tf.where(flip, -x0, x0), tf.where(flip, -y0, y0)
        twice = tf.where(flip, 2 * s01, 0)
        s01, s02, s12 = tf.where(flip, -s01, s01), s02 + twice, s12 + twice
        return x1, y1, -x0 - x1, -y0 - y1, s12, s01, s02

    x0, y0, x1, y1, s01, s02, s12 = tf.while_loop(acute, turn, start, maximum_iterations=_MOST_TURNS)
    x0, y0, x1, y1 = (tf.cast(value, tf.int32) for value in (x0, y0, x1, y1))
    weights = tuple(tf.maximum(-product, 0) for product in (s12, s02, s01))
    return weights, ((-y0, x0), (-y1, x1), (y0 + y1, -x0 - x1))


@dataclasses.dataclass(frozen=True)
class CoherenceEnhancingLBR(CoherenceEnhancing):
    """Coherence-enhancing diffusion (eq 3.5) by lattice basis reduction (AD-LBR): stencils of pixel pairs along D.

    At each pixel Selling's decomposition, D = sum_k weight_k e_k e_k^T with integer vectors e_k, lets the pixel x
    exchange `weight_k(x) / (2 grid_step^2)` times their difference with the pixels x + e_k and x - e_k; pairs that
    leave the image are left out. D is that of `CoherenceEnhancing`.

    Facts: the exchange is symmetric, so that mass is conserved; no weight is negative, so that for dt <= `stable_dt`
    each new pixel is a convex combination of old ones (maximum principle). It smooths far less across stripes than
    stencils of fixed shape, which on coarse grids brings it nearer to the equation. The pairs grow longer as alpha
    falls, about as 1 / (2 sqrt(alpha)) pixels; alpha must be at least 1e-4.

    Source: Fehrenbach, Mirebeau, "Sparse non-negative stencils for anisotropic diffusion", Journal of Mathematical
    Imaging and Vision 49, 2014.
    """

    maximum_principle: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not tf.is_tensor(self.alpha) and self.alpha < 1e-4:
            raise ValueError(f"alpha: expected a number in [1e-4, 1], got {self.alpha!r}")

    def rate(self, u: tf.Tensor, grid_step: Any = 1.0) -> tf.Tensor:
        """du/dt for u [N, H, W, C]; H and W must be known when a graph is traced."""
        weights, directions = selling(*self.diffusion_tensor(*image_lib.scharr_gradient(u, grid_step), grid_step))
        height, width = separable.static_size(u)
        count, channels = tf.shape(u)[0], tf.shape(u)[3]
        pixels = count * height * width
        flat = tf.reshape(u, [pixels, channels])
        own = tf.reshape(tf.range(pixels), [count, height, width, 1])
        y, x = tf.range(height)[:, tf.newaxis, tf.newaxis], tf.range(width)[:, tf.newaxis]
        flows, targets = [], []
        for weight, (ex, ey) in zip(weights, directions, strict=True):
            for sign in (1, -1):
                tx, ty = x + sign * ex, y + sign * ey
                inside = (tx >= 0) & (tx < width) & (ty >= 0) & (ty < height)
                target = tf.reshape(tf.where(inside, own + sign * (ey * width + ex), own), [pixels])
                flows.append(0.5 * tf.reshape(weight, [pixels, 1]) * (tf.gather(flat, target) - flat))
                targets.append(target)
        lost = tf.math.unsorted_segment_sum(tf.concat(flows, 0), tf.concat(targets, 0), pixels)
        total = tf.add_n(flows) - lost
        return tf.reshape(total, tf.shape(u)) / (grid_step * grid_step)

    def stable_dt(self, grid_step: float) -> float:
        """The largest dt with a maximum principle proved: 1 over a bound of the conductances that meet at a pixel.

        A pixel's own weights sum to at most the trace of D, 1 + alpha. As D - weight e e^T is not negative, a weight is
        at most 1 / abs(e)^2, half of which pixels at each distance e bring in. The e have no common divisor, and
        alpha abs(e)^2 <= 2: in the norm of D, two vectors of the superbase are no longer than (1, 0) and (0, 1), and
        the third's square is at most the sum of theirs.
        """
        reach = math.floor(math.sqrt(2 / self.alpha))
        incoming = sum(
            1 / (x * x + y * y)
            for x in range(-reach, reach + 1)
            for y in range(-reach, reach + 1)
            if math.gcd(x, y) == 1 and self.alpha * (x * x + y * y) <= 2
        )
        return grid_step**2 / (1 + self.alpha + incoming / 2)
