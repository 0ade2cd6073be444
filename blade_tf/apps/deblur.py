"""Deblurring, denoising and inpainting by trained regularisers (section 4.1), with settings that suit the noise level.

The equation with every number given is `blade_tf.apps.restoration.restore`; the folded form of eqs 4.4-4.5 is in
`blade_tf.apps.folded`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import os
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import arguments, colour, models, operators, ops
from blade_tf import export as export_lib
from blade_tf.apps import kernels
from blade_tf.apps.noise import check_level, estimate_noise, levels, noise_level
from blade_tf.apps.restoration import STEPS, balance, fill, restore

__all__ = [
    "NOISES",
    "PAPER",
    "REGULARISER",
    "STABLE",
    "STEPS",
    "TUNED",
    "Settings",
    "deblur",
    "export",
    "fill",
    "inpainting",
    "regulariser",
    "tuned",
]

REGULARISER = "perona_malik"
STRONG, STRONG_NOISE = "tv_flow", 12 / 255
STABLE = 1.9  # what dt lambda ||A||^2 may be at most where it is chosen here; from 2 on, explicit Euler diverges

# Best on the training photographs, see blade_tf.compare.deblur.tune: the noise in gray levels of 255; by the
# regulariser's equation and whether A blurs, by a Gaussian of 1 px, the time step in the regulariser's own and
# dt lambda ||A||^2.
NOISES = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0)
TUNED = {
    ("perona_malik", True): ((0.115, 0.296, 0.8, 1.0, 1.42, 5.062), (1.9, 1.9, 1.44, 0.639, 0.118, 0.165)),
    ("perona_malik", False): ((0.172, 0.322, 0.556, 0.87, 2.45, 5.062), (1.125, 0.75, 0.333, 0.222, 0.134, 0.066)),
    ("tv_flow", True): ((0.165, 0.444, 1.0, 1.25, 1.562, 2.45), (1.9, 1.875, 1.25, 0.556, 0.143, 0.0484)),
    ("tv_flow", False): ((0.247, 0.533, 1.0, 0.833, 1.953, 2.93), (1.125, 0.862, 0.417, 0.148, 0.107, 0.0499)),
}
PACE = 1.5  # at most, of other equations: from about 2 on, `ced_paper` explodes
SEPARATING = ("cahn_hilliard",)  # equations that are no diffusions: they make phases near 0 and 1 of an image
NO_BLUR, FULL_BLUR = 0.4, 1.0  # px: between them both are mixed; chosen on the training photographs, at 0.35 to 1 px


@dataclasses.dataclass(frozen=True)
class Settings:
    """The numbers of eq 4.2; None for what suits the problem, see `deblur`.

    Attributes:
      regulariser: a pretrained model's name, or a folder that training wrote.
      dt: length of a step, in the regulariser's unit; or a tensor [N, 1, 1, 1].
      weight: lambda; or a tensor [N, 1, 1, 1].
      steps: number of steps.
    """

    regulariser: str | os.PathLike[str] | None = None
    dt: Any = None
    weight: Any = None
    steps: int | None = None


PAPER = Settings("ced_paper", 0.5, 2.0, 10)


def _trained(name: str | os.PathLike[str]) -> models.Trained:
    try:
        trained = models.load_trained(name)
        trained.check_task("evolution")
    except ValueError as error:
        raise ValueError(f"regulariser: {str(error).removeprefix('model: ')}") from error
    if trained.config["pde"]["name"] in SEPARATING:
        raise ValueError(f"regulariser: expected a diffusion of images, got {str(name)!r}, which separates phases")
    return trained


@functools.lru_cache(maxsize=8)
def _shared(name: str, way: str | None, _: Any) -> colour.Evolution:
    with tf.init_scope():  # a graph that is being traced must not own the filters
        return colour.Evolution(_trained(name), way)


def regulariser(name: str | os.PathLike[str], way: str | None = None) -> colour.Evolution:
    """A trained model of TV flow, Perona-Malik or CED as a regulariser of gray and colour images.

    Args:
      name: a pretrained model's name, or a folder that training wrote.
      way: as of `blade_tf.colour.Evolution`.

    Raises:
      ValueError: for an unknown name, a model of another task than evolution, or one of Cahn-Hilliard's equation.
    """
    return _shared(str(name), way, models.version(name))


def tuned(noise: Any, blur: float = 1.0, regulariser: str | os.PathLike[str] | None = None) -> Settings:
    """The settings for a noise level that were best on training photographs.

    Interpolated in the logarithm of the noise level between those that were tried, 1 to 50 gray levels of 255, and
    between no blur, of at most 0.4 px, and one of 1 px; for wider blurs a good start.

    Args:
      noise: standard deviation of the noise, in [0, 1]: a number, or a tensor [N], one for each image.
      blur: the `kernels.width` of the kernel in pixels, 0 without.
      regulariser: a trained model's name or folder; by default "perona_malik", and "tv_flow" for numbers above
        `STRONG_NOISE`. Models of other equations than these two take the time step of the former in their own unit, of
        at most `PACE`.

    Raises:
      ValueError: for a noise level that is negative or not finite, or a model that `regulariser` refuses.
    """
    if not tf.is_tensor(noise):
        check_level(noise)
    if regulariser is None:
        regulariser = REGULARISER if tf.is_tensor(noise) or noise <= STRONG_NOISE else STRONG
    trained = _trained(regulariser)
    equation = trained.config["pde"]["name"]
    known = equation if (equation, True) in TUNED else REGULARISER
    share = min(max((blur - NO_BLUR) / (FULL_BLUR - NO_BLUR), 0.0), 1.0)
    paces, pulls = (
        tuple((1 - share) * a + share * b for a, b in zip(*pair, strict=True))
        for pair in zip(TUNED[known, False], TUNED[known, True], strict=True)
    )
    paces = paces if known == equation else tuple(min(pace, PACE) for pace in paces)
    logarithms = [math.log(level / 255) for level in NOISES]
    own = trained.spec["dt"]
    if tf.is_tensor(noise):
        at = tf.math.log(tf.clip_by_value(tf.cast(noise, tf.float32), NOISES[0] / 255, NOISES[-1] / 255))
        place = tf.math.add_n([tf.clip_by_value((at - a) / (b - a), 0, 1) for a, b in itertools.pairwise(logarithms)])

        def interpolated(values: tuple[float, ...]) -> tf.Tensor:
            spread = tf.nn.relu(1 - tf.abs(place[:, tf.newaxis] - tf.range(len(values), dtype=tf.float32)))
            return tf.reshape(tf.linalg.matvec(spread, tf.constant(values)), [-1, 1, 1, 1])

        dt = own * interpolated(paces)
        return Settings(regulariser, dt, interpolated(pulls) / dt, STEPS)
    at = math.log(max(noise, NOISES[0] / 255))
    dt = own * float(np.interp(at, logarithms, paces))
    return Settings(regulariser, dt, float(np.interp(at, logarithms, pulls)) / dt, STEPS)


def inpainting(regulariser: str | os.PathLike[str] = "ced") -> Settings:
    """The settings for unknown pixels of an image without noise: the regulariser's own time step, dt lambda 1."""
    trained = _trained(regulariser)
    return Settings(regulariser, trained.spec["dt"], 1 / trained.spec["dt"], 100)


