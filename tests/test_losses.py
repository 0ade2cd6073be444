import keras
import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from skimage.metrics import structural_similarity

from blade_tf import config as config_lib
from blade_tf import losses


def trajectories(n=2, frames=3, height=16, width=20, channels=1, seed=0):
    crop = skimage.data.camera()[100 : 100 + n * height, 100 : 100 + width] / 255
    reference = crop.reshape(n, 1, height, width, 1) ** np.arange(1, frames + 1).reshape(-1, 1, 1, 1)
    reference = np.repeat(reference, channels, axis=-1)
    return reference + np.random.default_rng(seed).normal(0, 0.05, reference.shape), reference


def train_config(**options):
    config = config_lib.default()
    config.train.update(options)
    return config.train


def test_l2_by_hand():
    predicted, reference = trajectories()
    expected = ((predicted - reference) ** 2).sum() / 2
    np.testing.assert_allclose(losses.l2(predicted, reference), expected, rtol=1e-13)
    a = np.zeros((2, 3, 1, 2, 1))
    b = a.copy()
    b[0, 1, 0, 1, 0], b[1, 2, 0, 0, 0] = 3, 1
    assert losses.l2(a, b).numpy() == (9 + 1) / 2


def test_log_mse_by_hand():
    predicted, reference = trajectories()
    squares = ((predicted - reference) ** 2).mean((2, 3, 4)).sum(1)
    np.testing.assert_allclose(losses.log_mse(predicted, reference), np.log(squares + 1e-6).mean(), rtol=1e-13)
    np.testing.assert_allclose(losses.log_mse(reference, reference), np.log(1e-6), rtol=1e-13)


def test_log_mse_counts_images_of_any_contrast_alike():
    """Scaling one image shifts the loss by a constant, and leaves the gradient's direction and size for its error."""
    predicted, reference = (tf.constant(x) for x in trajectories(n=1))
    gradients = []
    for scale in (1.0, 8.0):
        with tf.GradientTape() as tape:
            tape.watch(predicted)
            loss = losses.log_mse(scale * predicted, scale * reference)
        gradients.append(tape.gradient(loss, predicted))
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=0, atol=1e-3 * np.abs(gradients[0]).max())


def test_derivatives_of_log_mse_are_those_of_its_formula():
    """With respect to both states, and the second ones."""

    def formula(predicted, reference):
        mse = tf.reduce_mean(tf.math.squared_difference(predicted, reference), [2, 3, 4])
        return tf.reduce_mean(tf.math.log(tf.reduce_sum(mse, 1) + 1e-6))

    states = [tf.constant(x) for x in trajectories(channels=3)]

    def derivatives(loss):
        with tf.GradientTape() as outer:
            outer.watch(states)
            with tf.GradientTape() as inner:
                inner.watch(states)
                value = loss(*states)
            first = inner.gradient(value, states)
            total = tf.add_n([tf.reduce_sum(tf.sin(gradient)) for gradient in first])
        return first + outer.gradient(total, states)

    expected = derivatives(formula)
    for found in (derivatives(losses.log_mse), tf.function(derivatives)(losses.log_mse)):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_agrees_with_scikit_image(channels):
    predicted, reference = (x.astype(np.float32) for x in trajectories(channels=channels))
    values = []
    for a, b in zip(predicted.reshape(-1, 16, 20, channels), reference.reshape(-1, 16, 20, channels), strict=True):
        # TensorFlow averages where the window fits, and sums in float32 what C2 = 9e-4 divides.
        full = structural_similarity(
            a.astype(float),
            b.astype(float),
            gaussian_weights=True,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=-1,
            full=True,
        )[1]
        values.append(full[5:-5, 5:-5].mean())
    np.testing.assert_allclose(losses.ssim(predicted, reference), 1 - np.mean(values), rtol=0, atol=5e-5)
    np.testing.assert_allclose(losses.ssim(reference, reference), 0, atol=1e-6)


def test_log_mse_of_different_shapes_is_refused():
    with pytest.raises(ValueError, match=r"reference: expected the prediction's shape \(1, 2, 4, 4, 3\), got"):
        losses.log_mse(tf.zeros([1, 2, 4, 4, 3]), tf.zeros([1, 2, 4, 4, 1]))


