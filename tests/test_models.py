import dataclasses
import json
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import blade_tf
from blade_tf import integrate, models

SELECTION = {"strength_thresholds": [0.1, 0.4], "coherence_thresholds": [0.3], "orientations": 8, "rho": 1.0}
LAPLACIAN = np.float64([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[np.newaxis]


def image_of(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def rate_of(filters=None, dtype=None, seed=0, **selection):
    """A BLADE rate with small random filters."""
    choose = blade_tf.Selection(**SELECTION | selection, dtype=dtype)
    blade = blade_tf.Blade(choose.num_bins, (3, 3) if filters is None else filters.shape[1:], dtype=dtype)
    random = np.random.default_rng(seed).standard_normal(blade.filters.shape) / 10
    blade.filters.assign(random if filters is None else filters)
    return blade_tf.BladeRate(choose, blade, dtype=dtype)


def laplacian(**options):
    """The five-point Laplacian as a BLADE rate of one filter."""
    return rate_of(LAPLACIAN, "float64", orientations=1, strength_thresholds=[], coherence_thresholds=[])


def mode(height, width, ky, kx):
    """An eigenfunction of the Laplacian with replicated borders, and its eigenvalue."""
    y, x = (np.arange(n) + 0.5 for n in (height, width))
    u = np.outer(np.cos(np.pi * ky * y / height), np.cos(np.pi * kx * x / width))
    return u[np.newaxis, ..., np.newaxis], 2 * np.cos(np.pi * ky / height) + 2 * np.cos(np.pi * kx / width) - 4


@keras.saving.register_keras_serializable("tests")
def decay(u):
    return -0.5 * u


@keras.saving.register_keras_serializable("tests")
class Attraction(keras.layers.Layer):
    """A data term with a parameter: strength (mean - u)."""

    def __init__(self, strength, **kwargs):
        super().__init__(**kwargs)
        self.strength = strength

    def call(self, u):
        return self.strength * (tf.reduce_mean(u, axis=[1, 2], keepdims=True) - u)

    def get_config(self):
        return super().get_config() | {"strength": self.strength}


def test_rate_is_selection_then_filter():
    rate, u = rate_of(), image_of(2, 9, 11, 1)
    expected = blade_tf.blade_filter(u, rate.blade.filters.value, blade_tf.blade_select(u, **SELECTION))
    np.testing.assert_array_equal(rate(u), expected)
    assert [w.path for w in rate.trainable_weights] == [rate.blade.filters.path]


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2)])
@pytest.mark.parametrize("steps", [0, 1, 8])
def test_eigenfunctions_grow_by_exact_factors(method, order, steps):
    (u, eigenvalue), dt = mode(12, 9, 2, 3), 0.15
    model = blade_tf.EvolutionModel(laplacian(), dt, steps, method, dtype="float64")
    factor = 1 + dt * eigenvalue + (dt * eigenvalue) ** 2 / 2 * (order == 2)
    np.testing.assert_allclose(model(u), u * factor**steps, rtol=0, atol=1e-14)
    np.testing.assert_allclose(model.step(u), u * factor, rtol=0, atol=1e-14)
    np.testing.assert_allclose(model.rate(u), u * eigenvalue, rtol=0, atol=1e-13)
    trajectory = blade_tf.EvolutionModel(laplacian(), dt, steps or 3, method, "trajectory", dtype="float64")(u)
    assert trajectory.shape == (1, steps or 3, 12, 9, 1)
    for k in range(steps or 3):
        np.testing.assert_allclose(trajectory[:, k], u * factor ** (k + 1), rtol=0, atol=1e-14)


def test_final_and_trajectory_agree():
    rate, u = rate_of(), image_of(2, 9, 11, 3)
    for method in ("euler", "midpoint"):
        final = blade_tf.EvolutionModel(rate, 0.1, 4, method)
        states = blade_tf.EvolutionModel(rate, 0.1, 4, method, "trajectory")(u)
        for k in range(4):
            np.testing.assert_array_equal(states[:, k], final.evolve(u, k + 1))
        np.testing.assert_array_equal(states[:, -1], final(u))


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2)])
def test_smaller_steps_converge_at_the_method_s_order(method, order):
    """Towards exp(t L) u for the Laplacian L, at t = 1."""
    (a, la), (b, lb) = mode(12, 9, 1, 2), mode(12, 9, 2, 0)
    model = blade_tf.EvolutionModel(laplacian(), 1.0, 1, method, dtype="float64")
    errors = []
    for steps in (20, 40, 80):
        found = model.evolve(a + b, steps, 1 / steps)
        errors.append(np.abs(found - np.exp(la) * a - np.exp(lb) * b).max())
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), order, atol=0.05)


