import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from blade_tf import pdes
from pde_cases import cosine, final, five_points, noise, orders, photograph, refined

SCHEMES = pytest.mark.parametrize("name", pdes.schemes("cahn_hilliard"))


def laplacian(height, width, grid_step):
    """The 5-point Laplacian with zero flux as a matrix, pixel by pixel."""
    matrix = np.zeros((height, width, height, width))
    for y, x in np.ndindex(height, width):
        for v, w in ((y, x + 1), (y, x - 1), (y + 1, x), (y - 1, x)):
            if 0 <= v < height and 0 <= w < width:
                matrix[y, x, v, w] += 1 / grid_step**2
                matrix[y, x, y, x] -= 1 / grid_step**2
    return matrix.reshape(height * width, height * width)


def slope(u):
    """W'(u), multiplied out."""
    return 4 * u**3 - 6 * u**2 + 2 * u


def curvature(u):
    return 12 * u**2 - 12 * u + 2


def energy(u, gamma, h):
    """sum(W(u) + gamma / 2 abs(grad u)^2) h^2 of images [..., H, W, C]."""
    squares = sum((np.diff(u, axis=axis) ** 2).sum((-3, -2, -1)) for axis in (-3, -2)) / h**2
    return ((u**2 * (u - 1) ** 2).sum((-3, -2, -1)) + gamma / 2 * squares) * h**2


@pytest.mark.parametrize("stabilisation", [0.0, 0.7])
@pytest.mark.parametrize("grid_step", [1.0, 0.25])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1), (7, 6)])
def test_a_step_solves_eq_3_11(shape, grid_step, stabilisation):
    u, gamma, dt, s = noise(*shape), 0.3, 0.1, stabilisation
    lap = laplacian(*shape, grid_step)
    left = np.eye(u.size) + dt * gamma * lap @ lap - dt * s * lap
    expected = np.linalg.solve(left, u.ravel() + dt * lap @ (slope(u) - s * u).ravel()).reshape(shape)
    pde = pdes.CahnHilliardStabilised(gamma, s) if s else pdes.CahnHilliard(gamma)
    v = u[np.newaxis, ..., np.newaxis]
    np.testing.assert_allclose(
        final(pde, v, dt=dt, steps=1, grid_step=grid_step)[0, ..., 0], expected, rtol=0, atol=1e-12
    )
    rate = (lap @ (slope(u).ravel() - gamma * lap @ u.ravel())).reshape(shape)
    np.testing.assert_allclose(pde.rate(v, grid_step)[0, ..., 0], rate, rtol=0, atol=1e-12 / grid_step**4)


