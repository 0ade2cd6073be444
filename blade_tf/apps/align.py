"""Alignment: the optical flow between two photographs, by coarse-to-fine block matching with sub-pixel refinement.

On each level of a pyramid, from the coarsest, the flow of the level before is doubled; block matching then looks for
whole pixels that it is off (as in Hasinoff et al., "Burst photography for high dynamic range and low-light imaging on
mobile cameras", 2016), and a few Gauss-Newton steps at each pixel find the fraction.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from blade_tf import arguments
from blade_tf import export as export_lib
from blade_tf import image as image_lib

__all__ = ["LEVELS", "align", "export"]

LEVELS = 5  # the coarsest has a sixteenth of the resolution
MATCHED = 2  # levels from the finest that need no block matching: what it finds there is refined away
RADIUS = 2  # px of a level that block matching looks around
TILE = 7  # px
BIAS = 0.002  # mean absolute difference by which another place has to match better
STEPS = (2, 3)  # Gauss-Newton steps on the finest level, and on each of the others
SWEEPS = 10  # of the linear system of a step
SMOOTHNESS = 2e-4  # weight of squared differences of the flow beside squared differences of intensity
ROBUST = 0.03  # intensity difference from which a pixel is taken for an outlier, such as one that is hidden
LARGEST = 2.0  # px of a level that a step moves
ACCELERATION = 0.98  # bound of the Jacobi sweeps' spectral radius that Chebyshev's recursion assumes

Pair = tuple[tf.Tensor, tf.Tensor]

_IMAGE = tf.TensorSpec([None, None, None], tf.float32)


def _compiled(*signature: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """One pass over the pixels, as a graph for all sizes. XLA would be twice as fast, after half a minute for each."""
    return tf.function(input_signature=signature, autograph=False)


def _window(u: tf.Tensor, radius: int) -> Callable[[int, int], tf.Tensor]:
    """(dy, dx) -> u[N, H, W] at (y + dy, x + dx), up to the radius; borders are replicated."""
    h, w = tf.shape(u)[1], tf.shape(u)[2]
    for _ in range(radius):
        u = tf.pad(u, [[0, 0], [1, 1], [1, 1]], "SYMMETRIC")
    return lambda dy, dx: u[:, radius + dy : radius + dy + h, radius + dx : radius + dx + w]


@_compiled(_IMAGE, _IMAGE, _IMAGE)
def _warped(image: tf.Tensor, u: tf.Tensor, v: tf.Tensor) -> Pair:
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
        position = tf.clip_by_value(position, 0, last)
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


_median_along_x = _compiled(_IMAGE)(lambda u: _median_of_five(u, 0, 1))
_median_along_y = _compiled(_IMAGE)(lambda u: _median_of_five(u, 1, 0))


def _median(u: tf.Tensor, v: tf.Tensor) -> Pair:
    """Medians of five along x, then along y."""
    both = _median_along_y(_median_along_x(tf.concat([u, v], 0)))
    return tuple(tf.split(both, 2))


@_compiled(_IMAGE, _IMAGE, _IMAGE, _IMAGE)
def _moved(reference: tf.Tensor, warped: tf.Tensor, u: tf.Tensor, v: tf.Tensor) -> Pair:
    """The flow, moved at each pixel by the whole pixels with which the tile around it matches best."""
    at = _window(warped, RADIUS)
    steps = range(-RADIUS, RADIUS + 1)
    places = sorted(((dy, dx) for dy in steps for dx in steps), key=lambda place: place[0] ** 2 + place[1] ** 2)
    differences = tf.concat([tf.abs(at(*place) - reference) for place in places], 0)
    costs = tf.stack(tf.split(_box(differences), len(places)))
    costs += tf.constant([0.0] + [BIAS] * (len(places) - 1))[:, tf.newaxis, tf.newaxis, tf.newaxis]
    moved = tf.gather(tf.constant(places, tf.float32), tf.argmin(costs, 0))
    return u + moved[..., 1], v + moved[..., 0]


def _box(u: tf.Tensor) -> tf.Tensor:
    """The mean over a tile around each pixel."""
    for axis in (1, 2):
        sums = tf.cumsum(
            tf.pad(u, [[0, 0]] + [[TILE // 2 + 1, TILE // 2] if k == axis else [0, 0] for k in (1, 2)]), axis
        )
        size = tf.shape(u)[axis]
        ends = [tf.gather(sums, tf.range(size) + start, axis=axis) for start in (TILE, 0)]
        u = (ends[0] - ends[1]) / TILE
    return u


@_compiled(*[_IMAGE] * 5)
def _linear(reference: tf.Tensor, warped: tf.Tensor, inside: tf.Tensor, u: tf.Tensor, v: tf.Tensor) -> tuple:
    """The system `J (u, v) + smoothness = right` of a Gauss-Newton step: J's entries xx, xy, yy, and the right sides.

    Derivatives are means of both images' by (1, -8, 0, 8, -1) / 12.
    """
    at = _window(reference + warped, 2)
    x, y = (
        (8 * (at(dy, dx) - at(-dy, -dx)) - at(2 * dy, 2 * dx) + at(-2 * dy, -2 * dx)) / 24
        for dy, dx in ((0, 1), (1, 0))
    )
    difference = warped - reference
    weight = inside / (1 + tf.square(difference / ROBUST))
    xx, xy, yy = weight * x * x, weight * x * y, weight * y * y
    difference *= weight
    return xx, xy, yy, xx * u + xy * v - x * difference, xy * u + yy * v - y * difference


@_compiled(*[_IMAGE] * 7)
def _solved(
    xx: tf.Tensor, xy: tf.Tensor, yy: tf.Tensor, r: tf.Tensor, s: tf.Tensor, u: tf.Tensor, v: tf.Tensor
) -> Pair:
    """Solves `(J + 4 w) z - w sum of z's neighbours = (r, s)` by Jacobi sweeps with Chebyshev's acceleration."""
    xx, yy = xx + 4 * SMOOTHNESS, yy + 4 * SMOOTHNESS
    inverse = 1 / (xx * yy - xy * xy)
    own, other = tf.concat([yy * inverse, xx * inverse], 0), tf.tile(-xy * inverse, [2, 1, 1])
    right, start = tf.concat([r, s], 0), tf.concat([u, v], 0)

    def sweep(k: tf.Tensor, omega: tf.Tensor, z: tf.Tensor, before: tf.Tensor) -> tuple:
        at = _window(z, 1)
        pulled = right + SMOOTHNESS * (at(0, 1) + at(0, -1) + at(1, 0) + at(-1, 0))
        found = own * pulled + other * tf.concat(tf.split(pulled, 2)[::-1], 0)
        share = tf.where(k == 0, ACCELERATION**2 / 2, ACCELERATION**2 / 4 * omega)
        return k + 1, 1 / (1 - share), before + omega * (found - before), z

    state = tf.constant(0), tf.constant(1.0), start, start
    found = tf.while_loop(lambda k, *_: k < SWEEPS, sweep, state)[2]
    return tuple(tf.split(start + tf.clip_by_value(found - start, -LARGEST, LARGEST), 2))


