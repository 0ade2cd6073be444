"""The second layer of BLADE: the bank of filters, free or so constrained that evolutions are stable by proof."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from blade_tf import arguments, ops

__all__ = ["Blade", "ConvexBlade", "StandingStill", "apply_bank", "check_selection_spec", "odd_footprint"]


def odd_footprint(footprint: Sequence[int]) -> tuple[int, int]:
    """The footprint as two integers; ValueError unless both are odd and positive."""
    if len(footprint) != 2 or any(size < 1 or size % 2 != 1 for size in footprint):
        raise ValueError(f"footprint: expected two odd sizes, got {tuple(footprint)!r}")
    return int(footprint[0]), int(footprint[1])


def _is_soft(selection: Any) -> bool:
    # Saved models come back with a list of three tensors in place of the tuple.
    return isinstance(selection, list | tuple) and len(selection) == 3 and all(hasattr(x, "dtype") for x in selection)


def apply_bank(image: Any, filters: Any, selection: Any) -> tf.Tensor:
    """`blade_filter`, or for a soft selection `blade_filter_soft`."""
    return (ops.blade_filter_soft if _is_soft(selection) else ops.blade_filter)(image, filters, selection)


def check_selection_spec(name: str, selection: Any) -> None:
    """ValueError unless the symbolic selection is int32 [N, H, W], or a soft one of two such and a float [N, H, W]."""
    for part in selection[:2] if _is_soft(selection) else [selection]:
        if keras.backend.standardize_dtype(part.dtype) != "int32" or len(part.shape) != 3:
            raise ValueError(f"{name}: expected int32 [N, H, W], got {part.dtype} {list(part.shape)}")
    if _is_soft(selection):
        weight = selection[2]
        if not keras.backend.is_float_dtype(weight.dtype) or len(weight.shape) != 3:
            raise ValueError(f"{name}: expected a float weight [N, H, W], got {weight.dtype} {list(weight.shape)}")


def _output_spec(layer: keras.layers.Layer, image: Any, selection: Any) -> keras.KerasTensor:
    if len(image.shape) != 4:
        raise ValueError(f"image: expected [N, H, W, C], got {list(image.shape)}")
    check_selection_spec("selection", selection)
    return keras.KerasTensor(image.shape, layer.compute_dtype)


@keras.saving.register_keras_serializable("blade_tf")
class Blade(keras.layers.Layer):
    """Applies at each pixel the filter of a trainable bank that it selects (eq 2.1): see `blade_tf.blade_filter`.

    Inputs: image, float [N, H, W, C], and selection, int32 [N, H, W] in [0, num_filters), or a soft one
    (`blade_tf.blade_filter_soft`). Output: [N, H, W, C]. Weight: `filters` [num_filters, R, S].

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
        self.num_filters = arguments.count("num_filters", num_filters, 1)
        self.footprint = odd_footprint(footprint)
        self.filters_initializer = keras.initializers.get(filters_initializer)
        self.filters_regularizer = keras.regularizers.get(filters_regularizer)
        self.filters_constraint = keras.constraints.get(filters_constraint)
        self.supports_jit = ops.compiles_with_xla()
        self.filters = self.add_weight(
            name="filters",
            shape=(self.num_filters, *self.footprint),
            initializer=self.filters_initializer,
            regularizer=self.filters_regularizer,
            constraint=self.filters_constraint,
        )
        self.built = True

    def call(self, image: tf.Tensor, selection: Any) -> tf.Tensor:
        return apply_bank(image, keras.ops.cast(self.filters, image.dtype), selection)

    def compute_output_spec(self, image: Any, selection: Any) -> keras.KerasTensor:
        return _output_spec(self, image, selection)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_filters": self.num_filters,
            "footprint": list(self.footprint),
            "filters_initializer": keras.initializers.serialize(self.filters_initializer),
            "filters_regularizer": keras.regularizers.serialize(self.filters_regularizer),
            "filters_constraint": keras.constraints.serialize(self.filters_constraint),
        }


