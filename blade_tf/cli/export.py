"""blade-export: a model as a TensorFlow SavedModel.

    blade-export --model=tv_flow_paper --output=SAVED
    blade-export --model=tv_flow_paper --output=SAVED --portable

Signatures: serving_default(image) and evolve(image, steps, dt), image float32 [N, H, W, C] with N, H and W open. It
loads after `import blade_tf`; with --portable, which is slower, with TensorFlow alone.
"""

from __future__ import annotations

from absl import flags

from blade_tf import export
from blade_tf.cli import common

_MODEL = flags.DEFINE_string(
    "model", None, "Name of a pretrained model, folder of a trained one, or .keras file.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "New folder for the SavedModel.", required=True)
_PORTABLE = flags.DEFINE_bool("portable", False, "Use stock TensorFlow operations only.")
_CHANNELS = flags.DEFINE_integer("channels", 1, "Number of the images' channels, C.", lower_bound=1)


def _run() -> None:
    export.export(_MODEL.value, _OUTPUT.value, portable=_PORTABLE.value, channels=_CHANNELS.value)
    print(f"exported {_MODEL.value}: {_OUTPUT.value}")


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
