"""blade-segment: divides image files into two regions by the Chan-Vese model.

    blade-segment --input=PHOTOGRAPH.jpg --output=MASK.png
    blade-segment --input=PHOTOGRAPH.jpg --output=DRAWN.png --overlay --mu=0.1
    blade-segment --input=FOLDER --output=FOLDER2 --model=none
    blade-segment --export=SAVED --portable

Writes the mask, white inside, or with --overlay the input with the border drawn over it, and prints each region's share
of the pixels and mean of the input in gray levels, and the number of iterations. PNG, JPEG and TIFF of 8 or 16 bits,
gray or colour; alpha is kept. Masks of a folder's JPEG files are PNG files. A file that cannot be read does not stop a
folder; it is named, and the exit status is then 1.
"""

from __future__ import annotations

import pathlib

import numpy as np
import tensorflow as tf
import tqdm
from absl import flags

from blade_tf import image_files, image_io, models, report
from blade_tf.apps import chan_vese, segment
from blade_tf.cli import common

_DEFAULTS = segment.Settings()

_INPUT = flags.DEFINE_string("input", None, "Image file, or folder of images.")
_OUTPUT = flags.DEFINE_string("output", None, "Image file, or folder where the input is one.")
_EXPORT = flags.DEFINE_string("export", None, "New folder for a SavedModel of the same computation.")
_PORTABLE = flags.DEFINE_bool("portable", False, "For --export: loads with TensorFlow alone, but is slower.")
_CHANNELS = flags.DEFINE_integer("channels", 1, "For --export: 1, gray, or 3; default: 1.")
_MODEL = flags.DEFINE_string(
    "model",
    "tv_flow_paper",
    "Name of a pretrained model of TV flow, or folder of a trained one; none: the semi-implicit reference solver, more "
    "exact; default: tv_flow_paper.",
)
_START = flags.DEFINE_string(
    "start", None, "Image of the input's size to start from, bright inside; default: a checkerboard."
)
_STRETCH = flags.DEFINE_bool("stretch", False, "Stretch each image's intensities to the whole range beforehand.")
_MU = flags.DEFINE_float(
    "mu",
    None,
    "Weight of the border's length: more, a smoother border; default: 0.04, and 0.1 at most; with --model=none, where "
    "5 times as much weighs the same, 0.2, and no limit.",
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
_BESIDE = flags.DEFINE_bool("beside", False, "Also write a picture of the result beside the input, NAME_beside.png.")


def _model() -> models.EvolutionModel | None:
    name = _MODEL.value
    if name == "none":
        return None
    if not name.endswith(".keras"):
        trained = models.load_trained(name)
        trained.check_task("evolution")
        if trained.config["pde"]["name"] != "tv_flow":
            raise ValueError(f"model: expected one of TV flow, got {name!r}, of {trained.config['pde']['name']}")
    return models.load(name)


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
    if (_INPUT.value is None) != (_OUTPUT.value is None) or not (_INPUT.value or _EXPORT.value):
        raise ValueError("expected --input and --output, or --export, or all three")
    common.only_with("input", "start", "stretch", "overlay", "beside")
    common.only_with("export", "portable", "channels")
    model, settings = _model(), _settings()
    chan_vese.border_weight(settings, model)  # before any file is touched
    if _EXPORT.value:
        segment.export(
            _EXPORT.value, model=model, settings=settings, channels=_CHANNELS.value, portable=_PORTABLE.value
        )
    if not _INPUT.value:
        return
    start = image_io.luma(image_io.read_image(_START.value).pixels)[np.newaxis] > 0.5 if _START.value else None
    last: list[str] = []

    def segmented(image: image_io.Image) -> np.ndarray:
        low, span = _range(image.pixels)
        f = (image.pixels - low) / span
        found = segment.segment(tf.constant(f[np.newaxis]), start, model=model, settings=settings)
        last[:] = [_text(found, low + span * found.means[0].numpy())]
        mask = found.mask[0].numpy()
        return _drawn(image.pixels, mask[..., 0]) if _OVERLAY.value else mask.astype(np.float32)

    def tell(path: pathlib.Path) -> None:
        tqdm.tqdm.write(f"{path}: {last[0]}")

    failed = image_files.convert(
        _INPUT.value, _OUTPUT.value, segmented, "segment", _BESIDE.value, tell, lossless=not _OVERLAY.value
    )
    common.report(failed)


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
