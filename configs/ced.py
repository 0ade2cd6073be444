"""Coherence-enhancing diffusion by conservative pairs, stable by proof: 24 orientations x 3 strengths x 3 coherences.

blade-prepare --config=configs/ced.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/ced.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """Orientation matters most, at the scale of the equation's own structure tensor."""
    c = config_lib.default("ced")
    c.name = "ced"
    c.model.form = "pairs"
    c.model.neighbours = 44
    s = c.model.selection
    s.orientations = 24
    s.rho = 1.5
    s.strength_quantiles = (1 / 3, 2 / 3)
    t = c.train
    t.fit_sequences = 40
    t.batch = 3
    t.learning_rate = 0.06  # of logarithms of conductances
    t.warmup_steps = 50
    t.validate_every = 250
    t.average = True
    return c
