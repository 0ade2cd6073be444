"""Alignment in stock TensorFlow: the oracle of the native operation, its fallback, and the portable export."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from blade_tf import arguments

__all__ = ["AlignParameters", "blade_align"]

Flow = tuple[tf.Tensor, tf.Tensor]  # along x, along y

_PLANE = tf.TensorSpec([None, None, None], tf.float32)
# Those of the native operation.
_RANGES = {
    "smoothness": (1e-7, 1e12),
    "robust": (1e-6, 1e12),
    "bias": (0, 1e12),
    "radius": (0, 16),
    "tile": (1, 32),
    "unmatched": (0, 1000),
    "sweeps": (1, 1000),
    "acceleration": (0, 1),
    "largest": (0, 1e12),
}


@dataclasses.dataclass(frozen=True)
class AlignParameters:
    """What `blade_align` minimises, and how far it goes.

    Attributes:
      smoothness: weight of squared differences of the flow beside squared differences of intensity.
      robust: intensity difference from which a pixel is taken for an outlier, such as one that is hidden.
      bias: mean absolute difference by which another place has to match better.
      radius: px of a level that block matching looks around.
      tile: its size in px, odd.
      unmatched: levels from the finest that need no block matching: what it finds there is refined away.
      steps: of Gauss and Newton on the finest level, and on each of the others.
      sweeps: of the linear system of a step.
      acceleration: bound of the Jacobi sweeps' spectral radius that Chebyshev's recursion assumes.
      largest: px of a level that a step moves.

    Raises:
      ValueError: names what is out of range.
    """

    smoothness: float = 1e-4
    robust: float = 0.03
    bias: float = 0.005
    radius: int = 2
    tile: int = 7
    unmatched: int = 2
    steps: tuple[int, int] = (2, 3)
    sweeps: int = 16
    acceleration: float = 0.99
    largest: float = 2.0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}: expected a number in [{low:g}, {high:g}], got {getattr(self, name)!r}")
        if self.tile % 2 == 0:
            raise ValueError(f"tile: expected an odd number, got {self.tile}")
        for name in ("radius", "tile", "unmatched", "sweeps"):
            arguments.count(name, getattr(self, name))
        if len(self.steps) != 2:
            raise ValueError(f"steps: expected two numbers, got {self.steps!r}")
        object.__setattr__(self, "steps", tuple(arguments.count("steps", count) for count in self.steps))


@functools.cache
def _compiled(function: Callable[..., Flow], parameters: AlignParameters) -> Callable[..., Flow]:
    """A pass over the pixels of two images and the flow between them, as one graph for all sizes."""
    return tf.function(functools.partial(function, parameters), input_signature=[_PLANE] * 4, autograph=False)


def _window(u: tf.Tensor, radius: int) -> Callable[[int, int], tf.Tensor]:
    """(dy, dx) -> u[N, H, W] at (y + dy, x + dx), up to the radius; borders are replicated."""
    h, w = tf.shape(u)[1], tf.shape(u)[2]
    for _ in range(radius):
        u = tf.pad(u, [[0, 0], [1, 1], [1, 1]], "SYMMETRIC")
    return lambda dy, dx: u[:, radius + dy : radius + dy + h, radius + dx : radius + dx + w]


def _warped(image: tf.Tensor, u: tf.Tensor, v: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The image at (x + u, y + v), positions clamped to it; and 1 where they are within it, else 0.

    Bilinear, less t (1 - t) / 2 times the second difference along either axis: along one alone that is cubic
    convolution with a = -1/2. What bilinear interpolation blurs would be taken for motion, a tenth of a pixel of it.
    """
    n, h, w = tf.unstack(tf.shape(image))
    lows, fractions, steps, inside = [], [], [], tf.ones_like(image)
    for size, grid, part in ((w, tf.range(w)[tf.newaxis], u), (h, tf.range(h)[:, tf.newaxis], v)):
        last = tf.cast(size - 1, image.dtype)
        position = tf.cast(grid, image.dtype) + part
        inside *= tf.cast((position >= 0) & (position <= last), image.dtype)
        position = tf.minimum(tf.where(position > 0, position, tf.zeros_like(position)), last)  # 0 for NaN
        low = tf.floor(position)
        fractions.append(position - low)
        lows.append(tf.cast(low, tf.int32))
        steps.append(tf.cast(low < last, tf.int32))
    x, y = fractions
    corner = w * (h * tf.range(n)[:, tf.newaxis, tf.newaxis] + lows[1]) + lows[0]
    right, below = steps[0], w * steps[1]
    places = corner, corner + right, corner + below, corner + right + below

    def bilinear(plane: tf.Tensor) -> tf.Tensor:
        a, b, c, d = (tf.gather(tf.reshape(plane, [-1]), place) for place in places)
        upper = a + x * (b - a)
        return upper + y * (c + x * (d - c) - upper)

    at = _window(image, 1)
    bent_x, bent_y = (at(dy, dx) + at(-dy, -dx) - 2 * image for dy, dx in ((0, 1), (1, 0)))
    curved = x * (1 - x) * bilinear(bent_x) + y * (1 - y) * bilinear(bent_y)
    return bilinear(image) - 0.5 * curved, inside


