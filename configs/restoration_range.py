"""Stages of BLADE for photographs that are a little blurred and noisy, told how much.

blade-prepare --config=configs/restoration_range.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/restoration_range.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """As configs/restoration.py, but blur and noise are drawn from ranges, and the model is told both."""
    c = config_lib.restoration()
    c.name = "restoration_range"
    c.degradation.blur = (0.0, 1.6)
    c.degradation.noise = (1 / 255, 20 / 255)
    c.data.crops_per_image = 12
    c.model.knots = (0.0, 0.4, 0.8, 1.6)
    # Strength relative to the noise says more here than orientation.
    c.model.selection.orientations = 8
    c.model.selection.strength_quantiles = (0.12, 0.25, 0.37, 0.5, 0.62, 0.74, 0.85, 0.94)
    c.train.steps = 16000
    return c