@pytest.mark.parametrize("state", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("stabilisation", [0.0, 1.0])
def test_growth_factor_of_every_mode_about_a_constant(state, stabilisation):
    """From the difference of two opposite disturbances; their cubic terms leave a share of amplitude^2."""
    height, width, grid_step, gamma, dt, amplitude = 5, 4, 0.5, 0.3, 0.2, 1e-5
    modes = [cosine(height, width, ky, kx) for ky, kx in np.ndindex(height, width)]
    cosines = np.concatenate([mode for mode, _, _ in modes])
    pde = pdes.CahnHilliardStabilised(gamma, stabilisation)
    up, down = (final(pde, state + a * cosines, dt=dt, steps=1, grid_step=grid_step) for a in (amplitude, -amplitude))
    m = -np.array([five_points(fy, fx, grid_step) for _, fy, fx in modes])
    factor = 1 - dt * m * (curvature(state) + gamma * m) / (1 + dt * (gamma * m**2 + stabilisation * m))
    np.testing.assert_allclose((up - down) / (2 * amplitude), factor[:, None, None, None] * cosines, rtol=0, atol=1e-8)
    if state == 0.5:
        assert np.all((factor > 1) == ((m > 0) & (m < 1 / gamma))), "exactly the long waves grow"


def test_plain_growth_factor_as_documented():
    m, dt, gamma, v = 3.0, 0.2, 0.25, 0.1
    plain = (1 - dt * m * curvature(v)) / (1 + dt * gamma * m**2)
    assert plain == pytest.approx(1 - dt * m * (curvature(v) + gamma * m) / (1 + dt * gamma * m**2), rel=1e-14)


def test_the_stable_step_is_sharp_about_a_pure_phase():
    """The mode of m = 1 / gamma is turned over, and keeps its amplitude, at exactly dt = 2 gamma."""
    u, fy, fx = cosine(1, 8, 0, 4)
    gamma = -1 / five_points(fy, fx, 1.0)
    pde, amplitude = pdes.CahnHilliard(gamma), 1e-6
    assert pde.stable_dt(1.0) == 2 * gamma
    v = final(pde, amplitude * u, dt=2 * gamma, steps=1)
    np.testing.assert_allclose(v, -amplitude * u, rtol=0, atol=1e-4 * amplitude)
    assert np.abs(final(pde, amplitude * u, dt=2.1 * gamma, steps=20)).max() > 1.2 * amplitude


@pytest.mark.parametrize("grid_step", [1.0, 0.25])
@pytest.mark.parametrize("image", [noise(1, 24, 20, 1), photograph()[:, :40, :30], np.eye(16)[None, ..., None]])
def test_energy_never_increases(image, grid_step):
    """At the proved step, but for what the overshoots beyond [0, 1], where W'' is larger, cost of it."""
    pde = pdes.CahnHilliard()
    kept = pdes.solve(pde, image, dt=0.7 * pde.stable_dt(grid_step), steps=1, frames=80, grid_step=grid_step).numpy()
    largest = curvature(np.array([kept.min(), kept.max()])).max()
    assert 0.7 * pde.stable_dt(grid_step) <= 8 * pde.gamma / largest**2, "the bound for the states that occur"
    energies = energy(kept, pde.gamma, grid_step)[0]
    assert np.all(np.diff(energies) <= 1e-12 * energies[0])
    assert energies[-1] < 0.9 * energies[0]


@pytest.mark.parametrize("dt", [1.0, 10.0, 1000.0])
def test_energy_of_the_stabilised_splitting_never_increases(dt):
    u, stabilised = noise(1, 24, 20, 1), pdes.CahnHilliardStabilised()
    assert stabilised.stable_dt(1.0) == math.inf
    energies = energy(pdes.solve(stabilised, u, dt=dt, steps=1, frames=60).numpy(), 0.25, 1.0)[0]
    assert np.all(np.diff(energies) <= 0)


def test_energy_of_the_plain_scheme_rises_at_a_step_too_large():
    u = noise(1, 24, 20, 1)
    energies = energy(pdes.solve(pdes.CahnHilliard(), u, dt=2.0, steps=1, frames=20).numpy(), 0.25, 1.0)[0]
    assert not np.all(np.diff(energies) <= 0)


def test_stable_steps_with_stabilisation():
    assert pdes.CahnHilliardStabilised(0.25, 0.0).stable_dt(1.0) == pdes.CahnHilliard(0.25).stable_dt(1.0) == 0.5
    assert pdes.CahnHilliardStabilised(0.25, 0.5).stable_dt(0.25) == 2.0
    assert pdes.CahnHilliardStabilised(0.25, 1.5).stable_dt(1.0) == math.inf


def test_an_edge_becomes_the_exact_interface():
    """1 / (1 + exp(-x sqrt(2 / gamma))), the minimiser of the energy, up to the square of the grid step."""
    errors = []
    for grid_step in (0.25, 0.125):
        x = (np.arange(round(16 / grid_step)) + 0.5) * grid_step - 8
        u = np.where(x > 0, 1.0, 0.0)[np.newaxis, np.newaxis, :, np.newaxis]
        v = final(pdes.CahnHilliard(0.25), u, dt=0.1, steps=2000, grid_step=grid_step)[0, 0, :, 0]
        errors.append(np.abs(v - 1 / (1 + np.exp(-x * math.sqrt(2 / 0.25)))).max())
    assert errors[0] < 0.01
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.15)


@SCHEMES
def test_no_flux_crosses_the_border(name):
    u, pde = photograph()[:, :31, :42], pdes.build(name)
    mirrored = np.concatenate([u, u[:, ::-1]], 1)
    mirrored = np.concatenate([mirrored, mirrored[:, :, ::-1]], 2)
    whole = final(pde, mirrored, dt=0.1, steps=40)[:, : u.shape[1], : u.shape[2]]
    np.testing.assert_allclose(final(pde, u, dt=0.1, steps=40), whole, rtol=0, atol=1e-12)


