"""The Cahn-Hilliard equation by fluxes of u and of W'(u): 6 orientations x 4 strengths x 8 intensities, interpolated.

blade-prepare --config=configs/cahn_hilliard.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/cahn_hilliard.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """Two banks of antisymmetric filters, with limits: mass is conserved, and no state leaves [-0.1, 1.1]."""
    c = config_lib.default("cahn_hilliard")
    c.name = "cahn_hilliard"
    c.model.form = "flux"
    c.model.footprint = (5, 6)
    c.model.functions = ("identity", "double_well")
    c.model.limits = (-0.1, 1.1)
    s = c.model.selection
    s.orientations = 6
    s.rho = 0.5
    s.soft = "intensity"
    s.strength_quantiles = (0.25, 0.5, 0.75)
    s.coherence_quantiles = ()
    s.intensity_quantiles = tuple((k + 0.5) / 8 for k in range(8))
    t = c.train
    t.fit_sequences = 40
    t.batch = 4
    t.learning_rate = 1e-3  # twice as much is hardly stable
    t.warmup_steps = 200
    t.steps = 2000
    t.validate_every = 250
    return c
