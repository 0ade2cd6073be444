import numpy as np
import pytest

from blade_tf import flux, ops
from blade_tf.least_squares import NormalEquations, difference_basis, face_basis, patches


def problem(bins=4, pixels=900, size=8, noise=0.1, seed=0):
    """Pixels of bins 0, ..., bins - 2 (the last stays empty), targets of planted filters and noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((pixels, size)) * np.linspace(0.1, 1, size)
    chosen = rng.integers(0, bins - 1, pixels)
    planted = rng.standard_normal((bins, size))
    y = np.einsum("pd,pd->p", x, planted[chosen]) + noise * rng.standard_normal(pixels)
    return x, y, chosen, planted


def equations_of(x, y, chosen, bins=4):
    equations = NormalEquations.zeros(bins, x.shape[1])
    equations.add(x, y, chosen)
    return equations


@pytest.mark.parametrize("footprint", [(3, 3), (5, 5), (1, 7), (5, 3), (1, 1)])
def test_basis_and_patches_make_the_filter(footprint):
    """x^T a is the filter B a, applied; B spans the filters that sum to zero."""
    rng = np.random.default_rng(0)
    basis, taps = difference_basis(footprint), footprint[0] * footprint[1]
    assert basis.shape == (taps, taps - 1)
    np.testing.assert_array_equal(basis.sum(0), np.zeros(taps - 1))
    assert taps == 1 or np.linalg.matrix_rank(basis) == taps - 1
    image = rng.standard_normal((2, 6, 4))
    x = (patches(image, footprint) @ basis).reshape(48, taps - 1)
    a = rng.standard_normal(taps - 1)
    filters = (basis @ a).reshape(1, *footprint)
    applied = ops.blade_filter(image[..., np.newaxis], filters, np.zeros(image.shape, np.int32))
    np.testing.assert_allclose(x @ a, np.ravel(applied), rtol=0, atol=1e-13)


@pytest.mark.parametrize("antisymmetric", [False, True])
@pytest.mark.parametrize("footprint", [(5, 6), (1, 2), (3, 4)])
def test_face_basis_and_patches_make_the_filter(footprint, antisymmetric):
    rng = np.random.default_rng(0)
    basis = face_basis(footprint, antisymmetric)
    np.testing.assert_array_equal(basis.sum(0), np.zeros(basis.shape[1]))
    assert (
        np.linalg.matrix_rank(basis)
        == basis.shape[1]
        == footprint[0] * footprint[1] // (2 if antisymmetric else 1) - (not antisymmetric)
    )
    image, a = rng.standard_normal((2, 6, 7)), rng.standard_normal(basis.shape[1])
    filters = (basis @ a).reshape(1, *footprint)
    if antisymmetric:
        np.testing.assert_array_equal(filters, -filters[:, ::-1, ::-1])
        half = a.reshape(footprint[0], footprint[1] // 2)
        np.testing.assert_array_equal(filters[0], flux.antisymmetric_filters(half))
    applied = ops.blade_filter(image[..., np.newaxis], filters, np.zeros(image.shape, np.int32))
    np.testing.assert_allclose(patches(image, footprint) @ basis @ a, applied[..., 0], rtol=0, atol=1e-13)


def test_patches_keep_float32():
    assert patches(np.zeros((1, 4, 5), np.float32), (3, 3)).dtype == np.float32


@pytest.mark.parametrize("ridge", [1e-9, 1e-2])
def test_inverse_roots_make_the_damped_equations_the_identity(ridge):
    x, y, chosen, _ = problem()
    roots, damping = equations_of(x, y, chosen).inverse_root(ridge)
    for k in range(3):
        part = x[chosen == k]
        added = ridge * (np.sum(part**2) / 8 + rest_of(x)) * np.eye(8)
        np.testing.assert_allclose(roots[k].T @ (part.T @ part + added) @ roots[k], np.eye(8), rtol=0, atol=1e-9)
        np.testing.assert_allclose(roots[k].T @ added @ roots[k], np.diag(damping[k]), rtol=0, atol=1e-9)


def test_sums_by_hand():
    x, y = np.array([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]]), np.array([7.0, 11.0, 13.0])
    equations = equations_of(x, y, np.array([2, 0, 2]), 3)
    np.testing.assert_array_equal(equations.gram, [[[9, 15], [15, 25]], np.zeros((2, 2)), [[1, 2], [2, 5]]])
    np.testing.assert_array_equal(equations.moment, [[33, 55], [0, 0], [7, 27]])
    np.testing.assert_array_equal(equations.count, [1, 0, 2])


def test_pixels_may_come_in_any_parts_and_order():
    x, y, chosen, _ = problem()
    whole, parts = equations_of(x, y, chosen), NormalEquations.zeros(4, 8)
    shuffled = np.random.default_rng(1).permutation(len(y))
    for part in np.array_split(shuffled, 7):
        parts.add(x[part], y[part], chosen[part])
    parts.add(x[:0], y[:0], chosen[:0])
    for name in ("gram", "moment", "count"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12, atol=1e-12)


def test_many_float32_parts_are_summed_in_float64():
    x, y = np.full((1, 1), 0.1, np.float32), np.full(1, 0.1, np.float32)
    equations = NormalEquations.zeros(1, 1)
    for _ in range(20000):
        equations.add(x, y, np.zeros(1, int))
    # Summed in float32, the error would be a hundred times as large.
    np.testing.assert_allclose(equations.gram, 20000 * float(x[0, 0]) ** 2, rtol=1e-7)


def test_planted_coefficients_are_found():
    x, y, chosen, planted = problem(noise=0)
    found = equations_of(x, y, chosen).solve(1e-14)
    np.testing.assert_allclose(found[:3], planted[:3], rtol=0, atol=1e-9)


def test_each_bin_is_its_own_least_squares_problem():
    x, y, chosen, _ = problem()
    found = equations_of(x, y, chosen).solve(1e-13)
    for k in range(3):
        expected = np.linalg.lstsq(x[chosen == k], y[chosen == k])[0]
        np.testing.assert_allclose(found[k], expected, rtol=0, atol=1e-9)


def rest_of(x):
    """What the damping adds to a bin's mean eigenvalue: a thousandth of a pixel's."""
    return 1e-3 * np.sum(x**2) / x.shape[1] / len(x)


@pytest.mark.parametrize("ridge", [1e-3, 1.0, 1e6])
def test_ridge_pulls_towards_zero(ridge):
    """The damped problem is a plain one with the rows sqrt(damping) a = 0 added."""
    x, y, chosen, _ = problem()
    found = equations_of(x, y, chosen).solve(ridge)
    for k in range(3):
        part = chosen == k
        root = np.sqrt(ridge * (np.sum(x[part] ** 2) / 8 + rest_of(x)))
        rows, targets = np.vstack([x[part], root * np.eye(8)]), np.concatenate([y[part], np.zeros(8)])
        np.testing.assert_allclose(found[k], np.linalg.lstsq(rows, targets)[0], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found[3], np.zeros(8))


def test_bins_without_information_stay_at_zero():
    """No pixel at all, flat pixels only, one pixel only: zero where the data says nothing."""
    x, y, chosen, _ = problem()
    x[chosen == 0] = 0
    keep = np.setdiff1d(np.arange(len(y)), np.flatnonzero(chosen == 1)[1:])
    equations = equations_of(x[keep], y[keep], chosen[keep])
    found = equations.solve(1e-5)
    np.testing.assert_array_equal(found[[0, 3]], np.zeros((2, 8)))
    single, target = x[chosen == 1][0], y[chosen == 1][0]
    np.testing.assert_allclose(found[1], target / (single @ single) * single, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(NormalEquations.zeros(2, 8).solve(1e-5), np.zeros((2, 8)))
    assert np.all(np.isfinite(equations.whitening(1e-3)))


@pytest.mark.parametrize("ridge", [1e-9, 1e-2])
def test_whitening_makes_the_patches_white(ridge):
    x, y, chosen, _ = problem()
    whitening = equations_of(x, y, chosen).whitening(ridge)
    np.testing.assert_allclose(whitening, whitening.swapaxes(1, 2), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(whitening[3], np.zeros((8, 8)))
    for k in range(3):
        part = x[chosen == k]
        damping = ridge * (np.sum(part**2) / 8 + rest_of(x)) / len(part)
        covariance = part.T @ part / len(part) + damping * np.eye(8)
        np.testing.assert_allclose(whitening[k] @ covariance @ whitening[k], np.eye(8), rtol=0, atol=1e-9)


def test_whitening_is_scaled_to_the_target_and_less_in_small_bins():
    equations = NormalEquations(np.tile(np.eye(2), (3, 1, 1)), np.zeros((3, 2)), np.array([16, 4, 1]))
    scale = 1.5 * np.sqrt([1, 4 / 7, 1 / 7])[:, np.newaxis, np.newaxis]
    found = equations.scaled_whitening(1e-9, energy=45.0, pixels=20)
    np.testing.assert_allclose(found, scale * equations.whitening(1e-9), rtol=1e-12)


@pytest.mark.parametrize("pixels", [1, 3, 7])
def test_bins_of_few_float32_pixels_have_finite_roots(pixels):
    """Their equations have eigenvalues of zero, which float32 rounds to either sign, beyond so small a ridge."""
    x = np.random.default_rng(0).random((pixels, 24)).astype(np.float32)
    equations = NormalEquations.zeros(2, 24)
    equations.add(np.tile(x, (50, 1)), np.zeros(50 * pixels, np.float32), np.zeros(50 * pixels, int))
    assert np.linalg.eigvalsh(equations.gram[0]).min() < 0
    roots, damping = equations.inverse_root(1e-9)
    for found in (roots, damping, equations.whitening(1e-9)):
        assert np.isfinite(found).all()
    assert ((damping > 0) & (damping <= 1)).all()
