"""Two-phase segmentation by the Chan-Vese model (section 4): where a level set phi is positive, an image is near one
mean, elsewhere near another, and the border between the two is short.

With H(t) = 1/2 + arctan(t) / pi, C channels and |x|^2 = sum(x^2) / C, the energy is

    E = min over c1, c2 of the sum over pixels of
        mu |grad H(phi)| + nu H(phi) + lambda1 H(phi) |f - c1|^2 + lambda2 (1 - H(phi)) |f - c2|^2

and phi descends by  phi_t = delta(phi) (mu div(grad phi / |grad phi|) - nu - lambda1 |f - c1|^2 + lambda2 |f - c2|^2)
(eqs 4.9 and, for colour, 4.11), delta(t) = 1 / (1 + t^2) = pi H'(t). There, as in Getreuer's article, c1 and c2 are the
means of f where phi > 0 and elsewhere: sharp regions converge faster than those of H.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from blade_tf import arguments, models, ops
from blade_tf import export as export_lib

__all__ = ["SCALE", "Segmentation", "Settings", "checkerboard", "export", "segment"]

REFERENCE_MU, MODEL_MU = 0.2, 0.04  # the paper's
# The model sees SCALE phi + 1/2. TV flow of that image, the curvature, over SCALE is BLADE_TV(phi): so the paper's
# mu with a model weighs the border's length as its mu of the reference solver does.
SCALE = MODEL_MU / REFERENCE_MU
CHECKER = 5  # px, as in Getreuer's article
ETA = 1e-16  # under the roots
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

Pair = tuple[tf.Tensor, tf.Tensor]
Settle = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


class Segmentation(NamedTuple):
    """What `segment` found in N images.

    Attributes:
      mask: bool [N, H, W, 1], where the level set is positive.
      level_set: phi [N, H, W, 1].
      means: of the images [N, 2, C], inside the mask and outside of it; if either has no pixel, that of all pixels.
      energies: E of the start and after each iteration [N, K + 1], K the most iterations of an image; that of one which
        stopped before stays as it was.
      iterations: int32 [N].
    """

    mask: tf.Tensor
    level_set: tf.Tensor
    means: tf.Tensor
    energies: tf.Tensor
    iterations: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Settings:
    """The weights of the energy and the steps of its descent; for images in [0, 1].

    Attributes:
      mu: weight of the border's length, in intensity^2 px; None for 0.2 with the reference solver and, which weighs as
        much, 0.04 with a model.
      nu: weight of the area inside, of either sign.
      lambda1, lambda2: weights of what differs from the means inside and outside.
      dt: length of a step.
      iterations: the largest number of steps.
      tolerance: an image is done when the root mean square of a step's change of phi is not above this; 0 makes
        all the iterations.

    Raises:
      ValueError: a weight, dt or the tolerance out of its range.
    """

    mu: float | None = None
    nu: float = 0.0
    lambda1: float = 1.0
    lambda2: float = 1.0
    dt: float = 0.5
    iterations: int = 300
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("mu", "lambda1", "lambda2", "dt"):
            if getattr(self, name) is not None:
                arguments.positive(name, getattr(self, name))
        arguments.count("iterations", self.iterations)
        if not math.isfinite(self.nu):
            raise ValueError(f"nu: expected a finite number, got {self.nu!r}")
        if not 0 <= self.tolerance < math.inf:
            raise ValueError(f"tolerance: expected a finite number of at least 0, got {self.tolerance!r}")


def checkerboard(height: Any, width: Any, dtype: Any = tf.float32) -> tf.Tensor:
    """The level set sin(pi x / 5) sin(pi y / 5), [1, height, width, 1]: both phases everywhere."""
    waves = [tf.sin(math.pi / CHECKER * tf.cast(tf.range(size), dtype)) for size in (height, width)]
    return tf.einsum("y,x->yx", *waves)[tf.newaxis, :, :, tf.newaxis]


def _neighbours(phi: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """phi [N, H, W] at y - 1, y + 1, x - 1 and x + 1; borders are replicated."""
    up, down = tf.concat([phi[:, :1], phi[:, :-1]], 1), tf.concat([phi[:, 1:], phi[:, -1:]], 1)
    left, right = tf.concat([phi[:, :, :1], phi[:, :, :-1]], 2), tf.concat([phi[:, :, 1:], phi[:, :, -1:]], 2)
    return up, down, left, right


def _semi_implicit(mu: float, dt: float) -> Settle:
    """Getreuer's scheme (IPOL 2, 2012, eq 22), every pixel from the iteration before, as in scikit-image."""

    def step(phi: tf.Tensor, delta: tf.Tensor, force: tf.Tensor) -> tf.Tensor:
        up, down, left, right = _neighbours(phi)
        across_x, across_y = tf.square((right - left) / 2), tf.square((down - up) / 2)
        pulled, weight = phi + dt * delta * force, tf.ones_like(phi)
        for neighbour, across in ((right, across_y), (left, across_y), (down, across_x), (up, across_x)):
            nearness = mu * dt * delta * tf.math.rsqrt(ETA + tf.square(neighbour - phi) + across)
            pulled, weight = pulled + nearness * neighbour, weight + nearness
        return pulled / weight

    return step


