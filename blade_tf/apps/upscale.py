"""Upscaling by any integer factor (section 4.2): a trained regulariser fills in what sampling has lost.

A low-resolution image is f = A u (+ noise), A u = down(phi * u), of the image u that is sought, phi the point spread
function. `upscale` (eq 4.6) draws the evolving image towards those that explain f; `upscale_exactly` (eq 4.7) never
leaves them. `Upscaler` is either with a trained model.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import arguments, colour, integrate, models, operators
from blade_tf.apps.interpolation import interpolate
from blade_tf.export import image_spec, write_saved_model

__all__ = [
    "DEFAULT_MODEL",
    "DEFAULT_STEPS",
    "Sampling",
    "Upscaler",
    "export",
    "gaussian",
    "paper",
    "upscale",
    "upscale_exactly",
]

Rate = Callable[[tf.Tensor], tf.Tensor]

# On the training photographs at most 0.1 dB behind `ced`, the best; a rate of its costs a sixth.
DEFAULT_MODEL = "ced_convex"
DEFAULT_STEPS = 20
MARGIN = 8  # low-resolution pixels; the pseudo-inverse of the default PSF decays to 1e-5 in as many


@dataclasses.dataclass(frozen=True, eq=False)
class Sampling:
    """How a low-resolution image comes about: A u = subsample(factor, offset)(kernel * u).

    Attributes:
      factor: at least 2.
      kernel: the point spread function phi in high-resolution pixels, [R, S] of sum 1, as of `operators.blur`.
      offset: of the subsampling, in [0, factor).

    Raises:
      ValueError: for such a factor, kernel or offset.
    """

    factor: int
    kernel: np.ndarray
    offset: int

    def __post_init__(self) -> None:
        _check_factor(self.factor)
        operators.subsample(self.factor, self.offset)
        operators.blur(self.kernel)
        if abs(np.sum(self.kernel) - 1) > 1e-6:
            raise ValueError(f"kernel: expected a sum of 1, got {np.sum(self.kernel):g}")

    @property
    def position(self) -> tuple[float, float]:
        """Where low-resolution pixel (0, 0) sits, (y, x) in high-resolution pixels: the middle of what it sees."""
        places = [self.offset + (size - 1) // 2 - np.arange(size) for size in self.kernel.shape]
        return float(places[0] @ self.kernel.sum(1)), float(places[1] @ self.kernel.sum(0))

    @property
    def squared_norm(self) -> float:
        """||A||^2: see `operators.squared_norm`."""
        return operators.squared_norm(self.kernel, self.factor)

    def operator(self, border: str = "periodic") -> operators.Operator:
        """A, on images whose sizes the factor divides."""
        if border == "periodic":
            return operators.downsample(self.kernel, self.factor, self.offset)
        return operators.subsample(self.factor, self.offset) @ operators.blur(self.kernel, border)


def gaussian(factor: int, sigma: float, position: float | None = None) -> Sampling:
    """A Gaussian point spread function, `phi[n] ~ exp(-(n - position)^2 / (2 sigma^2))` along y and x, of sum 1.

    Args:
      factor: at least 2.
      sigma: standard deviation in high-resolution pixels: 0.4 low-resolution ones are 0.4 factor.
      position: of low-resolution pixel k in high-resolution pixels, position + factor k, both along y and x. By
        default (factor - 1) / 2, the centre of the block that it stands for, as image viewers and Pillow have it;
        0 samples u[::factor, ::factor].

    Raises:
      ValueError: for a factor that is not an integer of at least 2, a sigma that is not positive, or a position outside
        of [0, factor - 1].
    """
    factor = _check_factor(factor)
    sigma = arguments.positive("sigma", sigma)
    at = (factor - 1) / 2 if position is None else float(position)
    if not 0 <= at <= factor - 1:
        raise ValueError(f"position: expected a number in [0, {factor - 1}], got {position!r}")
    radius = math.ceil(3 * sigma)
    first, last = math.ceil(at - radius), math.floor(at + radius)
    # A convolution's kernel runs against the pixels.
    distances = (np.arange(last, first - 1, -1) - at) ** 2
    weights = np.exp((distances.min() - distances) / (2 * sigma * sigma))
    weights /= weights.sum()
    return Sampling(factor, np.outer(weights, weights), last - (len(weights) - 1) // 2)


def _check_factor(factor: Any) -> int:
    if isinstance(factor, bool) or not isinstance(factor, numbers.Integral) or factor < 2:
        raise ValueError(f"factor: expected an integer of at least 2, got {factor!r}")
    return int(factor)


def upscale(image: Any, sampling: Sampling, rate: Rate, dt: float, steps: int = 10, weight: float = 1.0) -> tf.Tensor:
    """Upscaling by eq 4.6: `u' = u + dt (R(u) + lambda A^T (f - A u))` from the Lanczos interpolation of f.

    The image is extended by reflection beforehand and cut out again.

    Args:
      image: f, float [N, h, w, C].
      sampling: A.
      rate: R, u -> du/dt: `EvolutionModel.rate` or `colour.Evolution.rate` of a trained model, or any other.
      dt: length of a step, in the rate's unit.
      steps: number of steps.
      weight: dt lambda ||A||^2, in (0, 2): the part of the residual that a step removes where A sees most. Beyond 1
        it overshoots, from 2 on it diverges. lambda grows as 1 / ||A||^2, about factor^2, for an equal pull.

    Returns:
      [N, factor h, factor w, C] of the same dtype.

    Raises:
      ValueError: an image that is not float [N, h, w, C], no pixels, an image smaller than the kernel even when
        extended (tf.errors.InvalidArgumentError where sizes are unknown before a graph runs), a dt that is not
        positive, a negative number of steps, or a weight outside of (0, 2).
    """
    weight = _check_weight(weight)
    dt, steps = arguments.positive("dt", dt), arguments.count("steps", steps)

    def evolve(f: tf.Tensor) -> tf.Tensor:
        pull = operators.data_term(sampling.operator(), f, weight / (dt * sampling.squared_norm))
        start = interpolate(f, sampling.factor, sampling.position)
        return integrate.evolve(integrate.euler(integrate.sum_rates(rate, pull), dt), start, steps)

    return _within_reflection(image, sampling.factor, evolve)


def upscale_exactly(image: Any, sampling: Sampling, rate: Rate, dt: float, steps: int = 10) -> tf.Tensor:
    """Upscaling by eq 4.7: `u' = u + dt P0 R(u)`, from a start that satisfies f = A u; every u then does.

    The start is Lanczos interpolation l with the least change that satisfies f: l + A^+ (f - A l). P0 is the orthogonal
    projection on {u : A u = 0}. The image is extended by reflection beforehand and cut out again, so f = A u holds for
    the low-resolution pixels that do not see beyond the border, and for the others with the image's continuation.

    Args:
      image: f, float [N, h, w, C], free of noise.
      sampling: A.
      rate: R, u -> du/dt.
      dt: length of a step, in the rate's unit.
      steps: number of steps.

    Returns:
      [N, factor h, factor w, C] of the same dtype.

    Raises:
      ValueError: as `upscale`.
    """
    dt, steps = arguments.positive("dt", dt), arguments.count("steps", steps)
    inverse = operators.pseudo_inverse(sampling.kernel, sampling.factor, sampling.offset)
    operator = sampling.operator()

    def evolve(f: tf.Tensor) -> tf.Tensor:
        def satisfied(u: tf.Tensor) -> tf.Tensor:
            return u + inverse(f - operator(u))

        # A u = f: that of u + dt R(u) is u + dt P0 R(u), without rounding errors that add up.
        step = integrate.euler(rate, dt)
        start = satisfied(interpolate(f, sampling.factor, sampling.position))
        return integrate.evolve(lambda u: satisfied(step(u)), start, steps)

    return _within_reflection(image, sampling.factor, evolve)


def _check_weight(weight: Any) -> float:
    weight = arguments.positive("weight", weight)
    if weight >= 2:
        raise ValueError(f"weight: expected less than 2, where the data term's steps diverge, got {weight:g}")
    return weight


def _within_reflection(image: Any, factor: int, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """function(f) of an image extended by reflection, without what came of the extension."""
    f = tf.convert_to_tensor(image)
    if f.shape.rank != 4 or not f.dtype.is_floating:
        raise ValueError(f"image: expected float [N, h, w, C], got {f.dtype.name} {f.shape}")
    if 0 in f.shape[:3]:
        raise ValueError(f"image: expected pixels, got {f.shape}")
    if tf.executing_eagerly() and not bool(tf.reduce_all(tf.math.is_finite(f))):
        raise ValueError("image: expected finite values, got NaN or infinity")
    sizes = tf.shape(f)[1:3]
    margins = tf.minimum(MARGIN, sizes)
    around = tf.concat([[[0, 0]], tf.stack([margins, margins], axis=1), [[0, 0]]], axis=0)
    u = function(tf.ensure_shape(tf.pad(f, around, "SYMMETRIC"), [f.shape[0], None, None, f.shape[3]]))
    (top, left), (height, width) = tf.unstack(factor * margins), tf.unstack(factor * sizes)
    u = u[:, top : top + height, left : left + width]
    return tf.ensure_shape(u, [f.shape[0], *(s and factor * s for s in f.shape[1:3]), f.shape[3]])


@dataclasses.dataclass(frozen=True)
class Upscaler:
    """Upscaling with a trained model as the regulariser: a function of images [N, h, w, 1 or 3].

    Attributes:
      sampling: A.
      model: what `blade_tf.models.load_trained` takes, of an equation.
      steps: number of steps of the model's own dt; more of them make longer, smoother edges.
      weight: None for eq 4.7, `upscale_exactly`; otherwise that of eq 4.6, `upscale`, for noisy images.
      way: how a colour image's filters are chosen, one of `blade_tf.colour.WAYS`; by default the best for the model.

    Raises:
      ValueError: for an unknown model or way, a model of something else than an equation, or, when it is applied, as
        `upscale`.
    """

    sampling: Sampling
    model: str | os.PathLike[str] = DEFAULT_MODEL
    steps: int = DEFAULT_STEPS
    weight: float | None = None
    way: str | None = None

    def __post_init__(self) -> None:
        arguments.count("steps", self.steps)
        _check_weight(1 if self.weight is None else self.weight)
        _ = self.evolution

    @functools.cached_property
    def evolution(self) -> colour.Evolution:
        """The model."""
        return colour.Evolution(models.load_trained(self.model), self.way)

    def __call__(self, image: Any) -> tf.Tensor:
        """[N, factor h, factor w, C] from f, float [N, h, w, C]."""
        evolution = self.evolution
        if self.weight is None:
            return upscale_exactly(image, self.sampling, evolution.rate, evolution.gray.dt, self.steps)
        return upscale(image, self.sampling, evolution.rate, evolution.gray.dt, self.steps, self.weight)


def paper(factor: int = 4, position: float | None = None) -> Upscaler:
    """The paper's setting (figure 16): TV flow, a Gaussian of 0.4 high-resolution px, dt lambda = 0.35, ten steps."""
    sampling = gaussian(factor, 0.4, position)
    return Upscaler(sampling, "tv_flow_paper", 10, 0.35 * sampling.squared_norm)


def export(upscaler: Upscaler, output: str | os.PathLike[str], *, portable: bool = False, channels: int = 1) -> None:
    """Writes a SavedModel, float32 image [N, h, w, channels] -> output, with batch, height and width open.

    Args:
      upscaler: what it computes.
      output: a new folder; it appears only when complete.
      portable: use stock TensorFlow operations, so that the SavedModel loads without blade_tf.
      channels: 1 or 3.

    Raises:
      ValueError: if `output` exists, or for another number of channels.
    """
    if channels not in (1, colour.CHANNELS):
        raise ValueError(f"channels: expected 1 or {colour.CHANNELS}, got {channels!r}")
    signature = [image_spec(channels)]
    used = upscaler.evolution.gray if channels == 1 else upscaler.evolution.colour

    def serve(image: tf.Tensor) -> dict[str, Any]:
        return {"output": upscaler(image)}

    write_saved_model({"serving_default": (serve, signature)}, output, portable=portable, track=used)
