"""The operations in stock TensorFlow: the oracle of the native ones, their fallback, and the portable export.

Same definitions, same order of rounding; tens of times slower. Arguments are those that `blade_tf.ops` has validated.
"""

from __future__ import annotations

import tensorflow as tf

from blade_tf import image as image_lib

__all__ = ["blade_filter"]


def blade_filter(image: tf.Tensor, filters: tf.Tensor, selection: tf.Tensor) -> tf.Tensor:
    """Eq 2.1, one tap of all pixels at a time; differentiable any number of times by TensorFlow's own rules."""
    if filters.shape[1] is None or filters.shape[2] is None:
        raise ValueError(f"filters: stock operations need a static footprint [K, R, S], got {filters.shape}")
    dtype = image.dtype
    compute = tf.float32 if dtype in (tf.float16, tf.bfloat16) else dtype
    image, filters = tf.cast(image, compute), tf.cast(filters, compute)
    rows, columns = filters.shape[1:]
    size = tf.shape(image)
    selection = tf.ensure_shape(selection, [None, None, None])
    if not (selection.shape.is_fully_defined() and image.shape[:3].is_fully_defined()):
        # Otherwise axes of length 1 would broadcast.
        tf.debugging.assert_equal(tf.shape(selection), size[:3], "selection: expected int32 [N, H, W] like the image's")
    selection = _checked(selection, tf.shape(filters)[0])
    padded = image_lib.pad_replicate(image, (rows - 1) // 2, rows // 2, (columns - 1) // 2, columns // 2)
    output = tf.zeros_like(image)
    for r in range(rows):
        for s in range(columns):
            tap = tf.gather(filters[:, r, s], selection)[..., tf.newaxis]
            output += tap * padded[:, r : r + size[1], s : s + size[2], :]
    return tf.cast(output, dtype)


def _checked(selection: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
    """The selection, after a check of its range; XLA leaves checks out, and clamps."""
    # A last entry that is always wrong makes the first wrong one exist.
    flat = tf.concat([tf.reshape(selection, [-1]), [-1]], 0)
    wrong = tf.argmax(tf.logical_or(flat < 0, flat >= filters), output_type=tf.int32)
    shape = tf.maximum(tf.shape(selection), 1)
    position = [wrong // (shape[1] * shape[2]), wrong // shape[2] % shape[1], wrong % shape[2]]
    message = ["selection: expected values in [0, K), K =", filters, "got", flat[wrong], "at", position]
    if tf.executing_eagerly() and int(wrong) < int(tf.size(selection)):
        text = (
            f"selection: expected values in [0, {int(filters)}), got {int(flat[wrong])} at {[int(p) for p in position]}"
        )
        raise tf.errors.InvalidArgumentError(None, None, text)
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(wrong, tf.size(selection)), message)]):
        return tf.identity(selection)
