"""Stages of BLADE that undo the paper's example of a degradation: Gaussian blur of 1 px, noise of 5/255.

blade-prepare --config=configs/restoration.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/restoration.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """The defaults."""
    return config_lib.restoration()
