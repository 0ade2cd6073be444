import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

import blade_tf
from blade_tf import layers

UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}


def random_layer(num_filters=40, dt=0.7, footprint=(5, 5), spread=3.0, **options):
    """Random logits: from nearly even weights (spread 0) to a single neighbour that takes over (spread 30)."""
    layer = blade_tf.ConvexBlade(num_filters, dt, footprint, **options)
    layer.logits.assign(np.random.default_rng(0).normal(size=layer.logits.shape, scale=spread))
    return layer


def centre_of(footprint):
    delta = np.zeros(footprint)
    delta[footprint[0] // 2, footprint[1] // 2] = 1
    return delta


ADVERSARIES = {
    "checkerboard": lambda y, x, rng: (y + x) % 2,
    "stripes": lambda y, x, rng: x % 2,
    "step": lambda y, x, rng: x > 11,
    "corner": lambda y, x, rng: (x > 11) & (y > 9),
    "delta": lambda y, x, rng: (y == 9) & (x == 13),
    "delta in a corner": lambda y, x, rng: (y == 0) & (x == 0),
    "noise": lambda y, x, rng: rng.random(y.shape),
    "two values": lambda y, x, rng: rng.random(y.shape) < 0.5,
    "heavy tails": lambda y, x, rng: rng.standard_cauchy(y.shape),
}


def adversaries(scale=1.0, offset=0.0, dtype="float32", names=tuple(ADVERSARIES)):
    """One image for each name, [names, 19, 26, 1]."""
    y, x = np.mgrid[:19, :26]
    rng = np.random.default_rng(3)
    images = np.stack([np.asarray(ADVERSARIES[name](y, x, rng), np.float64) for name in names])
    return (scale * images + offset)[..., np.newaxis].astype(dtype)


def extremes(images):
    return images.min((1, 2, 3)).astype(np.float64), images.max((1, 2, 3)).astype(np.float64)


@pytest.mark.parametrize(("footprint", "dt"), [((5, 5), 0.7), ((3, 3), 1e-4), ((1, 7), 300.0), ((1, 1), 1.0)])
@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0, 1000.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_filters_are_convex_steps(footprint, dt, spread, dtype):
    layer = random_layer(40, dt, footprint, spread, dtype=dtype)
    filters = layer.filters.numpy()
    assert (filters.dtype, filters.shape) == (dtype, (40, *footprint))
    weights = scipy.special.softmax(layer.logits.numpy().astype(np.float64).reshape(40, -1), axis=1)
    expected = (weights.reshape(filters.shape) - centre_of(footprint)) / dt
    roundoff = UNIT_ROUNDOFF[dtype]
    # An exponential's relative error grows with its argument.
    np.testing.assert_allclose(filters, expected, rtol=0, atol=(8 + 8 * spread) * roundoff / dt)
    outside = filters[:, centre_of(footprint) == 0]
    assert np.all(outside >= 0)
    assert np.all(filters + centre_of(footprint) / dt >= -16 * roundoff / dt)
    # Much nearer to zero than the roundoff of 1 / dt, where the filters are small.
    total = np.abs(filters.astype(np.float64).sum((1, 2)))
    assert np.all(total <= 16 * roundoff * outside.astype(np.float64).sum(1) + 1e-300)


@pytest.mark.parametrize(
    ("scale", "offset", "dtype"), [(1.0, 0.0, "float32"), (1e6, -3e5, "float32"), (1.0, 0.0, "float64")]
)
def test_maximum_principle_against_random_selections(scale, offset, dtype):
    """300 steps of any length up to dt, selections drawn anew for each pixel and step."""
    layer = random_layer(dtype=dtype)
    images = adversaries(scale, offset, dtype)
    low, high = extremes(images)
    rng = np.random.default_rng(5)
    u = tf.constant(images)
    for k in range(300):
        dt = layer.dt * [1.0, 1.0, rng.random(), 1e-3][k % 4]
        chosen = rng.integers(0, layer.num_filters, images.shape[:3]).astype(np.int32)
        u = blade_tf.euler(lambda v, chosen=chosen: layer(v, chosen), dt)(u)
        # Some 30 roundings a step, of both signs.
        beyond = 1000 * UNIT_ROUNDOFF[dtype] * np.maximum(abs(low), abs(high))
        lowest, highest = extremes(u.numpy())
        assert np.all(lowest >= low - beyond)
        assert np.all(highest <= high + beyond)
    assert np.all(highest - lowest < 0.9 * (high - low))


@pytest.mark.parametrize("high", [True, False])
def test_maximum_principle_against_hostile_selections(high):
    """Each pixel selects what moves it farthest: still within the values of its own footprint, at every step."""
    filters = 8
    layer = random_layer(filters, spread=6.0, dtype="float64")
    u = adversaries(dtype="float64", names=("checkerboard", "corner", "two values", "noise"))
    low, top = extremes(u)
    every = np.repeat(np.arange(filters, dtype=np.int32), len(u))[:, np.newaxis, np.newaxis] + np.zeros(
        u.shape[1:3], np.int32
    )
    farthest = 0.0
    for _ in range(300):
        rates = layer(np.tile(u, (filters, 1, 1, 1)), every).numpy().reshape(filters, *u.shape[:3])
        chosen = (rates.argmax(0) if high else rates.argmin(0)).astype(np.int32)
        after = (u + layer.dt * layer(u, chosen)).numpy()
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(u[..., 0], ((0, 0), (2, 2), (2, 2)), "edge"), (5, 5), (1, 2)
        )
        assert np.all(after[..., 0] <= windows.max((3, 4)) + 1e-14)
        assert np.all(after[..., 0] >= windows.min((3, 4)) - 1e-14)
        farthest = max(farthest, np.abs(after - u).max())
        u = after
    assert farthest > 0.9
    lowest, highest = extremes(u)
    assert np.all(lowest >= low - 1e-13)
    assert np.all(highest <= top + 1e-13)