def _by_model(model: models.EvolutionModel, mu: float, dt: float) -> Settle:
    """Eq 4.10, an explicit step; the curvature from the model's own step, which is one operation."""

    def step(phi: tf.Tensor, delta: tf.Tensor, force: tf.Tensor) -> tf.Tensor:
        seen = SCALE * phi[..., tf.newaxis] + 0.5
        curvature = (model.step(seen) - seen)[..., 0] / model.dt
        return phi + dt * delta * (mu * curvature + force)

    return step


def _sums(values: tf.Tensor) -> tf.Tensor:
    """Over the last two axes. As products with ones, which XLA makes fast, unlike its sums."""
    return tf.reduce_sum(tf.linalg.matvec(values, tf.ones_like(values[..., 0, :])), -1)


def _means(f: tf.Tensor, inside: tf.Tensor) -> Pair:
    """Those of f [N, C, H, W], weighted by inside [N, H, W] and by what it lacks to 1: [N, C] each."""
    inside = inside[:, tf.newaxis]
    whole, part = _sums(f), _sums(f * inside)
    pixels, count = tf.cast(tf.reduce_prod(tf.shape(f)[2:]), f.dtype), _sums(inside)
    mean = whole / pixels
    return (
        tf.where(count > 0, tf.math.divide_no_nan(part, count), mean),
        tf.where(count < pixels, tf.math.divide_no_nan(whole - part, pixels - count), mean),
    )


def _heaviside(phi: tf.Tensor) -> tf.Tensor:
    """1/2 + arctan(phi) / pi to 3e-8 (Abramowitz and Stegun 4.4.49), which XLA computes in one pass with the rest."""
    size = tf.abs(phi)
    small = tf.minimum(size, tf.math.reciprocal_no_nan(size))
    square, value = tf.square(small), tf.zeros_like(phi)
    for coefficient in ARCTAN:
        value = (value + coefficient) * square
    angle = (value + 1) * small
    return 0.5 + tf.sign(phi) * tf.where(size > 1, math.pi / 2 - angle, angle) / math.pi


def _misfits(f: tf.Tensor, means: Pair, settings: Settings) -> Pair:
    """lambda1 |f - c1|^2 and lambda2 |f - c2|^2, [N, H, W]."""
    inside, outside = (tf.reduce_mean(tf.square(f - c[:, :, tf.newaxis, tf.newaxis]), 1) for c in means)
    return settings.lambda1 * inside, settings.lambda2 * outside


def _energy(
    f: tf.Tensor, phi: tf.Tensor, means: Pair, misfits: Pair, mu: float, settings: Settings
) -> tf.Tensor:
    """E [N], from the misfits to other means than its own: sum(w |f - b|^2) = sum(w |f - c|^2) - sum(w) |b - c|^2."""
    up, down, left, right = _neighbours(phi)
    length = tf.sqrt(tf.square(down - up) + tf.square(right - left)) / (2 * math.pi * (1 + tf.square(phi)))
    inside = _heaviside(phi)
    energy = _sums(mu * length + inside * (settings.nu + misfits[0]) + (1 - inside) * misfits[1])
    own, count = _means(f, inside), _sums(inside)
    counts = count, tf.cast(tf.reduce_prod(tf.shape(f)[2:]), f.dtype) - count
    for weight, part, b, c in zip((settings.lambda1, settings.lambda2), counts, own, means, strict=True):
        energy -= weight * part * tf.reduce_mean(tf.square(b - c), 1)
    return energy


