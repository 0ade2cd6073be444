"""Semi-implicit schemes by additive operator splitting (AOS), stable for any time step."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import tensorflow as tf

from blade_tf import image as image_lib
from blade_tf.pdes.perona_malik import PeronaMalik
from blade_tf.pdes.tv_flow import TVFlow

__all__ = ["PeronaMalikAOS", "TVFlowAOS", "implicit_diffusion"]


def implicit_diffusion(conductance: tf.Tensor, f: tf.Tensor, axis: int) -> tf.Tensor:
    """The x with `x[i] - w[i] (x[i+1] - x[i]) + w[i-1] (x[i] - x[i-1]) = f[i]` along an axis, by Thomas' algorithm.

    Nothing is subtracted in it: with `r[0] = 1`, `r[i+1] = 1 + w[i] r[i] / (r[i] + w[i])`, the pivots are
    `r[i] + w[i]`. A positive f thus gives a positive x, and large w lose no digits.

    Args:
      conductance: w [N, H, W, C], not negative: entry i belongs to the face between pixels i and i + 1. The last one,
        on the border, counts as 0 whatever it holds.
      f: [N, H, W, C].
      axis: 1 (y) or 2 (x).
    """
    if f.shape[axis] == 0:  # XLA checks the bounds even of a loop that never runs
        return f
    order = [1, 0, 2, 3] if axis == 1 else [2, 1, 0, 3]
    w, f = tf.transpose(conductance, order), tf.transpose(f, order)
    count = tf.shape(f)[0]
    w = tf.concat([w[:-1], tf.zeros_like(f[:1])], 0)
    zero = tf.zeros(tf.shape(f)[1:], f.dtype)

    def lines() -> tf.TensorArray:
        return tf.TensorArray(f.dtype, count, element_shape=f.shape[1:])

    def forward(i: Any, r: Any, flow: Any, pivots: Any, sums: Any) -> tuple[Any, ...]:
        total, pivot = f[i] + flow, 1 / (r + w[i])
        share = w[i] * pivot
        return i + 1, 1 + share * r, share * total, pivots.write(i, pivot), sums.write(i, total)

    def backward(i: Any, x: Any, states: Any) -> tuple[Any, ...]:
        x = (sums[i] + w[i] * x) * pivots[i]
        return i - 1, x, states.write(i, x)

    def repeat(body: Any, *start: Any) -> tuple[Any, ...]:
        return tf.while_loop(lambda *_: True, body, start, maximum_iterations=count)

    *_, pivots, sums = repeat(forward, 0, zero + 1, zero, lines(), lines())
    pivots, sums = pivots.stack(), sums.stack()
    return tf.transpose(repeat(backward, count - 1, zero, lines())[-1].stack(), order)


class _Additive:
    """The step of the schemes below, from an equation's `diffusivities`.

    `u' = 1/2 sum_l (I - 2 dt A_l(u))^-1 u` over the directions l = x, y, A_l(u) = D-_l g_l(u) D+_l with the
    diffusivities g_l frozen for the step, computed as `u' = u + 1/2 sum_l (I - 2 dt A_l)^-1 2 dt A_l u`, which keeps
    constants exactly. I - 2 dt A_l is symmetric and strictly dominant with rows that sum to 1, off its diagonal not
    positive: its inverse is symmetric, not negative, with rows that sum to 1. So mass is conserved and each new pixel
    is a convex combination of old ones, for every dt.

    Source: Weickert, ter Haar Romeny, Viergever, "Efficient and reliable schemes for nonlinear diffusion filtering",
    IEEE TIP 7(3), 1998.
    """

    def step(self, u: tf.Tensor, dt: Any, grid_step: Any = 1.0) -> tf.Tensor:
        """One semi-implicit step of length dt."""
        change = tf.zeros_like(u)
        for axis, diffusivity in zip((1, 2), self.diffusivities(u, grid_step), strict=True):  # type: ignore[attr-defined]
            conductance = 2 * dt / (grid_step * grid_step) * diffusivity
            inflow = image_lib.flux_difference(conductance * image_lib.forward_difference(u, axis), axis)
            change += 0.5 * implicit_diffusion(conductance, inflow, axis)
        return u + change

    def stable_dt(self, grid_step: float) -> float:
        """Infinite: the maximum principle holds for every dt."""
        return math.inf


@dataclasses.dataclass(frozen=True)
class TVFlowAOS(_Additive, TVFlow):
    """TV flow (eq 3.1) by additive operator splitting: eq 3.2's gradients at the faces, frozen for a step that is then
    implicit along each direction.

    A few large steps come nearer to the flow than many explicit ones on a coarse grid; first order in dt.
    """


@dataclasses.dataclass(frozen=True)
class PeronaMalikAOS(_Additive, PeronaMalik):
    """Perona-Malik diffusion (eq 3.3) by additive operator splitting: eq 3.4's g at the faces, frozen for a step that
    is then implicit along each direction; first order in dt.
    """
