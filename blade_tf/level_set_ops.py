"""Level sets: the signed distance to a mask's border; in one pass the sums that make the energy of Chan and Vese."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from blade_tf import native, ops

__all__ = ["LevelSetSums", "level_set_sums", "neighbours", "signed_distance"]

ARCTAN = (
    0.0028662257,
    -0.0161657367,
    0.0429096138,
    -0.0752896400,
    0.1065626393,
    -0.1420889944,
    0.1999355085,
    -0.3333314528,
)


class LevelSetSums(NamedTuple):
    """Sums over the pixels of level sets phi and C images f each, float64; H(t) = 1/2 + arctan(t) / pi.

    Attributes:
      pixels: where phi > 0, [N].
      area: of H(phi), [N].
      length: of |grad H(phi)| = H'(phi) |grad phi|, by central differences with replicated borders, [N].
      change: of (phi - before)^2, [N].
      inside: of f where phi > 0, [N, C].
      weighted: of H(phi) f, [N, C].
      squared: of H(phi) f^2, [N, C].
    """

    pixels: tf.Tensor
    area: tf.Tensor
    length: tf.Tensor
    change: tf.Tensor
    inside: tf.Tensor
    weighted: tf.Tensor
    squared: tf.Tensor


def neighbours(phi: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """phi [N, H, W] at y - 1, y + 1, x - 1 and x + 1; borders are replicated."""
    up, down = tf.concat([phi[:, :1], phi[:, :-1]], 1), tf.concat([phi[:, 1:], phi[:, -1:]], 1)
    left, right = tf.concat([phi[:, :, :1], phi[:, :, :-1]], 2), tf.concat([phi[:, :, 1:], phi[:, :, -1:]], 2)
    return up, down, left, right


def _nearest(distance: tf.Tensor) -> tf.Tensor:
    """The least of distance[..., j] + |i - j| over j, by shifts of 1, 2, 4 and so on."""
    size = tf.shape(distance)[-1]
    index = tf.range(size)

    def shorter(shift: tf.Tensor, distance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        before = tf.where(index >= shift, tf.roll(distance, shift, -1), math.inf)
        after = tf.where(index < size - shift, tf.roll(distance, -shift, -1), math.inf)
        return 2 * shift, tf.minimum(distance, tf.minimum(before, after) + tf.cast(shift, distance.dtype))

    return tf.while_loop(lambda shift, _: shift < size, shorter, (tf.constant(1), distance))[1]


def signed_distance(mask: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Each pixel's distance to a mask's border, negative outside, over the largest of the image: of absolute value 1.

    In pixels, along rows and columns; half a pixel beside the border.

    Args:
      mask: bool [N, H, W, 1].
      dtype: of the result, [N, H, W, 1]. Without a border that is 1 or -1.
    """
    inside = mask[..., 0]
    across = [inside != neighbour for neighbour in neighbours(inside)]
    beyond = tf.cast(tf.reduce_sum(tf.shape(inside)[1:]), dtype)
    distance = tf.where(tf.reduce_any(across, 0), tf.constant(0.5, dtype), beyond)
    for _ in range(2):
        distance = tf.transpose(_nearest(distance), [0, 2, 1])
    distance /= tf.reduce_max(distance, [1, 2], keepdims=True)
    return tf.where(inside, distance, -distance)[..., tf.newaxis]


def _heaviside(phi: tf.Tensor) -> tf.Tensor:
    """1/2 + arctan(phi) / pi to 3e-8 (Abramowitz and Stegun 4.4.49), which XLA computes in one pass with the rest."""
    large = tf.abs(phi) > 1
    small = tf.where(large, 1 / tf.where(large, phi, tf.ones_like(phi)), phi)
    square, value = tf.square(small), tf.zeros_like(phi)
    for coefficient in ARCTAN:
        value = (value + coefficient) * square
    angle = (value + 1) * small
    return 0.5 + tf.where(large, tf.sign(phi) * (math.pi / 2) - angle, angle) / math.pi


def _root(square: tf.Tensor) -> tf.Tensor:
    """The square root; its gradient is 0, not infinite, where it is 0."""
    flat = square <= 0
    return tf.where(flat, tf.zeros_like(square), tf.sqrt(tf.where(flat, tf.ones_like(square), square)))


def _sum(values: tf.Tensor) -> tf.Tensor:
    """Over the last two axes. As products with ones, which XLA makes fast, unlike its sums."""
    values = tf.cast(values, tf.float64)
    return tf.reduce_sum(tf.linalg.matvec(values, tf.ones_like(values[..., 0, :])), -1)


def _stock(phi: tf.Tensor, before: tf.Tensor, image: tf.Tensor) -> LevelSetSums:
    up, down, left, right = neighbours(phi)
    length = _root(tf.square(down - up) + tf.square(right - left)) / (2 * math.pi * (1 + tf.square(phi)))
    inside, heaviside = tf.cast(phi > 0, phi.dtype), _heaviside(phi)
    part = heaviside[:, tf.newaxis] * image
    values = inside, heaviside, length, tf.square(phi - before), inside[:, tf.newaxis] * image, part, part * image
    return LevelSetSums(*(_sum(value) for value in values))


def level_set_sums(phi: tf.Tensor, before: tf.Tensor, image: tf.Tensor) -> LevelSetSums:
    """The sums of level sets and of their images.

    H is within 3e-8 of 1/2 + arctan / pi. Natively the same for any number of threads. The gradient, in stock
    operations, takes where phi > 0 for given, and that of |grad phi| for 0 where phi is flat.

    Args:
      phi: float32 or float64 [N, H, W].
      before: of phi's shape and dtype.
      image: of the same dtype, [N, C, H, W].

    Raises:
      tf.errors.InvalidArgumentError or ValueError: for shapes that do not match.
    """
    if not ops.uses_native():
        return _stock(phi, before, image)
    return _parted(native.library.blade_level_set_sums(phi=phi, before=before, image=image), image)


def _parted(sums: tf.Tensor, image: tf.Tensor) -> LevelSetSums:
    """From what the native operation returns, [N, 4 + 3 C]."""
    channels = tf.reshape(sums[:, 4:], [tf.shape(image)[0], tf.shape(image)[1], 3])
    return LevelSetSums(*tf.unstack(sums[:, :4], num=4, axis=1), *tf.unstack(channels, num=3, axis=2))


@tf.RegisterGradient("BladeLevelSetSums")
def _gradient(op: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor]:
    inputs = [tf.identity(tensor) for tensor in op.inputs]  # phi may be `before` too: each has a part of the gradient
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        sums = _stock(*inputs)
    return tape.gradient(list(sums), inputs, list(_parted(upstream, inputs[2])))