def test_further_rates_add():
    u, rate = image_of(1, 9, 11, 1), rate_of()
    alone = blade_tf.EvolutionModel(rate, 0.1, 3)
    together = blade_tf.EvolutionModel([rate, decay, Attraction(0.3)], 0.1, 3)
    np.testing.assert_array_equal(alone.evolve(u, extra=[decay, Attraction(0.3)]), together(u))
    np.testing.assert_allclose(together.rate(u), alone.rate(u) + decay(u) + Attraction(0.3)(u), rtol=0, atol=1e-7)
    assert np.abs(together(u) - alone(u)).max() > 0.01
    only = blade_tf.EvolutionModel(decay, 0.1, 3)
    np.testing.assert_allclose(only(u), u * 0.95**3, rtol=1e-6)


def test_steps_and_dt_may_be_given_as_tensors():
    model, u = blade_tf.EvolutionModel(rate_of(), 0.1, 2, "midpoint"), image_of(1, 9, 11, 1)
    expected = blade_tf.EvolutionModel(rate_of(), 0.05, 3, "midpoint")(u)
    signature = [tf.TensorSpec([None] * 4), tf.TensorSpec([], tf.int32), tf.TensorSpec([])]
    graph = tf.function(lambda v, steps, dt: model.evolve(v, steps, dt), input_signature=signature)
    for found in (
        model.evolve(u, 3, 0.05),
        model.evolve(u, tf.constant(3, tf.int64), tf.constant(0.05)),
        graph(u, 3, 0.05),
    ):
        np.testing.assert_array_equal(found, expected)
    assert graph(u[:, :0], 3, 0.05).shape == (1, 0, 11, 1)


def test_gradients_through_the_loop_are_those_of_the_unrolled_steps():
    rate, u = rate_of(), tf.constant(image_of(1, 9, 11, 1))
    target = image_of(1, 9, 11, 1, seed=1)
    final = blade_tf.EvolutionModel(rate, 0.1, 4)
    unrolled = blade_tf.EvolutionModel(rate, 0.1, 4, output="trajectory")

    def gradients(predict):
        with tf.GradientTape() as tape:
            tape.watch(u)
            loss = tf.reduce_sum(predict(u) * target)
        return tape.gradient(loss, [u, rate.blade.filters.value])

    expected = gradients(lambda v: unrolled(v)[:, -1])
    for found in (gradients(final), tf.function(lambda: gradients(final))()):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())


def test_gradients_of_many_steps_agree_with_differences():
    rate, u = (
        rate_of(LAPLACIAN / 4, "float64", orientations=1, strength_thresholds=[], coherence_thresholds=[]),
        mode(6, 5, 1, 2)[0],
    )
    model = blade_tf.EvolutionModel(rate, 0.3, 5, "midpoint", dtype="float64")
    filters = rate.blade.filters
    with tf.GradientTape() as tape:
        loss = tf.nn.l2_loss(model(u) - 1)
    (gradient,) = tape.gradient(loss, model.trainable_variables)
    start, numeric = filters.numpy(), np.zeros(filters.shape)
    for index in np.ndindex(*filters.shape):
        values = []
        for sign in (1, -1):
            step = np.zeros(filters.shape)
            step[index] = sign * 1e-5
            filters.assign(start + step)
            values.append(tf.nn.l2_loss(model(u) - 1).numpy())
        numeric[index] = (values[0] - values[1]) / 2e-5
    np.testing.assert_allclose(gradient, numeric, rtol=1e-8, atol=1e-8 * np.abs(numeric).max())


