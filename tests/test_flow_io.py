import pathlib
import struct

import numpy as np
import pytest
import tensorflow as tf

from blade_tf import flow_io

SCENE = pathlib.Path(__file__).parents[2] / "shared" / "data" / "flow" / "RubberWhale"


def test_a_file_by_hand(tmp_path):
    values = [1.5, -2.0, 0.25, 3.0, 1.666666752e9, 1.666666752e9]
    (tmp_path / "a.flo").write_bytes(struct.pack("<fii6f", 202021.25, 3, 1, *values))
    found = flow_io.read_flow(tmp_path / "a.flo")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.float32(values).reshape(1, 3, 2))
    flow_io.write_flow(tmp_path / "b.flo", found)
    assert (tmp_path / "b.flo").read_bytes() == (tmp_path / "a.flo").read_bytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a .flo file, which starts with PIEH"),
        (b"PNG!" + bytes(8), "expected a .flo file, which starts with PIEH"),
        (b"PIEH" + struct.pack("<ii", 2, 2) + bytes(31), "expected 2 x 2 displacements in 8 bytes each, got 31 bytes"),
        (b"PIEH" + struct.pack("<ii", -1, 2), "expected -1 x 2 displacements"),
    ],
)
def test_damaged_files_are_refused(data, message, tmp_path):
    (tmp_path / "a.flo").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        flow_io.read_flow(tmp_path / "a.flo")


def test_other_shapes_are_refused(tmp_path):
    for shape in ((4, 5, 3), (4, 5), (0, 5, 2), (4, 0, 2)):
        with pytest.raises(
            ValueError, match=rf"flow: expected \[H, W, 2\] of at least one pixel, got \[{shape[0]}, {shape[1]}"
        ):
            flow_io.write_flow(tmp_path / "a.flo", np.zeros(shape))


@pytest.mark.parametrize("kind", [np.ndarray.tolist, np.float64, tf.constant, tf.Variable])
def test_anything_like_an_array_is_written(kind, tmp_path):
    flow = np.float32([[[1.5, -2.0], [0.25, 3.0]]])
    flow_io.write_flow(tmp_path / "a.flo", kind(flow))
    np.testing.assert_array_equal(flow_io.read_flow(tmp_path / "a.flo"), flow)


def test_ground_truth_of_middlebury():
    if not SCENE.exists():
        pytest.skip("the scenes of Middlebury are not part of the repository")
    found = flow_io.read_flow(SCENE / "flow10.flo")
    assert found.shape == (388, 584, 2)
    assert 0 < (np.abs(found) > 1e9).mean() < 0.05
