"""Resampling beside classical interpolation: sub-pixel translations, noise, the length of the shift, warps, time."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import skimage.restoration
import tensorflow as tf

from blade_tf import config as config_lib
from blade_tf import report
from blade_tf.apps import resample
from blade_tf.compare import interpolation
from blade_tf.compare.displaced import (
    BLUR,
    DIRECTIONS,
    SCALE,
    SHIFTS,
    Problem,
    coarse,
    of_length,
    smooth_field,
    translation,
    translations,
    warps,
)
from blade_tf.compare.findings import Findings, Table
from blade_tf.compare.restored import in_turns, mean_scores, photographs
from blade_tf.data.crops import training_crops
from blade_tf.interpolation import cubic, lanczos

__all__ = ["BICUBIC", "QUINTIC", "Method", "classical", "compare", "learned", "tune"]

NOISE = 3 / 255
LENGTHS = tuple(0.05 * k for k in range(1, 11))
WARPS = ((0.5, 8.0), (2.0, 16.0))  # root mean square and smoothness of displacements, pixels of the coarse grid
CROP, WARP_CROP = 6, 14
# Best on the training photographs, found by `tune`.
CUBIC_A = -0.7
TV_WEIGHT = 0.005

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
OURS = ("resample", "resample_paper", "resample_noisy")
USES = {
    "resample": "`blade_tf.apps.resample.resample(image, displacement)`: images at displaced positions. Banks of the "
    "third order in the displacement, on the coefficients of the quintic B-spline. It interpolates: without a "
    "displacement nothing changes.",
    "resample_paper": "`blade_tf.apps.resample.resample(image, displacement, model=...)`: eq 5.5 as printed, two "
    "banks. Linear in the displacement, it is worse than bicubic interpolation for displacements beyond 0.27 pixels: "
    "it is here as the paper's form.",
    "resample_noisy": "`blade_tf.apps.resample.resample(image, displacement, model=...)`: removes white noise of 3/255 "
    "while it resamples, by a further bank. It blurs images without noise; further displacements of its result are "
    "better done by `resample`.",
}
BICUBIC, OPENCV = "bicubic, a = -0.5", "bicubic, a = -0.75 (OpenCV's)"
LANCZOS, CUBIC, QUINTIC = "Lanczos-4", "cubic spline (SciPy)", "quintic spline (SciPy)"


def learned(name: str) -> Method:
    """Resampling by a trained model."""
    model = resample.load(name)
    return lambda image, v: resample.resample(image[np.newaxis], v[np.newaxis].astype(np.float32), model)[0].numpy()


def classical() -> dict[str, Method]:
    """Kernels and splines by name."""
    kernel = interpolation.kernel
    return {
        BICUBIC: kernel(cubic(-0.5), 2),
        OPENCV: kernel(cubic(-0.75), 2),
        f"bicubic, a = {CUBIC_A:g}, tuned": kernel(cubic(CUBIC_A), 2),
        LANCZOS: kernel(lanczos(4), 4),
        CUBIC: interpolation.spline(3),
        QUINTIC: interpolation.spline(5),
    }


def _libraries() -> dict[str, Method]:
    found = {f"OpenCV, {flag}": interpolation.opencv(flag) for flag in ("INTER_CUBIC", "INTER_LANCZOS4")}
    return {name: method for name, method in found.items() if method is not None}


def _hops(*methods: Method) -> Callable[[Problem], np.ndarray]:
    """The displacements one after the other, by the methods in turn; the last one does all further ones."""

    def run(problem: Problem) -> np.ndarray:
        image = problem.image
        for k, displacement in enumerate(problem.displacements):
            image = methods[min(k, len(methods) - 1)](image, displacement)
        return image

    return run


def _denoised(weight: float) -> Method:
    """Total variation denoising by scikit-image, then the quintic spline."""

    def method(image: np.ndarray, displacement: np.ndarray) -> np.ndarray:
        clean = skimage.restoration.denoise_tv_chambolle(image[..., 0], weight)
        return interpolation.spline(5)(clean[..., np.newaxis].astype(image.dtype), displacement)

    return method


def _means(
    methods: Mapping[str, Callable[[Problem], np.ndarray]],
    columns: Sequence[Iterator[tuple[Problem, np.ndarray]]],
    crop: int,
    what: str,
) -> dict[str, np.ndarray]:
    """Mean PSNR and SSIM of each method over each column's problems: by name, [columns, 2]."""
    scores = [mean_scores(methods, problems, crop, what) for problems in columns]
    return {name: np.array([found[name].mean(0) for found in scores]) for name in methods}


