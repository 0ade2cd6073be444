"""A step by fluxes in one operation against the composition of the others."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import blade_tf
from blade_tf import flux_ops, integrate, native

pytestmark = pytest.mark.skipif(native.library is None, reason="blade_tf was installed without its native library")

FORMS = pytest.mark.parametrize(
    ("tied", "antisymmetric", "banks"), list(itertools.product([True, False], [True, False], [1, 2]))
)


def random_rate(banks=2, tied=True, antisymmetric=True, soft=True, limits=(-0.1, 1.1), dtype="float32", **options):
    feature = {"soft": "intensity", "centers": [0.2, 0.5, 0.7]} if soft else {"intensity_thresholds": [0.3, 0.6]}
    selection = blade_tf.Selection(orientations=6, strength_thresholds=[0.2], rho=0.5, **feature)
    layer = blade_tf.BladeFlux(selection.num_bins, (5, 6), banks, tied, antisymmetric, dtype=dtype, **options)
    rng = np.random.default_rng(0)
    for weight in layer.trainable_weights:
        weight.assign(0.2 * rng.standard_normal(weight.shape))
    functions = ["identity", "double_well"][:banks]
    return blade_tf.FluxRate(selection, layer, functions, limits, None if limits is None else 0.5)


def image(*shape, dtype="float32", seed=1):
    return tf.constant(np.random.default_rng(seed).random(shape).astype(dtype))


def operations(step, u):
    """The types of the operations of a step, those of the functions that it calls too."""
    definition = tf.function(step).get_concrete_function(tf.TensorSpec(u.shape, u.dtype)).graph.as_graph_def()
    return {node.op for node in definition.node}


@FORMS
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("limits", [None, (-0.1, 1.1), (0.3, 0.6)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_step_is_the_composition(tied, antisymmetric, banks, soft, limits, dtype):
    rate = random_rate(banks, tied, antisymmetric, soft, limits, dtype)
    for shape in ((2, 9, 37, 1), (1, 3, 300, 1), (1, 1, 1, 1), (2, 1, 6, 1), (1, 7, 1, 1), (0, 4, 4, 1)):
        u = image(*shape, dtype=dtype)
        expected, found = integrate.euler(rate, 0.5)(u), rate.euler(0.5)(u)
        assert found.dtype == u.dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("form", [{}, {"tied": False, "antisymmetric": False, "soft": False}, {"limits": None}])
def test_gradients_are_those_of_the_composition(form):
    rate, u, g = random_rate(dtype="float64", **form), image(1, 9, 11, 1, dtype="float64"), image(1, 9, 11, 1, seed=2)
    found = []
    for step in (integrate.euler, lambda rate, dt: rate.euler(dt)):
        dt = tf.constant(0.5, tf.float64)
        with tf.GradientTape() as tape:
            tape.watch([u, dt])
            value = tf.reduce_sum(tf.cast(g, tf.float64) * step(rate, dt)(u))
        found.append(tape.gradient(value, [u, dt, *rate.trainable_variables]))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13)


def test_gradients_of_a_loop_are_those_of_its_steps():
    """In the gradient of a loop tensors come from stacks."""
    rate, g = random_rate(dtype="float64"), image(1, 9, 11, 1, dtype="float64", seed=2)
    step = rate.euler(tf.constant(0.5, tf.float64))

    def gradients(advance):
        u = image(1, 9, 11, 1, dtype="float64")
        with tf.GradientTape() as tape:
            tape.watch(u)
            value = tf.reduce_sum(g * advance(u))
        return tape.gradient(value, [u, *rate.trainable_variables])

    expected = gradients(lambda u: integrate.trajectory(step, u, 3)[-1])
    found = tf.function(gradients)(lambda u: integrate.evolve(step, u, 3))
    for a, b in zip(expected, found, strict=True):
        assert np.abs(a).max() > 1e-3
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13)


def test_weights_of_unknown_form_are_refused():
    rate = random_rate()
    arguments = {"functions": rate.functions, "dt": 0.5, "limits": None, "selection": rate.selection.parameters}

    @tf.function(input_signature=[tf.TensorSpec([None] * 4)])
    def step(weight):
        return flux_ops.blade_flux_step(image(1, 4, 5, 1), [weight, weight], **arguments)

    with pytest.raises(ValueError, match=r"weights: expected a known number of columns of hx, got \(None, .*\)"):
        step.get_concrete_function()


def test_mass_and_range_withstand_three_hundred_steps():
    rate = random_rate()
    for weight in rate.trainable_variables:
        weight.assign(20 * weight)
    u = image(1, 24, 21, 1)
    found = blade_tf.EvolutionModel(rate, dt=0.5, steps=300)(u).numpy()
    assert np.abs(found - u).max() > 0.1
    assert found.min() >= -0.1 - 1e-6
    assert found.max() <= 1.1 + 1e-6
    assert abs(found.mean(dtype=np.float64) - u.numpy().mean(dtype=np.float64)) <= 1e-6


def test_a_model_evolves_by_it():
    model = blade_tf.load_pretrained("cahn_hilliard")
    u = image(1, 40, 50, 1)
    assert "BladeFluxStep" in operations(model.step, u)
    expected = u
    for _ in range(3):
        expected = integrate.euler(model.rate, model.dt)(expected)
    np.testing.assert_allclose(model.evolve(u, 3), expected, atol=1e-5)


class Doubled(blade_tf.FluxRate):
    def call(self, u):
        return 2 * super().call(u)


def test_what_it_does_not_know_is_composed():
    u, rate = image(1, 9, 8, 1), random_rate()
    assert "BladeFluxStep" in operations(rate.euler(0.5), u)
    doubled = Doubled(rate.selection, rate.flux, rate.functions)
    selection = blade_tf.Selection(orientations=4)
    wide = blade_tf.FluxRate(selection, blade_tf.BladeFlux(4, (3, 4)))
    for other, v in ((doubled, u), (wide, u), (rate, image(1, 9, 8, 3)), (rate, tf.cast(u, tf.float16))):
        assert "BladeFluxStep" not in operations(other.euler(0.5), v)
    with blade_tf.implementation("stock"):
        assert "BladeFluxStep" not in operations(rate.euler(0.5), u)
    np.testing.assert_array_equal(doubled.euler(0.5)(u), u + 0.5 * doubled(u))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": (1, 9, 8, 3)}, "image: expected one channel, got 3"),
        ({"x": (35, 2, 5, 3)}, r"filters_x: expected \[K, 2, 5, 3 or 6\], K at least 36, .* got \[35,2,5,3\]"),
        ({"x": (36, 1, 5, 3)}, r"filters_x: expected \[K, 2, 5, 3 or 6\]"),
        ({"x": (36, 2, 5, 4)}, r"filters_x: expected \[K, 2, 5, 3 or 6\]"),
        ({"y": (36, 2, 3, 3)}, r"filters_y: expected \[K, 2, 5, 3 or 6\]"),
        ({"y": (36, 2, 5, 6)}, r"filters_y: expected float32 .* = \[36, 2, 5, 3\], got float32 \[36, 2, 5, 6\]"),
        ({"functions": ["identity"] * 3}, "functions: expected at most 2, got 3"),
        ({"limits": (0.0, 1.0)}, r"limits: expected \[0\] or \[3\], got \[2\]"),
        ({"dt": [1.0]}, r"dt: expected float32 scalar, got float32 \[1\]"),
    ],
)
def test_bad_arguments_are_named(change, message):
    weights = [tf.zeros(change.get(name, (36, 2, 5, 3))) for name in ("x", "y")]
    functions, limits = change.get("functions", ["identity", "double_well"]), change.get("limits")
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        flux_ops.blade_flux_step(
            image(*change.get("image", (1, 9, 8, 1))),
            weights,
            functions,
            change.get("dt", 0.5),
            limits,
            random_rate().selection.parameters,
        )
