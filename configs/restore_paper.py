"""Stages of BLADE that undo the paper's example of a degradation: Gaussian blur of 1 px, noise of 5/255.

blade-prepare --config=configs/restore_paper.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/restore_paper.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """The defaults."""
    c = config_lib.restoration()
    c.name = "restore_paper"
    return c
