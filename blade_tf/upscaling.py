"""Stages of BLADE that are trained to upscale by a factor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from blade_tf import arguments, ops
from blade_tf.interpolation import interpolate
from blade_tf.layers import Blade
from blade_tf.sampling import LEAST_CONDITION, Sampling, gaussian, within_reflection
from blade_tf.selection import Selection

__all__ = ["UpscaleModel"]


@keras.saving.register_keras_serializable("blade_tf")
class UpscaleModel(keras.Model):
    """Upscales f = A u, A u = down(phi * u), phi a Gaussian, in stages, each with filters of its own:

        u_0 = Lanczos interpolation of f,  v_k = u_k + BLADE_k(u_k),  u_{k+1} = v_k + A^+ (f - A v_k).

    A filter is chosen by the structure of the state and by the phase, the pixel's place (y mod factor, x mod factor)
    between those of f: filter (bin factor + y mod factor) factor + x mod factor. The correction makes every u_k after
    u_0 explain f, as eq 4.7 does; the image is extended by reflection beforehand and cut out again.

    Input: float [N, h, w, C], the channels filtered alike. Output: [N, factor h, factor w, C] of the same dtype.

    Args:
      factor: at least 2.
      sigma: standard deviation of phi in high-resolution pixels.
      position: high-resolution pixel that low-resolution pixel 0 sits on: see `blade_tf.sampling.gaussian`.
      selections: for each stage the arguments of its `Selection`, without a soft feature.
      footprint: (R, S) of the filters.
      **kwargs: of keras.Model.

    Raises:
      ValueError: for no stage, a sigma from 0.74 low-resolution pixels on, whose A^+ makes noise of what 8 bits round
        away, and what `blade_tf.sampling.gaussian`, `Selection` and `Blade` refuse; when it is
        applied, for an image that is not float [N, h, w, C], has no pixels, or, outside of graphs, is not finite.
    """

    def __init__(
        self,
        factor: int,
        sigma: float,
        position: float,
        selections: Sequence[dict[str, Any]],
        footprint: Sequence[int] = (7, 7),
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False} | kwargs)
        if not selections:
            raise ValueError("selections: expected at least one stage, got none")
        self.sampling: Sampling = gaussian(factor, sigma, position)
        if self.sampling.condition < LEAST_CONDITION:
            raise ValueError(
                f"sigma: expected a condition of at least {LEAST_CONDITION:g}, got {self.sampling.condition:.1g} of "
                f"sigma {sigma:g}: too wide a blur to be undone"
            )
        self.factor, self.sigma, self.position = int(factor), float(sigma), float(position)
        self.selections = [Selection(**given) for given in selections]
        self._selections = [one.config_of(given) for one, given in zip(self.selections, selections, strict=True)]
        self.stages = [Blade(selection.num_bins * self.factor**2, footprint) for selection in self.selections]
        self.footprint = tuple(footprint)
        self.supports_jit = ops.compiles_with_xla()
        self.built = True

    @property
    def bank(self) -> dict[str, keras.Variable]:
        """The trainable weights by name: stage_0, stage_1, ..."""
        return {f"stage_{k}": blade.filters for k, blade in enumerate(self.stages)}

    def select(self, image: tf.Tensor) -> list[tf.Tensor]:
        """The first stage's selection for an image, without the phase, as a list; no gradient flows through it."""
        return [self.selections[0](tf.stop_gradient(self.start(image)))]

    def mosaic(self) -> tuple[np.ndarray, int]:
        """The first stage's filters of the first phase to look at, and the number of orientations."""
        filters = keras.ops.convert_to_numpy(self.stages[0].filters)
        return filters[:: self.factor**2], self.selections[0].orientations

    def choose(self, k: int, u: tf.Tensor) -> tf.Tensor:
        """The filters of stage k at each pixel of the state u: int32 [N, H, W]."""
        chosen = self.selections[k](tf.stop_gradient(u))
        y, x = (tf.range(tf.shape(u)[axis]) % self.factor for axis in (1, 2))
        return (chosen * self.factor + y[:, tf.newaxis]) * self.factor + x

    def start(self, f: tf.Tensor) -> tf.Tensor:
        """u_0."""
        return interpolate(f, self.factor, self.sampling.position)

    def stage(self, k: int, u: tf.Tensor, f: tf.Tensor) -> tf.Tensor:
        """The state after stage k, from the state u before it; borders are periodic."""
        changed = u + tf.cast(self.stages[k](u, self.choose(k, u)), u.dtype)
        return self.sampling.explaining(f)(changed)

    def __call__(self, image: Any, *args: Any, **kwargs: Any) -> Any:
        # Here, as Keras dresses up the errors of `call`.
        if not isinstance(image, keras.KerasTensor):
            image = arguments.images("image", image, finite=True)
        return super().__call__(image, *args, **kwargs)

    def call(self, image: tf.Tensor) -> tf.Tensor:
        def stages(f: tf.Tensor) -> tf.Tensor:
            u = self.start(f)
            for k in range(len(self.stages)):
                u = self.stage(k, u, f)
            return u

        return within_reflection(image, self.factor, stages, self.sampling.margin)

    def compute_output_spec(self, image: Any) -> keras.KerasTensor:
        n, h, w, c = image.shape
        return keras.KerasTensor((n, h and self.factor * h, w and self.factor * w, c), image.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "factor": self.factor,
            "sigma": self.sigma,
            "position": self.position,
            "selections": [dict(given) for given in self._selections],
            "footprint": list(self.footprint),
        }
