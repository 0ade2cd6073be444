"""Upscaling by 3, the point spread function a Gaussian of 0.4 low-resolution pixels: stages of BLADE.

blade-prepare --config=configs/upscale_x3.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/upscale_x3.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """The defaults, but for the factor."""
    c = config_lib.upscaling()
    c.name = "upscale_x3"
    c.sampling.factor = 3
    return c