def deblur(
    image: Any,
    kernel: Any = None,
    known: Any = None,
    noise: Any = None,
    settings: Settings = Settings(),
    discrepancy: bool = False,
    way: str | None = None,
) -> tf.Tensor:
    """Deblurring by a kernel, inpainting by a mask, both, or, with neither, denoising.

    What `settings` leave open is `inpainting`'s for a mask alone, else `tuned` to the noise level; a dt that is given
    leaves dt lambda as it was. In graphs a tensor of noise levels, estimated ones included, takes "perona_malik"; else
    each image of a batch is treated as if it were alone.

    Args:
      image: f, float [N, H, W, 1 or 3] in [0, 1].
      kernel: of the blur, as of `blade_tf.operators.blur`; borders are replicated. See `blade_tf.apps.kernels`.
      known: an array, 1 or True where a pixel is known, what broadcasts to f.
      noise: standard deviation, a number or a tensor [N]; by default `estimate_noise`.
      settings: the numbers of eq 4.2.
      discrepancy: find lambda by `balance`, with the settings' as the largest for their dt.
      way: how the filters of a colour image are chosen, as of `blade_tf.colour.Evolution`.

    Returns:
      u, of the image's shape; values are not clipped.

    Raises:
      ValueError: an image that is not float [N, H, W, 1 or 3], has no pixel, or NaN in what is known; a mask of other
        values than 0 and 1 or without any known pixel in an image or a channel; a noise level that is negative, or that
        no place of the image gives; and as `regulariser`, `restore`, `balance` and `blade_tf.operators.blur`.
    """
    if not isinstance(settings, Settings):
        raise ValueError(f"settings: expected Settings, got {type(settings).__name__}")
    f = arguments.images("image", image)
    noise = levels(noise, f)
    operator, start = operators.identity() if kernel is None else operators.blur(kernel), None
    if known is not None:
        mask = operators.mask(known)
        _check_mask(known, f)
        operator, f, start = mask @ operator, mask(f), fill(f, known)
    if tf.executing_eagerly() and not bool(tf.reduce_all(tf.math.is_finite(f))):
        raise ValueError("image: expected finite values where pixels are known, got NaN or infinity")
    if known is not None and kernel is None:
        defaults = inpainting(settings.regulariser or "ced")
    elif settings.dt is not None and settings.weight is not None:
        defaults = Settings(REGULARISER, steps=STEPS)
    else:
        noise = noise_level(f, known) if noise is None else noise
        if settings.regulariser is None and tf.is_tensor(noise) and tf.executing_eagerly():
            strong = (noise > STRONG_NOISE).numpy()
            if strong.any() and not strong.all():
                return _by_strength(strong, image, kernel, known, noise, settings, discrepancy, way)
            settings = dataclasses.replace(settings, regulariser=STRONG if strong.any() else REGULARISER)
        defaults = tuned(noise, _blur(kernel), settings.regulariser)
    found = _completed(settings, defaults, kernel, operator)
    rate = regulariser(found.regulariser or REGULARISER, way).rate
    if not discrepancy:
        return restore(f, operator, rate, found.dt, found.weight, found.steps, start)
    noise = noise_level(f, known) if noise is None else noise
    if (tf.executing_eagerly() or not tf.is_tensor(noise)) and not np.all(noise):
        raise ValueError("noise: expected a positive level for the discrepancy principle, got, or estimated, 0")
    # What is unknown has no noise: the root of the mean square over all pixels is less.
    share = 1.0
    if known is not None:
        there = tf.broadcast_to(tf.cast(known, f.dtype), tf.shape(f))
        share = tf.sqrt(tf.reduce_mean(there, [1, 2, 3]))
    return balance(f, operator, rate, noise * share, found.dt, found.dt * found.weight, found.steps, start)[0]


