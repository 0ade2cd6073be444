"""The cheaper schemes, additive splitting and adaptive stencils; the dense operators that steps are made of."""

import itertools
import math

import numpy as np
import pytest
import scipy.fft
import tensorflow as tf

from blade_tf import image as image_lib
from blade_tf import pdes
from blade_tf.pdes import additive, lattice, separable
from pde_cases import cosine, final, five_points, noise, photograph

ADDITIVE = pytest.mark.parametrize("name", ["perona_malik_aos", "tv_flow_aos"])


def test_every_equation_lists_its_schemes():
    assert pdes.schemes("tv_flow") == ["tv_flow", "tv_flow_aos"]
    assert pdes.schemes("perona_malik") == ["perona_malik", "perona_malik_aos"]
    assert pdes.schemes("ced") == ["ced", "ced_lbr"]
    assert pdes.schemes("cahn_hilliard") == ["cahn_hilliard", "cahn_hilliard_stabilised"]
    assert pdes.schemes("tv_flow_aos") == ["tv_flow_aos"]
    with pytest.raises(ValueError, match="pde: unknown name 'cde', did you mean 'ced'"):
        pdes.schemes("cde")


# Additive operator splitting.


def diffusion(w):
    """The matrix with the couplings w[i] between i and i + 1."""
    matrix = np.zeros((len(w) + 1, len(w) + 1))
    for i, value in enumerate(w):
        matrix[i : i + 2, i : i + 2] += value * np.array([[-1, 1], [1, -1]])
    return matrix


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_implicit_diffusion_solves_the_tridiagonal_systems(n, axis):
    shape = (2, n, 3, 2) if axis == 1 else (2, 3, n, 2)
    w, f = 5 * noise(*shape), noise(*shape, seed=1) - 0.5
    found = np.moveaxis(additive.implicit_diffusion(tf.constant(w), tf.constant(f), axis).numpy(), axis, -1)
    w, f = np.moveaxis(w, axis, -1), np.moveaxis(f, axis, -1)
    for i in np.ndindex(f.shape[:-1]):
        expected = np.linalg.solve(np.eye(n) - diffusion(w[i][:-1]), f[i])
        np.testing.assert_allclose(found[i], expected, rtol=0, atol=1e-14)


def test_implicit_diffusion_keeps_its_digits_for_any_conductance():
    """Couplings of 1e12 join pixels into groups, those of 1e-12 part them: each group takes its mean."""
    w = np.array([1e12, 1e12, 1e-12, 1e12, 0.0])[np.newaxis, np.newaxis, :, np.newaxis]
    f = np.array([1.0, 2.0, 6.0, 1.0, 5.0])[np.newaxis, np.newaxis, :, np.newaxis]
    for dtype, tolerance in ((np.float64, 1e-11), (np.float32, 1e-6)):
        x = additive.implicit_diffusion(tf.constant(w.astype(dtype)), tf.constant(f.astype(dtype)), 2)[0, 0, :, 0]
        np.testing.assert_allclose(x, [3, 3, 3, 3, 3], rtol=0, atol=tolerance)


@ADDITIVE
@pytest.mark.parametrize("grid_step", [1.0, 0.25])
def test_a_step_is_the_mean_of_the_two_implicit_ones(name, grid_step):
    u, dt, pde = noise(1, 6, 5, 1), 0.7, pdes.build(name)
    gy, gx = (dt * 2 / grid_step**2 * g.numpy()[0, ..., 0] for g in pde.diffusivities(tf.constant(u), grid_step))
    along_y = [np.linalg.solve(np.eye(6) - diffusion(gy[:-1, x]), u[0, :, x, 0]) for x in range(5)]
    along_x = [np.linalg.solve(np.eye(5) - diffusion(gx[y, :-1]), u[0, y, :, 0]) for y in range(6)]
    expected = (np.stack(along_y, 1) + np.stack(along_x, 0)) / 2
    found = final(pde, u, dt=dt, steps=1, grid_step=grid_step)[0, ..., 0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@ADDITIVE
def test_short_steps_follow_the_explicit_rate(name):
    u, pde = photograph(), pdes.build(name)
    rate, errors = pde.rate(tf.constant(u), 0.5).numpy(), []
    for dt in (1e-7, 0.5e-7):
        slope = (final(pde, u, dt=dt, steps=1, grid_step=0.5) - u) / dt
        errors.append(np.abs(slope - rate).max() / np.abs(rate).max())
    assert errors[0] < 0.005
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2)


def test_tv_splitting_converges_to_the_explicit_scheme():
    u, pde, time = photograph(), pdes.TVFlow(0.02), 0.05
    steps = math.ceil(16 * time / pde.stable_dt(1.0))
    explicit = final(pde, u, dt=time / steps, steps=steps)
    errors = [
        np.abs(final(pdes.TVFlowAOS(0.02), u, dt=time / steps, steps=steps) - explicit).max()
        for steps in (200, 400, 800)
    ]
    assert errors[-1] < 1.5e-3
    assert all(1.5 < a / b < 2.5 for a, b in itertools.pairwise(errors))


@ADDITIVE
def test_a_step_without_end_leaves_the_means_of_rows_and_columns(name):
    u = noise(1, 9, 8, 1)
    v = final(pdes.build(name), u, dt=1e9, steps=1)
    np.testing.assert_allclose(v, (u.mean(1, keepdims=True) + u.mean(2, keepdims=True)) / 2, rtol=0, atol=1e-5)


# Adaptive stencils.