def _rows(means: dict[str, np.ndarray]) -> list[list[Any]]:
    best = np.max([value[:, 0] for value in means.values()], axis=0)
    rows = []
    for name, value in means.items():
        texts = [f"{psnr:.2f}" for psnr in value[:, 0]]
        bold = [f"**{text}**" if text == f"{top:.2f}" else text for text, top in zip(texts, best, strict=True)]
        rows.append([name, *(f"{text} / {ssim:.4f}" for text, ssim in zip(bold, value[:, 1], strict=True))])
    return rows


def _verdict(means: dict[str, np.ndarray], ours: str, rivals: Sequence[str], columns: Sequence[str]) -> str:
    """By how much a model is ahead of, or behind, the best of the rivals in each column."""
    parts = []
    for k, column in enumerate(columns):
        best = max(rivals, key=lambda name: means[name][k, 0])
        gain = means[ours][k, 0] - means[best][k, 0]
        parts.append(f"{abs(gain):.2f} dB {'ahead of' if gain >= 0 else 'behind'} {best} ({column})")
    return f"`{ours}` is {', '.join(parts)}."


def _times() -> list[list[Any]]:
    """Milliseconds for a colour image of 768 x 512, the best of several runs."""
    rng = np.random.default_rng(0)
    image = rng.random((512, 768, 3), np.float32)
    field = smooth_field((512, 768), 4.0, 32.0, rng)
    model = resample.load("resample")
    given, v = tf.constant(image[np.newaxis]), tf.constant(field[np.newaxis])
    graph = tf.function(model.sample)
    runs: dict[str, Callable[[], Any]] = {
        name: functools.partial(method, image, field)
        for name, method in (_libraries() | {CUBIC: interpolation.spline(3), QUINTIC: interpolation.spline(5)}).items()
    }
    runs |= {
        "resample": lambda: resample.resample(given, v, model),
        "resample, in a graph": lambda: graph(given, v),
    }
    # One after the other; the first call does not count.
    found = {name: in_turns({name: run}, 1 + 20)[name][1:, 0].min() for name, run in runs.items()}
    first = next(iter(found.values()))
    return [[name, f"{1e3 * best:.0f}", f"{best / first:.1f}"] for name, best in found.items()]


