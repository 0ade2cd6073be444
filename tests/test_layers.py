import keras
import numpy as np
import pytest
import tensorflow as tf

import blade_tf

POLICIES = {"mixed_float16": ("float16", 2.0**-11), "mixed_bfloat16": ("bfloat16", 2.0**-8)}


def bank(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def planted(k=4, footprint=(3, 3)):
    """An image, a selection with filters of its own, and a bank to find again."""
    rng = np.random.default_rng(1)
    image = rng.standard_normal((4, 24, 24, 1)).astype(np.float32)
    selection = rng.integers(0, k, image.shape[:3]).astype(np.int32)
    filters = bank(k, *footprint)
    return image, selection, filters, blade_tf.blade_filter(image, filters, selection).numpy()


def model_of(layer, channels=1):
    image, selection = keras.Input((None, None, channels)), keras.Input((None, None), dtype="int32")
    return keras.Model([image, selection], layer(image, selection))


def test_layer_is_the_operation():
    image, selection, filters, expected = planted()
    layer = blade_tf.Blade(4, (3, 3))
    assert layer.filters.shape == (4, 3, 3)
    np.testing.assert_array_equal(layer(image, selection), np.zeros_like(image))
    layer.filters.assign(filters)
    np.testing.assert_array_equal(layer(image, selection), expected)
    assert [w.path for w in layer.trainable_weights] == [layer.filters.path]


def test_layer_takes_any_footprint_and_channels():
    layer = blade_tf.Blade(3, [1, 7], filters_initializer="glorot_normal")
    image, selection = bank(2, 5, 6, 4), np.zeros((2, 5, 6), np.int32) + 2
    expected = blade_tf.blade_filter(image, layer.filters.numpy(), selection)
    np.testing.assert_array_equal(layer(image, selection), expected)
    assert np.any(expected)


def test_functional_model_has_open_sizes():
    layer = blade_tf.Blade(4, (3, 3))
    model = model_of(layer, None)
    assert model.output_shape == (None, None, None, None)
    image, selection, filters, expected = planted()
    layer.filters.assign(filters)
    np.testing.assert_array_equal(model([image, selection]), expected)
    # TensorFlow adds up the stock operations in another order in graphs.
    found = model.predict([image, selection], verbose=0, batch_size=2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6)


def test_fit_recovers_planted_filters():
    """Linear least squares with a unique solution: gradient descent converges to it."""
    image, selection, filters, target = planted()
    layer = blade_tf.Blade(4, (3, 3))
    model = model_of(layer)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    history = model.fit([image, selection], target, batch_size=4, epochs=60, verbose=0).history["loss"]
    assert history[-1] < 1e-10 < history[0]
    np.testing.assert_allclose(layer.filters, filters, atol=1e-5)


def test_custom_loop_recovers_planted_filters():
    image, selection, filters, target = planted(2, (1, 5))
    layer = blade_tf.Blade(2, (1, 5))
    optimizer = keras.optimizers.SGD(1.0)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.math.squared_difference(layer(image, selection), target))
        optimizer.apply(tape.gradient(loss, layer.trainable_variables), layer.trainable_variables)
        return loss

    losses = [float(step()) for _ in range(40)]
    assert losses[-1] < 1e-10 < losses[0]
    np.testing.assert_allclose(layer.filters, filters, atol=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
def test_mixed_precision(policy):
    dtype, roundoff = POLICIES[policy]
    image, selection, filters, target = planted()
    layer = blade_tf.Blade(4, (3, 3), dtype=policy)
    layer.filters.assign(filters)
    assert layer.filters.dtype == "float32"
    output = layer(image, selection)
    assert output.dtype == dtype
    half = [tf.cast(x, dtype) for x in (image, filters)]
    np.testing.assert_array_equal(output, blade_tf.blade_filter(*half, selection))
    assert model_of(layer).outputs[0].dtype == dtype

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.cast(layer(image, selection), tf.float32) * target)
    (gradient,) = tape.gradient(loss, layer.trainable_variables)
    assert gradient.dtype == tf.float32
    exact = blade_tf.Blade(4, (3, 3))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(exact(image, selection) * target)
    (expected,) = tape.gradient(loss, exact.trainable_variables)
    # Image, cotangent and sum are rounded once each.
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=4 * roundoff * np.abs(expected).max())


@pytest.mark.parametrize("policy", POLICIES)
def test_fit_in_mixed_precision(policy):
    image, selection, filters, target = planted()
    layer = blade_tf.Blade(4, (3, 3), dtype=policy)
    model = model_of(layer)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit([image, selection], target, batch_size=4, epochs=40, verbose=0)
    np.testing.assert_allclose(layer.filters, filters, atol=16 * POLICIES[policy][1])


