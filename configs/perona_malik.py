"""Perona-Malik diffusion by conservative pairs, stable by proof: 8 orientations x 12 strengths x 2 coherences.

blade-prepare --config=configs/perona_malik.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/perona_malik.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """As TV flow; training gains little over least squares here, and averages of both are tried."""
    c = config_lib.default("perona_malik")
    c.name = "perona_malik"
    c.model.form = "pairs"
    s = c.model.selection
    s.orientations = 8
    s.rho = 0.5
    s.soft = "strength"
    s.strength_quantiles = tuple((k + 0.5) / 12 for k in range(12))
    s.coherence_quantiles = (0.5,)
    t = c.train
    t.fit_sequences = 40
    t.batch = 3
    t.learning_rate = 0.06  # of logarithms of conductances
    t.warmup_steps = 50
    t.validate_every = 250
    t.average = True
    return c
