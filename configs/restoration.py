"""Stages of BLADE that undo the paper's example of a degradation: Gaussian blur of 1 px, noise of 5/255.

blade-prepare --config=configs/restoration.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/restoration.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """More strengths than orientations: what is left of the noise differs with the strength."""
    c = config_lib.restoration()
    c.model.stages = 4
    s = c.model.selection
    s.orientations = 12
    s.strength_quantiles = (0.25, 0.5, 0.7, 0.82, 0.92)
    t = c.train
    t.steps = 4000
    return c
