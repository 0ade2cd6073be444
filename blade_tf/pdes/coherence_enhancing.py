"""Coherence-enhancing diffusion (eqs 3.5-3.9)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import tensorflow as tf

from blade_tf import image as image_lib
from blade_tf import integrate
from blade_tf.pdes import separable

__all__ = ["CoherenceEnhancing"]


@dataclasses.dataclass(frozen=True)
class CoherenceEnhancing:
    """Coherence-enhancing diffusion, `u_t = div(D grad u)` (eq 3.5) with zero flux across the boundary, by the explicit
    scheme of eq 3.9.

    `D = m1 w1 w1^T + m2 w2 w2^T` has the eigenvectors w1, w2 of the structure tensor J_rho = G_rho * (grad u grad u^T),
    of eigenvalues l1 >= l2, and `m1 = alpha`, `m2 = alpha + (1 - alpha) exp(-contrast / (l1 - l2)^2)`: it smooths along
    stripes, hardly across them. G_rho is truncated at 3 rho; borders are replicated. The channels of a colour image
    share the sum of their tensors. One unit of length is the operating grid's pixel.

    With G the gradient by the rotation-optimised 3 x 3 filters, `u_t = -G^T D G u`: the outer derivatives are minus the
    adjoint of the inner ones, which is the same filters but for the rows and columns at the border, where they let no
    flux out.

    Facts: mass is conserved, as G annihilates constants; for alpha = 1 the equation is u_t = Lap u; the sum of squares
    never increases for dt <= `stable_dt`. There is no discrete maximum principle: the filters' wide stencil has
    negative weights.

    Attributes:
      rho: standard deviation of the Gaussian, in units of length.
      alpha: the diffusivity across stripes, in (0, 1].
      contrast: the squared gap (l1 - l2)^2 that counts as coherent, in intensity^4 / length^4.

    Source: Weickert, "Coherence-enhancing diffusion filtering", International Journal of Computer Vision 31, 1999;
    Weickert, Scharr, "A scheme for coherence-enhancing diffusion filtering with optimized rotation invariance", Journal
    of Visual Communication and Image Representation 13, 2002.
    """

    conserves_mass: ClassVar[bool] = True
    maximum_principle: ClassVar[bool] = False
    static: ClassVar[tuple[str, ...]] = ("rho",)
    range: ClassVar[tuple[float, float] | None] = None

    rho: float = 1.0
    alpha: Any = 0.01
    contrast: Any = 1e4 / 255**4

    def __post_init__(self) -> None:
        if not 0 <= self.rho < math.inf:
            raise ValueError(f"rho: expected a number >= 0, got {self.rho!r}")
        if not tf.is_tensor(self.alpha) and not 0 < self.alpha <= 1:
            raise ValueError(f"alpha: expected a number in (0, 1], got {self.alpha!r}")
        if not tf.is_tensor(self.contrast) and not 0 < self.contrast < math.inf:
            raise ValueError(f"contrast: expected a positive number, got {self.contrast!r}")

    def diffusion_tensor(
        self, gx: tf.Tensor, gy: tf.Tensor, grid_step: Any = 1.0
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """D11, D12, D22 (eqs 3.6-3.8), each [N, H, W, 1], of the gradient's components [N, H, W, C]."""
        smoothing = [separable.gaussian_matrix(size, self.rho / grid_step) for size in separable.static_size(gx)]
        products = (tf.reduce_sum(a * b, axis=-1, keepdims=True) for a, b in ((gx, gx), (gx, gy), (gy, gy)))
        j11, j12, j22 = (separable.along_both_axes(product, *smoothing) for product in products)
        # w1 w1^T - w2 w2^T = [c s; s -c] / (l1 - l2) takes no angle. Where l1 = l2, exp(-contrast / 0) is 0 and must
        # not meet 1 / 0.
        c, s = j11 - j22, 2 * j12
        squared_gap = tf.maximum(c * c + s * s, tf.constant(1e-36, gx.dtype))
        excess = 0.5 * (1 - self.alpha) * tf.exp(-self.contrast / squared_gap)
        turn = excess * tf.math.rsqrt(squared_gap)
        return self.alpha + excess - turn * c, -turn * s, self.alpha + excess + turn * c

    def rate(self, u: tf.Tensor, grid_step: Any = 1.0) -> tf.Tensor:
        """du/dt of eq 3.9 for u [N, H, W, C]; H and W must be known when a graph is traced."""
        gx, gy = image_lib.scharr_gradient(u, grid_step)
        d11, d12, d22 = self.diffusion_tensor(gx, gy, grid_step)
        return image_lib.scharr_divergence(d11 * gx + d12 * gy, d12 * gx + d22 * gy, grid_step)

    def step(self, u: tf.Tensor, dt: Any, grid_step: Any = 1.0) -> tf.Tensor:
        """One explicit step of length dt."""
        return integrate.euler(lambda v: self.rate(v, grid_step), dt)(u)

    def stable_dt(self, grid_step: float) -> float:
        """The largest dt at which the sum of squares is proved never to increase.

        A step multiplies u by the symmetric I - dt G^T D G, of eigenvalues in [-1, 1] if dt norm(G)^2 <= 2, since
        D <= I. With p, q the cosines of the two frequencies, grid_step^2 norm(G)^2 is the maximum of
        (1 - p^2) ((5 + 3 q) / 8)^2 + (1 - q^2) ((5 + 3 p) / 8)^2, at p = q = (sqrt(97) - 5) / 12: 1.00908.
        """
        return grid_step**2 * 2 / 1.0091
