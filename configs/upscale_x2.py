"""Upscaling by 2, the point spread function a Gaussian of 0.4 low-resolution pixels: stages of BLADE.

blade-prepare --config=configs/upscale_x2.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/upscale_x2.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """The defaults."""
    return config_lib.upscaling()
