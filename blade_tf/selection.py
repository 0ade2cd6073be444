"""The first layer of BLADE: which filter each pixel selects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from blade_tf import image as image_lib
from blade_tf import ops, structure_tensor

__all__ = ["Selection", "quantile_thresholds"]


def _selected_by(image: tf.Tensor, luma: bool) -> tf.Tensor:
    if not luma or image.shape[-1] not in (None, 3):
        return image
    if image.shape[-1] == 3:
        return image_lib.luma(image)
    colour = tf.equal(tf.shape(image)[-1], 3)
    return tf.cond(colour, lambda: image_lib.luma(tf.ensure_shape(image, [None, None, None, 3])), lambda: image)


def quantile_thresholds(
    image: Any,
    rho: float,
    strength_quantiles: Sequence[float],
    coherence_quantiles: Sequence[float],
    luma: bool = True,
) -> tuple[list[float], list[float]]:
    """Strength and coherence thresholds at quantiles of the features of given images.

    Args:
      image: float [N, H, W, C].
      rho: smoothing of the structure tensor in pixels.
      strength_quantiles: ascending, in (0, 1); n of them make n + 1 bins.
      coherence_quantiles: likewise.
      luma: as in `Selection`.

    Returns:
      strength_thresholds, coherence_thresholds.

    Raises:
      ValueError: if quantiles do not ascend within (0, 1), or the images are so flat that two thresholds coincide.
    """
    found = structure_tensor.features(_selected_by(tf.cast(image, tf.float32), luma), rho)
    result = []
    for name, quantiles, values in (
        ("strength", strength_quantiles, found.strength),
        ("coherence", coherence_quantiles, found.coherence),
    ):
        levels = ops.check_thresholds(f"{name}_quantiles", quantiles, 0.0, 1.0)
        thresholds = [float(t) for t in np.quantile(np.asarray(values), levels)] if levels else []
        result.append(ops.check_thresholds(f"{name}_thresholds from the data's quantiles", thresholds, 0.0, np.inf))
    return result[0], result[1]


@keras.saving.register_keras_serializable("blade_tf")
class Selection(keras.layers.Layer):
    """Quantised orientation, strength and coherence of the structure tensor (section 2.1): see `blade_tf.blade_select`.

    Input: float [N, H, W, C], in its own precision whatever the layer's dtype policy. Output: int32 [N, H, W] in [0,
    num_bins). No weights, no gradient.

    Args:
      strength_thresholds: ascending, in intensity per pixel; n thresholds make n + 1 bins.
      coherence_thresholds: ascending, in [0, 1].
      orientations: number of orientation bins.
      rho: standard deviation of the tensor's smoothing in pixels.
      luma: select by the luma of three-channel images (section 3.4) instead of the tensor summed over the channels.
        Images of 2, 4 or more channels always take the sum.
      **kwargs: of keras.layers.Layer.

    Raises:
      ValueError: as `blade_tf.blade_select`.
    """

    def __init__(
        self,
        strength_thresholds: Sequence[float],
        coherence_thresholds: Sequence[float],
        orientations: int = 24,
        rho: float = 1.0,
        luma: bool = True,
        **kwargs: Any,
    ) -> None:
        # Without autocasting: half-precision differences of neighbours would decide between bins.
        super().__init__(**{"autocast": False, "trainable": False} | kwargs)
        self.strength_thresholds = ops.check_thresholds("strength_thresholds", strength_thresholds, 0.0, np.inf)
        self.coherence_thresholds = ops.check_thresholds("coherence_thresholds", coherence_thresholds, 0.0, 1.0)
        self.orientations = orientations
        self.rho = rho
        self.luma = luma
        self.supports_jit = not ops.uses_native()
        ops.blade_select(tf.zeros([0, 0, 0, 1]), **self._arguments())

    def _arguments(self) -> dict[str, Any]:
        return {
            "strength_thresholds": list(self.strength_thresholds),
            "coherence_thresholds": list(self.coherence_thresholds),
            "orientations": self.orientations,
            "rho": self.rho,
        }

    @property
    def num_bins(self) -> int:
        """The number of values that the selection takes, and of filters that a bank needs."""
        return self.orientations * (len(self.strength_thresholds) + 1) * (len(self.coherence_thresholds) + 1)

    def call(self, image: tf.Tensor) -> tf.Tensor:
        return ops.blade_select(_selected_by(image, self.luma), **self._arguments())

    def compute_output_spec(self, image: Any) -> keras.KerasTensor:
        return keras.KerasTensor(image.shape[:-1], "int32")

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self._arguments() | {"luma": self.luma}