def _descend(
    image: tf.Tensor, start: tf.Tensor, settings: Settings, model: models.EvolutionModel | None
) -> Segmentation:
    f, phi = tf.transpose(image, [0, 3, 1, 2]), start[..., 0]
    mu = settings.mu or REFERENCE_MU if model is None else (settings.mu or MODEL_MU) / SCALE
    settle = _semi_implicit(mu, settings.dt) if model is None else _by_model(model, mu, settings.dt)

    def found(phi: tf.Tensor) -> tuple[Pair, Pair, tf.Tensor]:
        means = _means(f, tf.cast(phi > 0, f.dtype))
        misfits = _misfits(f, means, settings)
        return means, misfits, _energy(f, phi, means, misfits, mu, settings)

    def more(k: tf.Tensor, _: tf.Tensor, change: tf.Tensor, *__: tf.Tensor) -> tf.Tensor:
        return (k < settings.iterations) & tf.reduce_any(change > settings.tolerance)

    def iterate(k: tf.Tensor, phi: tf.Tensor, change: tf.Tensor, energies: tf.Tensor, iterations: tf.Tensor) -> tuple:
        moving = change > settings.tolerance
        _, misfits, energy = found(phi)
        stepped = settle(phi, 1 / (1 + tf.square(phi)), misfits[1] - misfits[0] - settings.nu)
        stepped = tf.where(moving[:, tf.newaxis, tf.newaxis], stepped, phi)
        pixels = tf.cast(tf.reduce_prod(tf.shape(phi)[1:]), phi.dtype)
        moved = tf.where(moving, tf.sqrt(_sums(tf.square(stepped - phi)) / pixels), change)
        energies = tf.tensor_scatter_nd_update(energies, [[k]], [energy])
        return k + 1, stepped, moved, energies, iterations + tf.cast(moving, tf.int32)

    count = tf.shape(phi)[0]
    state = (
        tf.constant(0),
        phi,
        tf.fill([count], tf.constant(math.inf, phi.dtype)),
        tf.zeros([settings.iterations + 1, count], phi.dtype),
        tf.zeros([count], tf.int32),
    )
    k, phi, _, energies, iterations = tf.while_loop(more, iterate, state, parallel_iterations=1)
    means, _, energy = found(phi)
    energies = tf.tensor_scatter_nd_update(energies, [[k]], [energy])
    level_set = phi[..., tf.newaxis]
    return Segmentation(level_set > 0, level_set, tf.stack(means, 1), tf.transpose(energies), iterations)


def _trimmed(found: Segmentation) -> Segmentation:
    """Without the energies of iterations that were not needed, which XLA, for it needs to know sizes, has kept."""
    last = tf.reduce_max(tf.concat([found.iterations, [0]], 0))
    return found._replace(energies=found.energies[:, : last + 1])


@functools.lru_cache(maxsize=16)
def _compiled(settings: Settings, model: models.EvolutionModel | None, native: bool) -> Callable[..., Segmentation]:
    """One graph for all the iterations, by XLA where it takes the model's operations: three times as fast."""
    del native  # what a graph is traced with
    return tf.function(
        lambda image, start: _descend(image, start, settings, model),
        jit_compile=ops.compiles_with_xla(),
        autograph=False,
    )


def _image(image: Any) -> tf.Tensor:
    image = tf.convert_to_tensor(image)
    if image.shape.rank != 4 or image.dtype not in (tf.float32, tf.float64):
        raise ValueError(f"image: expected float32 or float64 [N, H, W, C], got {image.dtype.name} {image.shape}")
    return image


