"""Training losses of a trajectory: functions of the predicted and the reference states, both [N, F, H, W, C]."""

from __future__ import annotations

from collections.abc import Callable

import keras
import ml_collections
import tensorflow as tf

from blade_tf import names

__all__ = ["LOSSES", "build", "features", "l2", "log_mse", "ssim"]

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def l2(predicted: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
    """Eq 2.8: sum over the frames of the squared L2 norm of the difference; mean over the batch."""
    return tf.reduce_mean(tf.reduce_sum(tf.math.squared_difference(predicted, reference), axis=[1, 2, 3, 4]))


@tf.custom_gradient
def _mse(predicted: tf.Tensor, reference: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
    """The mean squared difference of each frame, [N, F].

    The gradient is one pass over the difference, which is kept; of the stock operations' it would take five.
    """
    difference = predicted - reference
    numbers = tf.cast(tf.reduce_prod(tf.shape(difference)[2:]), difference.dtype)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        to_predicted = (2 / numbers * upstream)[:, :, tf.newaxis, tf.newaxis, tf.newaxis] * difference
        return to_predicted, -to_predicted

    return tf.reduce_mean(tf.square(difference), axis=[2, 3, 4]), gradient


def log_mse(predicted: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
    """Mean over the batch of log(sum over the frames of the MSE + 1e-6): images of any contrast count alike.

    Raises:
      ValueError: the shapes differ.
    """
    predicted, reference = tf.convert_to_tensor(predicted), tf.convert_to_tensor(reference)
    if not predicted.shape.is_compatible_with(reference.shape):
        raise ValueError(f"reference: expected the prediction's shape {predicted.shape}, got {reference.shape}")
    return tf.reduce_mean(tf.math.log(tf.reduce_sum(_mse(predicted, reference), axis=1) + 1e-6))


def _frames(trajectory: tf.Tensor) -> tf.Tensor:
    return tf.reshape(trajectory, tf.concat([[-1], tf.shape(trajectory)[2:]], 0))


def ssim(predicted: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
    """1 - SSIM (Wang et al. 2004; 11 x 11 Gaussian window of 1.5 px, range 1), mean over the frames."""
    return 1.0 - tf.reduce_mean(tf.image.ssim(_frames(predicted), _frames(reference), max_val=1.0))


def features(model: keras.Model) -> Loss:
    """Mean squared difference of a Keras model's outputs (all of them), such as VGG's activations.

    The model takes images [N, H, W, C] in [0, 1]; gray images are repeated to its number of channels.
    """
    # A model without known inputs, or with any number of channels, gets the frames as they are.
    channels = model.inputs[0].shape[-1] if getattr(model, "inputs", None) else None

    def loss(predicted: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
        repeats = channels if channels and predicted.shape[-1] == 1 else 1
        outputs = [
            tf.nest.flatten(model(tf.repeat(_frames(x), repeats, axis=-1), training=False))
            for x in (predicted, reference)
        ]
        return tf.add_n([tf.reduce_mean(tf.math.squared_difference(a, b)) for a, b in zip(*outputs, strict=True)])

    return loss


def _ssim_of_windows(train: ml_collections.ConfigDict) -> Loss:
    if train.crop < 11:
        raise ValueError(f"train.crop: expected at least 11 for the loss 'ssim', got {train.crop}")
    return ssim


def _from_file(train: ml_collections.ConfigDict) -> Loss:
    if not train.feature_model:
        raise ValueError("train.feature_model: expected a file that keras.models.load_model reads, got ''")
    return features(keras.models.load_model(train.feature_model))


LOSSES: dict[str, Callable[[ml_collections.ConfigDict], Loss]] = {
    "l2": lambda _: l2,
    "log_mse": lambda _: log_mse,
    "ssim": _ssim_of_windows,
    "features": _from_file,
}


def build(train: ml_collections.ConfigDict) -> Loss:
    """The loss that the "train" part of a config names."""
    if train.loss not in LOSSES:
        raise ValueError(f"train.loss: unknown loss {train.loss!r}{names.hint(train.loss, LOSSES)}")
    return LOSSES[train.loss](train)
