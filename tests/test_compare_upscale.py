import dataclasses

import numpy as np
import pytest
import skimage.data
import tensorflow as tf

from blade_tf import image_io
from blade_tf.apps import upscale
from blade_tf.compare import upscale as compare

FACTORS = pytest.mark.parametrize("factor", [2, 3, 4])


@pytest.fixture(autouse=True)
def eager():
    """Graphs are not worth their making for a few small images."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def photograph(height, width):
    return skimage.data.camera()[150 : 150 + height, 180 : 180 + width, np.newaxis].astype(np.float32) / 255


@FACTORS
@pytest.mark.parametrize("position", [None, 0])
def test_a_spline_is_at_the_pixels_places(factor, position):
    """Ramps and parabolas, which a cubic spline is exact on away from the borders."""
    sampling = upscale.gaussian(factor, 0.4 * factor, position)
    at = sampling.position[0]
    ramp = np.add.outer(np.arange(24.0), np.arange(24.0) ** 2 / 24)[..., np.newaxis]
    n = (np.arange(24 * factor) - at) / factor
    inside = slice(9 * factor, -9 * factor)
    expected = np.add.outer(n, n**2 / 24)[inside, inside]
    np.testing.assert_allclose(compare.cubic_spline(ramp, sampling)[inside, inside, 0], expected, atol=2e-4)


@FACTORS
def test_back_projection_explains_the_image(factor):
    sampling = upscale.gaussian(factor, 0.4 * factor)
    f = photograph(30, 26)
    residual = [
        np.abs(sampling.operator("replicate")(compare.back_projection(f, sampling, steps)[np.newaxis])[0] - f).max()
        for steps in (0, 4, 30)
    ]
    assert residual[0] > 4 * residual[1]
    assert residual[2] < 1e-3


def test_methods_share_their_places():
    """A ramp shows a shift of any method: half a high-resolution px changes it by 1/8."""
    for problem in compare.PROBLEMS[1:3]:
        factor, at = problem.sampling.factor, problem.sampling.position[0]
        f = np.broadcast_to(np.arange(32.0, dtype=np.float32)[:, np.newaxis, np.newaxis] / 32, (32, 32, 1))
        inside = slice(12 * factor, -12 * factor)
        expected = (np.arange(32 * factor) - at)[inside] / factor / 32
        for name, method in compare.methods(problem).items():
            found = np.asarray(method(f))[inside, inside, 0]
            assert abs(np.mean(found - expected[:, np.newaxis])) < 2e-4, (problem.title, name)


def test_a_comparison_of_a_folder(monkeypatch, tmp_path):
    for name in ("a", "b"):
        image_io.write_image(tmp_path / f"{name}.png", image_io.Image(photograph(45, 49)))
    few = [
        dataclasses.replace(p, tuned=dataclasses.replace(p.tuned, steps=1, exact_steps=1))
        for p in compare.PROBLEMS[1::2]
    ]
    monkeypatch.setattr(compare, "PROBLEMS", few)
    monkeypatch.setattr(compare, "times", lambda: compare.Table("Time", "", ["s"], [[1]]))
    found = compare.compare(tmp_path)
    assert [table.title for table in found.tables] == [*(p.title for p in few), "Time"]
    for problem, table in zip(few, found.tables, strict=False):
        assert [row[0] for row in table.rows] == list(compare.methods(problem))
        assert set(found.numbers[problem.title]["Lanczos-3"]) == {"a", "b"}
    assert all(picture.dtype == np.uint8 for picture in found.pictures.values())


def test_tuning_takes_what_is_best(monkeypatch):
    monkeypatch.setattr(compare, "STEPS", (0, 4))
    monkeypatch.setattr(compare, "RELAXATIONS", (1.0,))
    monkeypatch.setattr(compare, "BACK_PROJECTIONS", (0, 3))
    tuned = compare.tune([photograph(64, 80)], compare.PROBLEMS[-1])
    assert tuned == compare.Tuned(3, 4, 1.0, 4)
