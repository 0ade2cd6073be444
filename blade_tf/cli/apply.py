"""blade-apply: evolves image files by a model.

    blade-apply --model=tv_flow --input=PHOTOGRAPH.jpg --output=RESULT.png
    blade-apply --model=RUN/model --input=FOLDER --output=FOLDER2 --steps=20

PNG, JPEG, TIFF, WebP and BMP are read, the first three written: 8 or 16 bits, gray or colour, of any size; alpha is
kept. A file that cannot be read does not stop a folder; it is named, and the exit status is then 1.
"""

from __future__ import annotations

from absl import flags

from blade_tf import apply, colour
from blade_tf.cli import common

_MODEL = flags.DEFINE_string(
    "model", None, "Name of a pretrained model, folder of a trained one, or .keras file.", required=True
)
_INPUT = flags.DEFINE_string("input", None, "Image file, or folder of images.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Image file, or folder where the input is one.", required=True)
_STEPS = flags.DEFINE_integer("steps", None, "Number of time steps; default: the model's.", lower_bound=0)
_DT = flags.DEFINE_float("dt", None, "Length of a time step, in the model's unit; default: the model's.")
_COLOUR = flags.DEFINE_enum(
    "colour",
    None,
    list(colour.WAYS),
    f"How a colour image's filters are chosen: {', '.join(f'{way}, {text}' for way, text in colour.WAYS.items())}; "
    "default: what comes nearest to the model's equation.",
)


def _run() -> None:
    failed = apply.apply_files(_MODEL.value, _INPUT.value, _OUTPUT.value, _STEPS.value, _DT.value, _COLOUR.value)
    common.report(failed)


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
