"""The operation of resampling: one filter at each displaced pixel for each monomial of the displacement.

Native and stock implementations are chosen as for `blade_tf.ops`.
"""

from __future__ import annotations

import tensorflow as tf

from blade_tf import native, ops
from blade_tf.flow_io import UNKNOWN

__all__ = ["UNKNOWN", "blade_resample", "powers"]


def powers(order: int, constant: bool) -> dict[str, tuple[int, int]]:
    """The monomials dx^i dy^j of degree 1, or 0 if constant, to `order`, by name: dx, dy, dx2, dxdy, ..."""

    def part(name: str, power: int) -> str:
        return f"{name}{power if power > 1 else ''}" if power else ""

    found = {"one": (0, 0)} if constant else {}
    for degree in range(1, order + 1):
        for j in range(degree + 1):
            found[part("dx", degree - j) + part("dy", j)] = (degree - j, j)
    return found


def _along(v: tf.Tensor, axis: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Where a displacement along an axis points, clamped to the image: the nearest pixel, and what remains."""
    size = tf.shape(v)[axis]
    limit = tf.cast(size, v.dtype)
    v = tf.clip_by_value(v, -limit, limit)
    whole = tf.stop_gradient(tf.round(v))
    start = tf.reshape(tf.range(size), [-1 if k == axis else 1 for k in range(3)])
    pixel = start + tf.cast(whole, tf.int32)
    # Not of start + v, whose rounding grows with the image.
    below, above = (tf.cast(bound, v.dtype) for bound in (-pixel, size - 1 - pixel))
    inside = tf.clip_by_value(pixel, 0, size - 1)
    fraction = tf.clip_by_value(v - whole, below, above) + tf.cast(pixel - inside, v.dtype)
    return inside, fraction


def _stock(
    image: tf.Tensor,
    coefficients: tf.Tensor,
    filters: tf.Tensor,
    selection: tf.Tensor,
    displacement: tf.Tensor,
    order: int,
    constant: bool,
    fill: float,
) -> tf.Tensor:
    image, displacement = tf.ensure_shape(image, [None] * 4), tf.ensure_shape(displacement, [None, None, None, 2])
    monomials = powers(order, constant)
    if order < 1 or filters.shape[0] not in (None, len(monomials)):
        raise ValueError(
            f"filters: expected [M, K, R, S] of M = {len(monomials)} monomials of an order of at least 1, got "
            f"{filters.shape}, order {order}"
        )
    vx, vy = displacement[..., 0], displacement[..., 1]
    known = (tf.abs(vx) <= UNKNOWN) & (tf.abs(vy) <= UNKNOWN)
    (x, dx), (y, dy) = (_along(tf.where(known, part, tf.zeros_like(part)), axis) for part, axis in ((vx, 2), (vy, 1)))
    n, h, w, c = tf.unstack(tf.shape(image))
    index = tf.reshape(y * w + x, [n, h * w])
    # Products, as the gradient of 0^0 is NaN; of all channels, as broadcasting takes far longer.
    px, py = ([tf.ones_like(image)] for _ in range(2))
    for products, part in ((px, dx), (py, dy)):
        along = tf.repeat(tf.cast(part, image.dtype)[..., tf.newaxis], c, axis=-1)
        for _ in range(order):
            products.append(products[-1] * along)

    def at_source(values: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(values, [n, h * w, c])
        return tf.reshape(tf.gather(flat, index, batch_dims=1), [n, h, w, c])

    total = at_source(image)
    for k, (i, j) in enumerate(monomials.values()):
        total += px[i] * py[j] * at_source(ops.blade_filter(coefficients, filters[k], selection))
    return tf.where(known[..., tf.newaxis], total, tf.constant(fill, image.dtype))


def blade_resample(
    image: tf.Tensor,
    coefficients: tf.Tensor,
    filters: tf.Tensor,
    selection: tf.Tensor,
    displacement: tf.Tensor,
    order: int,
    constant: bool = False,
    fill: float = float("nan"),
) -> tf.Tensor:
    """`out(x) = image(y) + sum_k m_k(delta) sum_j filters[k, selection(y)][j] coefficients(y + j)` (eq 5.5).

    y = x + [v], [.] the nearest integers, ties to even; y is clamped to the image, and delta = v - [v], or what
    clamping leaves of it. Border pixels are replicated. Native for float32. Gradients flow to the images, the filters
    and the displacement, in the operations of `blade_tf.ops`.

    Args:
      image, coefficients: float32 or float64 [N, H, W, C].
      filters: [M, K, R, S], for each of the M monomials of `powers(order, constant)`, of the image's dtype.
      selection: int32 or uint8 [N, H, W], in [0, K).
      displacement: v, float32 or float64 [N, H, W, 2] in pixels, along x first.
      order: the highest degree of the monomials.
      constant: whether 1 is one of them.
      fill: the value where v is NaN or beyond `UNKNOWN`.

    Raises:
      tf.errors.InvalidArgumentError or ValueError: for shapes that do not match, or a selection out of range.
    """
    if not ops.uses_native() or image.dtype != tf.float32:
        return _stock(image, coefficients, filters, selection, displacement, order, constant, fill)
    return native.library.blade_resample(
        image=image,
        coefficients=coefficients,
        filters=filters,
        selection=selection,
        displacement=displacement,
        order=order,
        constant=constant,
        fill=fill,
    )


@tf.RegisterGradient("BladeResample")
def _gradient(op: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    # `coefficients` may be the image: each has a part of the gradient then.
    image, coefficients, filters, selection, displacement = (tf.identity(tensor) for tensor in op.inputs)
    inputs = [image, coefficients, filters, displacement]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        settings = [op.get_attr(name) for name in ("order", "constant", "fill")]
        output = _stock(image, coefficients, filters, selection, displacement, *settings)
    found = tape.gradient(output, inputs, upstream)
    return [*found[:3], None, found[3]]
