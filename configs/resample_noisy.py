"""Resampling of noisy photographs: a further bank removes noise while the image is resampled.

blade-prepare --config=configs/resample_noisy.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/resample_noisy.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """The defaults, but for the noise, the further bank, and more levels of strength, which tell noise from texture."""
    c = config_lib.resampling()
    c.name = "resample_noisy"
    c.camera.noise = (3 * config_lib.GRAY, 3 * config_lib.GRAY)
    c.model.constant = True
    c.model.selection.strength_quantiles = (0.25, 0.5, 0.75, 0.9)
    return c
