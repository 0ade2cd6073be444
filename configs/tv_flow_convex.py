"""TV flow by convex filters, stable by proof: the bins of the paper, filters of 5x5.

blade-prepare --config=configs/tv_flow_convex.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/tv_flow_convex.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """A step of each filter is a convex combination of pixels."""
    c = config_lib.default("tv_flow")
    c.name = "tv_flow_convex"
    c.model.form = "convex"
    t = c.train
    t.fit_sequences = 100
    t.learning_rate = 0.02  # of logits
    return c
