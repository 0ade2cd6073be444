"""Stages of BLADE for photographs that are a little blurred and noisy, without knowing how much.

blade-prepare --config=configs/restoration_range.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/restoration_range.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """As configs/restoration.py, but blur and noise are drawn from ranges."""
    c = config_lib.restoration()
    c.name = "restoration_range"
    c.degradation.blur = (0.4, 1.5)
    c.degradation.noise = (1 / 255, 10 / 255)
    return c