def _level_set(start: Any, image: tf.Tensor) -> tf.Tensor:
    """The start as a level set [N, H, W, 1] like the image."""
    shape = tf.shape(image)
    if start is None:
        return tf.tile(checkerboard(shape[1], shape[2], image.dtype), [shape[0], 1, 1, 1])
    start = tf.convert_to_tensor(start)
    if start.dtype == tf.bool:
        start = 2 * tf.cast(start, image.dtype) - 1
    static = tf.TensorShape([None, *image.shape[1:3], 1])
    if start.dtype != image.dtype or not start.shape.is_compatible_with(static):
        raise ValueError(
            f"start: expected bool or {image.dtype.name} [1 or N, H, W, 1] for the image {image.shape}, got "
            f"{start.dtype.name} {start.shape}"
        )
    return tf.broadcast_to(start, [shape[0], shape[1], shape[2], 1])


def _checks(image: tf.Tensor, phi: tf.Tensor) -> list[tuple[tf.Tensor, str]]:
    """What has to hold, with what to say where it does not."""
    inside = phi > 0
    both = tf.reduce_any(inside, [1, 2, 3]) & ~tf.reduce_all(inside, [1, 2, 3])
    return [
        (tf.reduce_all(tf.math.is_finite(image)), "image: expected finite values, got NaN or infinity"),
        (tf.reduce_all(tf.math.is_finite(phi)), "start: expected finite values, got NaN or infinity"),
        (tf.reduce_all(both), "start: expected pixels inside and outside in each image, got one without either"),
    ]


def segment(
    image: Any,
    start: Any = None,
    *,
    model: models.EvolutionModel | None = None,
    settings: Settings | None = None,
) -> Segmentation:
    """Segments images by the Chan-Vese model; the module states the energy.

    Which of the two phases a start leads to be the inside is arbitrary: compare masks up to it. With several channels
    |x|^2 is their mean square, so that mu means the same (eq 4.11 prints the sum). Intensities are taken as they are: mu
    is for images that span [0, 1]. Once a phase is empty, which a large mu or an image without contrast leads to, it
    stays so but for nu. A constant image has both means equal: its border shortens, from wherever it started.

    Args:
      image: float32 or float64 [N, H, W, C].
      start: the mask, bool, or the level set, of the image's dtype, to start from, [1 or N, H, W, 1]; a mask becomes 1 and
        -1. By default the `checkerboard`.
      model: a model of TV flow whose rate stands for the curvature (eq 4.10): explicit steps. None for the reference
        solver: semi-implicit steps of Getreuer, "Chan-Vese segmentation", Image Processing On Line 2, 2012, in the form
        of scikit-image, each pixel from the iteration before.
      settings: by default the paper's.

    Returns:
      A `Segmentation`. Outside of graphs it is computed by XLA where that takes the model's operations, compiled once for
      each size.

    Raises:
      ValueError: another dtype or rank; a NaN; a start of another size, or without any pixel inside or outside
        (tf.errors.InvalidArgumentError where values or sizes are known only when a graph runs). The checkerboard needs
        two rows and columns.
    """
    settings = settings or Settings()
    image = _image(image)
    phi = _level_set(start, image)
    checks = _checks(image, phi)
    if not tf.executing_eagerly():
        with tf.control_dependencies([tf.debugging.Assert(holds, [message]) for holds, message in checks]):
            return _trimmed(_descend(tf.identity(image), phi, settings, model))
    for holds, message in checks:
        if not holds:
            raise ValueError(message)
    return _trimmed(_compiled(settings, model, ops.uses_native())(image, phi))


def export(
    output: str | os.PathLike[str],
    *,
    model: models.EvolutionModel | None = None,
    settings: Settings | None = None,
    channels: int = 1,
    portable: bool = False,
) -> None:
    """Writes `segment` as a SavedModel with batch, height and width open.

    The signature `serving_default(image)`, float32 [N, H, W, channels], starts from the checkerboard and returns what
    `Segmentation` names.

    Args:
      output: a new folder; it appears only when complete.
      model, settings: as of `segment`.
      channels: of the images.
      portable: use stock TensorFlow operations, so that the SavedModel loads without blade_tf.

    Raises:
      ValueError: if `output` exists, or there is no channel.
    """
    if arguments.count("channels", channels) < 1:
        raise ValueError(f"channels: expected at least 1, got {channels}")
    image = tf.TensorSpec([None, None, None, channels], tf.float32, "image")

    def serve(image: tf.Tensor) -> dict[str, Any]:
        return segment(image, model=model, settings=settings)._asdict()

    export_lib.write_saved_model({"serving_default": (serve, [image])}, output, portable=portable, track=model)
