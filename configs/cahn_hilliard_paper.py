"""The Cahn-Hilliard equation by BLADE in the paper's form: 8 orientations x 5 strengths x 6 intensities, 5x5.

blade-prepare --config=configs/cahn_hilliard_paper.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/cahn_hilliard_paper.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """The bins of the paper's section 3.3."""
    c = config_lib.default("cahn_hilliard")
    s = c.model.selection
    s.orientations = 8
    s.strength_quantiles = (0.2, 0.4, 0.6, 0.8)
    s.coherence_quantiles = ()
    s.intensity_quantiles = tuple(k / 6 for k in range(1, 6))
    return c
