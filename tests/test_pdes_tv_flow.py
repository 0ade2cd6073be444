import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

import blade_tf
from pde_cases import final, noise, photograph


def rate_by_loops(u, epsilon, h):
    """Eq 3.2 pixel by pixel: u [H, W]."""
    height, width = u.shape

    def at(y, x):
        return u[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]

    def minmod(a, b):
        return math.copysign(min(abs(a), abs(b)), a) if a * b > 0 else 0.0

    def flux(y, x, dy, dx):
        """Through the face between (y, x) and (y + dy, x + dx); m of the other direction, at (y, x)."""
        along = (at(y + dy, x + dx) - at(y, x)) / h
        across = minmod((at(y + dx, x + dy) - at(y, x)) / h, (at(y, x) - at(y - dx, x - dy)) / h)
        return along / math.sqrt(along**2 + across**2 + epsilon**2)

    rate = np.zeros(u.shape)
    for y, x in np.ndindex(u.shape):
        for dy, dx in ((0, 1), (1, 0)):
            inside_after = y + dy < height and x + dx < width
            inside_before = y - dy >= 0 and x - dx >= 0
            rate[y, x] += flux(y, x, dy, dx) / h if inside_after else 0
            rate[y, x] -= flux(y - dy, x - dx, dy, dx) / h if inside_before else 0
    return rate


@pytest.mark.parametrize("grid_step", [1.0, 0.25])
@pytest.mark.parametrize("epsilon", [0.1 / 255, 0.5])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1), (7, 6)])
def test_tv_rate_is_eq_3_2_by_loops(shape, epsilon, grid_step):
    u, pde = noise(*shape), blade_tf.TVFlow(epsilon)
    u[0, 0] = u[-1, -1]  # equal neighbours too
    expected = rate_by_loops(u, epsilon, grid_step)
    found = pde.rate(u[np.newaxis, ..., np.newaxis], grid_step)[0, ..., 0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 / grid_step)
    step = pde.step(tf.constant(u[np.newaxis, ..., np.newaxis]), 0.01, grid_step)[0, ..., 0]
    np.testing.assert_allclose(step, u + 0.01 * expected, rtol=0, atol=1e-13)
    solved = final(pde, u[np.newaxis, ..., np.newaxis], dt=0.01, steps=1, grid_step=grid_step)[0, ..., 0]
    np.testing.assert_allclose(solved, u + 0.01 * expected, rtol=0, atol=1e-13)


