"""Upscaling beside interpolation and iterated back-projection."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.ndimage
import tensorflow as tf

from blade_tf import report
from blade_tf.apps import upscale
from blade_tf.apps.interpolation import cubic, interpolate
from blade_tf.compare.findings import Findings, Table
from blade_tf.compare.restored import mean_scores, photographs

__all__ = ["PROBLEMS", "Problem", "Tuned", "back_projection", "compare", "cubic_spline", "tune"]

CROP = 8
BEST_MODEL = "ced"
SHOWN = ("kodim14", 200, 300)  # the paper's photograph, and where its picture is cut out
WINDOW = (160, 240)

Method = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What `tune` chooses.

    Attributes:
      back_projections: of `back_projection`.
      steps, weight: of eq 4.6 with the default model.
      exact_steps: of eq 4.7 with the default model.
      best_steps: of eq 4.7 with `BEST_MODEL`.
    """

    back_projections: int
    steps: int
    weight: float
    exact_steps: int
    best_steps: int


@dataclasses.dataclass(frozen=True)
class Problem:
    """A degradation: its title, the sampling, and the parameters tuned for it."""

    title: str
    sampling: upscale.Sampling
    tuned: Tuned


# By tune() on six of the training photographs, 384 x 288 from their centres.
PROBLEMS = (
    Problem("x4, PSF 0.4 high-resolution px", upscale.gaussian(4, 0.4, 0), Tuned(1, 20, 1.0, 20, 40)),
    Problem("x2, PSF 0.4 high-resolution px", upscale.gaussian(2, 0.4, 0), Tuned(1, 20, 1.0, 20, 40)),
    Problem("x4, PSF 0.4 low-resolution px", upscale.gaussian(4, 1.6), Tuned(1, 20, 1.0, 20, 40)),
    Problem("x3, PSF 0.4 low-resolution px", upscale.gaussian(3, 1.2), Tuned(1, 20, 1.0, 20, 40)),
    Problem("x2, PSF 0.4 low-resolution px", upscale.gaussian(2, 0.8), Tuned(1, 20, 1.0, 20, 40)),
)
CHOICES = {"back_projections": (0, 1, 2, 4, 8, 16), "steps": (5, 10, 20, 40), "weight": (1.0, 1.5)}


def cubic_spline(image: np.ndarray, sampling: upscale.Sampling) -> np.ndarray:
    """The cubic spline through the pixels of f [h, w, C], by scipy.ndimage, mirrored at the borders."""
    grids = [
        (np.arange(sampling.factor * size) - at) / sampling.factor
        for size, at in zip(image.shape[:2], sampling.position, strict=True)
    ]
    places = np.meshgrid(*grids, indexing="ij")
    channels = [scipy.ndimage.map_coordinates(c, places, order=3, mode="reflect") for c in np.moveaxis(image, -1, 0)]
    return np.stack(channels, axis=-1)


def back_projection(image: np.ndarray, sampling: upscale.Sampling, steps: int) -> np.ndarray:
    """Iterated back-projection: `u' = u + p(f - A u)` from u = p(f), p bicubic interpolation; f [h, w, C].

    Source: Irani, Peleg, "Improving resolution by image registration", CVGIP: Graphical Models and Image Processing 53,
    1991.
    """
    operator = sampling.operator("replicate")
    f = tf.constant(image[np.newaxis])
    u = interpolate(f, sampling.factor, sampling.position, cubic(-0.5), 2)
    for _ in range(steps):
        u += interpolate(f - operator(u), sampling.factor, sampling.position, cubic(-0.5), 2)
    return u[0].numpy()


def _on_arrays(function: Callable[[tf.Tensor], tf.Tensor]) -> Method:
    graph = tf.function(function, reduce_retracing=True)
    return lambda image: graph(tf.constant(image[np.newaxis]))[0].numpy()


