"""The selection in stock TensorFlow: the oracle of the native one, its fallback, its gradient, the portable export.

Same definitions, same order of rounding; tens of times slower. Arguments are those that `blade_tf.select_ops` has
validated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from blade_tf import structure_tensor

__all__ = ["SoftSelection", "blade_select", "blade_select_soft"]


class SoftSelection(NamedTuple):
    """Two filters a pixel, (1 - weight) h[lower] + weight h[upper]: int32, int32 and float [N, H, W]."""

    lower: tf.Tensor
    upper: tf.Tensor
    weight: tf.Tensor


class _Point(NamedTuple):
    """What the bins are made of: c = J11 - J22, s = 2 J12, r2 = c^2 + s^2, trace = J11 + J22, and the intensity."""

    c: tf.Tensor
    s: tf.Tensor
    r2: tf.Tensor
    trace: tf.Tensor
    value: Any


def _point(image: tf.Tensor, rho: float, center: str, with_intensity: bool) -> _Point:
    compute = image.dtype if image.dtype == tf.float64 else tf.float32
    image = tf.cast(image, compute)
    j11, j12, j22 = structure_tensor.structure_tensor(image, rho, center)
    c, s, trace = j11 - j22, j12 + j12, j11 + j22
    value = structure_tensor.intensity(image, center) if with_intensity else None
    return _Point(c, s, c * c + s * s, trace, value)


def _count(conditions: Sequence[tf.Tensor], like: tf.Tensor) -> tf.Tensor:
    total = tf.zeros_like(like, tf.int32)
    for condition in conditions:
        total += tf.cast(condition, tf.int32)
    return total


def _phase(orientations: int) -> float:
    return 0.5 if orientations % 2 == 0 else 0.25


def _direction(position: float, n: int, like: tf.Tensor) -> tuple[Any, Any]:
    """(cos, sin) of 2 pi position / n."""
    number, angle = like.dtype.as_numpy_dtype, 2.0 * math.pi * position / n
    return number(math.cos(angle)), number(math.sin(angle))


def _orientation_bin(c: tf.Tensor, s: tf.Tensor, orientations: int) -> tf.Tensor:
    n = orientations
    edges = [_direction(j + _phase(n), n, c) for j in range(n // 4 if n % 4 == 0 else n)]
    lower = s < 0
    if n % 4 == 0:
        c, s = tf.where(lower, -c, c), tf.where(lower, -s, s)
        left = c < 0
        c, s = tf.where(left, s, c), tf.where(left, -c, s)
        count = _count([s * ce > c * se for ce, se in edges], c)
        count += tf.cast(lower, tf.int32) * (n // 2) + tf.cast(left, tf.int32) * (n // 4)
    else:
        crossed = [s * ce > c * se for ce, se in edges]
        count = _count([lower & x if 2 * (j + _phase(n)) >= n else lower | x for j, x in enumerate(crossed)], c)
    return tf.where(count == n, 0, count)


def _soft_orientation(c: tf.Tensor, s: tf.Tensor, r2: tf.Tensor, n: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The last of the directions j / n of the doubled angle's turn before (c, s), and the way to the next in [0, 1]."""
    lower = (s < 0) | ((s == 0) & (c < 0))
    count, sectors = tf.zeros_like(c, tf.int32), n
    if n % 2 == 0:
        c, s = tf.where(lower, -c, c), tf.where(lower, -s, s)
        count, sectors = count + tf.cast(lower, tf.int32) * (n // 2), n // 2
    if n % 4 == 0:
        left = (c <= 0) & (s > 0)
        c, s = tf.where(left, s, c), tf.where(left, -c, s)
        count, sectors = count + tf.cast(left, tf.int32) * (n // 4), n // 4
    passed = []
    for j in range(1, sectors):
        ce, se = _direction(j, n, c)
        crossed = s * ce > c * se
        passed.append(crossed if n % 2 == 0 else lower & crossed if 2 * j >= n else lower | crossed)
    sector = _count(passed, c)
    middle = tf.constant([_direction(j + 0.5, n, c) for j in range(sectors)], c.dtype)
    mc, ms = tf.unstack(tf.gather(middle, sector), axis=-1)
    adjacent = structure_tensor.square_root(r2) + (c * mc + s * ms)
    tangent = tf.math.divide_no_nan(s * mc - c * ms, adjacent)
    number = c.dtype.as_numpy_dtype
    weight = tf.atan(tangent) * number(n / math.pi) + number(0.5)
    return count + sector, tf.where(adjacent > 0, weight, tf.zeros_like(weight))


def _strength_bound(point: _Point, t: float) -> tf.Tensor:
    u = point.c.dtype.as_numpy_dtype(2.0 * t * t) - point.trace
    return u * tf.abs(u)


def _coherence_bound(point: _Point, q: float) -> tf.Tensor:
    k = 2.0 * q / (1.0 + q * q)
    return point.c.dtype.as_numpy_dtype(k * k) * (point.trace * point.trace)


def _soft_bin(point: _Point, soft: str, centers: Sequence[float]) -> tuple[tf.Tensor, tf.Tensor]:
    """The bin of the last centre at or below the feature, clamped to all but the last, and the way to the next."""
    root, inner = structure_tensor.square_root(point.r2), centers[1:-1]
    if soft == "strength":
        value = structure_tensor.strength(point.trace, root)
        passed = [point.r2 >= _strength_bound(point, m) for m in inner]
    elif soft == "coherence":
        value = structure_tensor.coherence(point.trace, root, point.r2)
        passed = [(point.r2 > 0) & (point.r2 >= _coherence_bound(point, m)) for m in inner]
    else:
        value = point.value
        passed = [value >= value.dtype.as_numpy_dtype(m) for m in inner]
    found = _count(passed, value)
    origin = tf.gather(tf.constant(centers[:-1], value.dtype), found)
    scale = tf.gather(tf.constant([1 / (b - a) for a, b in itertools.pairwise(centers)], value.dtype), found)
    return found, (value - origin) * scale


Thresholds = dict[str, Sequence[float]]


def _bins(point: _Point, thresholds: Thresholds) -> dict[str, tf.Tensor]:
    """The hard bins of strength, coherence and intensity."""
    number = point.c.dtype.as_numpy_dtype
    above: dict[str, Callable[[float], tf.Tensor]] = {
        "strength": lambda t: point.r2 > _strength_bound(point, t),
        "coherence": lambda q: point.r2 > _coherence_bound(point, q),
        "intensity": lambda t: point.value > number(t),
    }
    return {feature: _count([above[feature](t) for t in values], point.c) for feature, values in thresholds.items()}


def _index(bins: dict[str, tf.Tensor], sizes: dict[str, int]) -> tf.Tensor:
    """Eq 2.5: orientation + n_orientation * (strength + n_strength * (coherence + n_coherence * intensity))."""
    total = bins["intensity"]
    for feature in ("coherence", "strength", "orientation"):
        total = bins[feature] + sizes[feature] * total
    return total


def blade_select(image: tf.Tensor, orientations: int, thresholds: Thresholds, rho: float, center: str) -> tf.Tensor:
    """Eqs 2.3-2.5 by comparisons alone; `blade_tf.blade_select` states the definition."""
    point = _point(image, rho, center, bool(thresholds["intensity"]))
    bins = _bins(point, thresholds) | {"orientation": _orientation_bin(point.c, point.s, orientations)}
    sizes = {feature: len(values) + 1 for feature, values in thresholds.items()} | {"orientation": orientations}
    return structure_tensor.on_pixels(_index(bins, sizes), image, center)


def blade_select_soft(
    image: tf.Tensor,
    orientations: int,
    thresholds: Thresholds,
    rho: float,
    center: str,
    soft: str,
    centers: Sequence[float],
) -> SoftSelection:
    """Two filters a pixel; `blade_tf.blade_select_soft` states the definition. The weight is differentiable."""
    point = _point(image, rho, center, bool(thresholds["intensity"]) or soft == "intensity")
    bins = _bins(point, thresholds)
    sizes = {feature: len(values) + 1 for feature, values in thresholds.items()} | {"orientation": orientations}
    if soft == "orientation":
        bins[soft], weight = _soft_orientation(point.c, point.s, point.r2, orientations)
        following = tf.where(bins[soft] == orientations - 1, 0, bins[soft] + 1)
    else:
        bins["orientation"] = _orientation_bin(point.c, point.s, orientations)
        bins[soft], weight = _soft_bin(point, soft, centers)
        following = bins[soft] + 1
        sizes[soft] = len(centers)
    # Not a clip: NaN becomes 0.
    weight = tf.where(weight > 0, tf.minimum(weight, tf.ones_like(weight)), tf.zeros_like(weight))
    fields = _index(bins, sizes), _index(bins | {soft: following}, sizes), tf.cast(weight, image.dtype)
    return SoftSelection(*(structure_tensor.on_pixels(field, image, center) for field in fields))
