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
import tensorflow as tf
import tqdm
from skimage import restoration as skimage_restoration

from blade_tf import image as image_lib
from blade_tf import image_io, metrics, report
from blade_tf.apps import deblur, kernels, stages
from blade_tf.compare import deblur_peers as peers
from blade_tf.compare.degraded import Problem, Problems, degraded, masked
from blade_tf.compare.findings import Findings, Table
from blade_tf.compare.restored import mean_scores, photographs

__all__ = ["compare", "tune"]

BLUR, NOISE = 1.0, 5 / 255
MARGIN = 16
LEVELS = (5, 15, 25)
MIDDLE = slice(128, 384), slice(128, 512)  # what is inpainted
CROP = slice(40, 232), slice(60, 348)  # of the pictures

# Found on the training photographs, by searches such as those of `tune`.
WIENER = 0.0582
WIENER_SKIMAGE = 0.0294
RICHARDSON_LUCY = 6
TOTAL_VARIATION = 0.00348
REFERENCES = {"perona_malik": (0.252, 0.378), "ced": (0.0195, 0.0658)}  # pace, pull: see `peers.pde`
# Trained for a degradation, by configs of their names.
STAGES = {
    "restoration": "stages of BLADE that undo a Gaussian blur of 1 px and noise of 5/255: "
    '`blade_tf.apps.stages.restore(image, "restoration")`, or `blade-deblur --stages=restoration`.',
    "restoration_range": "stages of BLADE that undo Gaussian blurs of 0.4 to 1.5 px and noise of 1/255 to 10/255, "
    'without being told how much: `blade_tf.apps.stages.restore(image, "restoration_range")`, or '
    "`blade-deblur --stages=restoration_range`.",
}
MODELS = {  # the time step in the model's own, dt lambda
    "tv_flow": (1.0, 1.25),
    "perona_malik_paper": (1.25, 1.5),
    "ced_paper": (1.8, 1.0),
}
CHAMBOLLE = (0.5, 0.7, 0.75)  # of the noise level
NL_MEANS = (0.7, 0.75, 0.7)


DEFAULTS = deblur.Settings()
Method = Callable[[Problem], np.ndarray]


def _restored(settings: deblur.Settings = DEFAULTS, told: bool = True, discrepancy: bool = False) -> Method:
    def method(problem: Problem) -> np.ndarray:
        f, noise = tf.constant(problem.f[np.newaxis]), problem.noise if told else None
        return deblur.deblur(f, problem.kernel, problem.known, noise, settings, discrepancy)[0].numpy()

    return method


def _by_stages(name: str) -> Method:
    return lambda problem: stages.restore(problem.f[np.newaxis], name)[0].numpy()


def _by_model(name: str, pace: float, pull: float) -> Method:
    dt = pace * deblur.regulariser(name).gray.dt
    return _restored(deblur.Settings(name, dt, pull / dt))


def _plane(function: Callable[..., np.ndarray], *arguments: Any, **options: Any) -> Method:
    """A method of planes [H, W]."""
    return lambda problem: function(problem.f[..., 0], *arguments, **options)[..., np.newaxis]


def _reflected(function: Callable[[np.ndarray], np.ndarray]) -> Method:
    """A method of planes that knows periodic or black borders only: given more by reflection, it shows none of them."""

    def method(problem: Problem) -> np.ndarray:
        f = np.pad(problem.f[..., 0].astype(np.float64), MARGIN, mode="symmetric")
        return function(f)[MARGIN:-MARGIN, MARGIN:-MARGIN, np.newaxis]

    return method


def _wiener(balance: float) -> Method:
    psf = kernels.gaussian(BLUR)
    return _reflected(lambda f: skimage_restoration.wiener(f, psf, balance, clip=False))


def _unsupervised_wiener() -> Method:
    psf = kernels.gaussian(BLUR)
    return _reflected(lambda f: skimage_restoration.unsupervised_wiener(f, psf, clip=False, rng=0)[0])