def tensors(alpha, count=2001):
    """Matrices of eigenvalues 1 and alpha, at angles that include the axes and the diagonals."""
    angles = np.linspace(0, np.pi, count)
    c, s = np.cos(angles), np.sin(angles)
    return c * c + alpha * s * s, (1 - alpha) * c * s, s * s + alpha * c * c


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.01, 1e-4])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_selling_decomposes_with_integer_vectors(alpha, dtype, tolerance):
    d = [component.astype(dtype) for component in tensors(alpha)]
    weights, vectors = lattice.selling(*map(tf.constant, d))
    weights, vectors = np.array(weights), np.array(vectors)  # [3, n] and [3, 2, n]
    assert np.all(weights >= 0)
    assert vectors.dtype == np.int32
    x, y = vectors[:, 0], vectors[:, 1]
    assert np.all(np.gcd(x, y) == 1)
    for products, component in zip((x * x, x * y, y * y), d, strict=True):
        np.testing.assert_allclose((weights * products).sum(0), component, rtol=0, atol=tolerance)
    lengths = x * x + y * y
    assert np.all(alpha * lengths <= 2)
    assert np.all(weights * lengths <= 1 + tolerance)


class Frozen(lattice.CoherenceEnhancingLBR):
    """The diffusion by given tensors [H, W]."""

    def __init__(self, d, **parameters):
        super().__init__(**parameters)
        object.__setattr__(self, "d", d)

    def diffusion_tensor(self, gx, gy, grid_step=1.0):
        return tuple(tf.constant(component[np.newaxis, ..., np.newaxis]) for component in self.d)


def test_adaptive_stencils_differentiate_quadratics_exactly():
    y, x = np.mgrid[:25, :25] - 12.0
    for turn in (3, 500, 1234):
        d11, d12, d22 = (component[turn] for component in tensors(0.01))
        pde = Frozen([np.full((25, 25), value) for value in (d11, d12, d22)])
        for u, expected in ((x, 0), (x * x, 2 * d11), (x * y, 2 * d12), (y * y, 2 * d22)):
            rate = pde.rate(u[np.newaxis, ..., np.newaxis], 0.5)[0, 12, 12, 0]
            np.testing.assert_allclose(rate, 4 * expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_adaptive_stencils_exchange_symmetrically_and_never_negatively(alpha):
    """For any tensors, with the row sums that `stable_dt` counts on."""
    grid_step, pixels = 0.5, 11 * 13
    turns = np.random.default_rng(0).integers(0, 2001, (11, 13))
    pde = Frozen([component[turns] for component in tensors(alpha)], alpha=alpha)
    units = np.eye(pixels).reshape(pixels, 11, 13, 1)
    rates = [pde.rate(tf.constant(units[i : i + 1]), grid_step).numpy().ravel() for i in range(pixels)]
    matrix = np.stack(rates, 1)
    np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-12)
    np.testing.assert_allclose(matrix.sum(0), 0, rtol=0, atol=1e-11)
    assert np.all(matrix - np.diag(np.diag(matrix)) >= 0)
    assert np.all(np.diag(matrix) * pde.stable_dt(grid_step) >= -1)


def test_adaptive_stable_steps():
    """alpha = 1: the proof allows for a weight of 1 towards each of 4 neighbours and 1 / 2 towards each of 4 more."""
    assert lattice.CoherenceEnhancingLBR(alpha=1.0).stable_dt(1.0) == pytest.approx(1 / 5, rel=1e-14)
    assert lattice.CoherenceEnhancingLBR(alpha=0.01).stable_dt(0.5) == pytest.approx(0.12559 / 4, rel=1e-4)


@pytest.mark.parametrize(("ky", "kx"), [(0, 1), (2, 3), (7, 0), (11, 8)])
def test_adaptive_stencils_with_alpha_1_are_the_heat_equation(ky, kx):
    grid_step, dt, steps = 0.5, 0.05, 30
    u, fy, fx = cosine(12, 9, ky, kx)
    factor = (1 + dt * five_points(fy, fx, grid_step)) ** steps
    found = final(lattice.CoherenceEnhancingLBR(alpha=1), u, dt=dt, steps=steps, grid_step=grid_step)
    np.testing.assert_allclose(found, factor * u, rtol=0, atol=1e-14)


def test_adaptive_stencils_have_a_least_alpha():
    with pytest.raises(ValueError, match=r"alpha: expected a number in \[1e-4, 1\], got 1e-05"):
        lattice.CoherenceEnhancingLBR(alpha=1e-5)


# Dense operators.


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_cosines_are_the_dct_and_the_eigenvectors_of_the_laplacian(n):
    cosines = separable.cosine_matrix(n)
    np.testing.assert_allclose(cosines, scipy.fft.dct(np.eye(n), axis=0, norm="ortho"), rtol=0, atol=1e-14)
    eigenvalues = 2 * np.cos(np.pi * np.arange(n) / n) - 2
    np.testing.assert_allclose(
        cosines.T @ np.diag(eigenvalues) @ cosines, diffusion(np.ones(n - 1)), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("rho", [0.0, 0.7, 3.0])
def test_the_gaussian_is_that_of_the_images(rho):
    u = noise(2, 9, 5, 3)
    matrices = [separable.gaussian_matrix(n, rho) for n in (9, 5)]
    found = separable.along_both_axes(tf.constant(u), *matrices)
    np.testing.assert_allclose(found, image_lib.gaussian_smooth(u, rho), rtol=0, atol=1e-15)


def test_operators_along_both_axes_may_change_the_size():
    u, rows, columns = noise(2, 4, 5, 3), noise(6, 4), noise(7, 5)
    found = separable.along_both_axes(tf.constant(u), rows, columns)
    np.testing.assert_allclose(found, np.einsum("ah,bw,nhwc->nabc", rows, columns, u), rtol=0, atol=1e-14)
