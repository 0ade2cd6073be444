"""Restoration beside other methods: the paper's deblurring, denoising, and inpainting."""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm

from blade_tf import image as image_lib
from blade_tf import metrics, report
from blade_tf.apps import deblur
from blade_tf.compare import deblur_methods
from blade_tf.compare import deblur_peers as peers
from blade_tf.compare.deblur_methods import BLUR, NOISE, Method
from blade_tf.compare.degraded import Problem, Problems, degraded, masked
from blade_tf.compare.findings import Findings, Table
from blade_tf.compare.restored import mean_scores, photographs

__all__ = ["compare", "tune"]

CROP = slice(40, 232), slice(60, 348)  # of the pictures
MIDDLE = slice(128, 384), slice(128, 512)  # what is inpainted
WINDOW = 11  # of the SSIM; what of a picture is inpainted and shown has as many pixels at least
LEAST = tuple(middle.start + crop.start + WINDOW for middle, crop in zip(MIDDLE, CROP, strict=True))
# Methods in the pictures, by a part of their names.
DEBLURRED = (
    "input",
    "Richardson-Lucy",
    "Wiener, cos",
    "TV deconvolution",
    "paper's",
    "the default",
    "restoration",
    "restoration_range",
)
INPAINTED = ("input", "Gaussian means", "biharmonic", "`tv_flow`", "`ced`")
# Of the searches: the side of the training crops, the steps, and the least gain of one in dB.
SIDE, FACTORS, GAIN = 192, (1.5, 1.15), 0.005


def _strengths(truths: Sequence[np.ndarray]) -> Table:
    """Blurs and noise of the range that "restoration_range" was trained for."""
    methods = {
        "input": lambda problem: problem.f,
        "restoration_range": deblur_methods.by_stages("restoration_range"),
        "restoration_range, noise level estimated": deblur_methods.by_stages("restoration_range", told=False),
        "restoration": deblur_methods.by_stages("restoration"),
        "the default": deblur_methods.restored(),
    }
    degradations = [(blur, level) for blur in (0.5, 1.0, 1.5) for level in (2, 5, 10)]
    columns = [
        mean_scores(methods, degraded(truths, level / 255, blur), what=f"blur {blur:g}, noise {level}")
        for blur, level in degradations
    ]
    rows = [[name, *(f"{scores[name][:, 0].mean():.2f}" for scores in columns)] for name in methods]
    text = (
        f"PSNR in dB, mean over every third photograph, {len(truths)}, for blurs of 0.5, 1 and 1.5 px and noise of 2, "
        "5 and 10/255. `restoration_range` and the default, by a regulariser, are told both; `restoration` was trained "
        "for 1 px and 5/255 alone."
    )
    return Table("Other strengths", text, ["method", *(f"{blur:g} px, {level}" for blur, level in degradations)], rows)


def _timed(methods: Mapping[str, Method], seconds: dict[str, list[float]]) -> dict[str, Method]:
    def timed(name: str, method: Method) -> Method:
        def run(problem: Problem) -> np.ndarray:
            begin = time.perf_counter()
            result = method(problem)
            seconds.setdefault(name, []).append(time.perf_counter() - begin)
            return result

        return run

    return {name: timed(name, method) for name, method in methods.items()}


def _rows(methods: Mapping[str, Method], problems: Problems, what: str) -> list[list[Any]]:
    """PSNR, its gain over the input, SSIM, and the median time of each method, the best first."""
    seconds: dict[str, list[float]] = {}
    means = {name: score.mean(0) for name, score in mean_scores(_timed(methods, seconds), problems, what=what).items()}
    return [
        [name, f"{p:.2f}", f"{p - means['input'][0]:+.2f}", f"{s:.4f}", f"{np.median(seconds[name]):.2f}"]
        for name, (p, s) in sorted(means.items(), key=lambda item: -item[1][0])
    ]


COLUMNS = ("method", "PSNR, dB", "gain, dB", "SSIM", "seconds")


