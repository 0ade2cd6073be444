"""blade-deblur: deblurs, denoises or inpaints image files.

    blade-deblur --input=BLURRED.png --output=SHARP.png --kernel=gaussian:1.0 --noise=5
    blade-deblur --input=NOISY.png --output=CLEAN.png
    blade-deblur --input=SCRATCHED.png --output=WHOLE.png --mask=KNOWN.png
    blade-deblur --input=BLURRED.png --output=SHARP.png --stages=restoration_range --kernel=gaussian:1.0 --noise=5
    blade-deblur --export=SAVED --kernel=disk:2.5 --portable

What is given says what is done: --kernel deblurs, --mask inpaints, both do both, neither denoises. The noise level is
estimated where --noise does not state it. --stages takes a model that was trained for a degradation instead, or for a
range of them that --kernel and --noise choose from. PNG, JPEG, TIFF, WebP and BMP are read, the first three written: 8
or 16 bits, gray or colour; alpha is kept. A file of a folder that cannot be restored does not stop the others; it is
named, and the exit status is then 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import flags

from blade_tf import arguments, colour, image_files, image_io
from blade_tf.apps import deblur, kernels, stages
from blade_tf.cli import common

_FILES = common.define_files()
_KERNEL = flags.DEFINE_string(
    "kernel",
    None,
    "The blur: gaussian:SIGMA, disk:RADIUS, motion:LENGTH,ANGLE (pixels; degrees from the x axis, counter-clockwise), "
    "or a file with it, an image or an .npy array.",
)
_MASK = flags.DEFINE_string("mask", None, "Image of the input's size: white where pixels are known, black elsewhere.")
_NOISE = flags.DEFINE_float(
    "noise", None, "Standard deviation of the noise in gray levels of 255; default: estimated.", lower_bound=0
)
_ESTIMATE = flags.DEFINE_boolean("estimate", True, "Estimate the noise level where --noise is not given.")
_REGULARISER = flags.DEFINE_string(
    "regulariser",
    None,
    "Name of a pretrained model, or folder of a trained one; default: by the noise level; with --export: "
    f"{deblur.REGULARISER}.",
)
_DT = flags.DEFINE_float("dt", None, "Length of a time step in the regulariser's unit; default: by the noise level.")
_LAMBDA = flags.DEFINE_string(
    "lambda",
    None,
    "Weight of the data: a number as in eq 4.2, or 'discrepancy': such that the residual is the noise; default: by the "
    "noise level.",
)
_STEPS = flags.DEFINE_integer(
    "steps", None, f"Number of time steps; default: {deblur.STEPS}, or 100 to inpaint.", lower_bound=0
)
_PAPER = flags.DEFINE_boolean(
    "paper", False, "The paper's setting: coherence-enhancing diffusion, lambda 2, ten steps."
)
_STAGES = flags.DEFINE_string(
    "stages",
    None,
    "Restore by a model that was trained for the degradation: restoration (a Gaussian blur of 1 px, noise of 5), "
    "restoration_range (--kernel=gaussian:SIGMA up to 1.6 px or none, noise of 1 to 20), or a folder of a trained one.",
)
_COLOUR = flags.DEFINE_enum(
    "colour", None, list(colour.WAYS), "How a colour image's filters are chosen; default: as suits the regulariser."
)

_NUMBERS = ("regulariser", "dt", "lambda", "steps")


def _settings() -> deblur.Settings:
    if _PAPER.value:
        common.refuse("with --paper", *_NUMBERS)
        return deblur.PAPER
    weight = None
    if _LAMBDA.value not in (None, "discrepancy"):
        try:
            weight = float(_LAMBDA.value)
        except ValueError:
            raise ValueError(f"lambda: expected a number or 'discrepancy', got {_LAMBDA.value!r}") from None
        arguments.positive("lambda", weight)
    # With --export the files get what the SavedModel would make of them.
    regulariser = _REGULARISER.value or (deblur.REGULARISER if _FILES.export.value else None)
    if regulariser is not None:
        deblur.regulariser(regulariser, _COLOUR.value)
    dt = None if _DT.value is None else arguments.positive("dt", _DT.value)
    return deblur.Settings(regulariser, dt, weight, _STEPS.value)


def _function(settings: deblur.Settings) -> Callable[[image_io.Image], np.ndarray]:
    kernel = kernels.parse(_KERNEL.value) if _KERNEL.value else None
    known = image_io.luma(image_io.read_image(_MASK.value).pixels) > 0.5 if _MASK.value else None
    noise = _level()
    balanced = _LAMBDA.value == "discrepancy"
    fixed = settings.dt is not None and settings.weight is not None
    if not balanced and (fixed or (known is not None and kernel is None)):
        common.refuse("with --paper, with --dt and --lambda, or with --mask alone, which need none", "noise")
    elif noise is None:
        _check_estimate()

    def restored(image: image_io.Image) -> np.ndarray:
        size = image.pixels.shape[:2]
        if known is not None and known.shape[:2] != size:
            raise ValueError(f"mask: expected the image's size {list(size)}, got {list(known.shape[:2])}")
        # `deblur` would say so too, but only after it has the kernel's norm, which may take minutes.
        if kernel is not None and np.any(np.array(kernel.shape) > size):
            raise ValueError(f"kernel: expected at most the image's size {list(size)}, got {list(kernel.shape)}")
        f = tf.constant(image.pixels[np.newaxis])
        return deblur.deblur(f, kernel, known, noise, settings, balanced, _COLOUR.value)[0].numpy()

    return restored


def _level() -> float | None:
    """The noise level in [0, 1]."""
    if _NOISE.value is not None and not math.isfinite(_NOISE.value):
        raise ValueError(f"noise: expected gray levels of at least 0, got {_NOISE.value!r}")
    return None if _NOISE.value is None else _NOISE.value / 255


def _check_estimate() -> None:
    if not _ESTIMATE.value:
        raise ValueError("noise: expected a noise level, as it is not to be estimated (--noestimate), got none")


def _by_stages() -> Callable[[image_io.Image], np.ndarray]:
    model = stages.load(_STAGES.value)
    if not model.knots:
        common.refuse("with --stages of one degradation", "kernel", "noise")
        return lambda image: stages.restore(image.pixels[np.newaxis], model)[0].numpy()
    blur = kernels.parse_gaussian(_KERNEL.value) if _KERNEL.value else None
    noise = _level()
    if noise is None:
        _check_estimate()
    stages.check_degradation(model, blur, noise)
    return lambda image: stages.restore(image.pixels[np.newaxis], model, blur, noise)[0].numpy()


def _export() -> None:
    folder, how = _FILES.export.value, {"portable": _FILES.portable.value, "channels": _FILES.channels.value}
    if _STAGES.value:
        stages.export(folder, _STAGES.value, **how)
    else:
        kernel = kernels.parse(_KERNEL.value) if _KERNEL.value else None
        deblur.export(folder, kernel, _REGULARISER.value or deblur.REGULARISER, **how)


def _run() -> None:
    common.check_files()
    if _STAGES.value:
        common.refuse("with --stages", *_NUMBERS, "mask", "paper", "colour")
    if _FILES.export.value:
        common.refuse("with --export", "mask", "noise", "estimate", "dt", "lambda", "steps", "paper", "colour")
        if _STAGES.value:
            common.refuse("with --export and --stages", "kernel")
    # Whatever is wrong with the settings is found before any file is touched.
    function = None
    if _FILES.input.value:
        function = _by_stages() if _STAGES.value else _function(_settings())
    if _FILES.export.value:
        _export()
    if function:
        failed = image_files.convert(_FILES.input.value, _FILES.output.value, function, "deblur", _FILES.beside.value)
        common.report(failed)


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
