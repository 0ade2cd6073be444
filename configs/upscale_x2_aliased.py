"""Upscaling by 2 of u[::2, ::2], blurred by a Gaussian of no more than 0.4 high-resolution pixels: stages of BLADE.

blade-prepare --config=configs/upscale_x2_aliased.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/upscale_x2_aliased.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """The defaults, but for the point spread function and where it sits."""
    c = config_lib.upscaling()
    c.name = "upscale_x2_aliased"
    c.sampling.blur = 0.2
    c.sampling.position = 0.0
    return c