@pytest.mark.parametrize("name", ["l2", "log_mse", "ssim"])
def test_gradients_agree_with_differences(name):
    """Along the way from the prediction to the reference, by the five-point rule; tf.image.ssim computes in float32."""
    loss, (predicted, reference) = losses.build(train_config(loss=name)), trajectories(n=1)
    direction, step = reference - predicted, 1 / 64
    dtype, tolerance = ("float32", 1e-3) if name == "ssim" else ("float64", 1e-6)

    def value(t):
        return loss(tf.cast(predicted + t * step * direction, dtype), tf.cast(reference, dtype))

    with tf.GradientTape() as tape:
        variable = tf.constant(predicted, dtype)
        tape.watch(variable)
        start = loss(variable, tf.cast(reference, dtype))
    slope = np.vdot(tape.gradient(start, variable), direction)
    assert slope < -0.1
    expected = (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / (12 * step)
    np.testing.assert_allclose(slope, expected, rtol=tolerance)


def doubled_and_mean():
    """A model of two outputs that can be followed by hand."""
    inputs = keras.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, {"twice": keras.layers.Rescaling(2.0)(inputs), "mean": pooled})


def test_features_by_hand():
    predicted, reference = (x.astype(np.float32) for x in trajectories(channels=3))
    loss = losses.features(doubled_and_mean())
    difference = (predicted - reference).astype(np.float64)
    expected = np.mean((2 * difference) ** 2) + np.mean(difference.mean((2, 3)) ** 2)
    np.testing.assert_allclose(loss(predicted, reference), expected, rtol=1e-5)


def test_features_repeat_gray_frames():
    predicted, reference = (x.astype(np.float32) for x in trajectories())
    loss = losses.features(doubled_and_mean())
    gray = [np.repeat(x, 3, axis=-1) for x in (predicted, reference)]
    np.testing.assert_allclose(loss(predicted, reference), loss(*gray), rtol=1e-6)


def test_features_of_a_model_that_takes_any_channels():
    predicted, reference = (x.astype(np.float32) for x in trajectories(channels=3))
    inputs = keras.Input((None, None, None))
    open_model = keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs))

    class Identity(keras.Model):
        def call(self, image):
            return 1.0 * image

    for model in (open_model, Identity()):
        for c in (1, 3):
            found = losses.features(model)(predicted[..., :c], reference[..., :c])
            np.testing.assert_allclose(found, np.mean((predicted - reference)[..., :c] ** 2), rtol=1e-5)


def test_features_leave_the_model_as_it_is_in_inference_mode():
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Dropout(0.5)(inputs)))
    before = [w.numpy() for w in model.weights]
    predicted, reference = (x.astype(np.float32) for x in trajectories())
    loss = losses.features(model)
    # Inference: no dropout, and a normalisation by mean 0 and variance 1 + 0.001.
    np.testing.assert_allclose(loss(predicted, reference), np.mean((predicted - reference) ** 2) / 1.001, rtol=1e-4)
    assert model.trainable
    for a, b in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_features_of_a_file(tmp_path):
    model = doubled_and_mean()
    model.save(tmp_path / "features.keras")
    loss = losses.build(train_config(loss="features", feature_model=str(tmp_path / "features.keras")))
    predicted, reference = (x.astype(np.float32) for x in trajectories())
    np.testing.assert_allclose(loss(predicted, reference), losses.features(model)(predicted, reference), rtol=1e-6)


def test_names_that_are_unknown():
    with pytest.raises(ValueError, match=r"train\.loss: unknown loss 'log_msee', did you mean 'log_mse'"):
        losses.build(train_config(loss="log_msee"))
    with pytest.raises(ValueError, match=r"train.loss: unknown loss 'zebra', expected one of \['features', 'l2'"):
        losses.build(train_config(loss="zebra"))
    with pytest.raises(ValueError, match=r"train\.feature_model: expected a file"):
        losses.build(train_config(loss="features"))
    with pytest.raises(ValueError, match=r"missing\.keras"):
        losses.build(train_config(loss="features", feature_model="missing.keras"))
