"""The operation of a step by fluxes: selections, filters, limits and the update in one pass over the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from blade_tf import flux, native
from blade_tf.select_ops import SelectParameters, select_again

__all__ = ["MAX_BANKS", "NATIVE_FOOTPRINT", "blade_flux_step"]

MAX_BANKS = 2
NATIVE_FOOTPRINT = (5, 6)


def blade_flux_step(
    image: tf.Tensor,
    weights: Sequence[tf.Tensor],
    functions: Sequence[str],
    dt: Any,
    limits: Sequence[float] | None,
    selection: SelectParameters,
) -> tf.Tensor:
    """A step of explicit Euler by fluxes in one native operation, which keeps what it needs in the caches.

    `output = image + dt divergence(Gx, Gy)`, Gx and Gy those of `blade_tf.BladeFlux` (eqs 3.14-3.16), limited as by
    `blade_tf.flux.limit_fluxes`. It agrees with the composition of these to rounding: sums are taken in another order.
    Mass and limits are kept as there; with limits, a NaN may reach fewer of its neighbours. The backward pass computes
    the composition again: of a step only the image is kept.

    Args:
      image: float32 or float64 [N, H, W, 1].
      weights: those of hx and of hy as `BladeFlux` has them, of the image's dtype: [K, B, 5, 6], or antisymmetric ones
        [K, B, 5, 3].
      functions: the names of B functions of the image in `blade_tf.flux.FUNCTIONS`, at most `MAX_BANKS`.
      dt: length of the step, a scalar.
      limits: low, high and the longest step for which they hold; None for none.
      selection: parameters at the faces, whatever their centre.

    Returns:
      [N, H, W, 1].

    Raises:
      ValueError: for weights with an unknown number of columns.
      tf.errors.InvalidArgumentError: for shapes that do not match, or fewer filters than combinations of features.
    """
    for name, weight in zip(("x", "y"), weights, strict=True):
        if weight.shape.rank is None or weight.shape[-1] is None:
            raise ValueError(f"weights: expected a known number of columns of h{name}, got {weight.shape}")
    return native.library.blade_flux_step(
        image=image,
        filters_x=weights[0],
        filters_y=weights[1],
        dt=tf.cast(dt, image.dtype) if tf.is_tensor(dt) else tf.constant(dt, image.dtype),
        limits=tf.constant([] if limits is None else limits, image.dtype),
        functions=list(functions),
        **selection.any_arguments,
    )


@tf.RegisterGradient("BladeFluxStep")
def _blade_flux_step_grad(op: tf.Operation, grad: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
    # In the gradient of a loop what is used first is captured then: outside of the tape, it would count as a constant.
    image, weights_x, weights_y, dt = (tf.identity(value) for value in op.inputs[:4])
    limits = op.inputs[4]
    selections = [select_again(op, "", center) for center in ("face_x", "face_y")]
    with tf.GradientTape() as tape:
        tape.watch([image, weights_x, weights_y, dt])
        images = [flux.FUNCTIONS[tf.compat.as_str(name)](image) for name in op.get_attr("functions")]
        filters = flux.face_filters(weights_x, weights_y, antisymmetric=weights_x.shape[-1] == 3)
        flux_x, flux_y = flux.face_fluxes(images, filters, selections)
        if limits.shape[0] == 3:
            low, high, longest = tf.unstack(limits)
            flux_x, flux_y = flux.limit_fluxes(image, flux_x, flux_y, longest, low, high)
        output = image + dt * flux.divergence(flux_x, flux_y)
    return *tape.gradient(output, [image, weights_x, weights_y, dt], grad), None
