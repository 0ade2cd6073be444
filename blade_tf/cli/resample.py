"""blade-resample: image files at displaced positions: shifted by parts of a pixel, or warped along optical flow.

    blade-resample --input=PHOTOGRAPH.png --output=SHIFTED.png --shift=0.5,-1.25
    blade-resample --input=FRAME1.png --output=LIKE_FRAME0.png --flow=FLOW_0_TO_1.flo
    blade-resample --input=BURST --output=ALIGNED --align=BURST/FRAME0.png --write_flow=FLOWS
    blade-resample --export=SAVED --channels=3

Pixel (x, y) of the result is the input's value at (x, y) plus the displacement there; beyond the input's borders lies
what its border pixels say. PNG, JPEG, TIFF, WebP and BMP are read, the first three written: 8 or 16 bits, gray or
colour. Colours count by their alpha, which is resampled too; where the displacement is unknown it is 0. A file of a
folder that cannot be resampled does not stop the others; it is named, and the exit status is then 1.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from blade_tf import flow_io, image_files, image_io
from blade_tf.apps import align, resample
from blade_tf.cli import common
from blade_tf.resampling import UNKNOWN

_FILES = common.define_files()
_SHIFT = flags.DEFINE_list("shift", None, "Displacement of all pixels: dx,dy in pixels, to the right and down.")
_FLOW = flags.DEFINE_string("flow", None, "Displacement of each pixel: a .flo file of the input's size.")
_ALIGN = flags.DEFINE_string(
    "align", None, "Image onto which the input is brought, along the optical flow between them; of the input's size."
)
_WRITE_FLOW = flags.DEFINE_string(
    "write_flow",
    None,
    "With --align: .flo file for that flow; where the input is a folder, a folder that receives NAME.png.flo for each.",
)
_MODEL = flags.DEFINE_string(
    "model",
    resample.DEFAULT_MODEL,
    "Model: resample; resample_noisy, which removes noise of 3/255; resample_paper; or a folder of a trained one. "
    f"Default: {resample.DEFAULT_MODEL}.",
)
_FILL = flags.DEFINE_float(
    "fill",
    0.0,
    "Value in [0, 1] of pixels whose displacement the .flo file marks as unknown; those of an image with alpha become "
    "transparent instead. Default: 0, black.",
)


def _shift(parts: Sequence[str]) -> np.ndarray:
    try:
        shift = np.array([float(part) for part in parts])
    except ValueError:
        shift = np.array([])
    if shift.shape != (2,) or not (np.abs(shift) <= UNKNOWN).all():
        raise ValueError(f"shift: expected two numbers dx,dy of at most {UNKNOWN:g}, got {','.join(parts)!r}")
    return shift.astype(np.float32)


def _displacement() -> Callable[[np.ndarray], Any]:
    """From an image's pixels to where they are resampled."""
    if [flag.value is not None for flag in (_SHIFT, _FLOW, _ALIGN)].count(True) != 1:
        raise ValueError("expected one of --shift, --flow and --align")
    if _FLOW.value is not None:
        flow = flow_io.read_flow(_FLOW.value)[np.newaxis]
        return lambda _: flow
    if _ALIGN.value is not None:
        reference = image_io.luma(image_io.read_image(_ALIGN.value).pixels)[np.newaxis]
        return lambda pixels: align.align(reference, image_io.luma(pixels)[np.newaxis])
    shift = _shift(_SHIFT.value)
    return lambda _: shift


def _flow_file(image: pathlib.Path) -> pathlib.Path:
    source, target = pathlib.Path(_FILES.input.value), pathlib.Path(_WRITE_FLOW.value)
    return target / f"{image.relative_to(source)}.flo" if source.is_dir() else target


def _run() -> None:
    common.check_files("shift", "flow", "align")
    common.only_with("flow", "fill")
    common.only_with("align", "write_flow")
    if not 0 <= _FILL.value <= 1:
        raise ValueError(f"fill: expected a value in [0, 1], got {_FILL.value:g}")
    displacement = _displacement() if _FILES.input.value else None
    model = resample.load(_MODEL.value)
    if _FILES.export.value:
        resample.export(_FILES.export.value, model, portable=_FILES.portable.value, channels=_FILES.channels.value)
    if displacement is None:
        return

    def resampled(image: image_io.Image) -> tuple[image_io.Image, Any]:
        field = displacement(image.pixels)

        def moved(pixels: np.ndarray, fill: float) -> np.ndarray:
            return resample.resample(tf.constant(pixels[np.newaxis]), field, model, fill)[0].numpy()

        if image.alpha is None:
            return dataclasses.replace(image, pixels=moved(image.pixels, _FILL.value)), field
        opacity = image.alpha[..., np.newaxis] / np.float32(2**image.bits - 1)
        # What is transparent has a colour too, which must not show at the edges.
        pixels, opacity = moved(opacity * image.pixels, 0.0), moved(opacity, 0.0)
        alpha = image_io.quantize(opacity, image.bits)
        pixels = np.divide(pixels, opacity, out=np.zeros_like(pixels), where=alpha > 0)
        return dataclasses.replace(image, pixels=pixels, alpha=alpha[..., 0]), field

    def written(path: pathlib.Path, field: Any) -> None:
        if _WRITE_FLOW.value:
            to = _flow_file(path)
            to.parent.mkdir(parents=True, exist_ok=True)
            flow_io.write_flow(to, field[0])

    failed = image_files.convert(
        _FILES.input.value, _FILES.output.value, resampled, "resample", _FILES.beside.value, written
    )
    common.report(failed)


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