def _median_of_five(u: tf.Tensor, dy: int, dx: int) -> tf.Tensor:
    at = _window(u, 2)
    a, b, c, d, e = (at(k * dy, k * dx) for k in range(-2, 3))
    low = tf.maximum(tf.minimum(a, b), tf.minimum(d, e))
    high = tf.minimum(tf.maximum(a, b), tf.maximum(d, e))
    return tf.maximum(tf.minimum(low, high), tf.minimum(tf.maximum(low, high), c))


def _median(u: tf.Tensor, v: tf.Tensor) -> Flow:
    """Medians of five along x, then along y."""
    both = _median_of_five(_median_of_five(tf.concat([u, v], 0), 0, 1), 1, 0)
    return tuple(tf.split(both, 2))


def _box(u: tf.Tensor, tile: int) -> tf.Tensor:
    """Sums over a tile around each pixel, of what is in the image."""
    h, w = tf.shape(u)[1], tf.shape(u)[2]
    around = [tile // 2, tile // 2]
    wide = tf.pad(u, [[0, 0], [0, 0], around])
    high = tf.pad(sum(wide[:, :, k : k + w] for k in range(tile)), [[0, 0], around, [0, 0]])
    return sum(high[:, k : k + h] for k in range(tile))


def _matched(parameters: AlignParameters, reference: tf.Tensor, moving: tf.Tensor, u: tf.Tensor, v: tf.Tensor) -> Flow:
    """The flow, moved at each pixel by the whole pixels with which the tile around it matches best; medians of that."""
    at = _window(_warped(moving, u, v)[0], parameters.radius)
    around = range(-parameters.radius, parameters.radius + 1)
    places = sorted(((dy, dx) for dy in around for dx in around), key=lambda place: place[0] ** 2 + place[1] ** 2)
    differences = tf.concat([tf.abs(at(*place) - reference) for place in places], 0)
    costs = tf.stack(tf.split(_box(differences, parameters.tile), len(places)))
    bias = parameters.bias * parameters.tile**2
    costs += tf.constant([0.0] + [bias] * (len(places) - 1))[:, tf.newaxis, tf.newaxis, tf.newaxis]
    moved = tf.gather(tf.constant(places, tf.float32), tf.argmin(costs, 0))
    return _median(u + moved[..., 1], v + moved[..., 0])


def _solved(
    reference: tf.Tensor, warped: tf.Tensor, inside: tf.Tensor, u: tf.Tensor, v: tf.Tensor, robust: float, sides: float
) -> tuple[tf.Tensor, ...]:
    """A step's system at each pixel, `(k g g^T + sides) z = sides S + k g (g^T (u, v) - d)`, as z = A + B S.

    S is the mean of the neighbours, k the weight of the difference d, and g the mean of both images' derivatives by
    (1, -8, 0, 8, -1) / 12.

    Returns:
      A along x and y, B's entries xx, xy, yy.
    """
    at = _window(reference + warped, 2)
    x, y = (
        (8 * (at(dy, dx) - at(-dy, -dx)) - (at(2 * dy, 2 * dx) - at(-2 * dy, -2 * dx))) * (1 / 24)
        for dy, dx in ((0, 1), (1, 0))
    )
    difference = warped - reference
    weight = inside / (1 + tf.square(difference / robust))
    xx, xy, yy = weight * x * x, weight * x * y, weight * y * y
    # Not by the determinant: of a matrix of rank one and a little more it is lost in rounding.
    inverse = 1 / (xx + yy + sides)
    along = weight * (x * u + y * v - difference) * inverse
    return x * along, y * along, (yy + sides) * inverse, -xy * inverse, (xx + sides) * inverse


def _relaxation(acceleration: float, sweeps: int) -> list[float]:
    """The factors omega of Chebyshev's recursion, one a sweep."""
    omegas, share = [1.0], acceleration**2 / 2
    for _ in range(sweeps - 1):
        omegas.append(1 / (1 - share))
        share = acceleration**2 / 4 * omegas[-1]
    return omegas


def _step(parameters: AlignParameters, reference: tf.Tensor, moving: tf.Tensor, u: tf.Tensor, v: tf.Tensor) -> Flow:
    """One step towards the least sum of robust squared differences and of the flow's squared differences; medians.

    By Jacobi sweeps with Chebyshev's acceleration.
    """
    warped = _warped(moving, u, v)
    right_u, right_v, xx, xy, yy = _solved(reference, *warped, u, v, parameters.robust, 4 * parameters.smoothness)
    right, own, other = (tf.concat(parts, 0) for parts in ((right_u, right_v), (xx, yy), (xy, xy)))
    start = tf.concat([u, v], 0)
    omegas = tf.constant(_relaxation(parameters.acceleration, parameters.sweeps))

    def sweep(k: tf.Tensor, z: tf.Tensor, before: tf.Tensor) -> tuple[tf.Tensor, ...]:
        at = _window(z, 1)
        mean = (at(0, 1) + at(0, -1) + at(1, 0) + at(-1, 0)) / 4
        found = right + own * mean + other * tf.concat(tf.split(mean, 2)[::-1], 0)
        return k + 1, before + omegas[k] * (found - before), z

    z = tf.while_loop(lambda k, *_: k < parameters.sweeps, sweep, (tf.constant(0), start, start))[1]
    moved = tf.clip_by_value(z - start, -parameters.largest, parameters.largest)
    return _median(*tf.split(start + moved, 2))


def _halved(u: tf.Tensor) -> tf.Tensor:
    """Every second pixel after smoothing by (1, 3, 3, 1) / 8 along both axes; odd sizes are rounded up."""
    for axis in (1, 2):
        size = tf.shape(u)[axis]
        first = 2 * tf.range((size + 1) // 2)
        a, b, c, d = (tf.gather(u, tf.clip_by_value(first + k, 0, size - 1), axis=axis) for k in range(-1, 3))
        u = (a + d + 3 * (b + c)) * 0.125
    return u


def _doubled(part: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """A part of the flow between the pixels of the coarser level, in pixels of the finer one, bilinearly."""
    for axis in (1, 2):
        size, fine = tf.shape(part)[axis], tf.range(tf.shape(like)[axis])
        near, far = fine // 2, tf.clip_by_value(fine // 2 + 2 * (fine % 2) - 1, 0, size - 1)
        part = 0.75 * tf.gather(part, near, axis=axis) + 0.25 * tf.gather(part, far, axis=axis)
    return 2 * part


def blade_align(reference: tf.Tensor, moving: tf.Tensor, levels: int, parameters: AlignParameters) -> tf.Tensor:
    """The flow [N, H, W, 2] between gray images [N, H, W], float32."""
    pyramid: list[Sequence[tf.Tensor]] = [(reference, moving)]
    for _ in range(levels - 1):
        pyramid.append([_halved(u) for u in pyramid[-1]])
    flow: Flow = tf.zeros_like(pyramid[-1][0]), tf.zeros_like(pyramid[-1][0])
    match, step = (_compiled(function, parameters) for function in (_matched, _step))
    for level in reversed(range(levels)):
        images = pyramid[level]
        if level < levels - 1:
            flow = _doubled(flow[0], images[0]), _doubled(flow[1], images[0])
        if level >= parameters.unmatched:
            flow = match(*images, *flow)
        for _ in range(parameters.steps[level > 0]):
            flow = step(*images, *flow)
    return tf.stack(flow, -1)