def _richardson_lucy(iterations: int) -> Method:
    psf = kernels.gaussian(BLUR)
    # It is for counts, which are positive.
    return _reflected(lambda f: skimage_restoration.richardson_lucy(np.maximum(f, 1e-3), psf, iterations, clip=False))


def _deblurring() -> dict[str, Method]:
    return {
        "input": lambda problem: problem.f,
        **{name: _by_stages(name) for name in STAGES},
        "BLADE: `ced_paper` in the paper's setting": _restored(deblur.PAPER),
        **{f"BLADE: `{name}`": _by_model(name, *numbers) for name, numbers in MODELS.items()},
        "BLADE: `perona_malik`, the default": _restored(),
        "TV deconvolution, converged (ADMM)": _plane(peers.total_variation, BLUR, TOTAL_VARIATION),
        **{f"PDE: {name}": _plane(peers.pde, name, BLUR, *numbers) for name, numbers in REFERENCES.items()},
        "Wiener, cosine domain": _plane(peers.wiener, BLUR, WIENER),
        "Wiener, scikit-image": _wiener(WIENER_SKIMAGE),
        "Wiener, unsupervised, scikit-image": _unsupervised_wiener(),
        "Richardson-Lucy, scikit-image": _richardson_lucy(RICHARDSON_LUCY),
    }


def _choices() -> dict[str, Method]:
    return {
        "input": lambda problem: problem.f,
        "by the noise level": _restored(),
        "by the noise level, estimated": _restored(told=False),
        "by discrepancy": _restored(discrepancy=True),
        "by discrepancy, noise level estimated": _restored(told=False, discrepancy=True),
    }


def _denoising(level: int, chambolle: float, nl_means: float) -> dict[str, Method]:
    noise = level / 255
    methods: dict[str, Method] = {
        "input": lambda problem: problem.f,
        "BLADE: the default": _restored(),
        "BLADE: the default, noise level estimated": _restored(told=False),
        "denoise_tv_chambolle": _plane(skimage_restoration.denoise_tv_chambolle, chambolle * noise),
        "denoise_nl_means": _plane(
            skimage_restoration.denoise_nl_means, patch_size=5, patch_distance=6, h=nl_means * noise, sigma=noise
        ),
    }
    if importlib.util.find_spec("pywt"):
        methods["denoise_wavelet"] = _plane(skimage_restoration.denoise_wavelet, sigma=noise)
    return methods


def _inpainting() -> dict[str, Method]:
    def biharmonic(problem: Problem) -> np.ndarray:
        unknown = ~problem.known[..., 0]  # type: ignore[index]
        return skimage_restoration.inpaint_biharmonic(problem.f[..., 0], unknown)[..., np.newaxis]

    methods: dict[str, Method] = {
        "input": lambda problem: problem.f,
        "start: Gaussian means": lambda problem: deblur.fill(problem.f[np.newaxis], problem.known)[0].numpy(),
        "BLADE: `ced`, the default": _restored(),
        "BLADE: `tv_flow`": _restored(deblur.Settings("tv_flow")),
        "inpaint_biharmonic": biharmonic,
    }
    if importlib.util.find_spec("cv2"):
        import cv2

        def opencv(flag: int) -> Method:
            def method(problem: Problem) -> np.ndarray:
                unknown = (~problem.known[..., 0]).astype(np.uint8)  # type: ignore[index]
                filled = cv2.inpaint(image_io.quantize(problem.f[..., 0]), unknown, 3, flag)
                return filled[..., np.newaxis].astype(np.float32) / 255

            return method

        methods["OpenCV, Telea"] = opencv(cv2.INPAINT_TELEA)
        methods["OpenCV, Navier-Stokes"] = opencv(cv2.INPAINT_NS)
    return methods


