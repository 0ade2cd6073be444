"""Stages of BLADE that are trained to undo a degradation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from blade_tf import ops
from blade_tf.layers import Blade
from blade_tf.selection import Selection

__all__ = ["RestorationModel"]


@keras.saving.register_keras_serializable("blade_tf")
class RestorationModel(keras.Model):
    """Restores an image f in stages, each with filters of its own, chosen by the structure of the state so far:

        u_0 = f,  u_{k+1} = u_k + BLADE_k(u_k) + BLADE'_k(f - u_k).

    These are steps of eq 4.2 whose second bank stands for lambda A^T; the first stage has none, as f - u_0 = 0.

    Input: float [N, H, W, C], the channels filtered alike. Output: the last state, of the same shape, or all of them,
    [N, stages, H, W, C].

    Args:
      selections: for each stage the arguments of its `Selection`, without a soft feature.
      footprint: (R, S) of the filters that see the state.
      residual_footprint: (R, S) of those that see f minus the state.
      output: "final" or "trajectory".
      **kwargs: of keras.Model.

    Raises:
      ValueError: for no stage, an unknown output, or what `Selection` and `Blade` refuse.
    """

    def __init__(
        self,
        selections: Sequence[dict[str, Any]],
        footprint: Sequence[int] = (7, 7),
        residual_footprint: Sequence[int] = (9, 9),
        output: str = "final",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False} | kwargs)
        if not selections:
            raise ValueError("selections: expected at least one stage, got none")
        if output not in ("final", "trajectory"):
            raise ValueError(f"output: expected 'final' or 'trajectory', got {output!r}")
        self.selections = [Selection(**arguments) for arguments in selections]
        self.states = [Blade(selection.num_bins, footprint) for selection in self.selections]
        self.residuals = [Blade(selection.num_bins, residual_footprint) for selection in self.selections[1:]]
        self.footprint, self.residual_footprint = tuple(footprint), tuple(residual_footprint)
        self.output_form = output
        self.supports_jit = ops.compiles_with_xla()
        self.built = True

    @classmethod
    def from_spec(cls, spec: dict[str, Any], output: str) -> RestorationModel:
        """From what training writes: see `blade_tf.models.build`."""
        return cls(spec["selections"], spec["footprint"], spec["residual_footprint"], output)

    @property
    def bank(self) -> dict[str, keras.Variable]:
        """The trainable weights by name: state_0, state_1, residual_1, ..."""
        named = {f"state_{k}": blade.filters for k, blade in enumerate(self.states)}
        return named | {f"residual_{k}": blade.filters for k, blade in enumerate(self.residuals, 1)}

    def select(self, image: tf.Tensor) -> list[tf.Tensor]:
        """The first stage's selection of an image, as a list; no gradient flows through it."""
        return [self.selections[0](tf.stop_gradient(image))]

    def mosaic(self) -> tuple[np.ndarray, int]:
        """The first stage's filters to look at, and the number of orientations."""
        return keras.ops.convert_to_numpy(self.states[0].filters), self.selections[0].orientations

    def stage(self, k: int, u: tf.Tensor, f: tf.Tensor) -> tf.Tensor:
        """The state after stage k, from the state u before it and what was given, f."""
        chosen = self.selections[k](tf.stop_gradient(u))
        change = self.states[k](u, chosen)
        if k:
            change += self.residuals[k - 1](f - u, chosen)
        return u + tf.cast(change, u.dtype)

    def call(self, image: tf.Tensor) -> tf.Tensor:
        image = ops.image_tensor(image)
        states = []
        u = image
        for k in range(len(self.selections)):
            u = self.stage(k, u, image)
            states.append(u)
        return u if self.output_form == "final" else tf.stack(states, axis=1)

    def compute_output_spec(self, image: Any) -> keras.KerasTensor:
        shape = tuple(image.shape)
        final = self.output_form == "final"
        return keras.KerasTensor(shape if final else (shape[0], len(self.selections), *shape[1:]), image.dtype)

    def get_config(self) -> dict[str, Any]:
        # A selection's own config names a layer: its arguments are what another model is built of.
        arguments = [
            {k: v for k, v in s.get_config().items() if k not in ("name", "dtype", "trainable")}
            for s in self.selections
        ]
        return super().get_config() | {
            "selections": arguments,
            "footprint": list(self.footprint),
            "residual_footprint": list(self.residual_footprint),
            "output": self.output_form,
        }