def _picture(images: Mapping[str, np.ndarray], methods: Mapping[str, Method]) -> np.ndarray:
    """The centre of one photograph after two displacements, and ten times the differences from the truth."""
    name = sorted(images)[len(images) // 3]
    shifts = np.array([[0.45, 0.4], [0.4, -0.45]])
    given, truth = coarse(images[name]), coarse(images[name], shifts.sum(0))
    inside = tuple(slice((size - 48) // 2, (size + 48) // 2) for size in truth.shape[:2])
    found = {name: _hops(method)(translation(given, shifts))[inside] for name, method in methods.items()}
    truth = truth[inside]
    shown = {"truth": truth} | found
    errors = [report.error_image(image, truth) for image in found.values()]
    blank = np.full_like(errors[0], 255)

    def enlarged(image: np.ndarray) -> np.ndarray:
        return report.to_uint8(image).repeat(4, axis=0).repeat(4, axis=1)

    top = report.side_by_side([enlarged(image) for image in shown.values()], list(shown))
    below = report.side_by_side(
        [enlarged(image) for image in (blank, *errors)], ["10 x difference", *[""] * len(errors)]
    )
    return np.concatenate([top, below])


def compare(images: str | os.PathLike[str]) -> Findings:
    """Resampling of photographs beside classical interpolation, by the truth that a finer grid gives.

    Args:
      images: a folder of photographs; a fourth of their resolution is what is resampled.
    """
    found = photographs(images)
    blade = {name: learned(name) for name in OURS}
    rivals = classical()
    hops = ("one hop", "two hops")
    clean_rivals = rivals | _libraries()
    clean_methods = clean_rivals | {name: blade[name] for name in OURS[:2]}
    clean = _means(
        {name: _hops(method) for name, method in clean_methods.items()},
        [translations(found, count, 0.0) for count in (1, 2)],
        CROP,
        "translations",
    )
    noisy_rivals = {name: _hops(method) for name, method in rivals.items()} | {
        "TV denoising (scikit-image), quintic spline": _hops(_denoised(TV_WEIGHT), interpolation.spline(5)),
    }
    noisy_methods = noisy_rivals | {
        "resample": _hops(blade["resample"]),
        "resample_noisy": _hops(blade["resample_noisy"]),
        "resample_noisy, then resample": _hops(blade["resample_noisy"], blade["resample"]),
    }
    noisy = _means(noisy_methods, [translations(found, count, NOISE) for count in (1, 2)], CROP, "noise")
    drawn = {name: rivals[name] for name in (BICUBIC, OPENCV, LANCZOS, QUINTIC)}
    drawn |= {name: blade[name] for name in OURS[:2]}
    curves = _means(
        {name: _hops(method) for name, method in drawn.items()},
        [of_length(found, length) for length in LENGTHS],
        CROP,
        "lengths",
    )
    warp_methods = {name: _hops(method) for name, method in (rivals | {n: blade[n] for n in OURS[:2]}).items()}
    warped = _means(warp_methods, [warps(found, *warp) for warp in WARPS], WARP_CROP, "warps")
    warp_names = [f"{size:g} px, {smoothness:g} px" for size, smoothness in WARPS]

    setting = (
        f"{len(found)} photographs, luma. A photograph blurred by a Gaussian of {BLUR} coarse pixels and subsampled by "
        f"{SCALE} is resampled; the truth is the displaced photograph, blurred and subsampled in the same way. Mean "
        "PSNR in dB / mean SSIM, "
    )
    tables = [
        Table(
            "Sub-pixel translations",
            setting
            + f"without {CROP} pixels at the borders, over {SHIFTS} random shifts a photograph, each uniform within "
            "half a pixel along both axes; two hops: the result of the first, shifted again by another. "
            + _verdict(clean, "resample", list(clean_rivals), hops)
            + " "
            + _verdict(clean, "resample_paper", list(clean_rivals), hops)
            + " OpenCV's Lanczos rounds positions to 1/32 of a pixel, as its bicubic did before version 5; the kernels "
            "above are exact.",
            ["method", *hops],
            _rows(clean),
        ),
        Table(
            f"The same with noise of {round(255 * NOISE)}/255",
            "White Gaussian noise on what is resampled; the truth has none. "
            + _verdict(noisy, "resample_noisy", list(noisy_rivals), hops)
            + " One pass removes the noise; a further hop should be by `resample`: "
            + _verdict(noisy, "resample_noisy, then resample", list(noisy_rivals), hops),
            ["method", *hops],
            _rows(noisy),
        ),
        Table(
            "By the length of the shift",
            f"PSNR in dB of one hop, {DIRECTIONS} random directions a photograph, by the shift's length in pixels.",
            ["method", *(f"{length:.2f}" for length in LENGTHS)],
            [[name, *(f"{psnr:.2f}" for psnr in value[:, 0])] for name, value in curves.items()],
        ),
        Table(
            "Warps by smooth random fields",
            setting
            + f"without {WARP_CROP} pixels at the borders. Fields: Gaussian noise of the given root mean square, "
            "smoothed by a Gaussian of the given standard deviation. "
            + _verdict(warped, "resample", list(rivals), warp_names),
            ["method", *warp_names],
            _rows(warped),
        ),
        Table(
            "Time",
            "Milliseconds, and as a ratio to the first row, for a colour image of 768 x 512 and a smooth field, "
            f"float32; the best of 20 runs, with the threads that each takes by itself on {os.cpu_count()} processors.",
            ["method", "ms", "ratio"],
            _times(),
        ),
    ]
    chart = report.line_chart(
        {name: list(value[:, 0]) for name, value in curves.items()},
        title="PSNR of resampling by the length of the shift",
        x=LENGTHS,
        x_label="length of the shift, pixels",
        y_label="PSNR, dB",
    )
    shown = {BICUBIC: rivals[BICUBIC], QUINTIC: rivals[QUINTIC]} | {name: blade[name] for name in OURS[:2]}
    return Findings(
        "resample",
        "Resampling at displaced positions",
        tables,
        {
            name: {method: value.tolist() for method, value in means.items()}
            for name, means in (("translations", clean), ("noise", noisy), ("lengths", curves), ("warps", warped))
        },
        {"two_hops": _picture(found, shown)},
        {"lengths": chart},
        USES,
        {
            "two_hops": "The centre of a photograph after two shifts, and ten times the differences from the truth.",
            "lengths": "PSNR by the length of the shift.",
        },
    )


def tune(images: str | os.PathLike[str]) -> dict[str, float]:
    """CUBIC_A and TV_WEIGHT: what is best in one hop on crops of training photographs, without and with noise."""
    data, rng = config_lib.resampling().data, np.random.default_rng(0)
    found = {name: training_crops(pixels, data, rng)[0] for name, pixels in photographs(images).items()}
    slopes = {a: _hops(interpolation.kernel(cubic(a), 2)) for a in np.arange(-0.6, -1.35, -0.05).round(2)}
    weights = {w: _hops(_denoised(w)) for w in (0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02)}

    def best(methods: dict[Any, Callable[[Problem], np.ndarray]], noise: float) -> float:
        named = {str(value): method for value, method in methods.items()}
        scores = _means(named, [translations(found, 1, noise)], CROP, "tune")
        return float(max(scores, key=lambda name: scores[name][0, 0]))

    return {"CUBIC_A": best(slopes, 0.0), "TV_WEIGHT": best(weights, NOISE)}
