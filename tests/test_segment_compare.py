"""The comparison of segmentation."""

import numpy as np
import pytest

from blade_tf import image_io
from blade_tf.compare.segment import compare


def test_a_constant_image_is_named(tmp_path):
    image_io.write_image(tmp_path / "flat.png", image_io.Image(np.full([8, 8, 1], 0.2, np.float32)))
    with pytest.raises(ValueError, match=r"images: expected more than one value in each, got 0\.2 everywhere in flat"):
        compare(tmp_path)
