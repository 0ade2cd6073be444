"""blade-train: prepared examples to trained banks of filters.

    blade-train --config=configs/tv_flow_paper.py --data=DATA --workdir=RUN

Starts from closed-form least squares, then trains end to end: ten unrolled steps of an equation's evolution, or the
model of another task that the config names. WORKDIR receives checkpoints, events for TensorBoard (loss, PSNR, filter
mosaics, selection, images), and at the end model/ and model.keras. Stopped by SIGTERM, by Ctrl-C or killed, the same
command continues, and ends with the same filters, bit for bit.
"""

from __future__ import annotations

import tensorflow as tf
from absl import flags

from blade_tf import train
from blade_tf.cli import common

_CONFIG = common.define_config()
_DATA = flags.DEFINE_string("data", None, "Folder that blade-prepare wrote with the same config.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints, events and the trained model.", required=True)


def _run() -> None:
    tf.config.experimental.enable_op_determinism()
    trained = train.train(_CONFIG.value, _DATA.value, _WORKDIR.value)
    print(f"trained {trained.name}: {_WORKDIR.value}/model")


def main() -> None:
    """The console script."""
    common.main(_run, __name__)


if __name__ == "__main__":
    main()
