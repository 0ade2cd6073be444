"""The operations in stock TensorFlow: the oracle of the native ones, their fallback, and the portable export.

Same definitions, same order of rounding; tens of times slower. Arguments are those that `blade_tf.ops` has validated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from blade_tf import image as image_lib
from blade_tf import structure_tensor

__all__ = ["blade_filter", "blade_select"]


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
    top, left = rows // 2, columns // 2
    padded = image_lib.pad_replicate(image, top, top, left, left)
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


def _count(conditions: Sequence[tf.Tensor], like: tf.Tensor) -> tf.Tensor:
    total = tf.zeros_like(like, tf.int32)
    for condition in conditions:
        total += tf.cast(condition, tf.int32)
    return total


def _phase(orientations: int) -> float:
    return 0.5 if orientations % 2 == 0 else 0.25


def orientation_edges(orientations: int) -> list[tuple[float, float]]:
    """(cos, sin) of the bins' edges in the doubled angle, 2 pi (j + phase) / n: none lies at 0 or 90 degrees."""
    angles = [2.0 * math.pi * (j + _phase(orientations)) / orientations for j in range(orientations)]
    return [(math.cos(a), math.sin(a)) for a in angles]


def _orientation_bin(c: tf.Tensor, s: tf.Tensor, orientations: int) -> tf.Tensor:
    n = orientations
    edges = [
        (np.asarray(ce, c.dtype.as_numpy_dtype), np.asarray(se, c.dtype.as_numpy_dtype))
        for ce, se in orientation_edges(n)
    ]
    if n % 4 == 0:
        lower = s < 0
        c, s = tf.where(lower, -c, c), tf.where(lower, -s, s)
        left = c < 0
        c, s = tf.where(left, s, c), tf.where(left, -c, s)
        count = _count([s * ce > c * se for ce, se in edges[: n // 4]], c)
        count += tf.cast(lower, tf.int32) * (n // 2) + tf.cast(left, tf.int32) * (n // 4)
    else:
        lower = s < 0
        crossed = [s * ce > c * se for ce, se in edges]
        count = _count(
            [lower & x if 2 * (j + _phase(n)) >= n else lower | x for j, x in enumerate(crossed)],
            c,
        )
    return tf.where(count == n, 0, count)


def blade_select(
    image: tf.Tensor,
    orientations: int,
    strength_thresholds: Sequence[float],
    coherence_thresholds: Sequence[float],
    rho: float,
) -> tf.Tensor:
    """Eqs 2.3-2.5 by comparisons alone; `blade_tf.blade_select` states the definition."""
    compute = image.dtype if image.dtype == tf.float64 else tf.float32
    number = compute.as_numpy_dtype
    j11, j12, j22 = structure_tensor.structure_tensor(tf.cast(image, compute), rho)
    c, s, trace = j11 - j22, j12 + j12, j11 + j22
    r2 = c * c + s * s
    strength = []
    for t in strength_thresholds:
        u = number(2.0 * t * t) - trace
        strength.append(r2 > u * tf.abs(u))
    coherence = []
    for q in coherence_thresholds:
        k = 2.0 * q / (1.0 + q * q)
        coherence.append(r2 > number(k * k) * (trace * trace))
    n_strength = len(strength) + 1
    bins = _count(strength, c) + n_strength * _count(coherence, c)
    return _orientation_bin(c, s, orientations) + orientations * bins
