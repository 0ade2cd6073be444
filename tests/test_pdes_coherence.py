import math

import numpy as np
import pytest
import scipy.ndimage

from blade_tf import image as image_lib
from blade_tf import pdes
from pde_cases import cosine, final, noise, orders, photograph, refined

SCHEMES = pytest.mark.parametrize("name", pdes.schemes("ced"))


def scharr_eigenvalue(fy, fx, grid_step):
    """Of the squared gradient by the 3 x 3 filters, at these frequencies: cosines are its eigenvectors."""
    x = math.sin(fx) * (5 + 3 * math.cos(fy)) / 8
    y = math.sin(fy) * (5 + 3 * math.cos(fx)) / 8
    return -(x * x + y * y) / grid_step**2


def tensor_by_loops(u, rho, alpha, contrast, h):
    """D by eigenvectors, pixel by pixel, after a two-dimensional convolution: u [H, W]."""
    kernel = np.array([[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]) / 32
    gx, gy = (scipy.ndimage.correlate(u, k, mode="nearest") / h for k in (kernel, kernel.T))
    sigma = rho / h
    radius = math.ceil(3 * sigma)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    gaussian = np.exp(-(x**2 + y**2) / (2 * sigma**2)) if sigma else np.ones((1, 1))
    products = ((gx * gx, gx * gy), (gx * gy, gy * gy))
    smoothed = np.array(
        [[scipy.ndimage.correlate(p, gaussian / gaussian.sum(), mode="nearest") for p in row] for row in products]
    )
    tensor = np.zeros((*u.shape, 2, 2))
    for i in np.ndindex(u.shape):
        (l2, l1), vectors = np.linalg.eigh(smoothed[(..., *i)])
        w1, w2 = vectors[:, 1], vectors[:, 0]
        m2 = alpha + (1 - alpha) * (math.exp(-contrast / (l1 - l2) ** 2) if l1 > l2 else 0.0)
        tensor[i] = alpha * np.outer(w1, w1) + m2 * np.outer(w2, w2)
    return tensor


@pytest.mark.parametrize("rho", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("grid_step", [1.0, 0.5])
@pytest.mark.parametrize("shape", [(13, 16), (1, 9), (8, 1)])
def test_the_diffusion_tensor_by_loops(shape, grid_step, rho):
    """On images smaller than the Gaussian too."""
    u, alpha, contrast = noise(*shape), 0.05, 1e-3
    pde = pdes.CoherenceEnhancing(rho, alpha, contrast)
    gradient = image_lib.scharr_gradient(u[np.newaxis, ..., np.newaxis], grid_step)
    d11, d12, d22 = (d[0, ..., 0] for d in pde.diffusion_tensor(*gradient, grid_step))
    expected = tensor_by_loops(u, rho, alpha, contrast, grid_step)
    assert np.trace(expected, axis1=2, axis2=3).max() > 0.3
    np.testing.assert_allclose(d11, expected[..., 0, 0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(d12, expected[..., 0, 1], rtol=0, atol=1e-10)
    np.testing.assert_allclose(d22, expected[..., 1, 1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("grid_step", [1.0, 0.5])
def test_a_step_is_eq_3_9_in_the_interior(grid_step):
    u, pde = 0.1 * noise(12, 14), pdes.CoherenceEnhancing(0.5, 0.05, 1e-5)
    d = tensor_by_loops(u, 0.5, 0.05, 1e-5, grid_step)
    kernel = np.array([[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]) / 32
    gx, gy = (scipy.ndimage.correlate(u, k, mode="nearest") / grid_step for k in (kernel, kernel.T))
    fx, fy = d[..., 0, 0] * gx + d[..., 0, 1] * gy, d[..., 0, 1] * gx + d[..., 1, 1] * gy
    rate = (scipy.ndimage.correlate(fx, kernel) + scipy.ndimage.correlate(fy, kernel.T)) / grid_step
    found = final(pde, u[np.newaxis, ..., np.newaxis], dt=0.01, steps=1, grid_step=grid_step)[0, ..., 0]
    np.testing.assert_allclose(found[1:-1, 1:-1], (u + 0.01 * rate)[1:-1, 1:-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("slope", [0.0, 1e-20, 1e-10, 1e-6])
def test_where_eigenvalues_agree_nearly_the_tensor_is_isotropic(dtype, slope):
    gx, gy = np.full((1, 5, 5, 1), slope, dtype), np.zeros((1, 5, 5, 1), dtype)
    d11, d12, d22 = pdes.CoherenceEnhancing(1.0, 0.25).diffusion_tensor(gx, gy)
    np.testing.assert_array_equal(d11, np.full_like(gx, 0.25))
    np.testing.assert_array_equal(d12, np.zeros_like(gx))
    np.testing.assert_array_equal(d22, np.full_like(gx, 0.25))


@pytest.mark.parametrize("turn", [0.0, 0.3, np.pi / 4, 2.0])
def test_strong_gradients_leave_alpha_across_and_1_along(turn):
    gx, gy = np.full((1, 5, 5, 1), np.cos(turn)), np.full((1, 5, 5, 1), np.sin(turn))
    d11, d12, d22 = (d[0, 2, 2, 0] for d in pdes.CoherenceEnhancing(1.0, 0.01).diffusion_tensor(gx, gy))
    matrix = np.array([[d11, d12], [d12, d22]])
    across, along = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    np.testing.assert_allclose(matrix @ across, 0.01 * across, rtol=0, atol=1e-14)
    np.testing.assert_allclose(matrix @ along, along, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("ky", "kx"), [(0, 1), (2, 3), (7, 0), (11, 8)])
def test_alpha_1_is_the_heat_equation(ky, kx):
    grid_step, dt, steps = 0.5, 0.05, 30
    u, fy, fx = cosine(12, 9, ky, kx)
    factor = (1 + dt * scharr_eigenvalue(fy, fx, grid_step)) ** steps
    found = final(pdes.CoherenceEnhancing(alpha=1), u, dt=dt, steps=steps, grid_step=grid_step)
    np.testing.assert_allclose(found, factor * u, rtol=0, atol=1e-14)


def test_the_stable_step_is_sharp_for_the_sum_of_squares():
    frequencies = np.pi * np.arange(200) / 200
    eigenvalues = [scharr_eigenvalue(fy, fx, 0.5) for fy in frequencies for fx in frequencies]
    dt = pdes.CoherenceEnhancing().stable_dt(0.5)
    assert dt * min(eigenvalues) >= -2
    assert 1.0005 * dt * min(eigenvalues) < -2


@pytest.mark.parametrize("grid_step", [1.0, 0.25])
def test_the_sum_of_squares_never_increases(grid_step):
    u, pde = noise(1, 31, 23, 2), pdes.CoherenceEnhancing(0.5, 0.3, 1e-3)
    kept = pdes.solve(pde, u, dt=pde.stable_dt(grid_step), steps=1, frames=60, grid_step=grid_step).numpy()
    squares = (kept**2).sum((2, 3, 4))[0]
    assert np.all(np.diff(squares) <= 1e-12 * squares[:-1])


def wave(angle, period, size=48):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.cos(2 * np.pi / period * (np.cos(angle) * x + np.sin(angle) * y))


@SCHEMES
@pytest.mark.parametrize("angle", [0.0, np.pi / 2, np.pi / 4, 0.4])
def test_stripes_are_smoothed_along_and_not_across(name, angle):
    stripes, ripple = wave(angle, 8.0), wave(angle + np.pi / 2, 8.0)
    u = 0.5 + 0.25 * stripes + 0.03 * ripple

    def share(**parameters):
        """What is left of the stripes' amplitude, and of the ripple's along them."""
        v = final(pdes.build(name, **parameters), u[np.newaxis, ..., np.newaxis], dt=0.1, steps=50)[0, ..., 0]
        patterns = [pattern[12:-12, 12:-12].ravel() for pattern in (stripes, ripple, np.ones_like(u))]
        amplitudes = np.linalg.lstsq(np.stack(patterns, 1), v[12:-12, 12:-12].ravel(), rcond=None)[0]
        return amplitudes[0] / 0.25, amplitudes[1] / 0.03

    across, along = share(rho=2.0)  # no gaps at the crests, where the gradient is 0
    assert across > 0.9
    assert abs(along) < 0.15
    assert share(alpha=1.0)[0] < 0.1


@SCHEMES
def test_channels_share_their_tensor(name):
    """Three equal channels have three times the tensor of one: (l1 - l2)^2 nine times as large."""
    u = photograph()
    one = final(pdes.build(name, contrast=1e-6), u, dt=0.1, steps=10)
    three = final(pdes.build(name, contrast=9e-6), np.repeat(u, 3, 3), dt=0.1, steps=10)
    np.testing.assert_allclose(three, np.repeat(one, 3, 3), rtol=0, atol=1e-12)
    # A channel without structure is smoothed along the others' stripes.
    bare = np.concatenate([u, noise(*u.shape)], 3)
    assert np.abs(final(pdes.build(name), bare, dt=0.1, steps=10)[..., :1] - one).max() > 1e-3


@SCHEMES
def test_scaled_intensities_lengths_and_times(name):
    u = photograph()
    v = final(pdes.build(name, rho=1.5, contrast=1e-5), u, dt=0.1, steps=10)
    scaled = final(pdes.build(name, rho=1.5, contrast=81e-5), 1 - 3 * u, dt=0.1, steps=10)
    np.testing.assert_allclose(scaled, 1 - 3 * v, rtol=0, atol=1e-11)
    finer = final(pdes.build(name, rho=0.75, contrast=16e-5), u, dt=0.025, steps=10, grid_step=0.5)
    np.testing.assert_allclose(finer, v, rtol=0, atol=1e-11)


@SCHEMES
def test_converges_to_first_order_in_time(name):
    pde = pdes.build(name, contrast=1e-4)
    solutions = refined(pde, 16, 4.0, (32, 64, 128, 256), (1.0,) * 4)
    np.testing.assert_allclose(orders(solutions), 1, atol=0.15)


def inside(solutions):
    """Away from the border, where the replicated tensor turns the flux aside and leaves a thin layer."""
    return [v[10:-10, 10:-10] for v in solutions]


def test_converges_to_second_order_in_space():
    pde = pdes.CoherenceEnhancing(contrast=1e-6)
    solutions = inside(refined(pde, 32, 2.0, (32, 128, 512), (1.0, 0.5, 0.25)))
    assert orders(solutions)[0] > 1.7


def test_adaptive_stencils_converge_to_the_same_solution():
    """Not by a steady order: their directions jump."""
    options = 32, 2.0, (32, 128, 512), (1.0, 0.5, 0.25)
    ours, theirs = (inside(refined(pdes.build(name, contrast=1e-6), *options)) for name in ("ced", "ced_lbr"))
    errors = [np.abs(a - b).mean() for a, b in zip(ours, theirs, strict=True)]
    assert np.all(np.divide(errors[1:], errors[:-1]) < 0.6)
    assert errors[-1] < 1e-5


@SCHEMES
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rho": -1.0}, "rho: expected a number >= 0, got -1.0"),
        ({"rho": math.inf}, "rho: expected a number >= 0, got inf"),
        ({"rho": math.nan}, "rho: expected a number >= 0, got nan"),
        ({"alpha": 0.0}, "alpha: expected a number in .*, got 0.0"),
        ({"alpha": 1.5}, "alpha: expected a number in .*, got 1.5"),
        ({"alpha": math.nan}, "alpha: expected a number in .*, got nan"),
        ({"contrast": 0.0}, "contrast: expected a positive number, got 0.0"),
        ({"contrast": math.inf}, "contrast: expected a positive number, got inf"),
    ],
)
def test_refuses_parameters_out_of_range(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        pdes.build(name, **parameters)
