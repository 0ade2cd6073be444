"""What a model can reach that sees photographs on the operating grid only."""

import numpy as np
import pytest
from PIL import Image

from blade_tf import config as config_lib
from blade_tf.results import limit


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (24, 31)])
def test_interpolation_keeps_the_means(shape):
    means = np.random.default_rng(0).uniform(size=shape)
    image = limit.interpolate(means, 4)
    assert image.shape == (4 * shape[0], 4 * shape[1])
    np.testing.assert_allclose(limit.block_means(image, 4), means, rtol=0, atol=1e-14)


def test_interpolation_finds_smooth_images():
    y, x = np.mgrid[:96, :128]
    image = 0.5 + 0.3 * np.cos(np.pi * (x + 0.5) / 64) * np.cos(np.pi * (y + 0.5) / 48)
    np.testing.assert_allclose(limit.interpolate(limit.block_means(image, 4), 4), image, rtol=0, atol=2e-5)


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(1)
    for name in "ab":
        pixels = np.kron(rng.uniform(50, 200, (12, 14)), np.ones((5, 5))) + rng.uniform(-40, 40, (60, 70))
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes(b"no image")
    return tmp_path


def small_config(**parameters):
    config = config_lib.default("ced")
    config.reference.steps_per_frame, config.reference.frames = 5, 1
    config.pde.parameters.update(parameters)
    return config


def test_twins_of_a_linear_equation_have_the_interpolation_in_their_middle(images):
    """alpha = 1 is the heat equation: the mean of the twins' states is the state of their mean."""
    found = limit.limit(small_config(alpha=1.0), images, workers=1)
    assert 30 < found["interpolated"] < 80
    np.testing.assert_allclose(found["twins"], found["interpolated"], atol=1e-3)


def test_a_nonlinear_equation_brings_the_interpolation_off_the_middle(images):
    found = limit.limit(small_config(), images, workers=1)
    assert found["twins"] > found["interpolated"] + 0.5


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no image found"):
        limit.limit(small_config(), tmp_path)