def test_free_filters_of_the_same_size_break_the_principle():
    """What the tests above would see: one negative weight is enough."""
    filters = random_layer().filters.numpy()
    filters[:, 0, 0] -= 0.2
    filters[:, 2, 2] += 0.2
    u = tf.constant(adversaries())
    rng = np.random.default_rng(5)
    for _ in range(3):
        chosen = rng.integers(0, 40, u.shape[:3]).astype(np.int32)
        u += 0.7 * blade_tf.blade_filter(u, filters, chosen)
    assert np.max(u) > 1.001 or np.min(u) < -0.001


def test_soft_selections_are_convex_too():
    layer = random_layer(dtype="float32")
    images = adversaries(names=("checkerboard", "two values", "delta"))
    rng = np.random.default_rng(5)
    u = tf.constant(images)
    for _ in range(300):
        lower, upper = rng.integers(0, 40, (2, *images.shape[:3])).astype(np.int32)
        weight = rng.random(images.shape[:3]).astype(np.float32).round(1)
        u += layer.dt * layer(u, (lower, upper, weight))
        assert np.min(u) >= -3e-6
        assert np.max(u) <= 1 + 3e-6
    assert np.all(np.ptp(u, (1, 2, 3)) < 0.9)


@pytest.mark.parametrize("value", [0.1, -7.3e4, 1e-20])
def test_constants_do_not_drift(value):
    """A bank whose rounded sums were not zero would move constants by 300 roundoffs, and worse ones by far more."""
    layer = random_layer()
    u = tf.fill([1, 9, 12, 1], np.float32(value))
    chosen = np.random.default_rng(0).integers(0, 40, (1, 9, 12)).astype(np.int32)
    after = blade_tf.evolve(blade_tf.euler(lambda v: layer(v, chosen), layer.dt), u, 300)
    np.testing.assert_allclose(after, u, rtol=3e-5)


def test_the_initial_state_nearly_stands_still():
    layer = blade_tf.ConvexBlade(3, 0.5)
    weights = 0.5 * layer.filters.numpy() + centre_of((5, 5))
    np.testing.assert_allclose(weights[:, 2, 2], 0.99, rtol=1e-6)
    np.testing.assert_allclose(weights[:, 0, 1], 0.01 / 24, rtol=1e-5)
    image = adversaries(names=["checkerboard"])
    chosen = np.zeros(image.shape[:3], np.int32)
    assert np.abs(0.5 * layer(image, chosen)).max() <= 0.01
    half = blade_tf.ConvexBlade(3, 0.5, (1, 3), layers.StandingStill(0.5))
    np.testing.assert_allclose(half.filters[1], [[0.5, -1, 0.5]], rtol=1e-6)
    np.testing.assert_array_equal(blade_tf.ConvexBlade(1, 0.5, (1, 1)).filters, [[[0.0]]])


def test_assigned_filters_come_back():
    given = random_layer(6, 0.3, (3, 5), 1.0, dtype="float64")
    layer = blade_tf.ConvexBlade(6, 0.3, (3, 5), dtype="float64")
    layer.assign_filters(given.filters)
    np.testing.assert_allclose(layer.filters, given.filters, rtol=1e-10, atol=1e-12)


def test_assigned_filters_that_are_not_convex_are_projected():
    layer = blade_tf.ConvexBlade(2, 0.5, (1, 3), dtype="float64")
    # delta + dt h: [-0.1, 0.8, 0.3] and [0, 1, 0].
    layer.assign_filters([[[-0.2, -0.4, 0.6]], [[0.0, 0.0, 0.0]]], floor=1e-3)
    weights = 0.5 * layer.filters.numpy() + [0, 1, 0]
    np.testing.assert_allclose(weights[0, 0], np.array([0.001, 0.8, 0.3]) / 1.101, rtol=1e-9)
    np.testing.assert_allclose(weights[1, 0], np.array([0.001, 1, 0.001]) / 1.002, rtol=1e-9)


