"""The Cahn-Hilliard equation (eqs 3.10, 3.11)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from blade_tf import image as image_lib
from blade_tf.pdes import separable

__all__ = ["CahnHilliard", "CahnHilliardStabilised"]


def _laplacian(u: tf.Tensor, grid_step: Any) -> tf.Tensor:
    """The 5-point Laplacian with zero flux across the boundary."""
    along_y, along_x = (image_lib.flux_difference(image_lib.forward_difference(u, axis), axis) for axis in (1, 2))
    return (along_y + along_x) / (grid_step * grid_step)


@dataclasses.dataclass(frozen=True)
class CahnHilliard:
    """The Cahn-Hilliard equation, `u_t = Lap(W'(u) - gamma Lap u)` with `W(u) = u^2 (u - 1)^2` (eq 3.10) and neither
    u's nor the potential's flux across the boundary, by the semi-implicit scheme of eq 3.11:
    `u' + dt gamma Lap^2 u' = u + dt Lap W'(u)`.

    Lap is the 5-point Laplacian L. The scheme is computed as
    `u' = u + (1 + dt gamma L^2)^-1 dt L (W'(u) - gamma L u)`, with the inverse taken in L's eigenvectors, the cosines
    of the DCT-II, of eigenvalues `(2 cos(pi k / H) + 2 cos(pi l / W) - 4) / grid_step^2`: only the change passes
    through the transform, so that float32 loses no digits of u. Channels evolve independently. One unit of length is
    the operating grid's pixel.

    Facts: mass is conserved; a small cosine of eigenvalue -m about a constant state v grows by the factor
    `(1 - dt m W''(v)) / (1 + dt gamma m^2)` a step; the free energy `sum(W(u) + gamma / 2 abs(grad u)^2)` never
    increases for dt <= `stable_dt`. Images separate into phases near 0 and 1, with interfaces about 2 sqrt(2 gamma)
    wide. There is no maximum principle: near interfaces u leaves [0, 1] by some percent.

    The equation is meant for states in [0, 1] (`range`). Others are computed, but W'' grows with the distance, up to
    which a step is stable: from 2 in [0, 1] to 11 at -1 / 2 and 3 / 2.

    Attributes:
      gamma: squared length of the interfaces, in units of length^2.

    Source: Cahn, Hilliard, "Free energy of a nonuniform system", Journal of Chemical Physics 28, 1958; Bertozzi,
    Esedoglu, Gillette, "Inpainting of binary images using the Cahn-Hilliard equation", IEEE TIP 16(1), 2007.
    """

    conserves_mass: ClassVar[bool] = True
    maximum_principle: ClassVar[bool] = False
    static: ClassVar[tuple[str, ...]] = ()
    range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    gamma: Any = 0.25

    def __post_init__(self) -> None:
        if not tf.is_tensor(self.gamma) and not 0 < self.gamma < math.inf:
            raise ValueError(f"gamma: expected a positive number, got {self.gamma!r}")

    def rate(self, u: tf.Tensor, grid_step: Any = 1.0) -> tf.Tensor:
        """du/dt of eq 3.10 for u [N, H, W, C]."""
        slope = 2 * u * (u - 1) * (2 * u - 1)
        return _laplacian(slope - self.gamma * _laplacian(u, grid_step), grid_step)

    def _implicit(self, eigenvalue: tf.Tensor) -> tf.Tensor:
        """What each mode of L, of this eigenvalue, takes implicitly, in addition to 1 / dt."""
        return self.gamma * eigenvalue * eigenvalue

    def step(self, u: tf.Tensor, dt: Any, grid_step: Any = 1.0) -> tf.Tensor:
        """One semi-implicit step of length dt; H and W must be known when a graph is traced."""
        sizes = separable.static_size(u)
        rows, columns = (separable.cosine_matrix(size) for size in sizes)
        along_y, along_x = (2 * np.cos(np.pi * np.arange(size) / max(size, 1)) - 2 for size in sizes)
        eigenvalue = tf.constant(along_y[:, np.newaxis, np.newaxis] + along_x[:, np.newaxis], u.dtype)
        eigenvalue /= grid_step * grid_step
        change = separable.along_both_axes(dt * self.rate(u, grid_step), rows, columns)
        change /= 1 + dt * self._implicit(eigenvalue)
        return u + separable.along_both_axes(change, rows.T, columns.T)

    def stable_dt(self, grid_step: float) -> float:
        """The largest dt at which the energy is proved never to increase while states stay in [0, 1], on any grid.

        There W'' <= 2, so that for d = u' - u the energy changes by at most
        `-norm(d)_-1^2 / dt + norm(d)^2 - gamma / 2 norm(grad d)^2`, and `norm(d)^2 <= norm(d)_-1 norm(grad d)`:
        it falls for dt <= 2 gamma. At v = 0 and 1 the growth factors stay in [-1, 1] for the same dt, and for no larger
        one where the grid holds m = 1 / gamma.
        """
        return 2 * self.gamma


@dataclasses.dataclass(frozen=True)
class CahnHilliardStabilised(CahnHilliard):
    """The Cahn-Hilliard equation by a stabilised splitting, for large steps:
    `u' + dt gamma Lap^2 u' - dt stabilisation Lap u' = u + dt Lap (W'(u) - stabilisation u)`.

    The added term `stabilisation Lap (u' - u)` slows fast changes down, by the factor 1 / (1 + dt stabilisation m) for
    a mode of eigenvalue -m, the more the larger dt is. With the stabilisation at least 1, half the largest W'' in
    [0, 1], the energy never increases for any dt while states stay there; smaller values serve up to `stable_dt`.

    Attributes:
      stabilisation: the coefficient; 0 is `CahnHilliard`.

    Source: Eyre, "Unconditionally gradient stable time marching the Cahn-Hilliard equation", MRS Proceedings 529, 1998.
    """

    stabilisation: Any = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not tf.is_tensor(self.stabilisation) and not 0 <= self.stabilisation < math.inf:
            raise ValueError(f"stabilisation: expected a number >= 0, got {self.stabilisation!r}")

    def _implicit(self, eigenvalue: tf.Tensor) -> tf.Tensor:
        return super()._implicit(eigenvalue) - self.stabilisation * eigenvalue

    def stable_dt(self, grid_step: float) -> float:
        """The largest dt at which the energy is proved never to increase while states stay in [0, 1].

        As for `CahnHilliard`, with (1 - stabilisation) norm(d)^2 in place of norm(d)^2.
        """
        return 2 * self.gamma / (1 - self.stabilisation) ** 2 if self.stabilisation < 1 else math.inf