def compare(images: str | os.PathLike[str]) -> Findings:
    """The tables and pictures of `blade-compare --application=deblur`, for a folder of photographs (their luma).

    Raises:
      ValueError: a photograph that is smaller than `LEAST`.
    """
    found = photographs(images)
    for name, u in found.items():
        if u.shape[0] < LEAST[0] or u.shape[1] < LEAST[1]:
            raise ValueError(
                f"images: expected at least {LEAST[0]} x {LEAST[1]} pixels, got {u.shape[0]} x {u.shape[1]} in {name}"
            )
    truths = list(found.values())
    fewer = truths[::3]
    blurred = degraded(truths, NOISE, BLUR)
    methods = deblur_methods.deblurring()
    where = "photographs, luma; PSNR of unclipped values; median time of one photograph."
    tables = [
        Table(
            "Deblurring",
            f"Gaussian blur of {BLUR:g} px, noise of standard deviation {255 * NOISE:g}/255. Mean over {len(truths)} "
            f"{where} All but the paper's setting and the unsupervised filter were tuned on the training photographs "
            "for this problem, or for its noise level; `restoration` was trained for it, `restoration_range`, which is "
            "told blur and noise, for a range around it.",
            COLUMNS,
            _rows(methods, blurred, "deblur"),
        )
    ]
    tables.append(_strengths(fewer))
    text = f"The same problem with `perona_malik`, every third photograph: mean over {len(fewer)} {where}"
    tables.append(Table("The choice of lambda", text, COLUMNS, _rows(deblur_methods.choices(), blurred[::3], "lambda")))
    for level, numbers in zip(
        deblur_methods.LEVELS, zip(deblur_methods.CHAMBOLLE, deblur_methods.NL_MEANS, strict=True), strict=True
    ):
        rows = _rows(deblur_methods.denoising(level, *numbers), degraded(fewer, level / 255), f"denoise {level}")
        text = f"Every third photograph: mean over {len(fewer)} {where} All are told the noise level but for one."
        if not importlib.util.find_spec("pywt"):
            text += " Wavelets are left out, as PyWavelets is not installed."
        tables.append(Table(f"Denoising, standard deviation {level}/255", text, COLUMNS, rows))
    filling = deblur_methods.inpainting()
    for kind, title in (("random", "half of the pixels unknown, at random"), ("scratches", "scratches")):
        problems = masked([u[MIDDLE] for u in fewer], kind)
        text = f"The middle of every third photograph: mean over {len(fewer)} {where}"
        if not importlib.util.find_spec("cv2"):
            text += " OpenCV is left out, as it is not installed."
        tables.append(Table(f"Inpainting, {title}", text, COLUMNS, _rows(filling, problems, f"inpaint {kind}")))
    pictures = {}
    for what, chosen, (problem, truth) in (
        ("deblurred", _pick(methods, DEBLURRED), blurred[-1]),
        ("inpainted", _pick(filling, INPAINTED), problems[-1]),
    ):
        shown = {"photograph": truth, **{name: method(problem) for name, method in chosen.items()}}
        cut = [np.clip(picture[CROP], 0, 1).astype(np.float32) for picture in shown.values()]
        pictures[what] = report.side_by_side(cut, [name.replace("`", "") for name in shown], columns=3, scale=2)
    captions = {
        "deblurred": f"A part of a photograph, the same blurred by {BLUR:g} px with noise of {255 * NOISE:g}/255, and "
        "what the methods make of it.",
        "inpainted": "A part of a photograph, the same with scratches, and what the methods fill in.",
    }
    uses = deblur_methods.STAGES
    return Findings("deblur", "Restoration", tables, pictures=pictures, uses=uses, captions=captions)


def _pick(methods: Mapping[str, Method], parts: Sequence[str]) -> dict[str, Method]:
    found = (next(name for name in methods if part in name) for part in parts)
    return {name: methods[name] for name in found}