def _strengths(truths: Sequence[np.ndarray]) -> Table:
    """Blurs and noise of the range that "restoration_range" was trained for."""
    methods = {
        "input": lambda problem: problem.f,
        "restoration_range": _by_stages("restoration_range"),
        "restoration": _by_stages("restoration"),
        "the default": _restored(),
    }
    degradations = [(blur, level) for blur in (0.5, 1.0, 1.5) for level in (2, 5, 10)]
    columns = [
        mean_scores(methods, degraded(truths, level / 255, blur), what=f"blur {blur:g}, noise {level}")
        for blur, level in degradations
    ]
    rows = [[name, *(f"{scores[name][:, 0].mean():.2f}" for scores in columns)] for name in methods]
    text = (
        f"PSNR in dB, mean over every third photograph, {len(truths)}, for blurs of 0.5, 1 and 1.5 px and noise of 2, "
        "5 and 10/255. `restoration_range` is told neither, the default, by a regulariser, both; `restoration` was "
        "trained for 1 px and 5/255 alone."
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
    """The tables and pictures of `blade-compare --application=deblur`, for a folder of photographs (their luma)."""
    found = photographs(images)
    truths = list(found.values())
    fewer = truths[::3]
    blurred = degraded(truths, NOISE, BLUR)
    methods = _deblurring()
    where = "photographs, luma; PSNR of unclipped values; median time of one photograph, beside other work."
    tables = [
        Table(
            "Deblurring",
            f"Gaussian blur of {BLUR:g} px, noise of standard deviation {255 * NOISE:g}/255. Mean over {len(truths)} "
            f"{where} All but the unsupervised filter was tuned on the training photographs for this problem, or for "
            "its noise level; `restoration` was trained for it, `restoration_range` for a range around it.",
            COLUMNS,
            _rows(methods, blurred, "deblur"),
        )
    ]
    tables.append(_strengths(fewer))
    text = f"The same problem with `perona_malik`, every third photograph: mean over {len(fewer)} {where}"
    tables.append(Table("The choice of lambda", text, COLUMNS, _rows(_choices(), blurred[::3], "lambda")))
    for level, numbers in zip(LEVELS, zip(CHAMBOLLE, NL_MEANS, strict=True), strict=True):
        rows = _rows(_denoising(level, *numbers), degraded(fewer, level / 255), f"denoise {level}")
        text = f"Every third photograph: mean over {len(fewer)} {where} All are told the noise level but for one."
        if not importlib.util.find_spec("pywt"):
            text += " Wavelets are left out, as PyWavelets is not installed."
        tables.append(Table(f"Denoising, standard deviation {level}/255", text, COLUMNS, rows))
    filling = _inpainting()
    for kind, title in (("random", "half of the pixels unknown, at random"), ("scratches", "scratches")):
        problems = masked([u[MIDDLE] for u in fewer], kind)
        text = f"The middle of every third photograph: mean over {len(fewer)} {where}"
        if not importlib.util.find_spec("cv2"):
            text += " OpenCV is left out, as it is not installed."
        tables.append(Table(f"Inpainting, {title}", text, COLUMNS, _rows(filling, problems, f"inpaint {kind}")))
    pictures = {}
    for what, chosen, (problem, truth) in (
        ("deblurred", _pick(methods, ("input", "restoration", "paper's", "the default", "Wiener, cos")), blurred[-1]),
        ("inpainted", _pick(filling, ("input", "`ced`", "biharmonic")), problems[-1]),
    ):
        shown = {"photograph": truth, **{name: method(problem) for name, method in chosen.items()}}
        cut = [np.clip(picture[CROP], 0, 1).astype(np.float32) for picture in shown.values()]
        pictures[what] = report.side_by_side(cut, [name.replace("`", "") for name in shown], columns=3, scale=2)
    command = "blade-compare --application=deblur --images=KODAK --output=results"
    return Findings("deblur", "Restoration", command, tables, pictures=pictures, uses=STAGES)


def _pick(methods: Mapping[str, Method], parts: Sequence[str]) -> dict[str, Method]:
    found = (next(name for name in methods if part in name) for part in parts)
    return {name: methods[name] for name in found}


def _training(folder: str | os.PathLike[str], side: int = 192) -> list[np.ndarray]:
    """The middle of every sixth photograph, brought to a short side of about 512 by area means."""
    crops = []
    for u in list(photographs(folder).values())[::6]:
        factor = max(round(min(u.shape[:2]) / 512), 1)
        height, width = (size // factor * factor for size in u.shape[:2])
        small = image_lib.area_downscale(u[np.newaxis, :height, :width], factor)[0].numpy()
        top, left = ((size - side) // 2 for size in small.shape[:2])
        crops.append(small[top : top + side, left : left + side])
    return crops


def _mean_psnr(method: Method, problems: Problems) -> float:
    return float(np.mean([metrics.psnr(truth[np.newaxis], method(f)[np.newaxis])[0] for f, truth in problems]))


def _search(
    make: Callable[..., Method], start: Sequence[float], problems: Problems, most: float = math.inf
) -> list[float]:
    """Coordinate search, by factors 1.5 and 1.15, for the numbers of the highest mean PSNR, the last at most `most`."""

    @functools.cache
    def score(*numbers: float) -> float:
        value = _mean_psnr(make(*numbers), problems) if numbers[-1] <= most else math.nan
        return value if math.isfinite(value) else -math.inf

    best = list(start)
    for factor in (1.5, 1.15):
        improved = True
        while improved:
            moves = [[*best[:i], v * q, *best[i + 1 :]] for i, v in enumerate(best) for q in (factor, 1 / factor)]
            candidate = max(moves, key=lambda move: score(*move))
            improved = score(*candidate) > score(*best) + 0.005
            best = candidate if improved else best
    return [float(f"{value:.3g}") for value in best]


def _searches(truths: Sequence[np.ndarray]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What `tune` finds, by name."""

    def search(*arguments: Any) -> Callable[[], list[float]]:
        return functools.partial(_search, *arguments)

    blurred = degraded(truths, NOISE, BLUR)
    yield "WIENER", search(lambda w: _plane(peers.wiener, BLUR, w), [WIENER], blurred)
    yield "WIENER_SKIMAGE", search(_wiener, [WIENER_SKIMAGE], blurred)
    yield (
        "RICHARDSON_LUCY",
        lambda: max(range(1, 16), key=lambda n: _mean_psnr(_richardson_lucy(n), blurred)),
    )
    yield "TOTAL_VARIATION", search(lambda w: _plane(peers.total_variation, BLUR, w), [TOTAL_VARIATION], blurred)
    for name, numbers in REFERENCES.items():
        make = functools.partial(_plane, peers.pde, name, BLUR)
        yield f"REFERENCES {name}", search(make, numbers, blurred, deblur.STABLE)
    for level, chambolle, nl_means in zip(LEVELS, CHAMBOLLE, NL_MEANS, strict=True):
        noisy = degraded(truths, level / 255)
        for name, number in (("denoise_tv_chambolle", chambolle), ("denoise_nl_means", nl_means)):
            yield (
                f"{name} {level}",
                search(lambda h, name=name, level=level: _denoising(level, h, h)[name], [number], noisy),
            )
    for name, numbers in MODELS.items():
        yield f"MODELS {name}", search(functools.partial(_by_model, name), numbers, blurred, deblur.STABLE)
    for (name, blurs), (paces, pulls) in deblur.TUNED.items():
        for noise, *start in zip(deblur.NOISES, paces, pulls, strict=True):
            problems = degraded(truths, noise / 255, BLUR if blurs else None)
            make = functools.partial(_by_model, name)
            yield f"TUNED {name} {blurs} {noise:g}", search(make, start, problems, deblur.STABLE)


def tune(images: str | os.PathLike[str]) -> dict[str, Any]:
    """The constants of this module and of `blade_tf.apps.deblur`, found again on a folder of training photographs."""
    searches = list(_searches(_training(images)))
    return {name: find() for name, find in tqdm.tqdm(searches, desc="tune", unit="search")}
