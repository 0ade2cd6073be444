"""Restoration of f = A u + noise (section 4.1): deblurring, denoising and inpainting by a trained regulariser.

`restore` is the equation (4.2) with every number given; `deblur` chooses them by the noise level; `balance` finds lambda by
the discrepancy principle. The folded form, eqs 4.4-4.5, is in `blade_tf.apps.folded`.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import arguments, colour, integrate, models, operators, ops
from blade_tf import export as export_lib
from blade_tf import image as image_lib

__all__ = [
    "INPAINTING",
    "PAPER",
    "Settings",
    "balance",
    "deblur",
    "estimate_noise",
    "export",
    "fill",
    "regulariser",
    "restore",
    "squared_norm",
    "tuned",
]

Rate = Callable[[tf.Tensor], tf.Tensor]

REGULARISER = "perona_malik"
STRONG_NOISE = 12 / 255
STEPS = 20
HALVINGS = 8  # of a range of 10^4: lambda to 2 %
LONGEST = 2.0  # the regulariser's own time steps in one, where noise is strong

# Best on the training photographs, found by blade_tf.compare.deblur.tune: noise in gray levels of 255, the time step in the
# regulariser's own, dt lambda.
NOISES = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0)
TUNED: dict[str, dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "perona_malik": {
        "blur": ((0.132, 0.296, 0.8, 1.0, 1.875, 3.0), (1.9, 1.9, 1.25, 0.556, 0.206, 0.1)),
        "identity": ((0.132, 0.296, 0.8, 1.0, 1.875, 3.0), (1.0, 1.0, 1.0, 0.556, 0.206, 0.1)),
    },
    "tv_flow": {
        "blur": ((0.165, 0.444, 1.0, 1.25, 1.562, 2.0), (1.9, 1.875, 1.25, 0.556, 0.143, 0.1)),
        "identity": ((0.165, 0.444, 1.0, 1.25, 1.562, 2.0), (1.0, 1.0, 1.0, 0.556, 0.143, 0.1)),
    },
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The numbers of eq 4.2.

    Attributes:
      regulariser: a pretrained model's name, or a folder that training wrote.
      dt: length of a step, in the regulariser's unit; or a tensor [N, 1, 1, 1].
      weight: lambda; or a tensor [N, 1, 1, 1].
      steps: number of steps.
    """

    regulariser: str
    dt: Any
    weight: Any
    steps: int = STEPS


PAPER = Settings("ced_paper", 0.5, 2.0, 10)
INPAINTING = Settings("ced", 0.5, 2.0, 100)


