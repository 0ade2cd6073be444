"""Coherence-enhancing diffusion by BLADE in the paper's form: 24 orientations x 3 strengths x 3 coherences.

blade-prepare --config=configs/ced_paper.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/ced_paper.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """rho near that of the equation's own structure tensor."""
    c = config_lib.default("ced")
    c.model.selection.rho = 1.5
    return c
