"""The methods that `blade_tf.compare.deblur` compares, with what they were tuned to."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from skimage import restoration as skimage_restoration

from blade_tf import image_io
from blade_tf.apps import deblur, kernels, stages
from blade_tf.compare import deblur_peers as peers
from blade_tf.compare.degraded import Problem

__all__ = [
    "by_model",
    "by_stages",
    "choices",
    "deblurring",
    "denoising",
    "inpainting",
    "plane",
    "restored",
    "richardson_lucy",
    "wiener",
]

BLUR, NOISE = 1.0, 5 / 255
MARGIN = 16
LEVELS = (5, 15, 25)

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
    "restoration_range": "stages of BLADE that undo Gaussian blurs of up to 1.6 px and noise of 1/255 to 20/255, told "
    'how much of both: `blade_tf.apps.stages.restore(image, "restoration_range", blur=1.0, noise=5 / 255)`, or '
    "`blade-deblur --stages=restoration_range --kernel=gaussian:1 --noise=5`; the noise is estimated where it is not "
    "stated.",
}
MODELS = {  # the time step in the model's own, dt lambda
    "tv_flow": (1.0, 1.25),
    "perona_malik_paper": (1.25, 1.5),
    "ced_paper": (1.8, 1.0),
}
CHAMBOLLE = (0.5, 0.7, 0.75)  # of the noise level
NL_MEANS = (0.805, 0.75, 0.7)


DEFAULTS = deblur.Settings()
Method = Callable[[Problem], np.ndarray]
_loaded = functools.cache(stages.load)


def restored(settings: deblur.Settings = DEFAULTS, told: bool = True, discrepancy: bool = False) -> Method:
    """By a regulariser; told the noise level, or estimating it."""

    def method(problem: Problem) -> np.ndarray:
        f, noise = tf.constant(problem.f[np.newaxis]), problem.noise if told else None
        return deblur.deblur(f, problem.kernel, problem.known, noise, settings, discrepancy)[0].numpy()

    return method


def by_stages(name: str, told: bool = True) -> Method:
    """Stages by name; told the degradation, or estimating the noise, where they were trained for a range."""

    def method(problem: Problem) -> np.ndarray:
        model = _loaded(name)
        degradation = (problem.sigma, problem.noise if told else None) if model.knots else ()
        return stages.restore(problem.f[np.newaxis], model, *degradation)[0].numpy()

    return method


def by_model(name: str, pace: float, pull: float) -> Method:
    """By a regulariser of this name: the time step in its own, and dt lambda."""
    dt = pace * deblur.regulariser(name).gray.dt
    return restored(deblur.Settings(name, dt, pull / dt))


def plane(function: Callable[..., np.ndarray], *arguments: Any, **options: Any) -> Method:
    """A method of planes [H, W]."""
    return lambda problem: function(problem.f[..., 0], *arguments, **options)[..., np.newaxis]


def _reflected(function: Callable[[np.ndarray], np.ndarray]) -> Method:
    """A method of planes that knows periodic or black borders only: given more by reflection, it shows none of them."""

    def method(problem: Problem) -> np.ndarray:
        f = np.pad(problem.f[..., 0].astype(np.float64), MARGIN, mode="symmetric")
        return function(f)[MARGIN:-MARGIN, MARGIN:-MARGIN, np.newaxis]

    return method


def wiener(balance: float) -> Method:
    """scikit-image's Wiener filter."""
    psf = kernels.gaussian(BLUR)
    return _reflected(lambda f: skimage_restoration.wiener(f, psf, balance, clip=False))


def _unsupervised_wiener() -> Method:
    psf = kernels.gaussian(BLUR)
    return _reflected(lambda f: skimage_restoration.unsupervised_wiener(f, psf, clip=False, rng=0)[0])


def richardson_lucy(iterations: int) -> Method:
    """scikit-image's Richardson-Lucy deconvolution."""
    psf = kernels.gaussian(BLUR)
    # It is for counts, which are positive.
    return _reflected(lambda f: skimage_restoration.richardson_lucy(np.maximum(f, 1e-3), psf, iterations, clip=False))


def deblurring() -> dict[str, Method]:
    """For the paper's degradation."""
    return {
        "input": lambda problem: problem.f,
        **{name: by_stages(name) for name in STAGES},
        "BLADE: `ced_paper` in the paper's setting": restored(deblur.PAPER),
        **{f"BLADE: `{name}`": by_model(name, *numbers) for name, numbers in MODELS.items()},
        "BLADE: `perona_malik`, the default": restored(),
        "TV deconvolution, converged (ADMM)": plane(peers.total_variation, BLUR, TOTAL_VARIATION),
        **{f"PDE: {name}": plane(peers.pde, name, BLUR, *numbers) for name, numbers in REFERENCES.items()},
        "Wiener, cosine domain": plane(peers.wiener, BLUR, WIENER),
        "Wiener, scikit-image": wiener(WIENER_SKIMAGE),
        "Wiener, unsupervised, scikit-image": _unsupervised_wiener(),
        "Richardson-Lucy, scikit-image": richardson_lucy(RICHARDSON_LUCY),
    }


def choices() -> dict[str, Method]:
    """Ways to choose lambda."""
    return {
        "input": lambda problem: problem.f,
        "by the noise level": restored(),
        "by the noise level, estimated": restored(told=False),
        "by discrepancy": restored(discrepancy=True),
        "by discrepancy, noise level estimated": restored(told=False, discrepancy=True),
    }


def denoising(level: int, chambolle: float, nl_means: float) -> dict[str, Method]:
    """For noise of a level in gray levels of 255; what the peers take is in units of it."""
    noise = level / 255
    methods: dict[str, Method] = {
        "input": lambda problem: problem.f,
        "BLADE: the default": restored(),
        "BLADE: the default, noise level estimated": restored(told=False),
        "denoise_tv_chambolle": plane(skimage_restoration.denoise_tv_chambolle, chambolle * noise),
        "denoise_nl_means": plane(
            skimage_restoration.denoise_nl_means, patch_size=5, patch_distance=6, h=nl_means * noise, sigma=noise
        ),
    }
    if noise <= _loaded("restoration_range").noise[-1]:
        methods["restoration_range"] = by_stages("restoration_range")
    if importlib.util.find_spec("pywt"):
        methods["denoise_wavelet"] = plane(skimage_restoration.denoise_wavelet, sigma=noise)
    return methods


def inpainting() -> dict[str, Method]:
    """For unknown pixels."""

    def biharmonic(problem: Problem) -> np.ndarray:
        unknown = ~problem.known[..., 0]  # type: ignore[index]
        return skimage_restoration.inpaint_biharmonic(problem.f[..., 0], unknown)[..., np.newaxis]

    methods: dict[str, Method] = {
        "input": lambda problem: problem.f,
        "start: Gaussian means": lambda problem: deblur.fill(problem.f[np.newaxis], problem.known)[0].numpy(),
        "BLADE: `ced`, the default": restored(),
        "BLADE: `tv_flow`": restored(deblur.Settings("tv_flow")),
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
