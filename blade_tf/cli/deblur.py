"""blade-deblur: deblurs, denoises or inpaints image files.

    blade-deblur --input=BLURRED.png --output=SHARP.png --kernel=gaussian:1.0 --noise=5
    blade-deblur --input=NOISY.png --output=CLEAN.png
    blade-deblur --input=SCRATCHED.png --output=WHOLE.png --mask=KNOWN.png
    blade-deblur --export=SAVED --kernel=disk:2.5 --portable

What is given says what is done: --kernel deblurs, --mask inpaints, both do both, neither denoises. The noise level is
estimated where --noise does not state it. PNG, JPEG and TIFF of 8 or 16 bits, gray or colour; alpha is kept. A file of a
folder that cannot be restored does not stop the others; it is named, and the exit status is then 1.
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf
from absl import flags

from blade_tf import arguments, colour, image_files, image_io, models
from blade_tf.apps import deblur, kernels
from blade_tf.cli import common

_INPUT = flags.DEFINE_string("input", None, "Image file, or folder of images.")
_OUTPUT = flags.DEFINE_string("output", None, "Image file, or folder where the input is one.")
_KERNEL = flags.DEFINE_string(
    "kernel",
    None,
    "The blur: gaussian:SIGMA, disk:RADIUS, motion:LENGTH,ANGLE (pixels; degrees from the x axis, counter-clockwise), or "
    "a file with it, an image or an .npy array.",
)
_MASK = flags.DEFINE_string("mask", None, "Image of the input's size: white where pixels are known, black elsewhere.")
_NOISE = flags.DEFINE_float("noise", None, "Standard deviation of the noise in gray levels of 255.", lower_bound=0)
_ESTIMATE = flags.DEFINE_boolean("estimate", True, "Estimate the noise level where --noise is not given.")
_REGULARISER = flags.DEFINE_string(
    "regulariser", None, "Name of a pretrained model, or folder of a trained one; default: the best for the noise level."
)
_DT = flags.DEFINE_float("dt", None, "Length of a time step in the regulariser's unit; default: by the noise level.")
_LAMBDA = flags.DEFINE_string(
    "lambda",
    None,
    "Weight of the data: a number as in eq 4.2, or 'discrepancy': such that the residual is the noise; default: by the "
    "noise level.",
)
_STEPS = flags.DEFINE_integer("steps", None, f"Number of time steps; default: {deblur.STEPS}, or 100 to inpaint.")
_PAPER = flags.DEFINE_boolean("paper", False, "The paper's setting: coherence-enhancing diffusion, ten steps, lambda 2.")
_COLOUR = flags.DEFINE_enum(
    "colour", None, list(colour.WAYS), "How a colour image's filters are chosen; default: as suits the regulariser."
)
_BESIDE = flags.DEFINE_boolean("beside", False, "Write a picture of the result beside the input too.")
_EXPORT = flags.DEFINE_string("export", None, "Write a SavedModel to this new folder instead of restoring files.")
_PORTABLE = flags.DEFINE_boolean("portable", False, "With --export: one that loads with TensorFlow alone.")
_CHANNELS = flags.DEFINE_integer("channels", 1, "With --export: 1 or 3.")


def _settings(blurred: bool, noise: float) -> deblur.Settings:
    """The defaults for a noise level in [0, 1] with what the flags replace."""
    if _PAPER.value:
        found = deblur.PAPER
    elif _MASK.value and not blurred and _REGULARISER.value is None:
        found = deblur.INPAINTING
    else:
        found = deblur.tuned(noise, blurred, _REGULARISER.value)
    dt = found.dt if _DT.value is None else arguments.positive("dt", _DT.value)
    # A data term as strong as before: dt lambda is what steps feel.
    weight = found.weight * found.dt / dt
    if _LAMBDA.value not in (None, "discrepancy"):
        try:
            weight = float(_LAMBDA.value)
        except ValueError:
            raise ValueError(f"lambda: expected a number or 'discrepancy', got {_LAMBDA.value!r}") from None
    steps = found.steps if _STEPS.value is None else arguments.count("steps", _STEPS.value)
    return deblur.Settings(found.regulariser, dt, weight, steps)


def _noise(f: tf.Tensor, known: np.ndarray | None) -> float:
    if _NOISE.value is not None:
        return _NOISE.value / 255
    if not _ESTIMATE.value:
        raise ValueError("noise: expected a noise level, as it is not to be estimated (--noestimate), got none")
    return deblur.noise_level(f, known)


def _restored(image: image_io.Image, kernel: np.ndarray | None, known: np.ndarray | None) -> np.ndarray:
    if known is not None and known.shape[:2] != image.pixels.shape[:2]:
        raise ValueError(f"mask: expected the image's size {image.pixels.shape[:2]}, got {known.shape[:2]}")
    f = tf.constant(image.pixels[np.newaxis])
    fixed = (_PAPER.value or (known is not None and kernel is None)) and _LAMBDA.value != "discrepancy"
    noise = 0.0 if fixed else _noise(f, known)
    settings = _settings(kernel is not None, noise)
    if _LAMBDA.value == "discrepancy":
        return deblur.deblur(f, kernel, known, noise, settings, _COLOUR.value, discrepancy=True)[0].numpy()
    return deblur.deblur(f, kernel, known, noise, settings, _COLOUR.value)[0].numpy()


def _mask(path: str) -> np.ndarray:
    return image_io.luma(image_io.read_image(path).pixels) > 0.5


def _run() -> None:
    kernel = kernels.parse(_KERNEL.value) if _KERNEL.value else None
    if _EXPORT.value:
        deblur.export(
            _EXPORT.value,
            kernel,
            regulariser_name=_REGULARISER.value or deblur.REGULARISER,
            portable=_PORTABLE.value,
            channels=_CHANNELS.value,
        )
        return
    if not _INPUT.value or not _OUTPUT.value:
        raise ValueError("--input and --output are required, or --export")
    if _REGULARISER.value is not None:
        models.load_trained(_REGULARISER.value)  # refused before any file is touched
    known = _mask(_MASK.value) if _MASK.value else None
    failed = image_files.convert(
        _INPUT.value, _OUTPUT.value, lambda image: _restored(image, kernel, known), "deblur", _BESIDE.value
    )
    for reason in failed.values():
        print(f"blade-deblur: {reason}", file=sys.stderr)
    if failed:
        sys.exit(1)


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