def _by_strength(
    strong: np.ndarray, image: Any, kernel: Any, known: Any, noise: tf.Tensor, settings: Settings, *rest: Any
) -> tf.Tensor:
    """`deblur` of the images of weak and of strong noise, two calls."""

    def part(value: Any, at: np.ndarray) -> Any:
        each = np.ndim(value) == 4 and np.shape(value)[0] == len(strong)
        return tf.gather(value, at) if each else value

    parts, places = [], [np.flatnonzero(~strong), np.flatnonzero(strong)]
    for at in places:
        own = dataclasses.replace(settings, dt=part(settings.dt, at), weight=part(settings.weight, at))
        parts.append(deblur(part(image, at), kernel, part(known, at), tf.gather(noise, at), own, *rest))
    return tf.gather(tf.concat(parts, 0), np.argsort(np.concatenate(places)))


def _blur(kernel: Any) -> float:
    return 0.0 if kernel is None else kernels.width(kernel)


def _check_mask(known: Any, f: tf.Tensor) -> None:
    shape = np.shape(known)
    sizes = zip(shape[::-1], f.shape[::-1], strict=False)
    if len(shape) > 4 or any(have not in (1, want) and want is not None for have, want in sizes):
        raise ValueError(f"known: expected what broadcasts to the image's {f.shape}, got {list(shape)}")
    there = np.reshape(known, [1] * (4 - len(shape)) + list(shape)).astype(bool).any((1, 2))
    if not there.all():
        n, c = np.argwhere(~there)[0]
        raise ValueError(
            f"known: expected at least one known pixel in each image and channel, got none in image {n}, channel {c}"
        )


