"""Coherence-enhancing diffusion by convex filters, stable by proof: the bins of the paper, filters of 5x5.

blade-prepare --config=configs/ced_convex.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/ced_convex.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """A step of each filter is a convex combination of pixels."""
    c = config_lib.default("ced")
    c.name = "ced_convex"
    c.model.form = "convex"
    c.model.selection.rho = 1.5
    t = c.train
    t.fit_sequences = 100
    t.learning_rate = 0.02  # of logits
    return c
