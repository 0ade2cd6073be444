"""The descent of a level set in the Chan-Vese energy (section 4); `blade_tf.apps.segment` states both."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from blade_tf import arguments, models

__all__ = ["SCALE", "Segmentation", "Settings", "descend"]

REFERENCE_MU, MODEL_MU = 0.2, 0.04  # the paper's
# The model sees SCALE phi + 1/2. TV flow of that image, the curvature, over SCALE is BLADE_TV(phi): so the paper's
# mu with a model weighs the border's length as its mu of the reference solver does.
SCALE = MODEL_MU / REFERENCE_MU
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


def _means(f: tf.Tensor, inside: tf.Tensor) -> tuple[Pair, Pair]:
    """Those of f [N, C, H, W] of mean 0, weighted by inside [N, H, W] and by 1 - inside, and the sums of these weights.

    Without any weight a mean is 0, that of all pixels.
    """
    count, part = _sums(inside), _sums(f * inside[:, tf.newaxis])
    other = tf.cast(tf.reduce_prod(tf.shape(f)[2:]), f.dtype) - count
    means = (tf.math.divide_no_nan(total, weight[:, tf.newaxis]) for total, weight in ((part, count), (-part, other)))
    return tuple(means), (count, other)


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


def _energy(f: tf.Tensor, phi: tf.Tensor, means: Pair, misfits: Pair, mu: float, settings: Settings) -> tf.Tensor:
    """E [N], from the misfits to other means than its own: sum(w |f - b|^2) = sum(w |f - c|^2) - sum(w) |b - c|^2."""
    up, down, left, right = _neighbours(phi)
    length = tf.sqrt(tf.square(down - up) + tf.square(right - left)) / (2 * math.pi * (1 + tf.square(phi)))
    inside = _heaviside(phi)
    energy = _sums(mu * length + misfits[1] + inside * (settings.nu + misfits[0] - misfits[1]))
    for weight, b, sum_w, c in zip((settings.lambda1, settings.lambda2), *_means(f, inside), means, strict=True):
        energy -= weight * sum_w * tf.reduce_mean(tf.square(b - c), 1)
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
    pixels = tf.cast(tf.reduce_prod(tf.shape(phi)[1:]), phi.dtype)
    middle = _sums(f) / pixels
    f -= middle[:, :, tf.newaxis, tf.newaxis]
    mu = settings.mu or REFERENCE_MU if model is None else (settings.mu or MODEL_MU) / SCALE
    settle = _semi_implicit(mu, settings.dt) if model is None else _by_model(model, mu, settings.dt)

    def found(phi: tf.Tensor) -> tuple[Pair, Pair, tf.Tensor]:
        means, _ = _means(f, tf.cast(phi > 0, f.dtype))
        misfits = _misfits(f, means, settings)
        return means, misfits, _energy(f, phi, means, misfits, mu, settings)

    def more(k: tf.Tensor, _: tf.Tensor, change: tf.Tensor, *__: tf.Tensor) -> tf.Tensor:
        return (k < settings.iterations) & tf.reduce_any(change > settings.tolerance)

    def iterate(k: tf.Tensor, phi: tf.Tensor, change: tf.Tensor, energies: tf.Tensor, iterations: tf.Tensor) -> tuple:
        moving = change > settings.tolerance
        _, misfits, energy = found(phi)
        stepped = settle(phi, 1 / (1 + tf.square(phi)), misfits[1] - misfits[0] - settings.nu)
        stepped = tf.where(moving[:, tf.newaxis, tf.newaxis], stepped, phi)
        moved = tf.where(moving, tf.sqrt(_sums(tf.square(stepped - phi)) / pixels), change)
        return k + 1, stepped, moved, tf.where(rows == k, energy, energies), iterations + tf.cast(moving, tf.int32)

    count, rows = tf.shape(phi)[0], tf.range(settings.iterations + 1)[:, tf.newaxis]
    state = (
        tf.constant(0),
        phi,
        tf.fill([count], tf.constant(math.inf, phi.dtype)),
        tf.zeros([settings.iterations + 1, count], phi.dtype),
        tf.zeros([count], tf.int32),
    )
    k, phi, _, energies, iterations = tf.while_loop(more, iterate, state, parallel_iterations=1)
    means, _, energy = found(phi)
    energies = tf.where(rows == k, energy, energies)
    level_set = phi[..., tf.newaxis]
    return Segmentation(
        level_set > 0, level_set, tf.stack(means, 1) + middle[:, tf.newaxis], tf.transpose(energies), iterations
    )