def _refined(reference: tf.Tensor, moving: tf.Tensor, flow: Pair, steps: int) -> Pair:
    """Gauss-Newton steps to the least sum of robust squared differences and of the flow's squared differences."""
    for _ in range(steps):
        system = _linear(reference, *_warped(moving, *flow), *flow)
        flow = _median(*_solved(*system, *flow))
    return flow


def _extended(u: tf.Tensor, multiple: int) -> tf.Tensor:
    """Border pixels repeated, below and to the right, until `multiple` divides the sizes."""
    for axis in (1, 2):
        size = tf.shape(u)[axis]
        u = tf.gather(u, tf.minimum(tf.range(size + -size % multiple), size - 1), axis=axis)
    return u


def _halved(u: tf.Tensor) -> tf.Tensor:
    smooth = image_lib.gaussian_smooth(u[..., tf.newaxis], 0.6)
    return tf.nn.avg_pool2d(smooth, 2, 2, "VALID")[..., 0]


def _doubled(part: tf.Tensor) -> tf.Tensor:
    size = 2 * tf.shape(part)[1:]
    return 2 * tf.image.resize(part[..., tf.newaxis], size)[..., 0]


def _flow(reference: tf.Tensor, moving: tf.Tensor, levels: int) -> tf.Tensor:
    """The whole of it, of gray images [N, H, W]."""
    _, height, width = tf.unstack(tf.shape(reference))
    pyramid = [(_extended(reference, 2 ** (levels - 1)), _extended(moving, 2 ** (levels - 1)))]
    for _ in range(levels - 1):
        pyramid.append(tuple(_halved(u) for u in pyramid[-1]))
    flow = tf.zeros_like(pyramid[-1][0]), tf.zeros_like(pyramid[-1][0])
    for level in reversed(range(levels)):
        if level < levels - 1:
            flow = _doubled(flow[0]), _doubled(flow[1])
        if level >= MATCHED:
            flow = _median(*_moved(pyramid[level][0], _warped(pyramid[level][1], *flow)[0], *flow))
        flow = _refined(*pyramid[level], flow, STEPS[level > 0])
    return tf.stack(flow, -1)[:, :height, :width]


