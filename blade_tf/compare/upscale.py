"""Upscaling beside interpolation and iterated back-projection."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.ndimage
import tensorflow as tf

from blade_tf import report
from blade_tf.apps import upscale
from blade_tf.compare.findings import Findings, Table
from blade_tf.compare.restored import in_turns, mean_scores, photographs
from blade_tf.interpolation import cubic, interpolate

__all__ = [
    "PROBLEMS",
    "Problem",
    "Tuned",
    "back_projection",
    "compare",
    "cubic_spline",
    "methods",
    "times",
    "tune",
    "uses",
]

CROP = 8
BEST_MODEL = "ced"
PHOTOGRAPH = "kodim14"  # the paper's; the first of others
CUT_AT, WINDOW = (200, 300), (160, 240)
PICTURED = (
    "Lanczos-3",
    "iterated back-projection, tuned",
    "eq 4.6, the paper's TV flow",
    "eq 4.6, tuned",
    "eq 4.7, default",
)
ALSO_PICTURED = "bicubic, a = -0.5 (Pillow's)"  # where there are no stages

Method = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What `tune` chooses.

    Attributes:
      back_projections: of `back_projection`.
      steps, relaxation: of eq 4.6 with the default model.
      exact_steps: of eq 4.7 with `BEST_MODEL`.
    """

    back_projections: int
    steps: int
    relaxation: float
    exact_steps: int


@dataclasses.dataclass(frozen=True)
class Problem:
    """A degradation: its title, the sampling, the parameters tuned for it, its picture's name if it has one, and the
    pretrained stages for it if there are any.
    """

    title: str
    sampling: upscale.Sampling
    tuned: Tuned
    name: str | None = None
    stages: str | None = None


# By tune() on six of the training photographs, 384 x 288 from their centres.
PROBLEMS = (
    Problem("x4, PSF 0.4 high-resolution px", upscale.gaussian(4, 0.4, 0), Tuned(0, 40, 1.5, 40), "paper"),
    Problem(
        "x2, PSF 0.4 high-resolution px", upscale.gaussian(2, 0.4, 0), Tuned(1, 10, 1.5, 10), None, "upscale_x2_aliased"
    ),
    Problem("x4, PSF 0.4 low-resolution px", upscale.gaussian(4, 1.6), Tuned(16, 40, 1.5, 40), "x4"),
    Problem("x3, PSF 0.4 low-resolution px", upscale.gaussian(3, 1.2), Tuned(16, 40, 1.5, 40), None, "upscale_x3"),
    Problem("x2, PSF 0.4 low-resolution px", upscale.gaussian(2, 0.8), Tuned(16, 40, 1.5, 40), "x2", "upscale_x2"),
)
# What `tune` chooses from.
BACK_PROJECTIONS = (0, 1, 2, 4, 8, 16)
STEPS = (5, 10, 20, 40)
RELAXATIONS = (1.0, 1.5)


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


def methods(problem: Problem) -> dict[str, Method]:
    """What is compared: by name, from f [h, w, C] to u [H, W, C]."""
    sampling, tuned = problem.sampling, problem.tuned
    factor, position = sampling.factor, sampling.position
    paper = 0.35 * sampling.squared_norm
    found = {
        "bicubic, a = -0.5 (Pillow's)": _on_arrays(lambda f: interpolate(f, factor, position, cubic(-0.5), 2)),
        "bicubic, a = -0.75 (OpenCV's)": _on_arrays(lambda f: interpolate(f, factor, position, cubic(-0.75), 2)),
        "Lanczos-3": _on_arrays(lambda f: interpolate(f, factor, position)),
        "cubic spline (scipy)": lambda f: cubic_spline(f, sampling),
        "iterated back-projection, tuned": lambda f: back_projection(f, sampling, tuned.back_projections),
        "eq 4.7's start alone": _on_arrays(upscale.Upscaler(sampling, steps=0)),
        "eq 4.6, the paper's TV flow": _on_arrays(upscale.Upscaler(sampling, "tv_flow_paper", 10, paper)),
        "eq 4.6, tuned": _on_arrays(upscale.Upscaler(sampling, steps=tuned.steps, relaxation=tuned.relaxation)),
        "eq 4.7, default": _on_arrays(upscale.Upscaler(sampling)),
        f"eq 4.7, {BEST_MODEL}, tuned": _on_arrays(upscale.Upscaler(sampling, BEST_MODEL, tuned.exact_steps)),
    }
    if problem.stages:
        found[problem.stages] = _on_arrays(upscale.load(problem.stages, sampling))
    return found


def _degraded(image: np.ndarray, sampling: upscale.Sampling) -> tuple[np.ndarray, np.ndarray]:
    """f and u [H, W, C], u cut to sizes that the factor divides."""
    height, width = (size - size % sampling.factor for size in image.shape[:2])
    u = image[:height, :width]
    return sampling.operator("replicate")(u[np.newaxis])[0].numpy(), u