@SCHEMES
def test_scaled_lengths_and_exchanged_phases(name):
    """On a grid twice as fine with a gamma four times smaller, times are four times shorter; 1 - u evolves as u."""
    u = photograph()
    v = final(pdes.build(name, gamma=0.4), u, dt=0.08, steps=10)
    finer = final(pdes.build(name, gamma=0.1), u, dt=0.02, steps=10, grid_step=0.5)
    np.testing.assert_allclose(finer, v, rtol=0, atol=1e-12)
    np.testing.assert_allclose(final(pdes.build(name, gamma=0.4), 1 - u, dt=0.08, steps=10), 1 - v, rtol=0, atol=1e-12)


@SCHEMES
def test_converges_to_first_order_in_time(name):
    solutions = refined(pdes.build(name), 16, 4.0, (512, 1024, 2048, 4096), (1.0,) * 4)
    np.testing.assert_allclose(orders(solutions), 1, atol=0.1)


def test_converges_to_second_order_in_space():
    solutions = refined(pdes.CahnHilliard(), 16, 1.0, (200,) * 4, (1.0, 0.5, 0.25, 0.125))
    np.testing.assert_allclose(orders(solutions)[1:], 2, atol=0.15)


def test_float32_suffices_for_the_protocol():
    """500 steps on a grid four times finer: rounding stays four orders below the phases' distance."""
    u, pde = photograph(), pdes.CahnHilliard()
    options = {"dt": 0.02, "steps": 500, "grid_step": 0.25}
    single, double = (final(pde, u.astype(dtype), **options) for dtype in (np.float32, np.float64))
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-4)
    assert abs(single.mean(dtype=np.float64) - u.mean()) < 1e-6


def test_states_beyond_the_range_are_declared_and_computed():
    assert pdes.CahnHilliard.range == (0.0, 1.0)
    assert [pdes.PDES[name].range for name in ("tv_flow", "perona_malik", "ced")] == [None] * 3
    u = 3 * noise(1, 8, 8, 1) - 1
    largest = curvature(u).max()
    v = final(pdes.CahnHilliard(), u, dt=8 * 0.25 / largest**2, steps=100)
    assert energy(v, 0.25, 1.0)[0] < energy(u, 0.25, 1.0)[0]


def test_an_unknown_size_is_refused_when_traced():
    @tf.function(input_signature=[tf.TensorSpec([1, None, 8, 1], tf.float64)])
    def step(u):
        return pdes.CahnHilliard().step(u, 0.1)

    with pytest.raises(ValueError, match=r"u: expected a static height and width, got \[1, None, 8, 1\]"):
        step.get_concrete_function()


@SCHEMES
@pytest.mark.parametrize("gamma", [0.0, -1.0, math.nan, math.inf])
def test_refuses_a_gamma_that_is_not_positive(name, gamma):
    with pytest.raises(ValueError, match="gamma: expected a positive number, got"):
        pdes.build(name, gamma=gamma)


@pytest.mark.parametrize("stabilisation", [-0.1, math.nan, math.inf])
def test_refuses_a_negative_stabilisation(stabilisation):
    with pytest.raises(ValueError, match="stabilisation: expected a number >= 0, got"):
        pdes.CahnHilliardStabilised(stabilisation=stabilisation)


def test_peer_py_pde():
    """Its explicit scheme at a step of 1e-4; ours comes nearer to it as 1 / steps."""
    pde = pytest.importorskip("pde", reason="py-pde is an optional peer")
    u = 0.3 + 0.4 * photograph()[0, :24, :20, 0]
    grid = pde.CartesianGrid([[0, 24], [0, 20]], [24, 20])
    equation = pde.PDE({"c": "laplace(2 * c * (c - 1) * (2 * c - 1) - 0.25 * laplace(c))"}, bc={"derivative": 0})
    options = {"t_range": 1.0, "dt": 1e-4, "adaptive": False, "tracker": None, "backend": "numpy"}
    theirs = equation.solve(pde.ScalarField(grid, u), **options).data
    errors = [
        np.abs(final(pdes.CahnHilliard(), u[None, ..., None], dt=1 / n, steps=n)[0, ..., 0] - theirs).max()
        for n in (100, 1000)
    ]
    assert errors[1] < 2e-4
    assert all(8 < a / b < 12 for a, b in itertools.pairwise(errors))
