"""Perona-Malik diffusion by BLADE in the paper's form: 24 orientations x 3 strengths x 3 coherences, filters of 5x5.

blade-prepare --config=configs/perona_malik_paper.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/perona_malik_paper.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """Smaller rho than TV flow's: the edges that this equation keeps are as wide as a pixel."""
    c = config_lib.default("perona_malik")
    c.model.selection.rho = 0.6
    return c
