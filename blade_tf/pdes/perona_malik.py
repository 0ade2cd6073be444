"""Perona-Malik diffusion (eqs 3.3, 3.4)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import tensorflow as tf

from blade_tf import image as image_lib
from blade_tf import integrate

__all__ = ["PeronaMalik"]


@dataclasses.dataclass(frozen=True)
class PeronaMalik:
    """Perona-Malik diffusion, `u_t = d/dx(g(u_x^2) u_x) + d/dy(g(u_y^2) u_y)` with `g(s) = 1 / (1 + s / c^2)` (eq 3.3)
    and zero flux across the boundary, by the explicit scheme of eq 3.4.

    Each one-sided difference D of a pixel, divided by the grid step, is weighted by g of its own square:
    `u_t = D-x( g((D+x u)^2) D+x u ) + D-y( g((D+y u)^2) D+y u )`. Channels evolve independently. One unit of length is
    the operating grid's pixel.

    Facts: mass is conserved; the flux s / (1 + s^2 / c^2) grows up to slopes of c and falls beyond, where edges
    sharpen; for dt <= `stable_dt` each new pixel is a convex combination of old ones (maximum principle). As
    c -> infinity the equation becomes u_t = Lap u.

    Attributes:
      c: the slope that separates smoothing from sharpening, in intensity per unit of length.

    Source: Perona, Malik, "Scale-space and edge detection using anisotropic diffusion", IEEE PAMI 12(7), 1990.
    """

    conserves_mass: ClassVar[bool] = True
    maximum_principle: ClassVar[bool] = True
    static: ClassVar[tuple[str, ...]] = ()
    range: ClassVar[tuple[float, float] | None] = None

    c: Any = 10 / 255

    def __post_init__(self) -> None:
        if not tf.is_tensor(self.c) and not 0 < self.c < math.inf:
            raise ValueError(f"c: expected a positive number, got {self.c!r}")

    def diffusivities(self, u: tf.Tensor, grid_step: Any = 1.0) -> tuple[tf.Tensor, tf.Tensor]:
        """g at the faces between the pixels i and i + 1 along y and along x, [N, H, W, C] each."""
        # Differences of pixels meet c in intensity per pixel.
        ratios = (image_lib.forward_difference(u, axis) / (self.c * grid_step) for axis in (1, 2))
        along_y, along_x = (1 / (1 + ratio * ratio) for ratio in ratios)
        return along_y, along_x

    def rate(self, u: tf.Tensor, grid_step: Any = 1.0) -> tf.Tensor:
        """du/dt of eq 3.4 for u [N, H, W, C]."""
        total = tf.zeros_like(u)
        for axis, g in zip((1, 2), self.diffusivities(u, grid_step), strict=True):
            total += image_lib.flux_difference(g * image_lib.forward_difference(u, axis), axis)
        return total / (grid_step * grid_step)

    def step(self, u: tf.Tensor, dt: Any, grid_step: Any = 1.0) -> tf.Tensor:
        """One explicit step of length dt."""
        return integrate.euler(lambda v: self.rate(v, grid_step), dt)(u)

    def stable_dt(self, grid_step: float) -> float:
        """The largest dt with a maximum principle proved: its four couplings g / grid_step^2 are at most
        1 / grid_step^2.
        """
        return grid_step**2 / 4