def test_fit_reduces_the_loss_of_a_trajectory():
    u, truth = image_of(8, 16, 16, 1), rate_of()
    target = blade_tf.EvolutionModel(truth, 0.2, 3, output="trajectory")(u)
    away = np.random.default_rng(5).standard_normal(truth.blade.filters.shape) / 20
    model = blade_tf.EvolutionModel(rate_of(truth.blade.filters + away), 0.2, 3, output="trajectory")
    model.compile(keras.optimizers.Adam(5e-3), "mse")
    history = model.fit(u, target, epochs=50, verbose=0).history["loss"]
    assert history[-1] < history[0] / 20


@pytest.mark.parametrize(("policy", "roundoff"), [("mixed_float16", 2.0**-11), ("mixed_bfloat16", 2.0**-8)])
def test_mixed_precision_filters_in_half_and_keeps_the_state(policy, roundoff):
    """The selection sees the float32 state: it must not flip bins by rounding the image."""
    u = (0.5 + image_of(2, 20, 20, 1) / 100).astype(np.float32)
    thresholds = {"strength_thresholds": [0.001, 0.004]}
    exact = blade_tf.EvolutionModel(rate_of(**thresholds), 0.05, 5)
    model = blade_tf.EvolutionModel(rate_of(dtype=policy, **thresholds), 0.05, 5, dtype=policy)
    rate = model.rates[0]
    np.testing.assert_array_equal(rate.selection(u), exact.rates[0].selection(u))
    assert rate.blade(u, rate.selection(u)).dtype == rate.compute_dtype != "float32"
    for found in (model(u), model.evolve(u), model.step(u)):
        assert found.dtype == tf.float32
    first = np.abs(exact.rate(u)).max()
    bound = 4 * roundoff * first  # the image, the filters and the sum are rounded once each
    np.testing.assert_allclose(model.rate(u), exact.rate(u), rtol=0, atol=bound)
    np.testing.assert_allclose(model.step(u), exact.step(u), rtol=0, atol=0.05 * bound)
    inputs = keras.Input((None, None, 1))
    assert model(inputs).dtype == "float32"


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_fit_of_one_step_is_a_convex_problem(policy):
    u = image_of(8, 16, 16, 1)
    target = blade_tf.EvolutionModel(rate_of(), 0.5, 1)(u)
    model = blade_tf.EvolutionModel(rate_of(seed=1, dtype=policy), 0.5, 1, dtype=policy)
    model.compile(keras.optimizers.Adam(2e-2), "mse")
    history = model.fit(u, target, epochs=60, verbose=0).history["loss"]
    assert history[-1] < history[0] / 100


def test_stock_operations_train_under_xla():
    """XLA differentiates a loop only if it knows the number of its turns beforehand."""
    u = image_of(2, 12, 12, 1)
    target = blade_tf.EvolutionModel(rate_of(), 0.2, 3)(u)
    found = []
    with blade_tf.implementation("stock"):
        for jit in (False, True):
            model = blade_tf.EvolutionModel(rate_of(seed=1), 0.2, 3)
            model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit)
            assert model.jit_compile == jit
            model.fit(u, target, epochs=2, verbose=0, shuffle=False)
            found.append(model.rates[0].blade.filters.numpy())
    assert np.abs(found[0] - rate_of(seed=1).blade.filters).max() > 1e-4
    np.testing.assert_allclose(*found, rtol=0, atol=1e-6)


def test_float64_states_stay_float64():
    u = image_of(1, 6, 7, 1).astype(np.float64)
    model = blade_tf.EvolutionModel(rate_of(dtype="float64"), 0.1, 2, dtype="float64")
    assert model(u).dtype == tf.float64
    assert model.evolve(u).dtype == tf.float64


def test_models_nest_in_functional_models():
    inputs = keras.Input((None, None, 1))
    final = blade_tf.EvolutionModel(rate_of(), 0.1, 3)
    states = blade_tf.EvolutionModel(rate_of(), 0.1, 3, output="trajectory")
    assert final(inputs).shape == (None, None, None, 1)
    assert states(inputs).shape == (None, 3, None, None, 1)
    assert rate_of()(inputs).shape == (None, None, None, 1)
    u = image_of(2, 9, 11, 1)
    model = keras.Model(inputs, [final(inputs), states(inputs)])
    for found, expected in zip(model(u), (final(u), states(u)), strict=True):
        np.testing.assert_array_equal(found, expected)


