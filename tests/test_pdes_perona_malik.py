import math

import numpy as np
import pytest

from blade_tf import pdes
from pde_cases import cosine, final, five_points, noise, orders, photograph, refined

SCHEMES = pytest.mark.parametrize("name", pdes.schemes("perona_malik"))


def rate_by_loops(u, c, h):
    """Eq 3.4 pixel by pixel: u [H, W]; a difference across the border is 0."""
    rate = np.zeros(u.shape)
    for y, x in np.ndindex(u.shape):
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            if 0 <= y + dy < u.shape[0] and 0 <= x + dx < u.shape[1]:
                d = (u[y + dy, x + dx] - u[y, x]) / h
                rate[y, x] += d / (1 + d**2 / c**2) / h
    return rate


@pytest.mark.parametrize("grid_step", [1.0, 0.25])
@pytest.mark.parametrize("c", [10 / 255, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1), (7, 6)])
def test_rate_is_eq_3_4_by_loops(shape, c, grid_step):
    u = noise(*shape)
    expected = rate_by_loops(u, c, grid_step)
    pde, v = pdes.PeronaMalik(c), u[np.newaxis, ..., np.newaxis]
    np.testing.assert_allclose(pde.rate(v, grid_step)[0, ..., 0], expected, rtol=1e-12, atol=1e-13)
    solved = final(pde, v, dt=0.01, steps=1, grid_step=grid_step)[0, ..., 0]
    np.testing.assert_allclose(solved, u + 0.01 * expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("slope", "flux"), [(0.0, 0.0), (0.05, 0.04), (0.1, 0.05), (0.2, 0.04), (0.3, 0.03)])
@pytest.mark.parametrize("grid_step", [1.0, 0.5])
def test_flux_between_two_pixels(slope, flux, grid_step):
    """s / (1 + s^2 / c^2) for c = 0.1: half of c at the slope c, and the same at c / 2 as at 2 c."""
    u = np.array([0.0, slope * grid_step])[np.newaxis, np.newaxis, :, np.newaxis]
    rate = pdes.PeronaMalik(0.1).rate(u, grid_step)[0, 0, :, 0]
    np.testing.assert_allclose(rate, [flux / grid_step, -flux / grid_step], rtol=1e-14, atol=0)


@pytest.mark.parametrize(("ky", "kx"), [(0, 1), (2, 3), (7, 0), (11, 8)])
def test_far_below_c_it_is_the_heat_equation(ky, kx):
    grid_step, steps, pde = 0.5, 30, pdes.PeronaMalik(1e9)
    u, fy, fx = cosine(12, 9, ky, kx)
    dt = pde.stable_dt(grid_step)
    assert dt == grid_step**2 / 4
    factor = (1 + dt * five_points(fy, fx, grid_step)) ** steps
    np.testing.assert_allclose(final(pde, u, dt=dt, steps=steps, grid_step=grid_step), factor * u, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("ky", "kx"), [(0, 1), (2, 3), (7, 0), (11, 8)])
def test_splitting_far_below_c_has_the_exact_implicit_factors(ky, kx):
    grid_step, steps, dt, pde = 0.5, 3, 0.7, pdes.PeronaMalikAOS(1e9)
    u, fy, fx = cosine(12, 9, ky, kx)
    along = (1 / (1 - 2 * dt * five_points(f, 0, grid_step)) for f in (fy, fx))
    factor = (sum(along) / 2) ** steps
    np.testing.assert_allclose(final(pde, u, dt=dt, steps=steps, grid_step=grid_step), factor * u, rtol=0, atol=1e-14)


@SCHEMES
def test_scaled_intensities_lengths_and_times(name):
    """u scales with c; on a grid twice as fine slopes are twice as steep, times four times shorter."""
    u = photograph()
    v = final(pdes.build(name, c=0.04), u, dt=0.2, steps=10)
    np.testing.assert_allclose(final(pdes.build(name, c=0.12), 3 * u, dt=0.2, steps=10), 3 * v, rtol=0, atol=1e-12)
    finer = final(pdes.build(name, c=0.08), u, dt=0.05, steps=10, grid_step=0.5)
    np.testing.assert_allclose(finer, v, rtol=0, atol=1e-12)
    np.testing.assert_allclose(final(pdes.build(name, c=0.04), 1 - u, dt=0.2, steps=10), 1 - v, rtol=0, atol=1e-12)


