"""blade-resample: image files at displaced positions: shifted by parts of a pixel, or warped along optical flow.

    blade-resample --input=PHOTOGRAPH.png --output=SHIFTED.png --shift=0.5,-1.25
    blade-resample --input=FRAME1.png --output=LIKE_FRAME0.png --flow=FLOW_0_TO_1.flo
    blade-resample --input=BURST --output=ALIGNED --align=BURST/FRAME0.png
    blade-resample --export=SAVED --channels=3

Pixel (x, y) of the result is the input's value at (x, y) plus the displacement there; beyond the input's borders lies
what its border pixels say. PNG, JPEG and TIFF of 8 or 16 bits, gray or colour; alpha is resampled too. A file of a
folder that cannot be resampled does not stop the others; it is named, and the exit status is then 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from blade_tf import flow_io, image_files, image_io
from blade_tf.apps import align, resample
from blade_tf.cli import common

_INPUT = flags.DEFINE_string("input", None, "Image file, or folder of images.")
_OUTPUT = flags.DEFINE_string("output", None, "Image file, or folder where the input is one.")
_SHIFT = flags.DEFINE_list("shift", None, "Displacement of all pixels: dx,dy in pixels, to the right and down.")
_FLOW = flags.DEFINE_string("flow", None, "Displacement of each pixel: a .flo file of the input's size.")
_ALIGN = flags.DEFINE_string(
    "align", None, "Image onto which the input is brought, along the optical flow between them; of the input's size."
)
_MODEL = flags.DEFINE_string(
    "model",
    resample.DEFAULT_MODEL,
    "Model: resample; resample_noisy, which removes noise of 3/255; resample_paper; or a folder of a trained one.",
)
_FILL = flags.DEFINE_float("fill", 0.0, "Value in [0, 1] of pixels whose displacement the .flo file marks as unknown.")
_BESIDE = flags.DEFINE_boolean("beside", False, "Write a picture of the result beside the input too.")
_EXPORT = flags.DEFINE_string("export", None, "Write a SavedModel to this new folder instead of resampling files.")
_PORTABLE = flags.DEFINE_boolean("portable", False, "With --export: one that loads with TensorFlow alone.")
_CHANNELS = flags.DEFINE_integer("channels", 1, "With --export: 1 or 3.")


def _displacement() -> Callable[[np.ndarray], Any]:
    """From an image's pixels to where they are resampled."""
    given = [flag.value is not None for flag in (_SHIFT, _FLOW, _ALIGN)]
    if sum(given) != 1:
        raise ValueError("expected one of --shift, --flow and --align")
    if _FLOW.value is not None:
        flow = flow_io.read_flow(_FLOW.value)[np.newaxis]
        return lambda _: flow
    if _ALIGN.value is not None:
        reference = image_io.luma(image_io.read_image(_ALIGN.value).pixels)[np.newaxis]
        return lambda pixels: align.align(reference, image_io.luma(pixels)[np.newaxis])
    try:
        shift = [float(part) for part in _SHIFT.value]
    except ValueError:
        shift = []
    if len(shift) != 2 or not np.isfinite(shift).all():
        raise ValueError(f"shift: expected two numbers dx,dy, got {','.join(_SHIFT.value)!r}")
    return lambda _: np.array(shift, np.float32)


def _run() -> None:
    if _EXPORT.value:
        resample.export(_EXPORT.value, _MODEL.value, portable=_PORTABLE.value, channels=_CHANNELS.value)
        return
    if not _INPUT.value or not _OUTPUT.value:
        raise ValueError("--input and --output are required, or --export")
    if not 0 <= _FILL.value <= 1:
        raise ValueError(f"fill: expected a value in [0, 1], got {_FILL.value:g}")
    model, displacement = resample.load(_MODEL.value), _displacement()

    def resampled(image: image_io.Image) -> image_io.Image:
        field = displacement(image.pixels)

        def moved(pixels: np.ndarray) -> np.ndarray:
            return resample.resample(tf.constant(pixels[np.newaxis]), field, model, _FILL.value)[0].numpy()

        alpha = image.alpha
        if alpha is not None:
            opacity = alpha[..., np.newaxis] / np.float32(2**image.bits - 1)
            alpha = image_io.quantize(moved(opacity), image.bits)[..., 0]
        return dataclasses.replace(image, pixels=moved(image.pixels), alpha=alpha)

    failed = image_files.convert(_INPUT.value, _OUTPUT.value, resampled, "resample", _BESIDE.value)
    common.report(failed)


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