def estimate_noise(f: Any, known: Any = None) -> tf.Tensor:
    """The standard deviation of white Gaussian noise in each image: a median absolute deviation (Donoho, Johnstone).

    `sigma = median |f * L| / (6 * 0.6745)`, L = [1 -2 1; -2 4 -2; 1 -2 1] (Immerkaer's, the diagonal band of linear spline
    wavelets), of norm 6, which neither constants nor straight slopes excite. Blurred photographs leave the noise alone
    there. Fine texture does not: of sharp photographs it is overestimated, by about one gray level of 255 where there is
    little noise and up to seven. What correlates noise between pixels, such as JPEG, scaling or denoising, makes it
    underestimate.

    Args:
      f: float [N, H, W, C], H and W at least 3.
      known: where pixels are known, what broadcasts to f; only where all of L's pixels are is it asked.

    Returns:
      [N] of f's dtype; infinity where no response is known.

    Raises:
      TypeError: if f is not float.
      ValueError: another rank, or fewer than 3 x 3 pixels.

    Source: Donoho, Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81, 1994; Immerkaer, "Fast
    noise variance estimation", Computer Vision and Image Understanding 64, 1996.
    """
    f = ops.image_tensor(f)
    if any(size is not None and size < 3 for size in f.shape[1:3]):
        raise ValueError(f"f: expected at least 3 x 3 pixels to estimate noise from, got {f.shape}")
    asked = tf.ones_like(f) if known is None else tf.broadcast_to(tf.cast(known, f.dtype), tf.shape(f))
    f = tf.where(asked > 0, f, tf.zeros_like(f))
    f = f[:, :-2] - 2 * f[:, 1:-1] + f[:, 2:]
    f = f[:, :, :-2] - 2 * f[:, :, 1:-1] + f[:, :, 2:]
    asked = asked[:, :-2] * asked[:, 1:-1] * asked[:, 2:]
    asked = asked[:, :, :-2] * asked[:, :, 1:-1] * asked[:, :, 2:]
    responses = tf.reshape(tf.where(asked > 0, tf.abs(f), tf.constant(math.inf, f.dtype)), [tf.shape(f)[0], -1])
    count = tf.reduce_sum(tf.cast(asked > 0, tf.int32), [1, 2, 3])
    median = tf.gather(tf.sort(responses, axis=1), count // 2, axis=1, batch_dims=1)
    return median / (6 * 0.6745)


def regulariser(name: str | os.PathLike[str], way: str | None = None) -> colour.Evolution:
    """A trained model as a regulariser of gray and colour images: what `blade_tf.models.load_trained` takes.

    Args:
      name: a pretrained model's name, or a folder that training wrote.
      way: as of `blade_tf.colour.Evolution`.
    """
    return colour.Evolution(models.load_trained(name), way)


def tuned(noise: Any, blurred: bool = True, regulariser: str | None = None) -> Settings:
    """The settings for a noise level that were best on training photographs.

    Interpolated in the logarithm of the noise level between those that were tried, 1 to 50 gray levels of 255, with a blur
    by a Gaussian of 1 px or none; for other blurs a good start.

    Args:
      noise: standard deviation of the noise, in [0, 1]: a number, or a tensor [N], one for each image.
      blurred: whether A blurs.
      regulariser: a trained model's name or folder; by default "perona_malik", and "tv_flow" for numbers above
        `STRONG_NOISE`. Models of other equations than these two take the time step of the former in their own unit.

    Raises:
      ValueError: for a noise level that is negative or not finite, or an unknown model.
    """
    if not tf.is_tensor(noise) and (isinstance(noise, bool) or not 0 <= noise < math.inf):
        raise ValueError(f"noise: expected a standard deviation of at least 0, got {noise!r}")
    if regulariser is None:
        regulariser = REGULARISER if tf.is_tensor(noise) or noise <= STRONG_NOISE else "tv_flow"
    trained = models.load_trained(regulariser)
    paces, pulls = TUNED.get(trained.config["pde"]["name"], TUNED[REGULARISER])["blur" if blurred else "identity"]
    levels = [math.log(level / 255) for level in NOISES]
    own = trained.spec["dt"]
    if tf.is_tensor(noise):
        at = tf.math.log(tf.clip_by_value(tf.cast(noise, tf.float32), NOISES[0] / 255, NOISES[-1] / 255))
        place = tf.math.add_n([tf.clip_by_value((at - a) / (b - a), 0, 1) for a, b in zip(levels, levels[1:], strict=False)])

        def interpolated(values: tuple[float, ...]) -> tf.Tensor:
            spread = tf.nn.relu(1 - tf.abs(place[:, tf.newaxis] - tf.range(len(values), dtype=tf.float32)))
            return tf.reshape(tf.linalg.matvec(spread, tf.constant(values)), [-1, 1, 1, 1])

        dt = own * interpolated(paces)
        return Settings(regulariser, dt, interpolated(pulls) / dt)
    at = math.log(max(noise, NOISES[0] / 255))
    dt = own * float(np.interp(at, levels, paces))
    return Settings(regulariser, dt, float(np.interp(at, levels, pulls)) / dt)


def squared_norm(operator: operators.Operator, u: Any, iterations: int = 8) -> float:
    """||A||^2 on images of the shape of u, the largest eigenvalue of A^T A, by power iteration: an estimate from below."""
    u = ops.image_tensor(u)
    v = 1 + tf.random.stateless_normal(tf.shape(u), (0, 0), dtype=u.dtype)
    found = 0.0
    for _ in range(iterations):
        v = tf.math.divide_no_nan(v, tf.norm(v))
        blurred = operator(v)
        found, v = float(tf.reduce_sum(tf.square(blurred))), operator.adjoint(blurred)
    return found


def _check_stable(operator: operators.Operator, u: tf.Tensor, dt: Any, weight: Any) -> None:
    if not tf.executing_eagerly() or tf.is_tensor(dt) or tf.is_tensor(weight) or not tf.size(u):
        return
    limit = 2 / max(dt * squared_norm(operator, u), 1e-30)
    if weight >= limit:
        raise ValueError(
            f"weight: expected less than 2 / (dt ||A||^2) = {limit:.4g}, where explicit Euler diverges, got {weight:g}"
        )


def restore(
    f: Any,
    operator: operators.Operator,
    rate: Rate,
    dt: Any,
    weight: Any,
    steps: Any = STEPS,
    start: Any = None,
    method: str = "euler",
) -> tf.Tensor:
    """Eq 4.2: `u' = u + dt (R(u) + lambda A^T (f - A u))`, u(0) = f.

    Stable if dt lambda ||A||^2 < 2 and dt is at most the regulariser's own; up to twice that works as a rule. dt lambda
    of 1 removes in one step what A lets through of the residual.

    Args:
      f: what was observed, float [N, H, W, C].
      operator: A; it must keep an image's shape unless `start` is given.
      rate: R, u -> du/dt: `EvolutionModel.rate` or `colour.Evolution.rate` of a trained model, or any other.
      dt: length of a step in the rate's unit, a number or a tensor [N, 1, 1, 1].
      weight: lambda, likewise.
      steps: number of steps.
      start: u(0); f by default.
      method: one of `blade_tf.integrate.INTEGRATORS`.

    Returns:
      u after these steps; values are not clipped.

    Raises:
      TypeError: f is not float.
      ValueError: another rank; a dt or weight that is not positive; dt weight ||A||^2 of 2 or more (checked eagerly and
        for numbers alone); a kernel larger than the image.
    """
    f = ops.image_tensor(f)
    u = f if start is None else ops.image_tensor(start)
    dt = dt if tf.is_tensor(dt) else arguments.positive("dt", dt)
    weight = weight if tf.is_tensor(weight) else arguments.positive("weight", weight)
    if method not in integrate.INTEGRATORS:
        raise ValueError(f"method: expected one of {sorted(integrate.INTEGRATORS)}, got {method!r}")
    steps = steps if tf.is_tensor(steps) else arguments.count("steps", steps)
    _check_stable(operator, u, dt, weight)
    total = integrate.sum_rates(rate, operators.data_term(operator, f, weight))
    return integrate.evolve(integrate.INTEGRATORS[method](total, dt), u, steps)


def _noise_of(f: tf.Tensor, noise: Any, known: Any = None) -> tf.Tensor:
    if noise is None:
        return estimate_noise(f, known)
    if not tf.is_tensor(noise) and (isinstance(noise, bool) or not 0 <= noise < math.inf):
        raise ValueError(f"noise: expected a standard deviation of at least 0, got {noise!r}")
    return tf.broadcast_to(tf.cast(noise, f.dtype), tf.shape(f)[:1])


def balance(
    f: Any,
    operator: operators.Operator,
    rate: Rate,
    noise: Any,
    dt: Any,
    pull: Any = 1.0,
    steps: Any = STEPS,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Eq 4.2 with lambda by the discrepancy principle (Morozov): ||A u - f||^2 = N sigma^2, for each image.

    The residual falls as lambda grows, so bisection of log lambda finds it, in [1e-2, 1e2] pull / dt; beyond, the nearer
    end is the result. A lambda above pull / dt shortens the time step to pull / lambda, which keeps it stable.

    Args:
      f: float [N, H, W, C].
      operator: A.
      rate: R.
      noise: sigma, a number or a tensor [N]: the root of the mean square over all pixels of f.
      dt: the longest time step.
      pull: the largest dt lambda, below 2 / ||A||^2.
      steps: number of steps.

    Returns:
      u, and lambda [N].

    Raises:
      ValueError: a noise level that is not positive, and as `restore`.
    """
    f = ops.image_tensor(f)
    if not tf.is_tensor(noise):
        noise = arguments.positive("noise", noise)
    sigma = _noise_of(f, noise)
    most = tf.cast(pull, f.dtype) / tf.cast(dt, f.dtype) * tf.ones_like(sigma)[:, None, None, None]
    if not tf.is_tensor(dt) and not tf.is_tensor(pull):
        _check_stable(operator, f, arguments.positive("dt", dt), arguments.positive("pull", pull) / dt)

    def solve(weight: tf.Tensor) -> tf.Tensor:
        return restore(f, operator, rate, tf.cast(dt, f.dtype) * tf.minimum(most / weight, 1), weight, steps)

    def halve(low: tf.Tensor, high: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, ...]:
        weight = most * tf.exp((low + high) / 2)
        u = solve(weight)
        residual = tf.reduce_mean(tf.square(operator(u) - f), [1, 2, 3], keepdims=True)
        too_smooth = residual > tf.square(sigma)[:, None, None, None]
        middle = (low + high) / 2
        return tf.where(too_smooth, middle, low), tf.where(too_smooth, high, middle), weight, u

    edge = tf.constant(math.log(100), f.dtype) * tf.ones_like(most)
    loop = (-edge, edge, most, f)
    _, _, weight, u = tf.while_loop(lambda *_: tf.constant(True), halve, loop, maximum_iterations=HALVINGS)
    return u, weight[:, 0, 0, 0]


def fill(f: Any, known: Any) -> tf.Tensor:
    """Fills unknown pixels with Gaussian means of known ones, of the smallest scale that finds any: a start for inpainting.

    Args:
      f: float [N, H, W, C]; what is unknown may be NaN.
      known: 1 or True where a pixel is known, what broadcasts to f.
    """
    f = ops.image_tensor(f)
    there = tf.broadcast_to(tf.cast(known, f.dtype), tf.shape(f))
    seen = tf.where(there > 0, f, tf.zeros_like(f))
    u = tf.math.divide_no_nan(*(tf.reduce_sum(t, [1, 2], keepdims=True) for t in (seen, there))) + tf.zeros_like(f)
    for sigma in (32.0, 8.0, 2.0, 0.7):
        share = image_lib.gaussian_smooth(there, sigma)
        # A tenth of a Gaussian's mass is about what one pixel within sigma of 2 px has.
        mean = tf.math.divide_no_nan(image_lib.gaussian_smooth(seen, sigma), share)
        u = tf.where(share > 0.03, mean, u)
    return tf.where(there > 0, f, u)


def deblur(
    image: Any,
    kernel: Any = None,
    known: Any = None,
    noise: Any = None,
    settings: Settings | None = None,
    way: str | None = None,
) -> tf.Tensor:
    """Deblurring by a kernel, inpainting by a mask, both, or, with neither, denoising; with settings that suit.

    These are `INPAINTING` for a mask alone, else `tuned` to the noise level. What is known of an inpainted image changes
    by less than the noise.

    Args:
      image: f, float [N, H, W, 1 or 3] in [0, 1].
      kernel: of the blur, as of `blade_tf.operators.blur`; borders are replicated. See `blade_tf.apps.kernels`.
      known: 1 or True where a pixel is known, what broadcasts to f.
      noise: standard deviation, a number or a tensor [N]; by default `estimate_noise`.
      settings: the numbers of eq 4.2 instead.
      way: how the filters of a colour image are chosen, as of `blade_tf.colour.Evolution`.

    Returns:
      u, of the image's shape; values are not clipped.

    Raises:
      ValueError: an image with NaN in what is known; a mask of other values than 0 and 1 or without any known pixel; a
        noise level that is negative, or that no place of the image gives; and as `restore` and
        `blade_tf.operators.blur`.
    """
    f = ops.image_tensor(image)
    operator, start = operators.identity() if kernel is None else operators.blur(kernel), None
    if known is not None:
        mask = operators.mask(known)
        operator, f, start = mask @ operator, mask(f), fill(f, known)
    if tf.executing_eagerly() and not bool(tf.reduce_all(tf.math.is_finite(f))):
        raise ValueError("image: expected finite values where pixels are known, got NaN or infinity")
    if settings is None and known is not None and kernel is None:
        settings = INPAINTING
    if settings is None:
        settings = tuned(_level(f, noise, known), kernel is not None)
    evolution = regulariser(settings.regulariser, way)
    return restore(f, operator, evolution.rate, settings.dt, settings.weight, settings.steps, start)


def _level(f: tf.Tensor, noise: Any, known: Any) -> Any:
    """The noise level: a number where it is one for all images, so that all settings may depend on it."""
    if noise is not None:
        return noise
    found = estimate_noise(f, known)
    if not tf.executing_eagerly():
        return found
    if not bool(tf.reduce_all(tf.math.is_finite(found))):
        raise ValueError("noise: no 3 x 3 pixels are known to estimate it from; state the noise level")
    return float(found[0]) if len(found) == 1 else found


def export(
    output: str | os.PathLike[str],
    kernel: Any = None,
    *,
    regulariser_name: str = REGULARISER,
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
      regulariser_name: as of `regulariser`.
      portable: use stock TensorFlow operations, so that the SavedModel loads without blade_tf.
      channels: 1 or 3.

    Raises:
      ValueError: if `output` exists, for other channels, an unknown model, or a kernel that makes no sense.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels: expected 1 or 3, got {channels!r}")
    evolution = regulariser(regulariser_name)
    operator = operators.identity() if kernel is None else operators.blur(kernel)
    image = tf.TensorSpec([None, None, None, channels], tf.float32, "image")
    level = tf.TensorSpec([None], tf.float32, "noise")

    def restored(image: tf.Tensor, noise: tf.Tensor) -> dict[str, Any]:
        settings = tuned(noise, kernel is not None, regulariser_name)
        u = restore(image, operator, evolution.rate, settings.dt, settings.weight)
        return {"output": u, "noise": noise}

    def serve(image: tf.Tensor) -> dict[str, Any]:
        return restored(image, estimate_noise(image))

    def balanced(image: tf.Tensor, noise: tf.Tensor) -> dict[str, Any]:
        u, weight = balance(image, operator, evolution.rate, noise, LONGEST * evolution.gray.dt)
        return {"output": u, "weight": weight}

    endpoints: export_lib.Endpoints = {
        "serving_default": (serve, [image]),
        "restore": (restored, [image, level]),
        "balance": (balanced, [image, level]),
    }
    track = tf.Module()
    track.models = [evolution.gray, evolution.colour]  # type: ignore[attr-defined]
    export_lib.write_saved_model(endpoints, output, portable=portable, track=track)
