"""blade-prepare: a plain folder of photographs to TFRecord shards of training examples.

    blade-prepare --config=configs/tv_flow_paper.py --images=PHOTOGRAPHS --output=DATA

Solves the config's equation on a fine grid for crops of each photograph, or, as the config's task says, degrades or
displaces them, in parallel, and keeps what a model trains on. An interrupted run continues when it is started again.
Photographs that cannot be read are named and left out.
"""

from __future__ import annotations

from absl import flags

from blade_tf.cli import common
from blade_tf.data import prepare

_CONFIG = common.define_config()
_IMAGES = flags.DEFINE_string(
    "images", None, "Folder of photographs (PNG, JPEG, TIFF, WebP, BMP), searched recursively.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the shards.", required=True)
_WORKERS = flags.DEFINE_integer("workers", None, "Number of processes; default: one for each processor.", lower_bound=1)


def _run() -> None:
    summary = prepare.prepare(_CONFIG.value, _IMAGES.value, _OUTPUT.value, _WORKERS.value)
    counts = summary["sequences"]
    print(
        f"{summary['images']} photographs, {counts['train']} sequences for training and {counts['validation']} for "
        "validation "
        f"in {_OUTPUT.value}; {len(summary['unreadable'])} photographs left out"
    )
    for name, reason in summary["unreadable"].items():
        print(f"  {name}: {reason}")


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
