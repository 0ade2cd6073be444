import numpy as np
import pytest
import skimage.data

from blade_tf import metrics
from blade_tf.data import reference

WIDTH = 40


def photograph(height=WIDTH, width=WIDTH):
    return (skimage.data.camera()[100 : 100 + height, 80 : 80 + width, np.newaxis] / 255).astype(np.float32)


def block_means(image, scale):
    height, width, channels = image.shape
    return np.array(
        [
            [image[y : y + scale, x : x + scale].reshape(-1, channels).mean(0) for x in range(0, width, scale)]
            for y in range(0, height, scale)
        ]
    )


def wave(n, mode):
    """A cosine along x that meets the zero-flux boundaries, [n, n, 1]; and its eigenvalue for a grid step of 1."""
    x = np.cos(np.pi * mode * (np.arange(n) + 0.5) / n)
    return np.tile(x[np.newaxis, :, np.newaxis], (n, 1, 1)).astype(np.float32), 2 - 2 * np.cos(np.pi * mode / n)


def test_frame_0_is_the_block_mean_of_the_photograph(config):
    frames = reference.reference_sequence(photograph(), config)
    assert frames.shape == (11, 10, 10, 1)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames[0], block_means(photograph().astype(np.float64), 4), atol=1e-7)


def test_mass_is_conserved(config):
    frames = reference.reference_sequence(photograph(), config).astype(np.float64)
    np.testing.assert_allclose(frames.mean((1, 2, 3)), photograph().mean(dtype=np.float64), atol=2e-7)
    assert np.abs(frames[-1] - frames[0]).max() > 0.01


def test_time_and_length_have_the_operating_grids_units(config):
    # Where the gradient is far below epsilon, TV flow is linear diffusion u_t = Lap u / epsilon.
    config.pde.parameters.epsilon = 1e4
    config.reference.dt = 100.0
    config.reference.steps_per_frame = 7
    config.reference.frames = 3
    image, eigenvalue = wave(WIDTH, 3)
    frames = reference.reference_sequence(image, config)
    factor = 1 - config.reference.dt * eigenvalue * config.reference.scale**2 / 1e4
    assert 0.5 < factor**21 < 0.9
    for k in range(4):
        np.testing.assert_allclose(frames[k], factor ** (7 * k) * block_means(image, 4), atol=2e-6)


def test_refinement_keeps_the_times(config):
    config.pde.parameters.epsilon = 1e4
    config.reference.dt = 100.0
    config.reference.frames = 2
    image, eigenvalue = wave(WIDTH, 3)
    frames = reference.reference_sequence(image, config, refine=3)
    factor = 1 - config.reference.dt / 3 * eigenvalue * 16 / 1e4
    np.testing.assert_allclose(frames[2], factor**120 * block_means(image, 4), atol=5e-6)


def test_refinement_converges(config):
    # A small epsilon, as by default: the ripple, the larger part of the error, is proportional to the time step.
    config.pde.parameters.epsilon = 0.1 / 255
    config.reference.dt = 5e-5
    config.reference.steps_per_frame = 100
    last = [reference.reference_sequence(photograph(), config, refine)[-1:] for refine in (1, 2, 4, 16)]
    psnr = [float(metrics.psnr(x, last[3])[0]) for x in last[:3]]
    assert psnr[0] > 45
    assert psnr[1] > psnr[0] + 3
    assert psnr[2] > psnr[1] + 3


@pytest.mark.parametrize(("height", "width"), [(43, 41), (42, 40), (4, 7)])
def test_rows_and_columns_that_fill_no_block_are_left_out(config, height, width):
    found = reference.reference_sequence(photograph(height, width), config)
    assert found.shape == (11, height // 4, width // 4, 1)
    expected = reference.reference_sequence(photograph(height // 4 * 4, width // 4 * 4), config)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("height", "width"), [(3, 40), (40, 3), (0, 0)])
def test_less_than_a_block_is_refused(config, height, width):
    with pytest.raises(ValueError, match=rf"image: expected at least 4 x 4 pixels, got {width} x {height}"):
        reference.reference_sequence(photograph(height, width), config)


def test_channels_evolve_independently(config):
    gray = photograph()
    colour = np.concatenate([gray, gray[::-1], 0.5 * gray], axis=-1)
    frames = reference.reference_sequence(colour, config)
    for c in range(3):
        alone = reference.reference_sequence(colour[..., c : c + 1], config)
        np.testing.assert_allclose(frames[..., c : c + 1], alone, atol=1e-6)


def test_the_coarse_scheme_reaches_the_same_time_in_any_number_of_steps(config):
    # Linear diffusion again, now with a grid step of 1; T = 10 * 20 * dt.
    config.pde.parameters.epsilon = 1.0
    config.reference.dt = 10.0
    image, eigenvalue = wave(10, 2)
    for steps, scale in ((5, 1.0), (40, 1.0), (40, 0.95)):
        found = reference.coarse_sequence(image[np.newaxis], config, steps, time_scale=scale, epsilon=1e4)
        factor = 1 - 10 * 20 * 10.0 * scale / steps * eigenvalue / 1e4
        np.testing.assert_allclose(found[0], factor**steps * image, atol=2e-6)
    assert config.pde.parameters.epsilon == 1.0


def test_another_scheme_of_the_equation(config):
    image = photograph(12, 12)[np.newaxis]
    plain = reference.coarse_sequence(image, config, 10)
    split = reference.coarse_sequence(image, config, 10, scheme="tv_flow_aos")
    np.testing.assert_array_equal(reference.coarse_sequence(image, config, 10, scheme="tv_flow"), plain)
    assert 1e-4 < np.abs(split - plain).max() < 0.1
    with pytest.raises(ValueError, match="scheme: unknown name 'ced' for tv_flow, expected one of"):
        reference.coarse_sequence(image, config, 10, scheme="ced")
    with pytest.raises(ValueError, match="scheme: unknown name 'tv_flow_ao' for tv_flow, did you mean 'tv_flow_aos'"):
        reference.coarse_sequence(image, config, 10, scheme="tv_flow_ao")
