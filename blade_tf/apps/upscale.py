"""Upscaling by any integer factor (section 4.2): a trained regulariser fills in what sampling has lost.

A low-resolution image is f = A u (+ noise), A u = down(phi * u), of the image u that is sought, phi the point spread
function. `upscale` (eq 4.6) draws the evolving image towards those that explain f; `upscale_exactly` (eq 4.7) never
leaves them. `Upscaler` is either with a trained model. Where factor and PSF are those that stages of BLADE were trained
for, `load` and `best` give them instead, a `blade_tf.upscaling.UpscaleModel`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import arguments, colour, integrate, models, operators
from blade_tf.export import image_spec, write_saved_model
from blade_tf.interpolation import interpolate
from blade_tf.sampling import LEAST_CONDITION, Sampling, gaussian, within_reflection
from blade_tf.upscaling import UpscaleModel

__all__ = [
    "DEFAULT_MODEL",
    "DEFAULT_STEPS",
    "TASK",
    "Sampling",
    "Upscaler",
    "best",
    "export",
    "gaussian",
    "load",
    "paper",
    "upscale",
    "upscale_exactly",
]

Rate = Callable[[tf.Tensor], tf.Tensor]

# On the training photographs at most 0.1 dB behind `ced`, the best; a rate of its costs a sixth.
DEFAULT_MODEL = "ced_convex"
DEFAULT_STEPS = 20
TASK = "upscaling"


def upscale(
    image: Any, sampling: Sampling, rate: Rate, dt: float, steps: int = 10, relaxation: float = 1.0
) -> tf.Tensor:
    """Upscaling by eq 4.6: `u' = u + dt (R(u) + lambda A^T (f - A u))` from the Lanczos interpolation of f.

    The image is extended by reflection beforehand and cut out again.

    Args:
      image: f, float [N, h, w, C].
      sampling: A.
      rate: R, u -> du/dt: `EvolutionModel.rate` or `colour.Evolution.rate` of a trained model, or any other.
      dt: length of a step, in the rate's unit.
      steps: number of steps.
      relaxation: dt lambda ||A||^2, in (0, 2), that of Landweber's iteration: the part of the residual that a step
        removes where A sees most. Beyond 1 it overshoots, from 2 on it diverges. lambda grows as 1 / ||A||^2, about
        factor^2, for an equal pull.

    Returns:
      [N, factor h, factor w, C] of the same dtype.

    Raises:
      ValueError: an image that is not float [N, h, w, C], no pixels, an image smaller than the kernel even when
        extended (tf.errors.InvalidArgumentError where sizes are unknown before a graph runs), a dt that is not
        positive, a negative number of steps, or a relaxation outside of (0, 2).
    """
    relaxation = _check_relaxation(relaxation)
    dt, steps = arguments.positive("dt", dt), arguments.count("steps", steps)

    def evolve(f: tf.Tensor) -> tf.Tensor:
        pull = operators.data_term(sampling.operator(), f, relaxation / (dt * sampling.squared_norm))
        start = interpolate(f, sampling.factor, sampling.position)
        return integrate.evolve(integrate.euler(integrate.sum_rates(rate, pull), dt), start, steps)

    return within_reflection(image, sampling.factor, evolve, sampling.margin)


def upscale_exactly(image: Any, sampling: Sampling, rate: Rate, dt: float, steps: int = 10) -> tf.Tensor:
    """Upscaling by eq 4.7: `u' = u + dt P0 R(u)`, from a start that satisfies f = A u; every u then does.

    The start is Lanczos interpolation l with the least change that satisfies f: l + A^+ (f - A l). P0 is the orthogonal
    projection on {u : A u = 0}. The image is extended by reflection beforehand and cut out again, so f = A u holds for
    the low-resolution pixels that do not see beyond the border, and for the others with the image's continuation.

    Args:
      image: f, float [N, h, w, C], free of noise: A^+ makes it up to `sampling.condition`^(-1/2) as large.
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

    def evolve(f: tf.Tensor) -> tf.Tensor:
        explaining = sampling.explaining(f)
        # A u = f: that of u + dt R(u) is u + dt P0 R(u), without rounding errors that add up.
        step = integrate.euler(rate, dt)
        start = explaining(interpolate(f, sampling.factor, sampling.position))
        return integrate.evolve(lambda u: explaining(step(u)), start, steps)

    return within_reflection(image, sampling.factor, evolve, sampling.margin)


def _check_relaxation(relaxation: Any) -> float:
    relaxation = arguments.positive("relaxation", relaxation)
    if relaxation >= 2:
        raise ValueError(f"relaxation: expected less than 2, where the data term's steps diverge, got {relaxation:g}")
    return relaxation


