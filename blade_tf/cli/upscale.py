"""blade-upscale: image files at an integer multiple of their resolution.

    blade-upscale --input=PHOTOGRAPH.jpg --output=LARGE.png --factor=4
    blade-upscale --input=FOLDER --output=FOLDER2 --factor=2
    blade-upscale --input=NOISY.png --output=LARGE.png --relaxation=0.5
    blade-upscale --export=SAVED --factor=4 --channels=3

PNG, JPEG, TIFF, WebP and BMP are read, the first three written: 8 or 16 bits, gray or colour; alpha's pixels are
repeated. A file that cannot be read does not stop a folder; it is named, and the exit status is then 1.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from absl import flags

from blade_tf import arguments, colour, image_files, image_io, models
from blade_tf.apps import upscale
from blade_tf.cli import common
from blade_tf.upscaling import UpscaleModel

_FILES = common.define_files()
_FACTOR = flags.DEFINE_integer("factor", 2, "How many times as high and wide: an integer of at least 2; default: 2.")
_MODEL = flags.DEFINE_string(
    "model",
    None,
    "Name of a pretrained model, or folder of a trained one: a regulariser, such as ced_convex, or stages that were "
    "trained for the factor and the point spread function, such as upscale_x2. Default: such stages, if there are any "
    f"and neither --steps, --relaxation nor --colour is given, else {upscale.DEFAULT_MODEL}.",
)
_SIGMA = flags.DEFINE_float(
    "sigma", 0.4, "Standard deviation of the point spread function, in --sigma_in pixels; default: 0.4."
)
_SIGMA_IN = flags.DEFINE_enum(
    "sigma_in", "low", ["low", "high"], "--sigma is in low- or high-resolution pixels, low or high; default: low."
)
_POSITION = flags.DEFINE_float(
    "position",
    None,
    "High-resolution pixel on which the first low-resolution one sits; default: its block's centre, (factor - 1) / 2.",
)
_STEPS = flags.DEFINE_integer(
    "steps", None, f"Number of time steps of a regulariser; default: {upscale.DEFAULT_STEPS}.", lower_bound=0
)
_RELAXATION = flags.DEFINE_float(
    "relaxation",
    None,
    "For noisy images: which part of what is unexplained of the input a step corrects, between 0 and 2; 1 for little "
    "noise, 0.1 where it is visible. Default: all of it, for clean images.",
)
_COLOUR = flags.DEFINE_enum(
    "colour",
    None,
    list(colour.WAYS),
    f"How a colour image's filters are chosen: {', '.join(f'{way}, {text}' for way, text in colour.WAYS.items())}; "
    "default: what comes nearest to the model's equation.",
)
_PAPER = flags.DEFINE_bool(
    "paper", False, "The paper's setting; without --model, --sigma, --sigma_in, --steps, --relaxation and --colour."
)

_REGULARISED = ("steps", "relaxation", "colour")  # what asks for a regulariser


def _upscaler() -> upscale.Upscaler | UpscaleModel:
    if _PAPER.value:
        common.refuse("with --paper", "model", "sigma", "sigma_in", *_REGULARISED)
        return upscale.paper(_FACTOR.value, _POSITION.value)
    sigma = arguments.positive("sigma", _SIGMA.value) * (_FACTOR.value if _SIGMA_IN.value == "low" else 1)
    sampling = upscale.gaussian(_FACTOR.value, sigma, _POSITION.value)
    if _MODEL.value is None and all(flags.FLAGS[name].value is None for name in _REGULARISED):
        return upscale.best(sampling)
    model = _MODEL.value or upscale.DEFAULT_MODEL
    if models.load_trained(model).task != upscale.TASK:
        steps = upscale.DEFAULT_STEPS if _STEPS.value is None else _STEPS.value
        return upscale.Upscaler(sampling, model, steps, _RELAXATION.value, _COLOUR.value)
    common.refuse(f"with --model={model}, which has stages of its own", *_REGULARISED)
    return upscale.load(model, sampling)


def _run() -> None:
    common.check_files()
    upscaler = _upscaler()
    if _FILES.export.value:
        upscale.export(upscaler, _FILES.export.value, portable=_FILES.portable.value, channels=_FILES.channels.value)
    if not _FILES.input.value:
        return

    graphs = {
        channels: tf.function(upscaler, input_signature=[tf.TensorSpec([1, None, None, channels])])
        for channels in (1, colour.CHANNELS)
    }

    def upscaled(image: image_io.Image) -> np.ndarray:
        return graphs[image.pixels.shape[2]](image.pixels[np.newaxis])[0].numpy()

    failed = image_files.convert(_FILES.input.value, _FILES.output.value, upscaled, "upscale", _FILES.beside.value)
    common.report(failed)


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
