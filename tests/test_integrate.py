import math

import numpy as np
import pytest
import tensorflow as tf

import blade_tf
from blade_tf import integrate


def state(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2)])
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_growth_factors_of_a_linear_rate(method, order, steps):
    """u' = l u is multiplied at each step by the exponential series up to the order."""
    u, dt, rate = state(2, 3, 4, 1), 0.1, -1.7
    step = integrate.INTEGRATORS[method](lambda v: rate * v, dt)
    factor = sum((dt * rate) ** k / math.factorial(k) for k in range(order + 1))
    np.testing.assert_allclose(integrate.evolve(step, u, steps), u * factor**steps, rtol=1e-13)
    states = integrate.trajectory(step, u, steps)
    assert len(states) == steps
    for k, v in enumerate(states, 1):
        np.testing.assert_allclose(v, u * factor**k, rtol=1e-13)


def test_one_step_by_hand():
    u, dt = tf.constant(2.0, tf.float64), 0.5
    rate = tf.square
    assert integrate.euler(rate, dt)(u).numpy() == 2 + 0.5 * 4
    assert integrate.midpoint(rate, dt)(u).numpy() == 2 + 0.5 * (2 + 0.25 * 4) ** 2


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2)])
def test_order_of_convergence(method, order):
    """u' = -u^2 has the solution u / (1 + t u)."""
    u = tf.abs(state(1, 5, 5, 1)) + 0.5
    errors = []
    for steps in (40, 80, 160):
        step = integrate.INTEGRATORS[method](lambda v: -v * v, 1 / steps)
        errors.append(np.abs(integrate.evolve(step, u, steps) - u / (1 + u)).max())
    rates = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(rates, order, atol=0.06)


@pytest.mark.parametrize("method", ["euler", "midpoint"])
@pytest.mark.parametrize("dt", [tf.constant(0.25), tf.constant(0.25, tf.float64), np.float64(0.25), 0.25])
def test_dt_may_be_any_number(method, dt):
    u = state(1, 2, 2, 1)
    expected = u * (0.75 if method == "euler" else 0.75 + 0.25**2 / 2)
    found = integrate.INTEGRATORS[method](tf.negative, dt)(u)
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    single = integrate.INTEGRATORS[method](tf.negative, dt)(tf.cast(u, tf.float32))
    assert single.dtype == tf.float32


def test_rates_add():
    u = state(1, 3, 3, 1)
    np.testing.assert_array_equal(blade_tf.sum_rates(tf.negative)(u), -u)
    np.testing.assert_array_equal(blade_tf.sum_rates(tf.negative, tf.square, tf.sin)(u), -u + u * u + tf.sin(u))
    with pytest.raises(ValueError, match="rates: expected at least one, got none"):
        blade_tf.sum_rates()


@pytest.mark.parametrize("steps", [3, np.int64(3), tf.constant(3), tf.constant(3, tf.int64)])
def test_steps_may_be_any_integer(steps):
    np.testing.assert_array_equal(
        blade_tf.evolve(lambda v: v + 1, tf.zeros([1, 2, 2, 1]), steps), tf.fill([1, 2, 2, 1], 3.0)
    )
    np.testing.assert_array_equal(blade_tf.evolve(lambda v: v + 1, np.zeros([1, 2]), steps), np.full([1, 2], 3.0))


@pytest.mark.parametrize("steps", [2.5, tf.constant(3.0)])
def test_steps_must_be_an_integer(steps):
    with pytest.raises(TypeError, match="steps: expected an integer, got float32"):
        blade_tf.evolve(lambda v: v, tf.zeros([1, 2, 2, 1]), steps)


@pytest.mark.parametrize("spec", [[1, 3, 4, 1], [None] * 4, None])
def test_graphs_and_their_gradients(spec):
    """d/du of n Euler steps of u' = -u^2 / 2 is the product of the factors 1 - dt u_k."""

    @tf.function(input_signature=[tf.TensorSpec(spec, tf.float64), tf.TensorSpec([], tf.int32)])
    def graph(u, steps):
        step = integrate.euler(lambda v: -v * v / 2, 0.1)
        with tf.GradientTape() as tape:
            tape.watch(u)
            v = integrate.evolve(step, u, steps)
        assert v.shape == u.shape
        return v, tape.gradient(v, u)

    u = state(1, 3, 4, 1)
    expected, factor = u.numpy(), 1.0
    for _ in range(5):
        factor = factor * (1 - 0.1 * expected)
        expected = expected - 0.1 * expected**2 / 2
    final, gradient = graph(u, 5)
    np.testing.assert_allclose(final, expected, rtol=1e-13)
    np.testing.assert_allclose(gradient, factor, rtol=1e-12)
    np.testing.assert_array_equal(graph(u, 0)[0], u)


def test_a_step_that_changes_the_shape_is_refused():
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"\[1, ?1, ?2, ?1\]"):
        blade_tf.evolve(lambda v: v[:, :1], tf.zeros([1, 2, 2, 1]), 2)
