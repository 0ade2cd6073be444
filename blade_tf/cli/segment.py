"""blade-segment: divides image files into two regions by the Chan-Vese model.

    blade-segment --input=PHOTOGRAPH.jpg --output=MASK.png
    blade-segment --input=PHOTOGRAPH.jpg --output=DRAWN.png --overlay --mu=0.1
    blade-segment --input=FOLDER --output=FOLDER2 --model=none
    blade-segment --export=SAVED --portable

Writes the mask, white inside, or with --overlay the input with the border drawn over it, and prints each region's share
of the pixels and mean in gray levels, and the number of iterations. PNG, JPEG and TIFF of 8 or 16 bits, gray or colour;
alpha is kept. A file that cannot be read does not stop a folder; it is named, and the exit status is then 1.
"""

from __future__ import annotations

import pathlib

import numpy as np
import tensorflow as tf
import tqdm
from absl import flags

from blade_tf import image_files, image_io, models, report
from blade_tf.apps import segment
from blade_tf.cli import common

_DEFAULTS = segment.Settings()

_INPUT = flags.DEFINE_string("input", None, "Image file, or folder of images.")
_OUTPUT = flags.DEFINE_string("output", None, "Image file, or folder where the input is one.")
_EXPORT = flags.DEFINE_string("export", None, "New folder for a SavedModel of the same computation.")
_PORTABLE = flags.DEFINE_bool("portable", False, "For --export: loads with TensorFlow alone, but is slower.")
_CHANNELS = flags.DEFINE_integer("channels", 1, "For --export: 1, gray, or 3.")
_MODEL = flags.DEFINE_string(
    "model",
    "tv_flow_paper",
    "Name of a pretrained model of TV flow, or folder of a trained one; none: the semi-implicit reference solver.",
)
_START = flags.DEFINE_string(
    "start", None, "Image of the input's size to start from, bright inside; default: a checkerboard."
)
_STRETCH = flags.DEFINE_bool("stretch", False, "Stretch each image's intensities to the whole range beforehand.")
_MU = flags.DEFINE_float(
    "mu", None, "Weight of the border's length: more, a smoother border; default: 0.04, or 0.2 with --model=none."
)
_NU = flags.DEFINE_float("nu", _DEFAULTS.nu, "Weight of the area inside.")
_LAMBDA1 = flags.DEFINE_float("lambda1", _DEFAULTS.lambda1, "Weight of differences from the mean inside.")
_LAMBDA2 = flags.DEFINE_float("lambda2", _DEFAULTS.lambda2, "Weight of differences from the mean outside.")
_DT = flags.DEFINE_float("dt", _DEFAULTS.dt, "Length of a step.")
_ITERATIONS = flags.DEFINE_integer("iterations", _DEFAULTS.iterations, "The largest number of steps.", lower_bound=0)
_TOLERANCE = flags.DEFINE_float(
    "tolerance", _DEFAULTS.tolerance, "Stop where a step changes the level set by no more, as root mean square."
)
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


def _stretched(pixels: np.ndarray) -> np.ndarray:
    low, high = pixels.min(), pixels.max()
    return (pixels - low) / (high - low) if high > low else pixels


def _text(found: segment.Segmentation) -> str:
    area = float(np.mean(found.mask))
    regions = (
        f"{name} {100 * share:.1f} %, mean {', '.join(f'{255 * value:.1f}' for value in mean)}"
        for name, share, mean in zip(("inside", "outside"), (area, 1 - area), found.means[0].numpy(), strict=True)
    )
    return f"{'; '.join(regions)}; {int(found.iterations[0])} iterations"


def _run() -> None:
    if (_INPUT.value is None) != (_OUTPUT.value is None) or not (_INPUT.value or _EXPORT.value):
        raise ValueError("expected --input and --output, or --export, or all three")
    model, settings = _model(), _settings()
    if _EXPORT.value:
        segment.export(
            _EXPORT.value, model=model, settings=settings, channels=_CHANNELS.value, portable=_PORTABLE.value
        )
    if not _INPUT.value:
        return
    start = image_io.luma(image_io.read_image(_START.value).pixels)[np.newaxis] > 0.5 if _START.value else None
    last: list[segment.Segmentation] = []

    def segmented(image: image_io.Image) -> np.ndarray:
        f = _stretched(image.pixels) if _STRETCH.value else image.pixels
        last[:] = [segment.segment(tf.constant(f[np.newaxis]), start, model=model, settings=settings)]
        mask = last[0].mask[0].numpy()
        if _OVERLAY.value:
            return report.outlined(image.pixels, mask[..., 0]).astype(np.float32) / 255
        return mask.astype(np.float32)

    def tell(path: pathlib.Path) -> None:
        tqdm.tqdm.write(f"{path}: {_text(last[0])}")

    failed = image_files.convert(_INPUT.value, _OUTPUT.value, segmented, "segment", _BESIDE.value, tell)
    common.report(failed)


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
