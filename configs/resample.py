"""Resampling at displaced positions: third order, on the coefficients of the quintic B-spline.

blade-prepare --config=configs/resample.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/resample.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """The defaults."""
    return config_lib.resampling()
