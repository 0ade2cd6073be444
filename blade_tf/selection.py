"""The first layer of BLADE: which filter each pixel selects."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from blade_tf import image as image_lib
from blade_tf import ops, select_ops, structure_tensor
from blade_tf.select_ops import SoftSelection

__all__ = ["Selection", "described", "feature_quantiles", "quantile_thresholds"]


def _selected_by(image: tf.Tensor, luma: bool) -> tf.Tensor:
    if not luma or image.shape[-1] not in (None, 3):
        return image
    if image.shape[-1] == 3:
        return image_lib.luma(image)
    colour = tf.equal(tf.shape(image)[-1], 3)
    return tf.cond(colour, lambda: image_lib.luma(tf.ensure_shape(image, [None, None, None, 3])), lambda: image)


def _feature_values(image: Any, rho: float, center: str, luma: bool) -> dict[str, np.ndarray]:
    """Each feature at all pixels, or at all faces along x and y."""
    image = _selected_by(tf.cast(image, tf.float32), luma)
    if center == "pixel":
        found = [structure_tensor.features(image, rho)]
    else:
        x, y = (structure_tensor.features(image, rho, face) for face in structure_tensor.CENTERS[1:])
        found = [
            structure_tensor.Features(*(field[:, :, :-1] for field in x)),
            structure_tensor.Features(*(field[:, :-1] for field in y)),
        ]
    return {
        name: np.concatenate([np.ravel(getattr(fields, name)) for fields in found])
        for name in structure_tensor.Features._fields
    }


def _quantiles(values: np.ndarray, name: str, quantiles: Sequence[float]) -> list[float]:
    levels = select_ops.check_thresholds(f"{name}quantiles", quantiles, 0.0, 1.0)
    found = [float(t) for t in np.quantile(values, levels)] if levels else []
    return select_ops.check_thresholds(f"{name}thresholds from the data's quantiles", found, -np.inf, np.inf)


def feature_quantiles(
    image: Any,
    rho: float,
    center: str,
    feature: str,
    quantiles: Sequence[float],
    luma: bool = True,
) -> list[float]:
    """A feature's quantiles over given images: thresholds, or centres of a soft feature.

    Args:
      image: float [N, H, W, C].
      rho: smoothing of the structure tensor in pixels.
      center: "pixel", or "face_x" or "face_y", which both take the faces along x and along y together, as a bank that
        x and y share needs.
      feature: which.
      quantiles: ascending, in [0, 1].
      luma: as in `Selection`.

    Raises:
      ValueError: for an unknown center or feature, if quantiles do not ascend within [0, 1], or the images are so flat
        that two results coincide.
    """
    select_ops.check_choice("center", center, structure_tensor.CENTERS)
    select_ops.check_choice("feature", feature, structure_tensor.Features._fields)
    return _quantiles(_feature_values(image, rho, center, luma)[feature], "", quantiles)


def quantile_thresholds(
    image: Any,
    rho: float,
    strength_quantiles: Sequence[float],
    coherence_quantiles: Sequence[float],
    luma: bool = True,
) -> tuple[list[float], list[float]]:
    """Strength and coherence thresholds at quantiles of the features at the pixels of given images.

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
    values = _feature_values(image, rho, "pixel", luma)
    return (
        _quantiles(values["strength"], "strength_", strength_quantiles),
        _quantiles(values["coherence"], "coherence_", coherence_quantiles),
    )


def described(arguments: dict[str, Any]) -> str:
    """The bins of a `Selection` with all of these arguments, as a text."""
    bins = [f"{arguments['orientations']} orientations"]
    for feature in ("strength", "coherence", "intensity"):
        soft = arguments["soft"] == feature
        count = len(arguments["centers"]) if soft else len(arguments[f"{feature}_thresholds"]) + 1
        if count > 1:
            bins.append(f"{count} levels of {feature}{', interpolated' if soft else ''}")
    return f"{'; '.join(bins)}; structure tensor of rho = {arguments['rho']:g} pixels"