RELOAD = """
import sys
import keras, numpy as np, tensorflow as tf
import blade_tf

@keras.saving.register_keras_serializable("tests")
def decay(u):
    return -0.5 * u

@keras.saving.register_keras_serializable("tests")
class Attraction(keras.layers.Layer):
    def __init__(self, strength, **kwargs):
        super().__init__(**kwargs)
        self.strength = strength
    def call(self, u):
        return self.strength * (tf.reduce_mean(u, axis=[1, 2], keepdims=True) - u)
    def get_config(self):
        return super().get_config() | {"strength": self.strength}

folder = sys.argv[1]
u = np.load(folder + "/u.npy")
evolution = blade_tf.load(folder + "/evolution.keras")
layers = keras.models.load_model(folder + "/layers.keras")
mixed = keras.models.load_model(folder + "/mixed.keras")
evolved = evolution.evolve(u, 2, 0.01)
np.savez(folder + "/found.npz", evolution=evolution(u), evolved=evolved, layers=layers(u), mixed=mixed(u))
layers.compile("sgd", "mse")
layers.fit(u, u, verbose=0)
"""


def test_keras_files_load_in_a_fresh_process(tmp_path):
    u = image_of(2, 9, 11, 3)
    evolution = blade_tf.EvolutionModel([rate_of(luma=False), decay, Attraction(0.3)], 0.1, 3, "midpoint", "trajectory")
    inputs = keras.Input((None, None, 3))
    rate = rate_of(seed=1)
    layers = keras.Model(inputs, rate.blade(inputs, rate.selection(inputs)))
    mixed = blade_tf.EvolutionModel(rate_of(dtype="mixed_bfloat16", seed=2), 0.1, 3, dtype="mixed_bfloat16")
    for name, model in (("evolution", evolution), ("layers", layers), ("mixed", mixed)):
        model.save(tmp_path / f"{name}.keras")
    np.save(tmp_path / "u.npy", u)
    run = subprocess.run([sys.executable, "-c", RELOAD, str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_array_equal(found["evolution"], evolution(u))
        np.testing.assert_array_equal(found["evolved"], evolution.evolve(u, 2, 0.01))
        np.testing.assert_array_equal(found["layers"], layers(u))
        np.testing.assert_array_equal(found["mixed"], mixed(u))


def test_a_compiled_model_saves_and_resumes(tmp_path):
    u = image_of(2, 9, 11, 1)
    model = blade_tf.EvolutionModel(rate_of(), 0.1, 3)
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    model.fit(u, u[::-1], epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, copy):
        each.fit(u, u[::-1], epochs=1, verbose=0, shuffle=False)
    np.testing.assert_array_equal(copy.rates[0].blade.filters, model.rates[0].blade.filters)


def test_config_round_trip_leaves_the_config_alone():
    model = blade_tf.EvolutionModel([rate_of(), decay], 0.1, 3, "midpoint", "trajectory", name="mine")
    config = model.get_config()
    copies = [blade_tf.EvolutionModel.from_config(config) for _ in range(2)]
    assert copies[1].get_config() == copies[0].get_config() == model.get_config()
    assert (copies[0].name, copies[0].dt, copies[0].steps, copies[0].method) == ("mine", 0.1, 3, "midpoint")
    rate = rate_of()
    assert [blade_tf.BladeRate.from_config(rate.get_config()).blade.num_filters for _ in range(2)] == [48, 48]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": []}, "rates: expected at least one, got none"),
        ({"dt": 0.0}, "dt: expected a positive number, got 0.0"),
        ({"dt": -0.1}, "dt: expected a positive number, got -0.1"),
        ({"dt": float("nan")}, "dt: expected a positive number, got nan"),
        ({"dt": float("inf")}, "dt: expected a positive number, got inf"),
        ({"dt": "fast"}, "dt: expected a positive number, got 'fast'"),
        ({"steps": -1}, "steps: expected a non-negative integer, got -1"),
        ({"steps": 2.5}, "steps: expected a non-negative integer, got 2.5"),
        ({"steps": float("inf")}, "steps: expected a non-negative integer, got inf"),
        ({"method": "rk4"}, r"method: expected one of \['euler', 'midpoint'\], got 'rk4'"),
        ({"output": "all"}, "output: expected 'final' or 'trajectory', got 'all'"),
    ],
)
def test_arguments_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        blade_tf.EvolutionModel(**{"rates": decay, "dt": 0.1} | options)
    if "dt" in options or "steps" in options:
        model = blade_tf.EvolutionModel(decay, 0.1)
        with pytest.raises(ValueError, match=message):
            model.evolve(image_of(1, 2, 2, 1), **options)


