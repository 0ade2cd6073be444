"""Resampling as printed in eq 5.5: two banks, linear in the displacement, on the image itself.

blade-prepare --config=configs/resample_paper.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/resample_paper.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """The defaults, but for the form."""
    c = config_lib.resampling()
    c.name = "resample_paper"
    c.model.order = 1
    c.model.degree = 1
    return c
