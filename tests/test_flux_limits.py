"""Fluxes that are limited: mass and a range withstand any of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blade_tf
from blade_tf import flux


def limited(u, flux_x, flux_y, dt=1.0, low=0.0, high=1.0):
    u, flux_x, flux_y = (tf.constant(array, tf.float64) for array in (u, flux_x, flux_y))
    return [part.numpy() for part in flux.limit_fluxes(u, flux_x, flux_y, dt, low, high)]


def row(*values):
    return np.array(values, float).reshape(1, 1, -1, 1)


def test_room_and_supply_by_hand():
    """Face 0 lets pixel 0 gain from pixel 1; face 1 lets pixel 2 gain from pixel 1; nothing passes the border."""
    zero = np.zeros((1, 1, 3, 1))
    for gain, u, expected in (
        ((1.0, -1.0), (0.9, 1.0, 0.0), (0.1, -0.5)),  # no room for more than 0.1; half of what 1 loses is there
        ((0.1, -0.1), (0.5, 0.5, 0.5), (0.1, -0.1)),  # as it was
        ((0.4, -0.4), (0.0, 0.4, 0.0), (0.2, -0.2)),  # both share the supply
        ((-0.5, 0.5), (1.0, 0.8, 1.0), (-0.1, 0.1)),  # both share the room
        ((0.5, 0.0), (1.5, 0.5, 0.0), (0.0, 0.0)),  # nothing flows into what is above
    ):
        found, across = limited(row(*u), row(*gain, 7.0), zero + 7)
        np.testing.assert_allclose(found.ravel(), [*expected, 0], rtol=1e-12, atol=1e-25)
        assert not across.any()
        found, across = limited(
            row(*u).transpose(0, 2, 1, 3), zero.transpose(0, 2, 1, 3) + 7, row(*gain, 7.0).transpose(0, 2, 1, 3)
        )
        np.testing.assert_allclose(across.ravel(), [*expected, 0], rtol=1e-12, atol=1e-25)
        assert not found.any()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("part", [1.0, 0.2])
@pytest.mark.parametrize(("bottom", "top"), [(0.0, 1.0), (-0.5, 1.7)])
def test_no_flux_breaks_the_range_or_the_mass(scale, part, bottom, top):
    """Also from states outside: they come no farther out."""
    rng, dt = np.random.default_rng(0), 0.5
    u = rng.uniform(bottom, top, (2, 13, 17, 3))
    gx, gy = (scale * rng.standard_normal(u.shape) for _ in range(2))
    change = flux.divergence(*map(tf.constant, limited(u, gx, gy, dt))).numpy()
    v = u + part * dt * change
    assert np.abs(change).max() > 0
    assert np.all(v <= np.maximum(u, 1) + 1e-12)
    assert np.all(v >= np.minimum(u, 0) - 1e-12)
    np.testing.assert_allclose(v.sum((1, 2)), u.sum((1, 2)), rtol=1e-13)


def test_fluxes_that_break_no_limit_stay():
    rng = np.random.default_rng(1)
    u, gx, gy = rng.uniform(0.4, 0.6, (1, 9, 8, 1)), *(0.09 * rng.uniform(-1, 1, (2, 1, 9, 8, 1)))
    found_x, found_y = limited(u, gx, gy)
    np.testing.assert_array_equal(found_x[:, :, :-1], gx[:, :, :-1])
    np.testing.assert_array_equal(found_y[:, :-1], gy[:, :-1])


def unstable_rate(limits=(-0.1, 1.1), dt=0.5):
    select = blade_tf.Selection(orientations=4, strength_thresholds=[0.2], coherence_thresholds=[])
    layer = blade_tf.BladeFlux(select.num_bins, banks=2)
    layer.filters.assign(3 * np.random.default_rng(2).standard_normal(layer.filters.shape))
    return blade_tf.FluxRate(select, layer, ["identity", "double_well"], limits, None if limits is None else dt)


@pytest.mark.parametrize("part", [1.0, 0.3])
def test_three_hundred_steps_of_an_unstable_bank(part):
    u = np.random.default_rng(3).random((1, 24, 21, 2))
    free = blade_tf.EvolutionModel(unstable_rate(None), dt=0.5 * part, steps=300)(u).numpy()
    assert not np.isfinite(free).all() or np.abs(free).max() > 1e3
    found = blade_tf.EvolutionModel(unstable_rate(), dt=0.5 * part, steps=300)(u).numpy()
    assert found.min() >= -0.1 - 1e-12
    assert found.max() <= 1.1 + 1e-12
    np.testing.assert_allclose(found.mean((1, 2)), u.mean((1, 2)), rtol=0, atol=1e-13)


def test_gradients_take_the_factors_as_given():
    u, gx, gy = (tf.constant(row(*values)) for values in ((0.9, 0.5), (0.4, 0.0), (0.0, 0.0)))
    with tf.GradientTape() as tape:
        tape.watch([u, gx])
        value = tf.reduce_sum(flux.limit_fluxes(u, gx, gy, 1.0, 0.0, 1.0)[0])
    of_u, of_flux = tape.gradient(value, [u, gx])
    assert of_u is None
    np.testing.assert_allclose(of_flux.numpy().ravel(), [0.25, 0])


def test_limits_survive_the_config():
    rate = unstable_rate()
    copy = blade_tf.FluxRate.from_config(rate.get_config())
    assert (copy.limits, copy.dt) == ((-0.1, 1.1), 0.5)
    assert keras.saving.serialize_keras_object(copy)["config"] == keras.saving.serialize_keras_object(rate)["config"]
    assert blade_tf.FluxRate.from_config(unstable_rate(None).get_config()).limits is None


@pytest.mark.parametrize(
    ("limits", "dt", "message"),
    [
        ((1.0, 0.0), 1.0, r"limits: expected two ascending numbers, got \(1.0, 0.0\)"),
        ((0.0,), 1.0, "limits: expected two ascending numbers"),
        ((0.0, float("nan")), 1.0, "limits: expected two ascending numbers"),
        ((0.0, 1.0), None, "dt: expected a positive number with limits, and none without, got None"),
        ((0.0, 1.0), -1.0, "dt: expected a positive number"),
        (None, 1.0, "dt: expected a positive number with limits, and none without, got 1.0"),
    ],
)
def test_bad_limits_are_refused(limits, dt, message):
    select = blade_tf.Selection(orientations=4)
    with pytest.raises(ValueError, match=message):
        blade_tf.FluxRate(select, blade_tf.BladeFlux(select.num_bins), limits=limits, dt=dt)
