"""The operations of conservative pairs: numbers that a selection looks up, and the exchange that they conduct."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from blade_tf import native, ops
from blade_tf.select_ops import SelectParameters, select_again

__all__ = ["Pair", "blade_exchange", "blade_lookup", "blade_pairs_step"]


class Pair(NamedTuple):
    """Couples, for each pixel p, the pixels p + a and p + b with the conductance of plane `plane` at p.

    a and b are offsets (y, x).
    """

    plane: int
    a: tuple[int, int]
    b: tuple[int, int]


def _numbers(pairs: Sequence[Pair]) -> list[int]:
    return [number for pair in pairs for number in (pair.plane, *pair.a, *pair.b)]


def _exchange_native(u: tf.Tensor, conductance: tf.Tensor, numbers: list[int]) -> tf.Tensor:
    return native.library.blade_exchange(image=u, conductance=conductance, pairs=numbers)


def _sides(pairs: Sequence[Pair]) -> list[tuple[int, tuple[int, int], tuple[int, int]]]:
    """(plane, own offset, that of the partner) of both directions of all pairs, in the order of all sums."""
    sides = [(pair.plane, own, other) for pair in pairs for own, other in ((pair.a, pair.b), (pair.b, pair.a))]
    return sorted(sides, key=lambda side: side[2][0] - side[1][0])


def _shift(field: tf.Tensor, offset: tuple[int, int]) -> tf.Tensor:
    """field[n, p, y + dy, x + dx], 0 where that is outside."""
    dy, dx = offset
    padded = tf.pad(field, [[0, 0], [0, 0], [max(-dy, 0), max(dy, 0)], [max(-dx, 0), max(dx, 0)]])
    height, width = tf.shape(field)[2], tf.shape(field)[3]
    top, left = max(dy, 0), max(dx, 0)
    return padded[:, :, top : top + height, left : left + width]


def _exchange_stock(u: tf.Tensor, conductance: tf.Tensor, pairs: Sequence[Pair]) -> tf.Tensor:
    inside = tf.ones_like(u[:, :1])
    couplings = []
    for plane, own, other in _sides(pairs):
        c = conductance[:, plane : plane + 1]
        step = (other[0] - own[0], other[1] - own[1])
        couplings.append((_shift(c, (-own[0], -own[1])) * _shift(inside, step), step))
    total = tf.zeros_like(inside)
    for c, _ in couplings:
        total += c
    limit = 1 / tf.maximum(total, 1)
    change = tf.zeros_like(u)
    for c, step in couplings:
        change += c * tf.minimum(limit, _shift(limit, step)) * (_shift(u, step) - u)
    return change


def blade_exchange(image: Any, conductance: Any, pairs: Sequence[Pair]) -> tf.Tensor:
    """What pixels gain when pairs of them exchange intensity: mass and range are kept by construction.

    Each pair couples, for every pixel p, the pixels i = p + a and j = p + b with c = conductance[n, plane, p]; one that
    leaves the image does not. With D[i] the sum of the conductances of all couplings that end at i and
    R[i] = 1 / max(D[i], 1),

    `change[i] = sum_{couplings (i, j)} c min(R[i], R[j]) (u[j] - u[i])`.

    For conductances that are not negative and any 0 <= t <= 1, u + t change

    - has the mass of u: c min(R[i], R[j]) is the same seen from i and from j, so that what i gains j loses, in floating
      point too;
    - has no value outside of u's range: the coefficients of a pixel's partners sum to at most D[i] R[i] <= 1, so that
      each new value is a convex combination of old ones.

    Gradients to the image and the conductances are exact; where the limits tie, that of a is taken for the smaller one.

    Args:
      image: float32 or float64 [N, H, W, C]; all channels share the conductances.
      conductance: of the image's dtype, [N, P, H, W], dimensionless: a part of the difference per change.
      pairs: the pairs, planes below P.

    Returns:
      [N, H, W, C].

    Raises:
      TypeError: for a wrong dtype.
      ValueError: for a wrong rank, or pairs that make no sense.
      tf.errors.InvalidArgumentError: for sizes that do not match.
    """
    image = ops.image_tensor(image)
    conductance = tf.convert_to_tensor(conductance)
    if image.dtype not in (tf.float32, tf.float64):
        raise TypeError(f"image: expected float32 or float64 [N, H, W, C], got {image.dtype.name}")
    if conductance.dtype != image.dtype:
        raise TypeError(f"conductance: expected {image.dtype.name} like the image, got {conductance.dtype.name}")
    if conductance.shape.rank not in (None, 4):
        raise ValueError(f"conductance: expected [N, P, H, W], got {conductance.shape}")
    one = image.shape[-1] == 1
    size = tf.shape(image)
    planar = tf.reshape(image, [size[0], 1, size[1], size[2]]) if one else tf.transpose(image, [0, 3, 1, 2])
    numbers = _numbers(pairs)
    for pair in pairs:
        planes = conductance.shape[1]
        if pair.plane < 0 or (planes is not None and pair.plane >= planes) or tuple(pair.a) == tuple(pair.b):
            raise ValueError(f"pairs: expected a plane below {planes} and two different offsets, got {pair}")
    if ops.uses_native():
        change = _exchange_native(planar, conductance, numbers)
    else:
        change = _exchange_stock(planar, conductance, pairs)
    return tf.reshape(change, size) if one else tf.transpose(change, [0, 2, 3, 1])


@tf.RegisterGradient("BladeExchange")
def _blade_exchange_grad(op: tf.Operation, grad: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    image, conductance = op.inputs
    numbers = list(op.get_attr("pairs"))
    library = native.library
    return (
        library.blade_exchange(image=grad, conductance=conductance, pairs=numbers),
        library.blade_exchange_grad(image=image, conductance=conductance, grad=grad, pairs=numbers),
    )


def blade_lookup(table: Any, selection: Any) -> tf.Tensor:
    """The numbers of a table that a selection chooses at each pixel.

    `output[n, p, y, x] = table[selection, p]`, or for a soft selection
    `(1 - weight) table[lower, p] + weight table[upper, p]`. Gradients go to the table and the weight.

    Args:
      table: float32 or float64 [K, P].
      selection: int32 [N, H, W] in [0, K), or a `SoftSelection` of such and a weight of the table's dtype.

    Returns:
      [N, P, H, W].

    Raises:
      TypeError: for a wrong dtype.
      ValueError: for a wrong rank.
      tf.errors.InvalidArgumentError: for a selection out of range, or shapes that do not match.
    """
    table = tf.convert_to_tensor(table)
    if table.dtype not in (tf.float32, tf.float64) or table.shape.rank not in (None, 2):
        raise TypeError(f"table: expected float32 or float64 [K, P], got {table.dtype.name} {table.shape}")
    if isinstance(selection, tuple):
        lower, upper, weight = (tf.convert_to_tensor(part) for part in selection)
        weight = tf.cast(weight, table.dtype)
    else:
        lower = upper = tf.convert_to_tensor(selection)
        weight = tf.zeros_like(lower, table.dtype)
    if lower.dtype != tf.int32 or lower.shape.rank not in (None, 3):
        raise TypeError(f"selection: expected int32 [N, H, W], got {lower.dtype.name} {lower.shape}")
    if ops.uses_native():
        return native.library.blade_lookup(table=table, lower=lower, upper=upper, weight=weight)
    low, high = tf.gather(table, lower), tf.gather(table, upper)
    return tf.transpose(low + weight[..., tf.newaxis] * (high - low), [0, 3, 1, 2])


@tf.RegisterGradient("BladeLookup")
def _blade_lookup_grad(op: tf.Operation, grad: tf.Tensor) -> tuple[tf.Tensor, None, None, tf.Tensor]:
    table, lower, upper, weight = op.inputs
    found = native.library.blade_lookup_grad(table=table, lower=lower, upper=upper, weight=weight, grad=grad)
    return found.table_grad, None, None, found.weight_grad


def blade_pairs_step(
    image: tf.Tensor,
    banks: tuple[tf.Tensor, tf.Tensor],
    dt: Any,
    bank_dt: float,
    pairs: Sequence[Pair],
    selections: tuple[SelectParameters, SelectParameters],
) -> tf.Tensor:
    """A step of explicit Euler of conservative pairs in one native operation, which keeps what it needs in the caches.

    `output = image + dt (blade_exchange(image, c, pairs) / bank_dt)`, bit for bit, with the conductances c that
    `blade_lookup` takes from the first bank by the selections at the x-faces and the y-faces, and from the second one
    by that at the pixels. The backward pass computes them again: of a step only the image is kept.

    Args:
      image: float32 or float64 [N, H, W, 1].
      banks: conductances [K, P] around a face and [L, Q] around a pixel, of the image's dtype.
      dt: length of the step, a scalar.
      bank_dt: the time that the conductances are for.
      pairs: as `blade_exchange`; the planes are those of the x-faces, of the y-faces and of the pixels.
      selections: parameters around a face and around a pixel, whatever their centres.

    Raises:
      tf.errors.InvalidArgumentError: for shapes that do not match, or fewer entries than combinations of features.
    """
    attributes = {
        f"{name}_{key}": value
        for name, found in zip(("face", "node"), selections, strict=True)
        for key, value in found.any_arguments.items()
    }
    face, node = banks
    scalars = {
        name: tf.cast(value, image.dtype) if tf.is_tensor(value) else tf.constant(value, image.dtype)
        for name, value in (("dt", dt), ("bank_dt", bank_dt))
    }
    return native.library.blade_pairs_step(
        image=image, face=face, node=node, pairs=_numbers(pairs), **scalars, **attributes
    )


@tf.RegisterGradient("BladePairsStep")
def _blade_pairs_step_grad(op: tf.Operation, grad: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
    # In the gradient of a loop what is used first is captured then: outside of the tape, it would count as a constant.
    image, face, node, dt, bank_dt = (tf.identity(value) for value in op.inputs)
    numbers = list(op.get_attr("pairs"))
    pairs = [Pair(p, (ay, ax), (by, bx)) for p, ay, ax, by, bx in zip(*(numbers[i::5] for i in range(5)), strict=True)]
    places = ("face_", "face_x"), ("face_", "face_y"), ("node_", "pixel")
    x, y, pixel = (select_again(op, prefix, center) for prefix, center in places)
    with tf.GradientTape() as tape:
        tape.watch([image, face, node, dt])
        conductance = tf.concat([blade_lookup(face, x), blade_lookup(face, y), blade_lookup(node, pixel)], axis=1)
        output = image + dt * (blade_exchange(image, conductance, pairs) / bank_dt)
    return *tape.gradient(output, [image, face, node, dt], grad), None