def _gray(name: str, image: Any) -> tf.Tensor:
    image = tf.convert_to_tensor(image)
    if image.shape.rank != 4 or image.dtype not in (tf.float32, tf.float64):
        raise ValueError(f"{name}: expected float32 or float64 [N, H, W, C], got {image.dtype.name} {image.shape}")
    image = tf.cast(image, tf.float32)
    return image_lib.luma(image)[..., 0] if image.shape[3] == 3 else tf.reduce_mean(image, 3)


def align(reference: Any, moving: Any, levels: int = LEVELS) -> tf.Tensor:
    """The optical flow from one image to another: `moving(x + flow(x))` shows what `reference(x)` does.

    `blade_tf.apps.resample.resample(moving, flow)` is then aligned with the reference. What is hidden in the moving
    image, or lies outside of it, gets the flow of what is around it.

    Args:
      reference, moving: float32 or float64 [N, H, W, C] in [0, 1], of the same shape; three channels count by their
        luma, others by their mean.
      levels: of the pyramid, at least 1. The coarsest looks two of its pixels around: 32 px with the default of five.

    Returns:
      float32 [N, H, W, 2] in pixels, along x first.

    Raises:
      ValueError: another dtype or rank, shapes that differ, no pixel, a NaN (tf.errors.InvalidArgumentError where
        values or sizes are known only when a graph runs), or no level.
    """
    if arguments.count("levels", levels) < 1:
        raise ValueError(f"levels: expected at least 1, got {levels}")
    images = _gray("reference", reference), _gray("moving", moving)
    shapes = [tf.convert_to_tensor(image).shape for image in (reference, moving)]
    if not shapes[0].is_compatible_with(shapes[1]):
        raise ValueError(f"moving: expected the shape of the reference, {shapes[0]}, got {shapes[1]}")
    if 0 in shapes[0][1:]:
        raise ValueError(f"reference: expected at least one pixel, got {shapes[0]}")
    checks = [
        (tf.reduce_all(tf.shape(images[0]) == tf.shape(images[1])), "moving: expected the shape of the reference")
    ]
    for name, image in zip(("reference", "moving"), images, strict=True):
        checks.append((tf.reduce_all(tf.math.is_finite(image)), f"{name}: expected finite values, got NaN or infinity"))
    if not tf.executing_eagerly():
        with tf.control_dependencies([tf.debugging.Assert(holds, [message]) for holds, message in checks]):
            return _flow(tf.identity(images[0]), tf.identity(images[1]), levels)
    for holds, message in checks:
        if not holds:
            raise ValueError(message)
    return _flow(*images, levels)


def export(output: str | os.PathLike[str], *, channels: int = 1, levels: int = LEVELS) -> None:
    """Writes `align` as a SavedModel with batch, height and width open.

    The signature `serving_default(reference, moving)`, float32 [N, H, W, channels], returns "flow". It holds operations
    of TensorFlow alone, and loads without blade_tf.

    Args:
      output: a new folder; it appears only when complete.
      channels: of the images.
      levels: as of `align`.

    Raises:
      ValueError: if `output` exists, or there is no channel.
    """
    specs = [export_lib.image_spec(channels, name) for name in ("reference", "moving")]

    def serve(reference: tf.Tensor, moving: tf.Tensor) -> dict[str, Any]:
        return {"flow": align(reference, moving, levels)}

    export_lib.write_saved_model({"serving_default": (serve, specs)}, output, portable=True)