@pytest.mark.parametrize(
    ("filters", "floor", "message"),
    [
        (np.zeros((2, 3, 5)), 1e-5, r"filters: expected finite numbers \[2, 5, 5\], got \[2, 3, 5\]"),
        (np.full((2, 5, 5), np.nan), 1e-5, r"filters: expected finite numbers \[2, 5, 5\], got nan"),
        (np.zeros((2, 5, 5)), 0.0, r"floor: expected a number between 0 and 1 / 25, got 0.0"),
        (np.zeros((2, 5, 5)), 0.04, r"floor: expected a number between 0 and 1 / 25, got 0.04"),
    ],
)
def test_filters_that_cannot_be_assigned(filters, floor, message):
    with pytest.raises(ValueError, match=message):
        blade_tf.ConvexBlade(2, 1.0).assign_filters(filters, floor)


@pytest.mark.parametrize("soft", [False, True])
def test_gradient_is_that_of_the_softmax(soft):
    """Central differences in the logits, float64."""
    layer = random_layer(3, 0.4, (3, 5), 1.0, dtype="float64")
    rng = np.random.default_rng(1)
    image, cotangent = rng.standard_normal((2, 2, 5, 7, 2))
    lower, upper = rng.integers(0, 3, (2, 2, 5, 7)).astype(np.int32)
    selection = (lower, upper, rng.random((2, 5, 7))) if soft else lower

    def loss():
        return tf.reduce_sum(layer(image, selection) * cotangent)

    with tf.GradientTape() as tape:
        value = loss()
    (gradient,) = tape.gradient(value, layer.trainable_variables)
    start = layer.logits.numpy()
    direction = rng.standard_normal(start.shape)
    values = []
    for t in (-2e-3, -1e-3, 1e-3, 2e-3):
        layer.logits.assign(start + t * direction)
        values.append(float(loss()))
    difference = (8 * (values[2] - values[1]) - (values[3] - values[0])) / 12e-3
    np.testing.assert_allclose(np.vdot(gradient, direction), difference, rtol=1e-8)


def test_fit_recovers_planted_filters():
    planted = random_layer(2, 0.5, (3, 3), 1.0)
    image = np.random.default_rng(1).standard_normal((4, 24, 24, 1)).astype(np.float32)
    chosen = np.random.default_rng(2).integers(0, 2, image.shape[:3]).astype(np.int32)
    target = planted(image, chosen)
    layer = blade_tf.ConvexBlade(2, 0.5, (3, 3), layers.StandingStill(0.5))
    optimizer = keras.optimizers.Adam(0.1)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.math.squared_difference(layer(image, chosen), target))
        optimizer.apply(tape.gradient(loss, layer.trainable_variables), layer.trainable_variables)
        return loss

    losses = [float(step()) for _ in range(400)]
    assert losses[-1] < 1e-6 < losses[0]
    np.testing.assert_allclose(layer.filters, planted.filters, atol=3e-3)


@pytest.mark.parametrize(("policy", "dtype"), [("mixed_float16", "float16"), ("mixed_bfloat16", "bfloat16")])
def test_mixed_precision_rounds_the_filters_once(policy, dtype):
    layer, exact = random_layer(5, dtype=policy), random_layer(5)
    assert layer.logits.dtype == "float32"
    image = np.random.default_rng(0).standard_normal((1, 7, 8, 2)).astype(np.float32)
    chosen = np.random.default_rng(1).integers(0, 5, (1, 7, 8)).astype(np.int32)
    output = layer(image, chosen)
    assert output.dtype == dtype
    np.testing.assert_array_equal(
        output, blade_tf.blade_filter(tf.cast(image, dtype), tf.cast(exact.filters, dtype), chosen)
    )
    assert layer(keras.Input((None, None, 1)), keras.Input((None, None), dtype="int32")).dtype == dtype


def test_config_round_trip():
    layer = blade_tf.ConvexBlade(6, 0.25, (3, 5), layers.StandingStill(0.3), name="mine", dtype="mixed_float16")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    assert (copy.num_filters, copy.dt, copy.footprint, copy.name) == (6, 0.25, (3, 5), "mine")
    assert copy.dtype_policy.name == "mixed_float16"
    np.testing.assert_array_equal(copy.logits, layer.logits)
    assert blade_tf.ConvexBlade(1, 1.0, logits_initializer="zeros").logits.numpy().max() == 0


def test_saved_models_are_the_same(tmp_path):
    layer = random_layer(4)
    inputs = keras.Input((None, None, 1)), keras.Input((None, None), dtype="int32")
    keras.Model(inputs, layer(*inputs)).save(tmp_path / "model.keras")
    arrays = [adversaries(names=["noise"]), np.full((1, 19, 26), 3, np.int32)]
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(arrays), layer(*arrays), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1.0), "num_filters: expected an integer of at least 1, got 0"),
        ((1, 0.0), "dt: expected a positive number, got 0.0"),
        ((1, float("inf")), "dt: expected a positive number, got inf"),
        ((1, float("nan")), "dt: expected a positive number, got nan"),
        ((1, True), "dt: expected a positive number, got True"),
        ((1, 1.0, (5, 6)), r"footprint: expected two odd sizes, got \(5, 6\)"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        blade_tf.ConvexBlade(*arguments)


@pytest.mark.parametrize("moved", [0.0, 1.0, -0.1, float("nan")])
def test_shares_that_make_no_sense(moved):
    with pytest.raises(ValueError, match="moved: expected a number between 0 and 1"):
        layers.StandingStill(moved)