def test_config_round_trip():
    layer = blade_tf.Blade(
        6,
        (3, 5),
        filters_initializer=keras.initializers.RandomNormal(seed=3),
        filters_regularizer=keras.regularizers.L2(0.25),
        filters_constraint="max_norm",
        name="filters_of_mine",
        dtype="mixed_float16",
    )
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    assert (copy.num_filters, copy.footprint, copy.name) == (6, (3, 5), "filters_of_mine")
    assert copy.dtype_policy.name == "mixed_float16"
    np.testing.assert_array_equal(copy.filters, layer.filters)
    np.testing.assert_allclose(copy.losses[0], 0.25 * np.sum(layer.filters.numpy() ** 2), rtol=1e-6)


def test_regularizer_and_constraint_act_on_the_bank():
    image, selection, filters, target = planted()
    layer = blade_tf.Blade(4, (3, 3), filters_regularizer=keras.regularizers.L2(1.0), filters_constraint="non_neg")
    model = model_of(layer)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit([image, selection], target, batch_size=4, epochs=3, verbose=0)
    assert np.all(layer.filters.numpy() >= 0)
    assert np.any(layer.filters.numpy() > 0)
    assert np.any(filters < 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "num_filters: expected an integer of at least 1, got 0"),
        ((2.5,), "num_filters: expected an integer of at least 1, got 2.5"),
        ((1, (4, 5)), r"footprint: expected two odd sizes, got \(4, 5\)"),
        ((1, (5, 0)), r"footprint: expected two odd sizes, got \(5, 0\)"),
        ((1, (5, -1)), r"footprint: expected two odd sizes, got \(5, -1\)"),
        ((1, (5, 5.5)), r"footprint: expected two odd sizes, got \(5, 5.5\)"),
        ((1, (5,)), r"footprint: expected two odd sizes, got \(5,\)"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        blade_tf.Blade(*arguments)


def test_symbolic_inputs_that_do_not_fit():
    layer, image = blade_tf.Blade(2), keras.Input((None, None, 1))
    with pytest.raises(ValueError, match=r"image: expected \[N, H, W, C\], got \[None, None, None\]"):
        layer(keras.Input((None, None)), keras.Input((None, None), dtype="int32"))
    with pytest.raises(ValueError, match=r"selection: expected int32 \[N, H, W\], got float32 \[None, None, None\]"):
        layer(image, keras.Input((None, None)))
    with pytest.raises(ValueError, match=r"selection: expected int32 \[N, H, W\], got int32 \[None, None\]"):
        layer(image, keras.Input((None,), dtype="int32"))


def test_inputs_that_do_not_fit():
    layer = blade_tf.Blade(2)
    with pytest.raises(TypeError, match="selection: expected int32"):
        layer(np.zeros((1, 4, 4, 1), np.float32), np.zeros((1, 4, 4), np.int64))
    selection = np.zeros((1, 4, 4), np.int32)
    selection[0, 3, 2] = 2
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0, ?3, ?2\]"):
        layer(np.zeros((1, 4, 4, 1), np.float32), selection)


def soft_case(dtype=np.float32):
    image, selection, filters, _ = planted()
    weight = np.random.default_rng(5).random(selection.shape).astype(dtype)
    return image, (selection, selection[::-1].copy(), weight), filters


def test_soft_selection_interpolates_between_two_filters():
    image, soft, filters = soft_case()
    layer = blade_tf.Blade(4, (3, 3))
    layer.filters.assign(filters)
    low, high = (layer(image, chosen).numpy() for chosen in soft[:2])
    w = soft[2][..., np.newaxis]
    np.testing.assert_allclose(layer(image, soft), low + w * (high - low), rtol=0, atol=1e-6)
    for index, weight in ((0, np.zeros_like(soft[2])), (1, np.ones_like(soft[2]))):
        np.testing.assert_array_equal(layer(image, (*soft[:2], weight)), [low, high][index])


@pytest.mark.parametrize("policy", POLICIES)
def test_soft_selection_in_mixed_precision(policy):
    dtype, roundoff = POLICIES[policy]
    image, soft, filters = soft_case()
    layer = blade_tf.Blade(4, (3, 3), dtype=policy)
    layer.filters.assign(filters)
    output = layer(image, soft)
    assert output.dtype == dtype
    exact = blade_tf.blade_filter_soft(image.astype("d"), filters.astype("d"), soft).numpy()
    np.testing.assert_allclose(tf.cast(output, tf.float64), exact, rtol=0, atol=4 * roundoff * np.abs(exact).max())


def test_saved_models_take_soft_selections(tmp_path):
    layer = blade_tf.Blade(4, (3, 3), filters_initializer="glorot_normal")
    image, weight = keras.Input((None, None, 1)), keras.Input((None, None))
    lower, upper = keras.Input((None, None), dtype="int32"), keras.Input((None, None), dtype="int32")
    model = keras.Model([image, lower, upper, weight], layer(image, (lower, upper, weight)))
    model.save(tmp_path / "model.keras")
    values, soft, _ = soft_case()
    expected = layer(values, soft)
    for found in (model, keras.saving.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(found([values, *soft]), expected, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"selection: expected a float weight \[N, H, W\], got int32"):
        layer(image, (lower, upper, upper))
    with pytest.raises(ValueError, match=r"selection: expected int32 \[N, H, W\], got float32"):
        layer(image, (lower, weight, weight))