def _training(folder: str | os.PathLike[str]) -> list[np.ndarray]:
    """The middle of every sixth photograph, brought to a short side of about 512 by area means."""
    crops = []
    for u in list(photographs(folder).values())[::6]:
        factor = max(round(min(u.shape[:2]) / 512), 1)
        height, width = (size // factor * factor for size in u.shape[:2])
        small = image_lib.area_downscale(u[np.newaxis, :height, :width], factor)[0].numpy()
        top, left = ((size - SIDE) // 2 for size in small.shape[:2])
        crops.append(small[top : top + SIDE, left : left + SIDE])
    return crops


def _mean_psnr(method: Method, problems: Problems) -> float:
    return float(np.mean([metrics.psnr(truth[np.newaxis], method(f)[np.newaxis])[0] for f, truth in problems]))


def _search(
    make: Callable[..., Method], start: Sequence[float], problems: Problems, most: float = math.inf
) -> list[float]:
    """Coordinate search, by `FACTORS`, for the numbers of the highest mean PSNR, the last at most `most`."""

    @functools.cache
    def score(*numbers: float) -> float:
        value = _mean_psnr(make(*numbers), problems) if numbers[-1] <= most else math.nan
        return value if math.isfinite(value) else -math.inf

    best = list(start)
    for factor in FACTORS:
        improved = True
        while improved:
            moves = [[*best[:i], v * q, *best[i + 1 :]] for i, v in enumerate(best) for q in (factor, 1 / factor)]
            candidate = max(moves, key=lambda move: score(*move))
            improved = score(*candidate) > score(*best) + GAIN
            best = candidate if improved else best
    return [float(f"{value:.3g}") for value in best]


def _searches(truths: Sequence[np.ndarray]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What `tune` finds, by name."""

    def search(*arguments: Any) -> Callable[[], list[float]]:
        return functools.partial(_search, *arguments)

    blurred = degraded(truths, NOISE, BLUR)
    yield "WIENER", search(lambda w: deblur_methods.plane(peers.wiener, BLUR, w), [deblur_methods.WIENER], blurred)
    yield "WIENER_SKIMAGE", search(deblur_methods.wiener, [deblur_methods.WIENER_SKIMAGE], blurred)
    yield (
        "RICHARDSON_LUCY",
        lambda: max(range(1, 16), key=lambda n: _mean_psnr(deblur_methods.richardson_lucy(n), blurred)),
    )
    yield (
        "TOTAL_VARIATION",
        search(
            lambda w: deblur_methods.plane(peers.total_variation, BLUR, w), [deblur_methods.TOTAL_VARIATION], blurred
        ),
    )
    for name, numbers in deblur_methods.REFERENCES.items():
        make = functools.partial(deblur_methods.plane, peers.pde, name, BLUR)
        yield f"REFERENCES {name}", search(make, numbers, blurred, deblur.STABLE)
    for level, chambolle, nl_means in zip(
        deblur_methods.LEVELS, deblur_methods.CHAMBOLLE, deblur_methods.NL_MEANS, strict=True
    ):
        noisy = degraded(truths, level / 255)
        for name, number in (("denoise_tv_chambolle", chambolle), ("denoise_nl_means", nl_means)):
            yield (
                f"{name} {level}",
                search(lambda h, name=name, level=level: deblur_methods.denoising(level, h, h)[name], [number], noisy),
            )
    for name, numbers in deblur_methods.MODELS.items():
        yield (
            f"MODELS {name}",
            search(functools.partial(deblur_methods.by_model, name), numbers, blurred, deblur.STABLE),
        )
    for (name, blurs), (paces, pulls) in deblur.TUNED.items():
        for noise, *start in zip(deblur.NOISES, paces, pulls, strict=True):
            problems = degraded(truths, noise / 255, BLUR if blurs else None)
            make = functools.partial(deblur_methods.by_model, name)
            yield f"TUNED {name} {blurs} {noise:g}", search(make, start, problems, deblur.STABLE)


def tune(images: str | os.PathLike[str]) -> dict[str, Any]:
    """The constants of `deblur_methods` and of `blade_tf.apps.deblur`, found again on a folder of training photographs.

    Searched for from where they stand, in some minutes: on crops of 192 x 192 pixels of every sixth photograph.
    """
    searches = list(_searches(_training(images)))
    return {name: find() for name, find in tqdm.tqdm(searches, desc="tune", unit="search")}