def stable_rates():
    choose = blade_tf.Selection(**SELECTION)
    face = choose.at("face_x")
    return {
        "convex": blade_tf.BladeRate(choose, blade_tf.ConvexBlade(choose.num_bins, 0.25, (3, 3))),
        "pairs": blade_tf.PairsRate(face, choose, blade_tf.BladePairs(face.num_bins, choose.num_bins, 0.25)),
    }


@pytest.mark.parametrize("kind", ["convex", "pairs"])
def test_gradients_of_a_loop_of_steps_are_those_of_the_steps(kind):
    rate, g = stable_rates()[kind], image_of(1, 9, 11, 1, seed=1)

    def gradients(advance):
        u = tf.constant(image_of(1, 9, 11, 1))
        with tf.GradientTape() as tape:
            tape.watch(u)
            value = tf.reduce_sum(g * advance(rate.euler(0.25), u))
        return tape.gradient(value, [u, *rate.trainable_variables])

    expected = gradients(lambda step, u: integrate.trajectory(step, u, 3)[-1])
    found = tf.function(gradients)(lambda step, u: integrate.evolve(step, u, 3))
    for a, b in zip(expected, found, strict=True):
        assert np.abs(a).max() > 1e-4
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(a).max())


@pytest.mark.parametrize("kind", ["convex", "pairs"])
def test_steps_beyond_the_proof_are_refused(kind):
    rate, u, message = (
        stable_rates()[kind],
        image_of(1, 9, 11, 1),
        "dt: expected at most 0.25, where .* proof ends, got",
    )
    with pytest.raises(ValueError, match=f"{message} 0.26"):
        blade_tf.EvolutionModel(rate, 0.26)
    model = blade_tf.EvolutionModel(rate, 0.25, 2)
    assert model.stable_dt == 0.25
    graph = tf.function(
        lambda v, dt: model.evolve(v, 2, dt), input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([])]
    )
    for inside in (0.25, 0.1):
        np.testing.assert_array_equal(graph(u, inside), model.evolve(u, 2, inside))
        np.testing.assert_array_equal(model.step(model.step(u, inside), inside), model.evolve(u, 2, inside))
    for call in (lambda: model.evolve(u, 2, 0.26), lambda: model.step(u, 0.26)):
        with pytest.raises(ValueError, match=f"{message} 0.26"):
            call()
    for call in (lambda: graph(u, 0.26), lambda: model.evolve(u, 2, tf.constant(0.26))):
        with pytest.raises(tf.errors.InvalidArgumentError, match="dt: expected at most"):
            call()
    # A sum of rates has no proof, nor has a midpoint step: their bound is nobody's claim.
    for other in (
        blade_tf.EvolutionModel([rate, decay], 0.26, 2),
        blade_tf.EvolutionModel(rate, 0.26, 2, "midpoint"),
    ):
        assert other.stable_dt is None
        other(u)
    assert model.evolve(u, 2, 0.26, [decay]).shape == u.shape


def test_a_bank_too_small_for_its_selection_is_refused():
    with pytest.raises(ValueError, match="blade: expected at least 48 filters, got 47"):
        blade_tf.BladeRate(blade_tf.Selection(**SELECTION), blade_tf.Blade(47))


# Trained models as folders.

SPEC = {"form": "plain", "footprint": [3, 5], "method": "euler", "dt": 0.1, "steps": 3, "selection": SELECTION}


def trained(name="tv_flow_paper"):
    rng = np.random.default_rng(0)
    weights = {
        "trained/filters": rng.standard_normal((48, 3, 5)).astype(np.float32) / 20,
        "least_squares/filters": rng.standard_normal((48, 3, 5)).astype(np.float32) / 20,
        "single_filter/filters": rng.standard_normal((1, 5, 5)).astype(np.float32) / 20,
    }
    return models.Trained(name, SPEC, {"seed": 3}, {"coarse_tuned": {"steps": 25}}, weights)


