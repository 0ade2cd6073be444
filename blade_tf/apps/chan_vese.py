"""The descent of a level set in the Chan-Vese energy (section 4); `blade_tf.apps.segment` states both."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from blade_tf import arguments, models
from blade_tf.level_set_ops import LevelSetSums, level_set_sums, neighbours

__all__ = ["SCALE", "Segmentation", "Settings", "border_weight", "descend"]

REFERENCE_MU, MODEL_MU = 0.2, 0.04  # the paper's
LARGEST_MODEL_MU = 0.1  # beyond it explicit steps diverge on some images, and shorter ones end in other regions
# The model sees SCALE phi + 1/2. TV flow of that image, the curvature, over SCALE is BLADE_TV(phi): so the paper's
# mu with a model weighs the border's length as its mu of the reference solver does.
SCALE = MODEL_MU / REFERENCE_MU
ETA = 1e-16  # under the roots

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
        much, 0.04 with a model, which takes 0.1 at most.
      nu: weight of the area inside, of either sign.
      lambda1, lambda2: weights of what differs from the means inside and outside.
      dt: length of a step.
      iterations: the largest number of steps.
      tolerance: an image is done when the root mean square of a step's change of phi is not above this; 0 makes
        all the iterations.

    Raises:
      ValueError: a value that is no number, or out of its range.
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
        if not (isinstance(self.nu, numbers.Real) and math.isfinite(self.nu)):
            raise ValueError(f"nu: expected a finite number, got {self.nu!r}")
        if not (isinstance(self.tolerance, numbers.Real) and 0 <= self.tolerance < math.inf):
            raise ValueError(f"tolerance: expected a finite number of at least 0, got {self.tolerance!r}")


def border_weight(settings: Settings, model: models.EvolutionModel | None) -> float:
    """mu or its default; ValueError where it is too large for a model."""
    mu = settings.mu or (REFERENCE_MU if model is None else MODEL_MU)
    if model is not None and mu > LARGEST_MODEL_MU:
        raise ValueError(
            f"mu: expected at most {LARGEST_MODEL_MU:g} with a model, got {mu:g}; the reference solver (no model) "
            f"weighs the border as much at {mu / SCALE:g}"
        )
    return mu


def _semi_implicit(mu: float, dt: float) -> Settle:
    """Getreuer's scheme (IPOL 2, 2012, eq 22), every pixel from the iteration before, as in scikit-image."""

    def step(phi: tf.Tensor, delta: tf.Tensor, force: tf.Tensor) -> tf.Tensor:
        up, down, left, right = neighbours(phi)
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


def _means(sums: LevelSetSums, pixels: tf.Tensor) -> Pair:
    """Those of images of mean 0 inside and outside, [N, C]; without any pixel 0, that of all pixels."""
    inside, outside = sums.pixels[:, tf.newaxis], (pixels - sums.pixels)[:, tf.newaxis]
    return tf.math.divide_no_nan(sums.inside, inside), tf.math.divide_no_nan(-sums.inside, outside)


def _misfits(f: tf.Tensor, means: Pair, settings: Settings) -> Pair:
    """lambda1 |f - c1|^2 and lambda2 |f - c2|^2, [N, H, W]."""
    inside, outside = (
        tf.reduce_mean(tf.square(f - tf.cast(c, f.dtype)[:, :, tf.newaxis, tf.newaxis]), 1) for c in means
    )
    return settings.lambda1 * inside, settings.lambda2 * outside


def _energy(sums: LevelSetSums, pixels: tf.Tensor, squares: tf.Tensor, mu: float, settings: Settings) -> tf.Tensor:
    """E [N] of images of mean 0 and sums of squares [N, C]: sum(w |f - c|^2) = sum(w f^2) - sum(w f)^2 / sum(w)."""
    energy = mu * sums.length + settings.nu * sums.area
    for weight, area, square in (
        (settings.lambda1, sums.area, sums.squared),
        (settings.lambda2, pixels - sums.area, squares - sums.squared),
    ):
        explained = tf.math.divide_no_nan(tf.square(sums.weighted), area[:, tf.newaxis])
        energy += weight * tf.reduce_mean(square - explained, 1)
    return energy


def descend(
    image: tf.Tensor, start: tf.Tensor, settings: Settings, model: models.EvolutionModel | None
) -> Segmentation:
    """The whole descent in one loop of a graph.

    Args:
      image: [N, H, W, C].
      start: the level set [N, H, W, 1] of the same dtype.
      settings: the weights, and when to stop.
      model: whose rate stands for the curvature; None for the semi-implicit scheme.

    Returns:
      As of `blade_tf.apps.segment.segment`, but with energies for all the iterations that settings allow, 0 for those
      that were not needed: XLA has to know sizes.
    """
    f, phi = tf.transpose(image, [0, 3, 1, 2]), start[..., 0]
    pixels = tf.cast(tf.reduce_prod(tf.shape(phi)[1:]), tf.float64)
    middle = tf.cast(tf.reduce_mean(tf.cast(f, tf.float64), [2, 3]), f.dtype)
    f -= middle[:, :, tf.newaxis, tf.newaxis]
    squares = tf.reduce_sum(tf.square(tf.cast(f, tf.float64)), [2, 3])
    mu = border_weight(settings, model) / (1 if model is None else SCALE)
    settle = _semi_implicit(mu, settings.dt) if model is None else _by_model(model, mu, settings.dt)

    def noted(energies: tf.Tensor, k: tf.Tensor, sums: LevelSetSums) -> tf.Tensor:
        return tf.where(rows == k, tf.cast(_energy(sums, pixels, squares, mu, settings), phi.dtype), energies)

    def more(k: tf.Tensor, _: tf.Tensor, change: tf.Tensor, *__: Any) -> tf.Tensor:
        return (k < settings.iterations) & tf.reduce_any(change > settings.tolerance)

    def iterate(
        k: tf.Tensor,
        phi: tf.Tensor,
        change: tf.Tensor,
        energies: tf.Tensor,
        iterations: tf.Tensor,
        sums: LevelSetSums,
    ) -> tuple:
        moving = change > settings.tolerance
        misfits = _misfits(f, _means(sums, pixels), settings)
        stepped = settle(phi, 1 / (1 + tf.square(phi)), misfits[1] - misfits[0] - settings.nu)
        stepped = tf.where(moving[:, tf.newaxis, tf.newaxis], stepped, phi)
        sums = level_set_sums(stepped, phi, f)
        moved = tf.where(moving, tf.cast(tf.sqrt(sums.change / pixels), phi.dtype), change)
        return k + 1, stepped, moved, noted(energies, k + 1, sums), iterations + tf.cast(moving, tf.int32), sums

    count, rows = tf.shape(phi)[0], tf.range(settings.iterations + 1)[:, tf.newaxis]
    sums = level_set_sums(phi, phi, f)
    state = (
        tf.constant(0),
        phi,
        tf.fill([count], tf.constant(math.inf, phi.dtype)),
        noted(tf.zeros([settings.iterations + 1, count], phi.dtype), tf.constant(0), sums),
        tf.zeros([count], tf.int32),
        sums,
    )
    _, phi, _, energies, iterations, sums = tf.while_loop(more, iterate, state, parallel_iterations=1)
    level_set = phi[..., tf.newaxis]
    means = tf.cast(tf.stack(_means(sums, pixels), 1), f.dtype) + middle[:, tf.newaxis]
    return Segmentation(level_set > 0, level_set, means, tf.transpose(energies), iterations)