def _methods(problem: Problem) -> dict[str, Method]:
    sampling, tuned = problem.sampling, problem.tuned
    factor, position = sampling.factor, sampling.position
    paper = 0.35 * sampling.squared_norm
    return {
        "bicubic, a = -0.5 (Pillow's)": _on_arrays(lambda f: interpolate(f, factor, position, cubic(-0.5), 2)),
        "bicubic, a = -0.75 (OpenCV's)": _on_arrays(lambda f: interpolate(f, factor, position, cubic(-0.75), 2)),
        "Lanczos-3": _on_arrays(lambda f: interpolate(f, factor, position)),
        "cubic spline (scipy)": lambda f: cubic_spline(f, sampling),
        "iterated back-projection, tuned": lambda f: back_projection(f, sampling, tuned.back_projections),
        "eq 4.7's start alone": _on_arrays(upscale.Upscaler(sampling, steps=0)),
        "eq 4.6, the paper's TV flow": _on_arrays(upscale.Upscaler(sampling, "tv_flow_paper", 10, paper)),
        "eq 4.6, tuned": _on_arrays(upscale.Upscaler(sampling, steps=tuned.steps, weight=tuned.weight)),
        "eq 4.7, default": _on_arrays(upscale.Upscaler(sampling)),
        "eq 4.7, tuned": _on_arrays(upscale.Upscaler(sampling, steps=tuned.exact_steps)),
        f"eq 4.7, {BEST_MODEL}, tuned": _on_arrays(upscale.Upscaler(sampling, BEST_MODEL, tuned.best_steps)),
    }


def _degraded(image: np.ndarray, sampling: upscale.Sampling) -> tuple[np.ndarray, np.ndarray]:
    """f and u [H, W, C], u cut to sizes that the factor divides."""
    height, width = (size - size % sampling.factor for size in image.shape[:2])
    u = image[:height, :width]
    return sampling.operator("replicate")(u[np.newaxis])[0].numpy(), u


def tune(images: Sequence[np.ndarray], problem: Problem) -> Tuned:
    """The parameters of the highest mean PSNR among `CHOICES` on photographs [H, W, C]."""
    sampling = problem.sampling
    pairs = [_degraded(image, sampling) for image in images]

    def best(methods: Mapping[Any, Method]) -> Any:
        scores = mean_scores({str(key): method for key, method in methods.items()}, pairs, CROP, problem.title)
        return max(methods, key=lambda key: scores[str(key)][:, 0].mean())

    def exact(model: str) -> int:
        return best({k: _on_arrays(upscale.Upscaler(sampling, model, k)) for k in CHOICES["steps"]})

    both = [(k, w) for k in CHOICES["steps"] for w in CHOICES["weight"]]
    steps, weight = best({(k, w): _on_arrays(upscale.Upscaler(sampling, steps=k, weight=w)) for k, w in both})
    projections = best({k: lambda f, k=k: back_projection(f, sampling, k) for k in CHOICES["back_projections"]})
    return Tuned(projections, steps, weight, exact(upscale.DEFAULT_MODEL), exact(BEST_MODEL))


def _table(problem: Problem, scores: Mapping[str, np.ndarray]) -> Table:
    lanczos = scores["Lanczos-3"][:, 0]
    text = f"Tuned on the training photographs: {problem.tuned}."
    rows = []
    for name, found in scores.items():
        gain = found[:, 0] - lanczos
        psnr, ssim = found.mean(0)
        rows.append([name, f"{psnr:.2f}", f"{ssim:.3f}", f"{gain.mean():+.2f}", f"{gain.min():+.2f}"])
    return Table(problem.title, text, ["method", "PSNR, dB", "SSIM", "over Lanczos-3", "worst"], rows)


def _picture(image: np.ndarray, problem: Problem, shown: Sequence[str]) -> np.ndarray:
    methods = _methods(problem)
    f, u = _degraded(image, problem.sampling)
    top, left = (max(0, min(at, size - window)) for at, size, window in zip(SHOWN[1:], u.shape, WINDOW, strict=False))
    window = slice(top, top + WINDOW[0]), slice(left, left + WINDOW[1])
    return report.side_by_side(
        [u[window], *(np.repeat(methods[name](f)[window], 1, axis=-1) for name in shown)], ["truth", *shown]
    )


def compare(images: str | os.PathLike[str]) -> Findings:
    """Each of `PROBLEMS` by each method on a folder's photographs.

    Args:
      images: the folder.
    """
    found = photographs(images)
    tables, numbers, pictures = [], {}, {}
    for problem in PROBLEMS:
        pairs = [_degraded(image, problem.sampling) for image in found.values()]
        scores = mean_scores(_methods(problem), pairs, CROP, problem.title)
        tables.append(_table(problem, scores))
        numbers[problem.title] = {name: dict(zip(found, score.tolist(), strict=True)) for name, score in scores.items()}
    return Findings("upscale", "Upscaling", "", tables, numbers, pictures)
