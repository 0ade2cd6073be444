import numpy as np
import pytest
import tensorflow as tf

import blade_tf
from blade_tf import native
from blade_tf.level_set_ops import level_set_sums

RNG = np.random.default_rng(0)
IMPLEMENTATIONS = pytest.mark.parametrize(
    "implementation",
    [pytest.param("native", marks=pytest.mark.skipif(native.library is None, reason="not built")), "stock"],
)
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def case(dtype, size=(2, 13, 21), channels=3):
    phi, before = (tf.constant(3 * RNG.standard_normal(size), dtype) for _ in range(2))
    return phi, before, tf.constant(RNG.standard_normal((size[0], channels, *size[1:])), dtype)


@IMPLEMENTATIONS
@DTYPES
def test_the_sums_are_those_of_numpy(implementation, dtype):
    arguments = case(dtype)
    phi, before, f = (argument.numpy().astype(np.float64) for argument in arguments)
    y, x = (np.gradient(np.pad(phi, [(0, 0), (1, 1), (1, 1)], mode="edge"), axis=axis) for axis in (1, 2))
    weight, inside = 0.5 + np.arctan(phi) / np.pi, phi > 0
    expected = [inside, weight, np.hypot(y, x)[:, 1:-1, 1:-1] / (np.pi * (1 + phi**2)), (phi - before) ** 2]
    expected += [inside[:, np.newaxis] * f, weight[:, np.newaxis] * f, weight[:, np.newaxis] * f**2]
    with blade_tf.implementation(implementation):
        found = level_set_sums(*arguments)
    for name, own, values in zip(found._fields, found, expected, strict=True):
        assert own.dtype == tf.float64
        np.testing.assert_allclose(own, values.sum((-2, -1)), atol=1e-6 * np.abs(values).sum(), err_msg=name)


@IMPLEMENTATIONS
def test_no_level_set_and_no_channel(implementation):
    with blade_tf.implementation(implementation):
        assert level_set_sums(*case("float32", (0, 4, 5))).weighted.shape == (0, 3)
        found = level_set_sums(*case("float32", channels=0))
    assert found.inside.shape == (2, 0)
    assert np.all(found.area.numpy() > 0)


@pytest.mark.skipif(not native.xla, reason="no library for XLA")
@DTYPES
def test_xla_gives_the_same(dtype):
    arguments = case(dtype)
    compiled = tf.function(level_set_sums, jit_compile=True)(*arguments)
    for found, expected in zip(compiled, level_set_sums(*arguments), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(native.library is None, reason="not built")
def test_shapes_that_do_not_match():
    phi, before, f = case("float32")
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=r"before: expected float32 \[N, H, W\] = "):
        level_set_sums(phi, before[:, :5], f)
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=r"phi: expected float32 \[N, H, W\] = "):
        level_set_sums(phi, phi, f[:, :, :, 1:])
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=r"image: expected float32 \[N, C, H, W\]"):
        level_set_sums(phi, before, f[0])
    with pytest.raises(ValueError, match="must be equal"):
        tf.function(level_set_sums).get_concrete_function(phi, before[:, :5], f)


@pytest.mark.skipif(native.library is None, reason="not built")
def test_the_native_gradient_is_that_of_the_stock_operations():
    arguments = case("float64", (2, 7, 9))
    gradients = []
    for implementation in ("native", "stock"):
        with blade_tf.implementation(implementation), tf.GradientTape() as tape:
            tape.watch(arguments)
            sums = level_set_sums(*arguments)
            total = tf.add_n([tf.reduce_sum(tf.sin(part)) for part in sums])
        gradients.append(tape.gradient(total, arguments))
    for own, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-7)


@IMPLEMENTATIONS
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("level", [0.0, 1e-25, 0.3, -1.0, 4.0])
def test_the_gradient_of_a_flat_level_set_that_is_its_own_predecessor(implementation, graph, level):
    _, _, f = case("float64", (1, 5, 6))

    def gradients(phi):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(phi)
            sums = level_set_sums(phi, phi, f)
        return [tape.gradient(part, phi) for part in (sums.area, sums.weighted, sums.length, sums.change)]

    with blade_tf.implementation(implementation):
        found = (tf.function(gradients) if graph else gradients)(tf.fill([1, 5, 6], tf.constant(level, tf.float64)))
    slope = 1 / (np.pi * (1 + level**2))
    for own, expected in zip(found, (slope, slope * np.sum(f, 1), 0, 0), strict=True):
        np.testing.assert_allclose(own, np.broadcast_to(expected, [1, 5, 6]), rtol=1e-5)


@IMPLEMENTATIONS
def test_not_a_number_stays_one(implementation):
    phi, before, f = case("float32", (1, 3, 4))
    with blade_tf.implementation(implementation):
        found = level_set_sums(phi + np.nan, before, f)
    assert np.isnan(found.area).all()
    assert np.isnan(found.length).all()
    assert np.isnan(found.weighted).all()