@pytest.fixture
def pretrained(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "PRETRAINED", tmp_path / "pretrained")
    trained().save(tmp_path / "pretrained" / "tv_flow_paper")
    return tmp_path / "pretrained" / "tv_flow_paper"


def test_trained_round_trip(tmp_path):
    original = trained()
    original.save(tmp_path / "a" / "model")
    copy = models.load_trained(tmp_path / "a" / "model")
    assert (copy.name, copy.spec, copy.config, copy.baselines) == (
        "tv_flow_paper",
        SPEC,
        {"seed": 3},
        original.baselines,
    )
    assert copy.weights.keys() == original.weights.keys()
    for key, value in original.weights.items():
        np.testing.assert_array_equal(copy.weights[key], value)
    copy.save(tmp_path / "b")
    for name in ("model.json", "weights.npz"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / "model" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["model.json", "weights.npz"]


@pytest.mark.parametrize("weights", ["trained", "least_squares", "single_filter"])
def test_trained_models_are_built_from_their_parts(weights):
    u, record = image_of(1, 9, 11, 1), trained()
    bank = record.weights[f"{weights}/filters"]
    state, states = u, record.model(weights, "trajectory")(u)
    for k in range(3):
        selection = blade_tf.blade_select(state, **SELECTION) if len(bank) > 1 else np.zeros((1, 9, 11), np.int32)
        state = state + np.float32(0.1) * blade_tf.blade_filter(state, bank, selection)
        np.testing.assert_allclose(states[:, k], state, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(record.model(weights)(u), states[:, -1])


def of_equation(name, parameters, **options):
    record = dataclasses.replace(trained(), config={"pde": {"name": name, "parameters": parameters}})
    return record.model(**options)


@pytest.mark.parametrize("output", ["final", "trajectory"])
@pytest.mark.parametrize("low_high", [(-0.1, 1.0), (0.0, 1.1), (0.0, 255.0)])
def test_images_that_an_equation_is_not_meant_for_bring_a_warning(low_high, output, tmp_path):
    model = of_equation("cahn_hilliard", {"gamma": 0.25}, output=output)
    assert model.valid_range == (0.0, 1.0)
    low, high = low_high
    image = low + (high - low) * image_of(1, 9, 11, 1).round(2)
    image[0, 0, :2, 0] = low_high
    message = r"^image: expected values in \[0, 1\], which this model's equation is meant for; beyond them the result"
    with pytest.warns(UserWarning, match=message) as found:
        expected = model(image)
    assert len(found) == 1
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match=message):
        np.testing.assert_array_equal(blade_tf.load(tmp_path / "model.keras")(image), expected)


def test_images_that_an_equation_is_meant_for_bring_no_warning():
    image = image_of(1, 9, 11, 1)
    image[0, 0, :2, 0] = 0, 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = of_equation("cahn_hilliard", {"gamma": 0.25})
        for inside in (image, tf.cast(image * 1.0003, tf.float16), image[:, :0], np.full_like(image, np.nan)):
            model(inside)
        other = of_equation("tv_flow", {"epsilon": 0.1})
        assert other.valid_range is None
        other(255 * image)
        trained().model()(255 * image)


def test_a_range_that_does_not_ascend_is_refused():
    with pytest.raises(ValueError, match=r"valid_range: expected \(lowest, highest\), got \(1, 0\)"):
        blade_tf.EvolutionModel(rate_of(), 0.1, valid_range=(1, 0))


def test_pretrained_models_by_name(pretrained):
    assert blade_tf.pretrained_names() == ["tv_flow_paper"]
    u, expected = image_of(1, 9, 11, 1), trained().model()(image_of(1, 9, 11, 1))
    for model in (blade_tf.load("tv_flow_paper"), blade_tf.load_pretrained("tv_flow_paper"), blade_tf.load(pretrained)):
        np.testing.assert_array_equal(model(u), expected)


def test_second_names_of_shipped_models(pretrained, monkeypatch):
    monkeypatch.setitem(models.ALIASES, "tv_flow_stable", "tv_flow_paper")
    assert blade_tf.pretrained_names() == ["tv_flow_paper", "tv_flow_stable"]
    for model in (blade_tf.load("tv_flow_stable"), blade_tf.load_pretrained("tv_flow_stable")):
        np.testing.assert_array_equal(
            model.rates[0].bank["filters"], blade_tf.load("tv_flow_paper").rates[0].bank["filters"]
        )


def test_unknown_names_bring_the_nearest(pretrained):
    for load, word in ((blade_tf.load, "path"), (models.load_trained, "path"), (blade_tf.load_pretrained, "model")):
        with pytest.raises(ValueError, match=f"unknown .*{word} 'tv_flow_papr', did you mean 'tv_flow_paper'"):
            load("tv_flow_papr")
        with pytest.raises(ValueError, match=r"'zebra', expected one of \['tv_flow_paper'\]"):
            load("zebra")
    with pytest.raises(ValueError, match=r"unknown model '\.\./pretrained/tv_flow_paper'"):
        blade_tf.load_pretrained("../pretrained/tv_flow_paper")


def damage(folder, change):
    record = json.loads((folder / "model.json").read_text())
    change(record)
    (folder / "model.json").write_text(json.dumps(record))


def flip_a_byte(folder):
    data = bytearray((folder / "weights.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "weights.npz").write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (flip_a_byte, "weights.npz does not have the checksum that model.json states"),
        (lambda folder: (folder / "weights.npz").write_bytes(b""), "checksum"),
        (lambda folder: (folder / "weights.npz").unlink(), "weights.npz"),
        (lambda folder: (folder / "model.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "model.json").write_text("[]"), "damaged"),
        (lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe\x00"), "damaged"),
        (lambda folder: damage(folder, lambda r: r.pop("spec")), "spec"),
        (lambda folder: damage(folder, lambda r: r.pop("format")), "format"),
        (lambda folder: damage(folder, lambda r: r.update(format=1)), "format 1, this version reads format 2"),
    ],
)
def test_damaged_folders_are_refused(pretrained, harm, message):
    harm(pretrained)
    with pytest.raises(ValueError, match=f"model: .*tv_flow_paper is damaged: .*{message}|damaged.*{message}"):
        blade_tf.load("tv_flow_paper")


def test_weights_that_do_not_fit_the_spec_are_refused(pretrained):
    damage(pretrained, lambda record: record["spec"].update(footprint=[5, 5]))
    with pytest.raises(
        ValueError, match=r"weights: expected {'filters': \(48, 5, 5\)} for this spec, got {'filters': \(48, 3, 5\)}"
    ):
        blade_tf.load("tv_flow_paper")
    damage(pretrained, lambda record: record["spec"].update(form="folded"))
    with pytest.raises(ValueError, match=r"model.form: unknown form 'folded'"):
        blade_tf.load("tv_flow_paper")


def test_keras_files_that_hold_no_evolution_are_refused(tmp_path):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "dense.keras")
    with pytest.raises(ValueError, match=r"model: expected an EvolutionModel in .*dense\.keras, got Sequential"):
        blade_tf.load(tmp_path / "dense.keras")
    with pytest.raises(ValueError, match=r"missing\.keras"):
        blade_tf.load(tmp_path / "missing.keras")
    (tmp_path / "broken.keras").write_bytes(b"no zip file")
    with pytest.raises((ValueError, OSError), match=r"broken\.keras"):
        blade_tf.load(tmp_path / "broken.keras")


def test_shipped_models_do_what_their_cards_say():
    """TV flow lowers the total variation and keeps the range of a photograph's intensities."""
    names = blade_tf.pretrained_names()
    assert "tv_flow_paper" in names
    u = image_of(1, 64, 64, 1)

    def variation(v):
        return sum(np.abs(np.diff(v, axis=axis)).sum() for axis in (1, 2))

    for name in names:
        if name.startswith("tv_flow"):
            smooth = blade_tf.load_pretrained(name)(u).numpy()
            assert variation(smooth) < 0.8 * variation(u)
            np.testing.assert_allclose(smooth.mean(), u.mean(), atol=0.01)
