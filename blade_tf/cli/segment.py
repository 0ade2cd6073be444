"""blade-segment: divides image files into two regions by the Chan-Vese model.

    blade-segment --input=PHOTOGRAPH.jpg --output=MASK.png
    blade-segment --input=PHOTOGRAPH.jpg --output=DRAWN.png --overlay --mu=0.1
    blade-segment --input=FOLDER --output=FOLDER2 --model=tv_flow
    blade-segment --export=SAVED --portable

Writes the mask, white inside, or with --overlay the input with the border drawn over it, and prints each region's share
of the pixels and mean of the input in gray levels, and the number of iterations. PNG, JPEG, TIFF, WebP and BMP are
read: 8 or 16 bits, gray or colour; alpha is kept. Masks of a folder are PNG or TIFF files. A file that cannot be read
does not stop a folder; it is named, and the exit status is then 1.
"""

from __future__ import annotations

import pathlib

import numpy as np
import tensorflow as tf
import tqdm
from absl import flags

from blade_tf import image_files, image_io, report
from blade_tf.apps import chan_vese, segment
from blade_tf.cli import common

_DEFAULTS = segment.Settings()

_FILES = common.define_files()
_MODEL = flags.DEFINE_string(
    "model",
    None,
    "Name of a pretrained model of TV flow, or folder of a trained one, for the curvature (eq 4.10); default: the "
    "semi-implicit reference solver, more exact and faster.",
)
_START = flags.DEFINE_string(
    "start", None, "Image of the input's size to start from, bright inside; default: a checkerboard."
)
_STRETCH = flags.DEFINE_bool("stretch", False, "Stretch each image's intensities to the whole range beforehand.")
_MU = flags.DEFINE_float(
    "mu",
    None,
    "Weight of the border's length: more, a smoother border; default: 0.2; with --model, where a fifth weighs the "
    "same, 0.04, and 0.1 at most.",
)


def _number(name: str, meaning: str) -> flags.FlagHolder[float]:
    default = getattr(_DEFAULTS, name)
    return flags.DEFINE_float(name, default, f"{meaning}; default: {default:g}.")


_NU = _number("nu", "Weight of the area inside")
_LAMBDA1 = _number("lambda1", "Weight of differences from the mean inside")
_LAMBDA2 = _number("lambda2", "Weight of differences from the mean outside")
_DT = _number("dt", "Length of a step")
_ITERATIONS = flags.DEFINE_integer(
    "iterations",
    _DEFAULTS.iterations,
    f"The largest number of steps; default: {_DEFAULTS.iterations}.",
    lower_bound=0,
)
_TOLERANCE = _number("tolerance", "Stop where a step changes the level set by no more, as root mean square")
_OVERLAY = flags.DEFINE_bool("overlay", False, "Write the input with the border drawn over it instead of the mask.")


def _settings() -> segment.Settings:
    return segment.Settings(
        _MU.value, _NU.value, _LAMBDA1.value, _LAMBDA2.value, _DT.value, _ITERATIONS.value, _TOLERANCE.value
    )


def _range(pixels: np.ndarray) -> tuple[float, float]:
    """What becomes 0, and how much above it 1."""
    low, high = float(pixels.min()), float(pixels.max())
    return (low, high - low) if _STRETCH.value and high > low else (0.0, 1.0)


def _drawn(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The border in red over an image [H, W, 1 or 3], whose other pixels keep their depth."""
    border = report.outlined(np.zeros(mask.shape), mask).any(-1, keepdims=True)
    return np.where(border, np.array([1, 0, 0], pixels.dtype), pixels)


def _text(found: segment.Segmentation, means: np.ndarray) -> str:
    area = float(np.mean(found.mask))
    regions = (
        f"{name} {100 * share:.1f} %, mean {', '.join(f'{255 * value:.1f}' for value in mean)}"
        for name, share, mean in zip(("inside", "outside"), (area, 1 - area), means, strict=True)
    )
    return f"{'; '.join(regions)}; {int(found.iterations[0])} iterations"


def _run() -> None:
    common.check_files("start", "stretch", "overlay")
    if _FILES.export.value:
        common.refuse("with --export", "start", "stretch")
    model = segment.load(_MODEL.value) if _MODEL.value is not None else None
    settings = _settings()
    chan_vese.border_weight(settings, model)  # before any file is touched
    if _FILES.export.value:
        how = {"portable": _FILES.portable.value, "channels": _FILES.channels.value}
        segment.export(_FILES.export.value, model=model, settings=settings, **how)
    if not _FILES.input.value:
        return
    start = image_io.luma(image_io.read_image(_START.value).pixels)[np.newaxis] > 0.5 if _START.value else None

    def segmented(image: image_io.Image) -> tuple[np.ndarray, str]:
        low, span = _range(image.pixels)
        f = (image.pixels - low) / span
        found = segment.segment(tf.constant(f[np.newaxis]), start, model=model, settings=settings)
        mask = found.mask[0].numpy()
        made = _drawn(image.pixels, mask[..., 0]) if _OVERLAY.value else mask.astype(np.float32)
        return made, _text(found, low + span * found.means[0].numpy())

    def tell(path: pathlib.Path, text: str) -> None:
        tqdm.tqdm.write(f"{path}: {text}")

    files = _FILES.input.value, _FILES.output.value
    failed = image_files.convert(*files, segmented, "segment", _FILES.beside.value, tell, lossless=not _OVERLAY.value)
    common.report(failed)


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