def tune(images: Sequence[np.ndarray], problem: Problem) -> Tuned:
    """The parameters of the highest mean PSNR on photographs [H, W, C] of one size."""
    sampling = problem.sampling
    pairs = [_degraded(image, sampling) for image in images]

    def best(choices: Mapping[Any, Method]) -> Any:
        scores = mean_scores({str(key): method for key, method in choices.items()}, pairs, CROP, problem.title)
        return max(choices, key=lambda key: scores[str(key)][:, 0].mean())

    both = [(k, relaxation) for k in STEPS for relaxation in RELAXATIONS]
    steps, relaxation = best({(k, r): _on_arrays(upscale.Upscaler(sampling, steps=k, relaxation=r)) for k, r in both})
    projections = best({k: functools.partial(back_projection, sampling=sampling, steps=k) for k in BACK_PROJECTIONS})
    exact_steps = best({k: _on_arrays(upscale.Upscaler(sampling, BEST_MODEL, k)) for k in STEPS})
    return Tuned(projections, steps, relaxation, exact_steps)


def _table(problem: Problem, scores: Mapping[str, np.ndarray]) -> Table:
    lanczos = scores["Lanczos-3"][:, 0]
    tuned, position = problem.tuned, abs(round(problem.sampling.position[0], 9))
    text = (
        f"Pixel k of the input sits on high-resolution pixel {position:g} + {problem.sampling.factor} k. Tuned: "
        f"{tuned.back_projections} back-projections; eq 4.6 with {tuned.steps} steps, relaxation {tuned.relaxation:g}; "
        f"eq 4.7 with `{BEST_MODEL}`, {tuned.exact_steps} steps."
    )
    rows = []
    for name, found in scores.items():
        gain = found[:, 0] - lanczos
        psnr, ssim = found.mean(0)
        rows.append([name, f"{psnr:.2f}", f"{ssim:.3f}", f"{gain.mean():+.2f}", f"{gain.min():+.2f}"])
    return Table(problem.title, text, ["method", "PSNR, dB", "SSIM", "over Lanczos-3", "worst"], rows)


def _picture(image: np.ndarray, problem: Problem) -> np.ndarray:
    """A part of a photograph [H, W, 1] by the methods of `PICTURED`, and by the problem's stages, beside the input."""
    upscaled = methods(problem)
    f, u = _degraded(image, problem.sampling)
    factor = problem.sampling.factor
    top, left = (max(0, min(at, size - window)) for at, size, window in zip(CUT_AT, u.shape, WINDOW, strict=False))
    shown = {
        "truth": u,
        "input": f.repeat(factor, axis=0).repeat(factor, axis=1),
        **{name: upscaled[name](f) for name in (*PICTURED, problem.stages or ALSO_PICTURED)},
    }
    parts = [pixels[top : top + WINDOW[0], left : left + WINDOW[1]] for pixels in shown.values()]
    return report.side_by_side(parts, list(shown), columns=4, scale=2)


def times() -> Table:
    """How long upscaling takes, in colour."""
    rows = []
    for factor in (2, 4):
        upscaler = upscale.Upscaler(upscale.gaussian(factor, 0.4 * factor))
        for height, width in ((512 // factor, 768 // factor), (512, 768)):
            image = np.random.default_rng(0).random((height, width, 3), np.float32)
            size = f"{width} x {height}"
            seconds = in_turns({size: functools.partial(_on_arrays(upscaler), image)}, 2)[size]
            rows.append([size, f"x{factor}", *(f"{value:.1f}" for value in seconds.ravel())])
    text = (
        "Colour, `Upscaler` with its defaults. The first call builds the graph too. On a machine that does other work "
        "beside, the processor's seconds, of all threads together, say more than the clock's."
    )
    columns = ["input", "factor", "first call, s", "processor, s", "further calls, s", "processor, s"]
    return Table("Time", text, columns, rows)


def uses() -> dict[str, str]:
    """The pretrained stages of `PROBLEMS`, each with what it is and how it is used, Markdown."""
    found = {}
    for problem in PROBLEMS:
        if problem.stages:
            model = upscale.load(problem.stages)
            flags = f"--factor={model.factor} --sigma={model.sigma:g} --sigma_in=high --position={model.position:g}"
            found[problem.stages] = (
                f"stages of BLADE that upscale images free of noise: {problem.title}. Results explain f. "
                f'`blade_tf.apps.upscale.load("{problem.stages}")`, or `blade-upscale {flags}`.'
            )
    return found


def compare(images: str | os.PathLike[str]) -> Findings:
    """Each of `PROBLEMS` by each method on a folder's photographs.

    Args:
      images: the folder.
    """
    found = photographs(images)
    tables, numbers = [], {}
    for problem in PROBLEMS:
        pairs = [_degraded(image, problem.sampling) for image in found.values()]
        scores = mean_scores(methods(problem), pairs, CROP, problem.title)
        tables.append(_table(problem, scores))
        numbers[problem.title] = {name: dict(zip(found, score.tolist(), strict=True)) for name, score in scores.items()}
    shown = found.get(PHOTOGRAPH, next(iter(found.values())))
    pictured = [problem for problem in PROBLEMS if problem.name]
    pictures = {str(problem.name): _picture(shown, problem) for problem in pictured}
    captions = {
        str(problem.name): f"{problem.title}: a part of a photograph, the input's pixels, and what the methods make of "
        "them."
        for problem in pictured
    }
    tables.append(times())
    return Findings("upscale", "Upscaling", tables, numbers, pictures, uses=uses(), captions=captions)