def _pull(pull: Any, kernel: Any, operator: operators.Operator) -> Any:
    """dt lambda, for a kernel of sum 1, made one for this kernel that is stable at the borders too."""
    gain = 1.0 if kernel is None else float(np.abs(kernel).sum() ** 2)
    largest = STABLE / (operator.bound or gain)
    return tf.minimum(pull / gain, largest) if tf.is_tensor(pull) else min(pull / gain, largest)


def _completed(settings: Settings, defaults: Settings, kernel: Any, operator: operators.Operator) -> Settings:
    dt = defaults.dt if settings.dt is None else settings.dt
    dt = dt if tf.is_tensor(dt) else arguments.positive("dt", dt)
    weight = settings.weight
    if weight is None:
        weight = _pull(defaults.weight * defaults.dt, kernel, operator) / dt
    elif not tf.is_tensor(weight):
        weight = arguments.positive("weight", weight)
    steps = defaults.steps if settings.steps is None else settings.steps
    return Settings(settings.regulariser or defaults.regulariser, dt, weight, steps)


def export(
    output: str | os.PathLike[str],
    kernel: Any = None,
    regulariser: str | os.PathLike[str] = REGULARISER,
    *,
    portable: bool = False,
    channels: int = 1,
) -> None:
    """Writes a SavedModel with batch, height and width open.

    Signatures: `serving_default(image)` estimates each image's noise; `restore(image, noise)` is told it, float32 [N];
    `balance(image, noise)` finds lambda by the discrepancy principle; image: float32 [N, H, W, channels]. Outputs:
    "output" and "noise" or "weight" (lambda), [N].

    Args:
      output: a new folder; it appears only when complete.
      kernel: as of `deblur`.
      regulariser: a trained model's name or folder.
      portable: use stock TensorFlow operations, so that the SavedModel loads without blade_tf.
      channels: 1 or 3.

    Raises:
      ValueError: if `output` exists, for other channels, an unknown model, or a kernel that makes no sense.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels: expected 1 or 3, got {channels!r}")
    evolution = _shared(str(regulariser), None, models.version(regulariser))
    operator = operators.identity() if kernel is None else operators.blur(kernel)
    image = export_lib.image_spec(channels)
    level = tf.TensorSpec([None], tf.float32, "noise")

    def restored(image: tf.Tensor, noise: tf.Tensor) -> dict[str, Any]:
        noise = ops.of_shape("noise", noise, "[N]", image, 1)
        settings = tuned(noise, _blur(kernel), regulariser)
        pull = _pull(settings.weight * settings.dt, kernel, operator)
        u = restore(image, operator, evolution.rate, settings.dt, pull / settings.dt)
        return {"output": u, "noise": noise}

    def serve(image: tf.Tensor) -> dict[str, Any]:
        return restored(image, estimate_noise(image))

    def balanced(image: tf.Tensor, noise: tf.Tensor) -> dict[str, Any]:
        noise = ops.of_shape("noise", noise, "[N]", image, 1)
        u, weight = balance(image, operator, evolution.rate, noise, evolution.gray.dt, _pull(1.0, kernel, operator))
        return {"output": u, "weight": weight}

    endpoints: export_lib.Endpoints = {
        "serving_default": (serve, [image]),
        "restore": (restored, [image, level]),
        "balance": (balanced, [image, level]),
    }
    track = tf.Module()
    track.models = [evolution.gray, evolution.colour]
    export_lib.write_saved_model(endpoints, output, portable=portable, track=track)