@dataclasses.dataclass(frozen=True)
class Upscaler:
    """Upscaling with a trained model as the regulariser: a function of images [N, h, w, 1 or 3].

    Attributes:
      sampling: A.
      model: what `blade_tf.models.load_trained` takes, of an equation.
      steps: number of steps of the model's own dt; more of them make longer, smoother edges.
      relaxation: None for eq 4.7, `upscale_exactly`; otherwise that of eq 4.6, `upscale`, for noisy images.
      way: how a colour image's filters are chosen, one of `blade_tf.colour.WAYS`; by default the best for the model.

    Raises:
      ValueError: for an unknown model or way, a model of something else than an equation, or no relaxation where
        the sampling's `condition` is below 1e-4 (Gaussians from 0.74 low-resolution px on), as eq 4.7 then makes noise
        of what 8 bits round away; when it is applied, as `upscale`.
    """

    sampling: Sampling
    model: str | os.PathLike[str] = DEFAULT_MODEL
    steps: int = DEFAULT_STEPS
    relaxation: float | None = None
    way: str | None = None

    def __post_init__(self) -> None:
        arguments.count("steps", self.steps)
        _check_relaxation(1 if self.relaxation is None else self.relaxation)
        if self.relaxation is None and self.sampling.condition < LEAST_CONDITION:
            raise ValueError(
                f"sampling: expected a condition of at least {LEAST_CONDITION:g} without a relaxation, got "
                f"{self.sampling.condition:.1g}: its blur is too wide for eq 4.7; a relaxation, such as 1, gives eq 4.6"
            )
        _ = self.evolution

    @functools.cached_property
    def evolution(self) -> colour.Evolution:
        """The model."""
        return colour.Evolution(models.load_trained(self.model), self.way)

    def __call__(self, image: Any) -> tf.Tensor:
        """[N, factor h, factor w, C] from f, float [N, h, w, C], C 1 or 3."""
        evolution = self.evolution
        if self.relaxation is None:
            return upscale_exactly(image, self.sampling, evolution.rate, evolution.gray.dt, self.steps)
        return upscale(image, self.sampling, evolution.rate, evolution.gray.dt, self.steps, self.relaxation)


def paper(factor: int = 4, position: float | None = None) -> Upscaler:
    """The paper's setting (figure 16): TV flow, a Gaussian of 0.4 high-resolution px, dt lambda = 0.35, ten steps."""
    sampling = gaussian(factor, 0.4, position)
    return Upscaler(sampling, "tv_flow_paper", 10, 0.35 * sampling.squared_norm)


def _same(a: Sampling, b: Sampling) -> bool:
    alike = (a.factor, a.offset, a.kernel.shape) == (b.factor, b.offset, b.kernel.shape)
    return alike and np.allclose(a.kernel, b.kernel, atol=1e-6)


def load(model: str | os.PathLike[str], sampling: Sampling | None = None) -> UpscaleModel:
    """Stages of BLADE that were trained to upscale, a function of images [N, h, w, C] free of noise.

    Args:
      model: a pretrained model's name, such as "upscale_x2", or a folder that training wrote.
      sampling: how the images come about; by default as the model's examples did.

    Raises:
      ValueError: for an unknown name, a model that was trained for something else, or a sampling that is not its own.
    """
    loaded = models.load_task(model, TASK)
    if sampling is not None and not _same(sampling, loaded.sampling):
        position, size = abs(round(sampling.position[0], 9)), " x ".join(map(str, sampling.kernel.shape))
        raise ValueError(
            f"sampling: expected factor {loaded.factor}, sigma {loaded.sigma:g} and position {loaded.position:g}, in "
            f"high-resolution pixels, which {str(model)!r} was trained for, got factor {sampling.factor}, position "
            f"{position:g} and a kernel of {size} pixels"
        )
    return loaded


def best(sampling: Sampling) -> Upscaler | UpscaleModel:
    """What comes nearest to the truth on images free of noise: the pretrained stages for this sampling, where there are
    any, else eq 4.7 with the default model, or, where the blur is too wide for it, eq 4.6 with a relaxation of 1.
    """
    for name in models.pretrained_names(TASK):
        loaded = models.load_task(name, TASK)
        if _same(sampling, loaded.sampling):
            return loaded
    return Upscaler(sampling, relaxation=None if sampling.condition >= LEAST_CONDITION else 1.0)


def export(
    upscaler: Upscaler | UpscaleModel,
    output: str | os.PathLike[str],
    *,
    portable: bool = False,
    channels: int = 1,
) -> None:
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
    used: Any = upscaler
    if isinstance(upscaler, Upscaler):
        used = upscaler.evolution.gray if channels == 1 else upscaler.evolution.colour

    def serve(image: tf.Tensor) -> dict[str, Any]:
        return {"output": upscaler(image)}

    write_saved_model({"serving_default": (serve, signature)}, output, portable=portable, track=used)
