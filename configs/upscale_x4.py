"""Upscaling by 4, the point spread function a Gaussian of 0.4 low-resolution pixels: stages of BLADE.

blade-prepare --config=configs/upscale_x4.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/upscale_x4.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """The defaults, but for the factor and fewer bins, as there are 16 phases."""
    c = config_lib.upscaling()
    c.name = "upscale_x4"
    c.sampling.factor = 4
    c.model.selection.orientations = 12
    c.model.selection.coherence_quantiles = (0.5,)
    c.model.selection.rho = 3.0
    return c