@SCHEMES
def test_no_flux_crosses_the_border(name):
    """As if the image went on mirrored, over and over."""
    u, pde = photograph(), pdes.build(name)
    mirrored = np.concatenate([u, u[:, ::-1]], 1)
    mirrored = np.concatenate([mirrored, mirrored[:, :, ::-1]], 2)
    options = {"dt": 0.2, "steps": 40}
    whole = final(pde, mirrored, **options)[:, : u.shape[1], : u.shape[2]]
    np.testing.assert_allclose(final(pde, u, **options), whole, rtol=0, atol=1e-12)


def test_edges_sharpen_where_slopes_grow_smooth():
    """The flux falls with slopes beyond c: the steep middle of a ramp grows steeper; with a large c it flattens."""
    u = 0.5 + 0.5 * np.tanh((np.arange(40) - 19.5) / 2)[np.newaxis, np.newaxis, :, np.newaxis]
    for c, steepens in ((0.05, True), (1.0, False)):
        v = final(pdes.PeronaMalik(c), u, dt=0.2, steps=20)
        assert (np.diff(v, axis=2).max() > np.diff(u, axis=2).max()) == steepens


@SCHEMES
def test_converges_to_first_order_in_time(name):
    solutions = refined(pdes.build(name, c=0.1), 16, 8.0, (64, 128, 256, 512), (1.0,) * 4)
    np.testing.assert_allclose(orders(solutions), 1, atol=0.1)


def test_converges_to_second_order_in_space():
    """The explicit scheme's error in time is proportional to grid_step^2 too."""
    solutions = refined(pdes.PeronaMalik(0.1), 16, 8.0, (64, 256, 1024, 4096), (1.0, 0.5, 0.25, 0.125))
    np.testing.assert_allclose(orders(solutions), 2, atol=0.1)


def test_splitting_converges_to_the_explicit_scheme():
    u, explicit = photograph(), final(pdes.PeronaMalik(), photograph(), dt=0.001, steps=2000)
    errors = [
        np.abs(final(pdes.PeronaMalikAOS(), u, dt=2 / steps, steps=steps) - explicit).max() for steps in (50, 100, 200)
    ]
    assert errors[-1] < 0.004
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1, atol=0.15)


@SCHEMES
@pytest.mark.parametrize("c", [0.0, -1.0, math.nan, math.inf, np.float32(-1)])
def test_refuses_a_c_that_is_not_positive(name, c):
    with pytest.raises(ValueError, match="c: expected a positive number, got"):
        pdes.build(name, c=c)


def test_a_step_beyond_the_stable_one_breaks_the_maximum_principle():
    """At a peak with four flat neighbours every coupling is 1 / grid_step^2: the bound is sharp."""
    u = np.zeros((1, 3, 3, 1))
    u[0, 1, 1] = 1e-6
    pde = pdes.PeronaMalik()
    assert final(pde, u, dt=pde.stable_dt(1.0), steps=1)[0, 1, 1, 0] >= 0
    assert final(pde, u, dt=1.001 * pde.stable_dt(1.0), steps=1)[0, 1, 1, 0] < 0


def test_peer_medpy():
    """Its option 2 is g = 1 / (1 + s / kappa^2) of the same four differences."""
    smoothing = pytest.importorskip("medpy.filter.smoothing", reason="medpy is an optional peer")
    u = photograph()[0, ..., 0]
    theirs = smoothing.anisotropic_diffusion(u, niter=40, kappa=0.05, gamma=0.2, option=2)
    ours = final(pdes.PeronaMalik(0.05), u[np.newaxis, ..., np.newaxis], dt=0.2, steps=40)[0, ..., 0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    assert np.abs(ours - u).max() > 0.05
