import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

import blade_tf
from blade_tf import pdes
from pde_cases import final, noise, photograph

NAMES = pytest.mark.parametrize("name", sorted(pdes.PDES))
CONSERVING = [name for name in sorted(pdes.PDES) if pdes.PDES[name].conserves_mass]
BOUNDED = [name for name in sorted(pdes.PDES) if pdes.PDES[name].maximum_principle]


def length(pde, grid_step=1.0):
    """The largest stable step; one far beyond every explicit scheme's where any is stable."""
    return min(pde.stable_dt(grid_step), 100.0)


# Every equation of the registry.


@NAMES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("grid_step", [1.0, 0.25])
def test_images_stay_finite_and_their_dtype(name, dtype, grid_step):
    pde, u = pdes.build(name), noise(2, 17, 19, 3).astype(dtype)
    v = final(pde, u, dt=length(pde, grid_step), steps=50, grid_step=grid_step)
    assert (v.dtype, v.shape) == (u.dtype, u.shape)
    assert np.all(np.isfinite(v))
    assert np.abs(v - u).max() > 1e-3


@NAMES
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constants_are_preserved(name, value):
    pde = pdes.build(name)
    u = np.full((1, 6, 7, 2), value)
    np.testing.assert_allclose(final(pde, u, dt=length(pde), steps=20), u, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", CONSERVING)
def test_declared_conservation_of_mass(name):
    pde, u = pdes.build(name), noise(2, 31, 23, 3)
    v = final(pde, u, dt=length(pde), steps=300)
    np.testing.assert_allclose(v.sum((1, 2)), u.sum((1, 2)), rtol=1e-13)


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize(("dtype", "rounding"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_declared_maximum_principle_at_the_stable_step(name, dtype, rounding):
    pde = pdes.build(name)
    for grid_step in (1.0, 0.25):
        u = noise(1, 31, 23, 2).astype(dtype)
        kept = blade_tf.solve(pde, u, dt=length(pde, grid_step), steps=1, frames=40, grid_step=grid_step).numpy()
        lows, highs = kept.min((2, 3)), kept.max((2, 3))
        assert np.all(np.diff(lows, axis=1) >= -rounding)
        assert np.all(np.diff(highs, axis=1) <= rounding)


@pytest.mark.parametrize("name", sorted(set(pdes.PDES) - set(BOUNDED)))
def test_what_declares_no_maximum_principle_has_none(name):
    pde, u = pdes.build(name), (noise(1, 31, 23, 1) > 0.5).astype(float)
    v = final(pde, u, dt=min(pde.stable_dt(1.0), 0.1), steps=5)
    assert v.min() < -1e-3 or v.max() > 1 + 1e-3


@NAMES
@pytest.mark.parametrize("shape", [(0, 4, 5, 1), (1, 0, 5, 1), (1, 4, 0, 1), (1, 4, 5, 0), (1, 1, 1, 1)])
def test_empty_images_and_single_pixels(name, shape):
    pde, u = pdes.build(name), np.full(shape, 0.25, np.float32)
    np.testing.assert_array_equal(final(pde, u, dt=length(pde), steps=3), u)


@NAMES
def test_single_rows_and_columns_evolve_alike(name):
    pde, u = pdes.build(name), noise(1, 1, 20, 1)
    row = final(pde, u, dt=length(pde), steps=20)
    column = final(pde, u.swapaxes(1, 2), dt=length(pde), steps=20)
    np.testing.assert_allclose(column.swapaxes(1, 2), row, rtol=0, atol=1e-14)


@NAMES
def test_images_of_a_batch_evolve_alone(name):
    pde, u = pdes.build(name), noise(3, 9, 8, 1)
    together = final(pde, u, dt=length(pde), steps=10)
    for n in range(3):
        np.testing.assert_allclose(together[n : n + 1], final(pde, u[n : n + 1], dt=length(pde), steps=10), atol=1e-15)


@NAMES
def test_turned_and_mirrored_photographs_evolve_alike(name):
    """Exactly, but for schemes whose stencils lean to one side: as a share of what the flow changes, in the mean."""
    tolerance = {"tv_flow": 0.11, "tv_flow_aos": 0.11}.get(name, 1e-12)
    pde, u = pdes.build(name), photograph()
    steps = max(3, math.ceil(0.03 / pde.stable_dt(1.0)))

    def change(v):
        return final(pde, np.ascontiguousarray(v), dt=0.03 / steps, steps=steps) - v

    expected = change(u)
    for turns in range(4):
        for flip in (1, -1):
            moved = change(np.rot90(u, turns, (1, 2))[:, :, ::flip])
            back = np.rot90(moved[:, :, ::flip], -turns, (1, 2))
            assert np.linalg.norm(back - expected) <= tolerance * np.linalg.norm(expected)


@NAMES
def test_float32_follows_float64(name):
    pde, u = pdes.build(name), photograph()
    steps = max(3, math.ceil(0.02 / pde.stable_dt(1.0)))
    single = final(pde, u.astype(np.float32), dt=0.02 / steps, steps=steps)
    np.testing.assert_allclose(single, final(pde, u, dt=0.02 / steps, steps=steps), rtol=0, atol=2e-5)


# The solver.


def test_kept_frames_are_the_composition_of_steps():
    pde, u = blade_tf.TVFlow(0.01), noise(2, 9, 8, 1)
    kept = blade_tf.solve(pde, u, dt=0.002, steps=3, frames=4)
    assert kept.shape == (2, 5, 9, 8, 1)
    np.testing.assert_array_equal(kept[:, 0], u)
    v = tf.constant(u)
    for frame in range(1, 5):
        np.testing.assert_array_equal(kept[:, frame], final(pde, kept[:, frame - 1], dt=0.002, steps=3))
        for _ in range(3):
            v = pde.step(v, 0.002)
        np.testing.assert_allclose(kept[:, frame], v, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(kept[:, -1], final(pde, u, dt=0.002, steps=12))


def test_no_frames_and_no_steps():
    pde, u = blade_tf.TVFlow(), noise(1, 4, 5, 1)
    np.testing.assert_array_equal(blade_tf.solve(pde, u, dt=1e-4, steps=3, frames=0), u[:, np.newaxis])
    np.testing.assert_array_equal(blade_tf.solve(pde, u, dt=1e-4, steps=0, frames=2), np.stack([u] * 3, 1))


def test_observed_is_what_is_kept():
    pde, u = blade_tf.TVFlow(0.01), noise(1, 8, 8, 1)

    def observe(v):
        return tf.reduce_mean(v, axis=[1, 2])

    found = blade_tf.solve(pde, u, dt=1e-3, steps=2, frames=3, observe=observe)
    expected = blade_tf.solve(pde, u, dt=1e-3, steps=2, frames=3).numpy().mean((2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@NAMES
def test_solving_again_with_other_parameters(name):
    """Parameters, dt, steps and grid step are not frozen into the compiled solver."""
    u, defaults = noise(1, 6, 7, 1), dataclasses.asdict(pdes.build(name))
    for factor, share, steps, grid_step in (
        (1.0, 0.5, 2, 1.0),
        (0.7, 0.25, 3, 0.5),
        (0.7, 0.5, 1, 1.0),
        (1.0, 0.5, 2, 1.0),
    ):
        pde = pdes.build(name, **{key: value * factor for key, value in defaults.items()})
        dt, v = share * min(pde.stable_dt(grid_step), 1.0), tf.constant(u)
        for _ in range(steps):
            v = pde.step(v, dt, grid_step)
        found = final(pde, u, dt=dt, steps=steps, grid_step=grid_step)
        np.testing.assert_allclose(found, v, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"u": np.zeros((4, 5, 1))}, r"u: expected float32 or float64 \[N, H, W, C\], got float64 \[4, 5, 1\]"),
        ({"u": np.zeros((1, 4, 5, 1), np.uint8)}, r"u: expected float32 or float64 .*, got uint8 \[1, 4, 5, 1\]"),
        ({"u": np.zeros((1, 4, 5, 1), np.float16)}, r"u: expected float32 or float64 .*, got float16"),
        ({"dt": 0.0}, "dt: expected a positive number, got 0.0"),
        ({"dt": -1.0}, "dt: expected a positive number, got -1.0"),
        ({"dt": math.nan}, "dt: expected a positive number, got nan"),
        ({"grid_step": 0}, "grid_step: expected a positive number, got 0"),
        ({"grid_step": math.inf}, "grid_step: expected a positive number, got inf"),
        ({"steps": -1}, "steps: expected a non-negative integer, got -1"),
        ({"steps": 2.5}, "steps: expected a non-negative integer, got 2.5"),
        ({"frames": -1}, "frames: expected a non-negative integer, got -1"),
        ({"frames": 0.5}, "frames: expected a non-negative integer, got 0.5"),
    ],
)
def test_solver_names_the_wrong_argument(arguments, message):
    options = {"u": noise(1, 4, 5, 1), "dt": 0.1, "steps": 1} | arguments
    with pytest.raises(ValueError, match=message):
        blade_tf.solve(blade_tf.TVFlow(), options.pop("u"), **options)


def test_equations_by_name():
    assert pdes.build("tv_flow") == blade_tf.TVFlow()
    assert pdes.build("tv_flow", epsilon=0.5) == blade_tf.TVFlow(0.5)
    with pytest.raises(ValueError, match="pde: unknown name 'tv_flw', did you mean 'tv_flow'"):
        pdes.build("tv_flw")
    with pytest.raises(ValueError, match=r"pde: unknown name 'zebra', expected one of \['.*tv_flow"):
        pdes.build("zebra")
    with pytest.raises(ValueError, match="pde tv_flow: unknown parameter 'epsilom', did you mean 'epsilon'"):
        pdes.build("tv_flow", epsilom=1.0)
    with pytest.raises(ValueError, match=r"pde tv_flow: unknown parameter 'zebra', expected one of \['epsilon'\]"):
        pdes.build("tv_flow", zebra=1.0)


@NAMES
def test_equations_are_frozen_records_of_numbers(name):
    pde = pdes.build(name)
    fields = dataclasses.asdict(pde)
    assert pdes.build(name, **fields) == pde
    assert all(isinstance(value, int | float) for value in fields.values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(pde, next(iter(fields)), 1.0)
