"""The second layer of BLADE: the bank of filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from blade_tf import ops

__all__ = ["Blade"]


@keras.saving.register_keras_serializable("blade_tf")
class Blade(keras.layers.Layer):
    """Applies at each pixel the filter of a trainable bank that it selects (eq 2.1): see `blade_tf.blade_filter`.

    Inputs: image, float [N, H, W, C], and selection, int32 [N, H, W] in [0, num_filters). Output: [N, H, W, C].
    Weight: `filters` [num_filters, R, S].

    Args:
      num_filters: number of filters, such as `Selection.num_bins`.
      footprint: (R, S), odd.
      filters_initializer: zeros by default: as the rate of an evolution the layer then starts from standing still.
      filters_regularizer: a Keras regularizer of the bank.
      filters_constraint: a Keras constraint of the bank.
      **kwargs: of keras.layers.Layer.

    Raises:
      ValueError: for num_filters < 1, or a footprint that is even or empty.
    """

    def __init__(
        self,
        num_filters: int,
        footprint: Sequence[int] = (5, 5),
        filters_initializer: Any = "zeros",
        filters_regularizer: Any = None,
        filters_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_filters < 1 or int(num_filters) != num_filters:
            raise ValueError(f"num_filters: expected an integer of at least 1, got {num_filters!r}")
        if len(footprint) != 2 or any(size < 1 or size % 2 != 1 for size in footprint):
            raise ValueError(f"footprint: expected two odd sizes, got {tuple(footprint)!r}")
        self.num_filters = int(num_filters)
        self.footprint = (int(footprint[0]), int(footprint[1]))
        self.filters_initializer = keras.initializers.get(filters_initializer)
        self.filters_regularizer = keras.regularizers.get(filters_regularizer)
        self.filters_constraint = keras.constraints.get(filters_constraint)
        self.supports_jit = not ops.uses_native()
        self.filters = self.add_weight(
            name="filters",
            shape=(self.num_filters, *self.footprint),
            initializer=self.filters_initializer,
            regularizer=self.filters_regularizer,
            constraint=self.filters_constraint,
        )
        self.built = True

    def call(self, image: tf.Tensor, selection: tf.Tensor) -> tf.Tensor:
        return ops.blade_filter(image, keras.ops.cast(self.filters, image.dtype), selection)

    def compute_output_spec(self, image: Any, selection: Any) -> keras.KerasTensor:
        if len(image.shape) != 4:
            raise ValueError(f"image: expected [N, H, W, C], got {list(image.shape)}")
        if keras.backend.standardize_dtype(selection.dtype) != "int32" or len(selection.shape) != 3:
            raise ValueError(f"selection: expected int32 [N, H, W], got {selection.dtype} {list(selection.shape)}")
        return keras.KerasTensor(image.shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_filters": self.num_filters,
            "footprint": list(self.footprint),
            "filters_initializer": keras.initializers.serialize(self.filters_initializer),
            "filters_regularizer": keras.regularizers.serialize(self.filters_regularizer),
            "filters_constraint": keras.constraints.serialize(self.filters_constraint),
        }
