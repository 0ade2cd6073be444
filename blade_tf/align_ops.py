"""The operation of alignment: the optical flow between two images, coarse to fine.

Native and stock implementations are chosen as for `blade_tf.ops`.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from blade_tf import align_stock, native, ops
from blade_tf.align_stock import AlignParameters

__all__ = ["AlignParameters", "blade_align"]


def blade_align(reference: tf.Tensor, moving: tf.Tensor, levels: int, parameters: AlignParameters) -> tf.Tensor:
    """The optical flow between gray images: `moving(x + flow(x))` shows what `reference(x)` does. No gradient.

    On each of the levels, from the coarsest, the flow of the level before is doubled; except on the finest ones, it is
    moved at each pixel by up to `radius` whole pixels to where the tile around the pixel matches best; then each of
    some Gauss-Newton steps goes towards the least

      sum of rho(moving(x + z(x)) - reference(x)) + smoothness |grad z|^2,  rho'(d) = 2 d / (1 + (d / robust)^2),

    by Jacobi sweeps with Chebyshev's acceleration; after each of these, medians of five along x and along y. The result
    does not depend on the number of threads.

    Args:
      reference, moving: float32 [N, H, W] of the same shape, with at least one pixel.
      levels: of the pyramid, each of half the size of the one before.
      parameters: of the above.

    Returns:
      float32 [N, H, W, 2] in pixels, along x first.

    Raises:
      tf.errors.InvalidArgumentError: for another rank, shapes that differ, or no pixel, natively.

    Source: Hasinoff et al., "Burst photography for high dynamic range and low-light imaging on mobile cameras", 2016,
      for the matching; Horn and Schunck, "Determining optical flow", 1981, for the sum.
    """
    if not ops.uses_native():
        return tf.stop_gradient(align_stock.blade_align(reference, moving, levels, parameters))
    return native.library.blade_align(
        reference=reference, moving=moving, levels=levels, **dataclasses.asdict(parameters)
    )


tf.no_gradient("BladeAlign")
