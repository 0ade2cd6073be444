"""Stages of BLADE that are trained to undo a degradation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from blade_tf import layers, ops
from blade_tf.selection import Selection

__all__ = ["RestorationModel", "knot_weights"]


def knot_weights(blur: Any, knots: Sequence[float]) -> tf.Tensor:
    """The weights of linear interpolation between knots, the nearest knot's beyond them: [N] -> [N, knots]."""
    at = tf.convert_to_tensor(blur)[:, tf.newaxis]
    knot = tf.constant(knots, at.dtype)
    rising = tf.clip_by_value(tf.math.divide_no_nan(at - knot[:-1], knot[1:] - knot[:-1]), 0, 1)
    ones = tf.ones_like(at)
    return tf.concat([ones, rising], 1) - tf.concat([rising, tf.zeros_like(at)], 1)


@keras.saving.register_keras_serializable("blade_tf")
class RestorationModel(keras.Model):
    """Restores an image f in stages, each with filters of its own, chosen by the structure of the state so far:

        u_0 = f,  u_{k+1} = u_k + BLADE_k(u_k) + BLADE'_k(f - u_k).

    These are steps of eq 4.2 whose second bank stands for lambda A^T; the first stage has none, as f - u_0 = 0.

    A model with `knots` is told the degradation. With sigma, the standard deviation of the noise, it works on f / sigma
    and multiplies the outcome by sigma: the filters being linear, one bank serves all noise levels, and what selects is
    the strength relative to the noise. Its banks stand at each of the knots, blurs by Gaussians; those of an image are
    interpolated linearly between the knots next to its blur, and are the nearest knot's beyond them.

    Input: float [N, H, W, C], the channels filtered alike; with knots [image, degradation], the latter float [N, 2]:
    the standard deviation of the blur in pixels, and sigma > 0 in the image's unit. Output: the last state, of the
    image's shape, or all of them, [N, stages, H, W, C].

    Args:
      selections: for each stage the arguments of its `Selection`, without a soft feature; of f / sigma with knots.
      footprint: (R, S) of the filters that see the state.
      residual_footprint: (R, S) of those that see f minus the state.
      output: "final" or "trajectory".
      knots: blurs in pixels, ascending from the least to the largest that the model was trained for; () for a model
        that is told nothing.
      noise: with knots, the least and the largest sigma that it was trained for; of use to callers alone.
      **kwargs: of keras.Model.

    Raises:
      ValueError: for no stage, an unknown output, knots that do not ascend, knots without two levels of noise, or what
        `Selection` refuses.
    """

    def __init__(
        self,
        selections: Sequence[dict[str, Any]],
        footprint: Sequence[int] = (7, 7),
        residual_footprint: Sequence[int] = (9, 9),
        output: str = "final",
        knots: Sequence[float] = (),
        noise: Sequence[float] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False} | kwargs)
        if not selections:
            raise ValueError("selections: expected at least one stage, got none")
        if output not in ("final", "trajectory"):
            raise ValueError(f"output: expected 'final' or 'trajectory', got {output!r}")
        if any(low >= high for low, high in itertools.pairwise(knots)):
            raise ValueError(f"knots: expected ascending blurs, got {tuple(knots)}")
        if knots and not (len(noise) == 2 and 0 < noise[0] <= noise[1]):
            raise ValueError(f"noise: expected two levels above 0 with knots, the least first, got {tuple(noise)}")
        self.selections = [Selection(**given) for given in selections]
        self._selections = [one.config_of(given) for one, given in zip(self.selections, selections, strict=True)]
        self.footprint = layers.odd_footprint(footprint)
        self.residual_footprint = layers.odd_footprint(residual_footprint)
        self.output_form = output
        self.knots, self.noise = [float(knot) for knot in knots], [float(level) for level in noise]
        sizes = {f"state_{k}": (k, self.footprint) for k in range(len(selections))}
        sizes |= {f"residual_{k}": (k, self.residual_footprint) for k in range(1, len(selections))}
        banks = (len(self.knots),) if self.knots else ()
        self.bank = {
            name: self.add_weight(
                name=name, shape=(*banks, self.selections[k].num_bins, *taps), initializer="zeros", autocast=False
            )
            for name, (k, taps) in sizes.items()
        }
        """The trainable weights by name: state_0, state_1, residual_1, ..., [bins, R, S] or [knots, bins, R, S]."""
        self.supports_jit = ops.compiles_with_xla()
        self.built = True

    def select(self, inputs: Any) -> list[tf.Tensor]:
        """The first stage's selection of what `call` takes, as a list; no gradient flows through it."""
        return [self.selections[0](tf.stop_gradient(self._prepared(inputs)[0]))]

    def mosaic(self) -> tuple[np.ndarray, int]:
        """The first stage's filters to look at, of the middle knot if any, and the number of orientations."""
        filters = keras.ops.convert_to_numpy(self.bank["state_0"])
        return filters[len(self.knots) // 2] if self.knots else filters, self.selections[0].orientations

    def filters(self, name: str, weights: tf.Tensor | None, dtype: tf.DType) -> tf.Tensor:
        """A bank as the stages use it, [bins, R, S]: with weights of the knots, [N, knots], the images' one by one."""
        bank = tf.cast(self.bank[name], dtype)
        if weights is None:
            return bank
        blended = tf.tensordot(weights, bank, 1)
        return tf.reshape(blended, [-1, *bank.shape[2:]])

    def stage(self, k: int, u: tf.Tensor, f: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        """The state after stage k, from the state u before it and what was given, f; `weights` as of `filters`."""
        chosen = self.selections[k](tf.stop_gradient(u))
        if weights is not None:
            chosen += self.selections[k].num_bins * tf.range(tf.shape(u)[0])[:, tf.newaxis, tf.newaxis]
        change = ops.blade_filter(u, self.filters(f"state_{k}", weights, u.dtype), chosen)
        if k:
            change += ops.blade_filter(f - u, self.filters(f"residual_{k}", weights, u.dtype), chosen)
        return u + change

    def call(self, inputs: Any) -> tf.Tensor:
        image, weights, unit = self._prepared(inputs)
        states = []
        u = image
        for k in range(len(self.selections)):
            u = self.stage(k, u, image, weights)
            states.append(u)
        found = states[-1] if self.output_form == "final" else tf.stack(states, axis=1)
        return found if unit is None else found * tf.reshape(unit, [-1] + [1] * (len(found.shape) - 1))

    def _prepared(self, inputs: Any) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None]:
        """The image as the stages see it, the weights of the knots [N, knots], and sigma [N]; None without knots."""
        image, degradation = self._parts(inputs)
        image = ops.image_tensor(image)
        if not self.knots:
            return image, None, None
        degradation = tf.cast(degradation, image.dtype)
        if not degradation.shape.is_compatible_with([image.shape[0], 2]):
            raise ValueError(f"degradation: expected [N, 2] = [{image.shape[0]}, 2], got {degradation.shape}")
        blur, sigma = (ops.of_shape("degradation", part, "[N]", image, 1) for part in tf.unstack(degradation, axis=1))
        return image / sigma[:, tf.newaxis, tf.newaxis, tf.newaxis], knot_weights(blur, self.knots), sigma

    def _parts(self, inputs: Any) -> tuple[Any, Any]:
        """The image, and what is told of its degradation, None for nothing."""
        if not self.knots:
            return inputs, None
        if not isinstance(inputs, list | tuple) or len(inputs) != 2:
            raise ValueError("inputs: expected [image, degradation], as the model has knots, got one tensor")
        return inputs[0], inputs[1]

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        image, _ = self._parts(inputs)
        shape = tuple(image.shape)
        final = self.output_form == "final"
        return keras.KerasTensor(shape if final else (shape[0], len(self.selections), *shape[1:]), image.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "selections": [dict(arguments) for arguments in self._selections],
            "footprint": list(self.footprint),
            "residual_footprint": list(self.residual_footprint),
            "output": self.output_form,
            "knots": list(self.knots),
            "noise": list(self.noise),
        }