@keras.saving.register_keras_serializable("blade_tf")
class Selection(keras.layers.Layer):
    """Quantised features of the structure tensor (section 2.1), and intensity: see `blade_tf.blade_select`.

    Input: float [N, H, W, C], in its own precision whatever the layer's dtype policy. Output: int32 [N, H, W] in [0,
    num_bins), without a gradient; where a feature is soft, a `blade_tf.SoftSelection` of two such and a weight, see
    `blade_tf.blade_select_soft`. No weights of its own.

    Args:
      strength_thresholds: ascending, in intensity per pixel; n thresholds make n + 1 bins.
      coherence_thresholds: ascending, in [0, 1].
      orientations: number of orientation bins.
      rho: standard deviation of the tensor's smoothing in pixels.
      luma: select by the luma of three-channel images (section 3.4) instead of the tensor summed over the channels and
        their mean intensity. Images of 2, 4 or more channels always take the sum.
      intensity_thresholds: ascending.
      center: "pixel", "face_x" or "face_y".
      soft: "strength", "coherence", "orientation" or "intensity", along which to interpolate between two bins; None for
        none. It takes no thresholds.
      centers: the soft feature's bins, at least 2, ascending; none for "orientation".
      **kwargs: of keras.layers.Layer.

    Raises:
      ValueError: as `blade_tf.blade_select` and `blade_tf.blade_select_soft`; for centers without a soft feature.
    """

    def __init__(
        self,
        strength_thresholds: Sequence[float] = (),
        coherence_thresholds: Sequence[float] = (),
        orientations: int = 24,
        rho: float = 1.0,
        luma: bool = True,
        intensity_thresholds: Sequence[float] = (),
        center: str = "pixel",
        soft: str | None = None,
        centers: Sequence[float] = (),
        **kwargs: Any,
    ) -> None:
        # Without autocasting: half-precision differences of neighbours would decide between bins.
        super().__init__(**{"autocast": False, "trainable": False} | kwargs)
        self.strength_thresholds = [float(t) for t in strength_thresholds]
        self.coherence_thresholds = [float(t) for t in coherence_thresholds]
        self.intensity_thresholds = [float(t) for t in intensity_thresholds]
        self.orientations = orientations
        self.rho = rho
        self.center = center
        self.soft = soft
        self.centers = [float(m) for m in centers]
        self.luma = luma
        self.supports_jit = ops.compiles_with_xla()
        self.num_bins = self.parameters.num_bins
        """The number of values that the selection takes, and of filters that a bank needs."""

    def _arguments(self) -> dict[str, Any]:
        return {
            "strength_thresholds": list(self.strength_thresholds),
            "coherence_thresholds": list(self.coherence_thresholds),
            "orientations": self.orientations,
            "rho": self.rho,
            "intensity_thresholds": list(self.intensity_thresholds),
            "center": self.center,
            "soft": self.soft,
            "centers": list(self.centers),
        }

    def step_parameters(self, image: tf.Tensor) -> dict[str, Any] | None:
        """The arguments of `blade_tf.blade_step` for this selection of an image, None where it has no such form."""
        by_luma = self.luma and image.shape[-1] in (None, 3)
        if self.soft is not None or self.center != "pixel" or by_luma or type(self) is not Selection:
            return None
        return {key: value for key, value in self._arguments().items() if key not in ("center", "soft", "centers")}

    @property
    def parameters(self) -> select_ops.SelectParameters:
        """The checked parameters of the operation."""
        values = self._arguments()
        return select_ops.parameters(*(values[field.name] for field in dataclasses.fields(select_ops.SelectParameters)))

    def at(self, center: str) -> Selection:
        """A selection with the same parameters at another centre, and a name of its own."""
        config = self.get_config() | {"center": center}
        del config["name"]
        return type(self)(**config)

    def call(self, image: tf.Tensor) -> tf.Tensor | SoftSelection:
        image, arguments = _selected_by(image, self.luma), self._arguments()
        if self.soft is not None:
            return select_ops.blade_select_soft(image, **arguments)
        del arguments["soft"], arguments["centers"]
        return select_ops.blade_select(image, **arguments)

    def compute_output_spec(self, image: Any) -> keras.KerasTensor | SoftSelection:
        index = keras.KerasTensor(image.shape[:-1], "int32")
        if self.soft is None:
            return index
        return SoftSelection(
            index, keras.KerasTensor(image.shape[:-1], "int32"), keras.KerasTensor(image.shape[:-1], image.dtype)
        )

    def config_of(self, names: Iterable[str]) -> dict[str, Any]:
        """The arguments of these names, in Python's own types, for the config of another layer."""
        config = self.get_config()
        return {name: config[name] for name in names}

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self._arguments() | {"luma": self.luma}