@keras.saving.register_keras_serializable("blade_tf")
class StandingStill(keras.initializers.Initializer):
    """Logits [K, R, S] of the filters of `ConvexBlade` that keep a pixel's value but for a share of its neighbours'.

    The weight of the centre is 1 - moved, that of each other pixel of the footprint moved / (R S - 1). A step thus
    changes an image in [0, 1] by at most `moved`.

    Args:
      moved: the neighbours' share, in (0, 1). At 0 the gradient would vanish.
    """

    def __init__(self, moved: float = 0.01) -> None:
        if not 0 < moved < 1:
            raise ValueError(f"moved: expected a number between 0 and 1, got {moved!r}")
        self.moved = float(moved)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """The logits: those of the neighbours are 0."""
        rows, columns = shape[1:]
        logits = np.zeros(shape)
        logits[:, rows // 2, columns // 2] = math.log((1 - self.moved) / self.moved * max(rows * columns - 1, 1))
        return keras.ops.convert_to_tensor(logits, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"moved": self.moved}


@keras.saving.register_keras_serializable("blade_tf")
class ConvexBlade(keras.layers.Layer):
    """`Blade` with filters whose explicit Euler steps obey a maximum principle, by proof.

    `filters[k] = (p[k] - delta) / dt` with `p[k] = softmax(logits[k])` over the footprint, delta = 1 at its centre and
    0 elsewhere: delta + dt filters[k] = p[k] is positive and sums to one.

    Maximum principle: for 0 <= dt' <= dt and any selection s, `u' = u + dt' BLADE(u)` has

      min of u over i's footprint <= u'[i] <= max of u over i's footprint, for each pixel i,

    because with a = dt' / dt in [0, 1], `u'[i] = (1 - a) u[i] + a sum_j p[s(i)][j] u[i + j]` is a convex combination of
    old values: the coefficients are at least 0, and their sum is (1 - a) + a = 1. Values beyond the border are
    replicated pixels, values of u as well. It makes no difference how s depends on u, so that the bound carries over to
    any number of steps; nor whether it is soft, because (1 - w) p[lower] + w p[upper] is positive and sums to one too.
    It holds up to rounding in the compute dtype, and for explicit Euler, not for eq 2.7.

    Inputs and output as of `Blade`. Weight: `logits` [num_filters, R, S].

    Args:
      num_filters: number of filters, such as `Selection.num_bins`.
      dt: the longest time step.
      footprint: (R, S), odd.
      logits_initializer: `StandingStill()` by default: nearly no change, where a change of exactly 0 could not be
        learnt from.
      **kwargs: of keras.layers.Layer.

    Raises:
      ValueError: for num_filters < 1, a dt that is not positive, or a footprint that is even or empty.

    Source: "Solving Image PDEs with a Shallow Network" (arXiv 2110.08327), eqs 2.1 and 2.6.
    """

    def __init__(
        self,
        num_filters: int,
        dt: float,
        footprint: Sequence[int] = (5, 5),
        logits_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_filters = arguments.count("num_filters", num_filters, 1)
        self.dt = arguments.positive("dt", dt)
        self.footprint = odd_footprint(footprint)
        self.logits_initializer = keras.initializers.get(logits_initializer) or StandingStill()
        self.supports_jit = ops.compiles_with_xla()
        # Without autocasting: half precision is for the filters, not for the exponentials that they are made of.
        self.logits = self.add_weight(
            name="logits",
            shape=(self.num_filters, *self.footprint),
            initializer=self.logits_initializer,
            autocast=False,
        )
        self.built = True

    @property
    def filters(self) -> tf.Tensor:
        """The bank [num_filters, R, S], of zero sum."""
        taps = self.footprint[0] * self.footprint[1]
        weights = tf.nn.softmax(tf.reshape(tf.convert_to_tensor(self.logits), [-1, taps])) / self.dt
        neighbours = weights * tf.constant(np.arange(taps) != taps // 2, weights.dtype)
        # Not (p - 1) / dt at the centre: its rounding would be no part of the others', and constants would drift.
        centre = -tf.reduce_sum(neighbours, -1, keepdims=True) * tf.one_hot([taps // 2], taps, dtype=weights.dtype)
        return tf.reshape(neighbours + centre, [-1, *self.footprint])

    def assign_filters(self, filters: Any, floor: float = 1e-5) -> None:
        """Sets the logits so that the layer's filters are near given ones.

        `p = max(delta + dt filters, floor)`, divided by its sum: the given ones themselves where delta + dt filters is
        nowhere below the floor and sums to one.

        Args:
          filters: [num_filters, R, S].
          floor: the least weight, in (0, 1 / (R S)); logits of weights near 0 would hardly ever change again.

        Raises:
          ValueError: for another shape, values that are not finite, or a floor out of range.
        """
        values = np.asarray(filters, np.float64)
        wanted = (self.num_filters, *self.footprint)
        if values.shape != wanted:
            raise ValueError(f"filters: expected finite numbers {list(wanted)}, got {list(values.shape)}")
        if not np.isfinite(values).all():
            got = values[~np.isfinite(values)][0]
            raise ValueError(f"filters: expected finite numbers {list(wanted)}, got {got}")
        rows, columns = self.footprint
        if not 0 < floor < 1 / (rows * columns):
            raise ValueError(f"floor: expected a number between 0 and 1 / {rows * columns}, got {floor!r}")
        weights = self.dt * values
        weights[:, rows // 2, columns // 2] += 1
        weights = np.maximum(weights, floor)
        self.logits.assign(np.log(weights / weights.sum((1, 2), keepdims=True)))

    def call(self, image: tf.Tensor, selection: Any) -> tf.Tensor:
        return apply_bank(image, tf.cast(self.filters, image.dtype), selection)

    def compute_output_spec(self, image: Any, selection: Any) -> keras.KerasTensor:
        return _output_spec(self, image, selection)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_filters": self.num_filters,
            "dt": self.dt,
            "footprint": list(self.footprint),
            "logits_initializer": keras.initializers.serialize(self.logits_initializer),
        }