def test_tv_symmetries_that_are_exact():
    """The minmod at the pixel left of or above a face breaks rotations and reflections, but not transposition."""
    pde, u = blade_tf.TVFlow(), photograph()
    options = {"dt": pde.stable_dt(1.0), "steps": 200}
    v = final(pde, u, **options)
    np.testing.assert_allclose(final(pde, u.swapaxes(1, 2), **options).swapaxes(1, 2), v, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(final(pde, -u, **options), -v)
    np.testing.assert_allclose(final(pde, u + 2, **options), v + 2, rtol=0, atol=1e-12)
    scaled = final(blade_tf.TVFlow(4 * pde.epsilon), 4 * u, dt=4 * options["dt"], steps=200)
    np.testing.assert_allclose(scaled, 4 * v, rtol=0, atol=1e-12)
    colours = np.concatenate([u, 1 - u, u**2], -1)
    np.testing.assert_allclose(final(pde, colours, **options)[..., 1:2], 1 - v, rtol=0, atol=1e-12)


def smooth(grid_step):
    x = (np.arange(round(16 / grid_step)) + 0.5) * grid_step * np.pi / 16
    return (2 * np.cos(x) * np.cos(x)[:, np.newaxis] + np.cos(2 * x))[np.newaxis, ..., np.newaxis]


def test_tv_mirror_images_agree_to_first_order_in_the_grid_step():
    pde, asymmetries = blade_tf.TVFlow(0.3), []
    for grid_step in (1.0, 0.5, 0.25, 0.125):
        u, steps = smooth(grid_step), math.ceil(0.5 / pde.stable_dt(grid_step))
        options = {"dt": 0.5 / steps, "steps": steps, "grid_step": grid_step}
        v = final(pde, u, **options)
        asymmetries.append(np.abs(final(pde, u[:, :, ::-1], **options)[:, :, ::-1] - v).max() / np.abs(v - u).max())
    assert asymmetries[0] < 0.02
    np.testing.assert_allclose(np.log2(np.divide(asymmetries[:-1], asymmetries[1:])), 1, atol=0.05)


def test_tv_converges_as_grid_step_and_time_step_are_halved():
    pde, solutions = blade_tf.TVFlow(0.3), []
    for factor in (1, 2, 4, 8):
        steps = math.ceil(0.5 / pde.stable_dt(1 / factor))
        v = final(pde, smooth(1 / factor), dt=0.5 / steps, steps=steps, grid_step=1 / factor)
        solutions.append(v.reshape(16, factor, 16, factor).mean((1, 3)))
    changes = [np.abs(a - b).max() for a, b in itertools.pairwise(solutions)]
    assert changes[-1] < 0.001
    assert np.all(np.divide(changes[:-1], changes[1:]) > 2)


@pytest.mark.parametrize("left", [3, 8, 10])
@pytest.mark.parametrize("axis", [1, 2])
def test_tv_of_two_halves_has_the_exact_rates(left, axis):
    """A step of height 1 between 0 < x < a and a < x < L: unit flux through one face, rates -1 / a and 1 / (L - a)."""
    length, grid_step, time, pde = 20, 0.5, 1.0, blade_tf.TVFlow(1e-3)
    cells = round(left / grid_step)
    u = np.zeros((1, 1, round(length / grid_step), 1))
    u[:, :, :cells] = 1
    steps = math.ceil(time / pde.stable_dt(grid_step))
    if axis == 1:
        u = u.swapaxes(1, 2)
    v = final(pde, u, dt=time / steps, steps=steps, grid_step=grid_step).reshape(-1)
    # The flux is 1 up to (epsilon / slope)^2 / 2. It falls linearly to 0 at the walls; the regularised profile under
    # a flux F is epsilon width (pi / 4 - sqrt(1 - F^2)) about its mean.
    for part, width, height in ((v[:cells], left, 1 - time / left), (v[cells:], length - left, time / (length - left))):
        np.testing.assert_allclose(part.mean(), height, rtol=0, atol=1e-6)
        np.testing.assert_allclose(part, height, rtol=0, atol=1e-3 * width * np.pi / 4)


def test_tv_of_a_plateau_between_two_edges():
    """Both edges of a box inside the interval: it falls at 2 / width, and each side rises at 1 / width of its own."""
    pde, grid_step, time = blade_tf.TVFlow(1e-3), 0.5, 1.0
    u = np.repeat([0.0, 1.0, 0.0], [12, 16, 32])[np.newaxis, np.newaxis, :, np.newaxis]  # widths 6, 8 and 16
    steps = math.ceil(time / pde.stable_dt(grid_step))
    v = final(pde, u, dt=time / steps, steps=steps, grid_step=grid_step)[0, 0, :, 0]
    for part, height in ((v[:12], time / 6), (v[12:28], 1 - 2 * time / 8), (v[28:], time / 16)):
        np.testing.assert_allclose(part.mean(), height, rtol=0, atol=1e-6)


def disc(radius, grid_step, half_width=14):
    """The indicator's means over the cells of the grid, and their centres' distances to the centre."""
    fine = 8
    x = (np.arange(round(2 * half_width / grid_step) * fine) + 0.5) * grid_step / fine - half_width
    inside = (np.hypot(x, x[:, np.newaxis]) < radius).astype(float)
    size = len(x) // fine
    centres = x.reshape(size, fine).mean(1)
    means = inside.reshape(size, fine, size, fine).mean((1, 3))
    return means[np.newaxis, ..., np.newaxis], np.hypot(centres, centres[:, np.newaxis])


def test_tv_of_a_disc_falls_at_two_over_its_radius():
    """The grid's perimeter of the disc departs from the exact one, the less, the finer the grid: by 15, 9 and 5 %."""
    pde, radius, errors = blade_tf.TVFlow(0.01), 8, []
    for grid_step in (1.0, 0.5, 0.25):
        u, distance = disc(radius, grid_step)
        # In the first half of the time the regularised profile settles.
        steps = math.ceil(0.2 / pde.stable_dt(grid_step))
        kept = blade_tf.solve(pde, u, dt=0.2 / steps, steps=steps, frames=2, grid_step=grid_step).numpy()[0, ..., 0]
        middle, last = kept[1:, distance < radius / 2].mean(1)
        errors.append(abs((middle - last) / 0.2 / (2 / radius) - 1))
    assert errors[-1] < 0.06
    assert np.all(np.divide(errors[1:], errors[:-1]) < 0.65)


@pytest.mark.parametrize(("ky", "kx"), [(0, 1), (2, 3), (7, 0)])
def test_tv_of_small_slopes_is_the_heat_equation(ky, kx):
    """For epsilon far above the gradient the diffusivity is 1 / epsilon; cosines decay by the exact discrete factor."""
    epsilon, grid_step, height, width, steps = 1e6, 0.5, 12, 9, 30
    y, x = (np.arange(n) + 0.5 for n in (height, width))
    u = np.outer(np.cos(np.pi * ky * y / height), np.cos(np.pi * kx * x / width))[np.newaxis, ..., np.newaxis]
    pde = blade_tf.TVFlow(epsilon)
    dt = pde.stable_dt(grid_step)
    assert dt == grid_step**2 * epsilon / 4
    eigenvalue = -4 / grid_step**2 * (math.sin(np.pi * ky / height / 2) ** 2 + math.sin(np.pi * kx / width / 2) ** 2)
    factor = (1 + dt / epsilon * eigenvalue) ** steps
    np.testing.assert_allclose(final(pde, u, dt=dt, steps=steps, grid_step=grid_step), factor * u, rtol=0, atol=1e-11)


def test_tv_total_variation_falls_and_constants_are_the_limit():
    pde, u = blade_tf.TVFlow(0.02), noise(1, 12, 12, 1)
    kept = blade_tf.solve(pde, u, dt=pde.stable_dt(1.0), steps=40, frames=60).numpy()
    variation = sum(np.abs(np.diff(kept, axis=axis)).sum((2, 3, 4)) for axis in (2, 3))[0]
    assert np.all(np.diff(variation) < 1e-12)
    np.testing.assert_allclose(kept[:, -1], u.mean(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("factor", [10, 100, 1000])
def test_tv_with_larger_steps_ripples_by_no_more_than_dt(factor):
    pde, u = blade_tf.TVFlow(), noise(1, 20, 21, 1)
    dt = factor * pde.stable_dt(1.0)
    kept = blade_tf.solve(pde, u, dt=dt, steps=1, frames=200).numpy()
    assert u.min() - dt <= kept.min()
    assert kept.max() <= u.max() + dt
    np.testing.assert_allclose(kept.mean((2, 3, 4)), u.mean(), rtol=1e-14)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf, np.float32(-1)])
def test_tv_refuses_an_epsilon_that_is_not_positive(epsilon):
    with pytest.raises(ValueError, match="epsilon: expected a positive number, got"):
        blade_tf.TVFlow(epsilon)
