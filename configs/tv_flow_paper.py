"""TV flow by BLADE in the paper's form: 24 orientations x 3 strengths x 3 coherences, 216 filters of 5x5.

blade-prepare --config=configs/tv_flow_paper.py --images=PHOTOGRAPHS --output=DATA
blade-train --config=configs/tv_flow_paper.py --data=DATA --workdir=RUN
"""

import ml_collections

from blade_tf import config as config_lib


def get_config() -> ml_collections.ConfigDict:
    """The defaults."""
    return config_lib.default()
