import numpy as np
import pytest
import skimage.data

from blade_tf import flow_io, image_io
from blade_tf.apps import resample
from blade_tf.compare import burst


@pytest.fixture
def scene(tmp_path):
    """Four frames of a pan: each shows the photograph 1.5 px further to the right and a pixel up, without noise."""
    photograph = skimage.data.camera()[60:260, 100:340].astype(np.float32)[np.newaxis, ..., np.newaxis] / 255
    for k in range(4):
        frame = resample.resample(photograph, (1.5 * k, -1.0 * k))[0, 10:-10, 10:-10].numpy()
        image_io.write_image(tmp_path / f"frame{10 + k}.png", image_io.Image(frame, bits=16))
    flow_io.write_flow(tmp_path / "flow10.flo", np.full((180, 220, 2), (-1.5, 1.0), np.float32))
    return tmp_path


def values(table):
    return {row[0]: np.array([float(value) for value in row[1:]]) for row in table.rows}


def test_a_pan_is_undone(scene):
    table, picture = burst.burst(scene)
    found = values(table)
    assert (found["resample"] > 30).all()
    assert (found["resample"] > found[burst.BICUBIC] + 0.5).all()
    assert (found["resample"][1] < found["resample"][0] + 0.1).all()
    assert picture.dtype == np.uint8
    found = values(burst.true_flow([scene]))
    assert found["resample"] > 40
    assert found["resample"] > found[burst.BICUBIC] > found["resample_paper"]


def test_two_frames_are_no_burst(scene):
    for k in (12, 13):
        (scene / f"frame{k}.png").unlink()
    assert burst.burst(scene) is None


def test_a_flow_is_known_up_to_1e9():
    flow = np.array([(0, 1e9), (-1e9, 0), (0, 1.01e9), (np.nan, 0), (0, -np.inf)], np.float32)
    assert flow_io.known(flow).tolist() == [True, True, False, False, False]
