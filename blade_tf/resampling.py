"""Resampling at displaced positions (section 5) by banks of filters, one for each monomial of the displacement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from blade_tf import arguments, convolution, layers, ops
from blade_tf.resample_ops import UNKNOWN, blade_resample, powers
from blade_tf.selection import Selection

__all__ = ["UNKNOWN", "ResampleModel", "spline_coefficients"]

# Centred B-splines at the integers, from 0 outwards.
SPLINES = {1: (1.0,), 3: (4 / 6, 1 / 6), 5: (66 / 120, 26 / 120, 1 / 120)}
RADIUS = 8  # of the spline prefilter: what lies beyond is 1e-3 of it


def _inverse(spline: Sequence[float]) -> list[float]:
    """The symmetric filter that undoes a sampled B-spline, cut at `RADIUS`, of sum 1: from its centre outwards."""
    around = np.zeros(256)
    around[: len(spline)] = spline
    around[-len(spline) + 1 :] += spline[:0:-1]
    half = np.fft.ifft(1 / np.fft.fft(around)).real[: RADIUS + 1]
    return (half / (2 * half.sum() - half[0])).tolist()


def spline_coefficients(image: Any, degree: int) -> tf.Tensor:
    """The coefficients c of the B-spline that interpolates an image, u = sum c B: the image, sharpened.

    By a symmetric filter that reaches 8 pixels, over replicated borders: away from these u is met to 1e-4 of its
    contrast by degree 3, to 5e-3 by degree 5.

    Args:
      image: float [N, H, W, C].
      degree: 1 (c = u), 3 or 5.

    Source: Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal Processing Magazine 16, 1999.
    """
    image = tf.convert_to_tensor(image)
    return image if degree == 1 else convolution.symmetric(image, _inverse(SPLINES[degree]))


def _of_image(v: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """The displacement; an error, in graphs of unknown shape when they run, unless it is [N, H, W, 2] of the image."""
    form, wanted = f"displacement: expected {v.dtype.name} [N, H, W, 2]", tf.TensorShape([*image.shape[:3], 2])
    if not v.shape.is_compatible_with(wanted):
        raise ValueError(f"{form} = {list(wanted)}, got {list(v.shape)}")
    if v.shape.is_fully_defined() and wanted.is_fully_defined():
        return v
    # With -1 behind the sizes, as the rank may differ too.
    sizes = tf.concat([tf.shape(v), [-1] * 5], 0)[:5], tf.concat([tf.shape(image)[:3], [2, -1]], 0)
    with tf.control_dependencies([tf.debugging.assert_equal(*sizes, f"{form} of the sizes of the image")]):
        return tf.ensure_shape(v, wanted)


@keras.saving.register_keras_serializable("blade_tf")
class ResampleModel(keras.Model):
    """Resamples images at displaced positions, eq 5.5 and its continuation to further orders of the displacement.

    With v = [v] + delta, [.] the nearest integers, and y = x + [v], a shift of the index,

        out(x) = u(y) + sum_ij delta_x^i delta_y^j BLADE_ij(c)(y),  1 <= i + j <= order,

    which is near to u(x + v). c are the coefficients of the B-spline that interpolates u: 5x5 of them see further than
    5x5 of u itself. Eq 5.5 is order = 1 and degree = 1, where c = u. Each bank has a filter for each bin of the
    selection of u at y. Positions are clamped to the image: beyond it lies what its border pixels say.

    Inputs, in a list: image, float [N, H, W, C], its channels filtered alike, and displacement, float32 or float64
    [N, H, W, 2], v in pixels, along x first. Output: of the image's shape and dtype; NaN where v is NaN, infinite or
    beyond 1e9, which marks unknown flow. Gradients flow to the image, to the displacement and to the filters.

    Args:
      selection: the arguments of its `Selection`, which is at pixels and without a soft feature.
      order: the highest degree i + j.
      constant: a bank with i + j = 0 too, which changes u itself: it removes noise.
      footprint: (R, S) of the filters, odd.
      degree: of the spline, 1, 3 or 5.
      **kwargs: of keras.Model.

    Raises:
      ValueError: for an order below 1, an unknown degree, an even footprint, another selection, and what `Selection`
        refuses.

    Source: "Solving Image PDEs with a Shallow Network" (arXiv 2110.08327), section 5.
    """

    def __init__(
        self,
        selection: dict[str, Any],
        order: int = 3,
        constant: bool = False,
        footprint: Sequence[int] = (5, 5),
        degree: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False} | kwargs)
        if degree not in SPLINES:
            raise ValueError(f"degree: expected one of {sorted(SPLINES)}, got {degree!r}")
        if np.shape(footprint) != (2,):
            raise ValueError(f"footprint: expected two odd sizes, got {footprint!r}")
        self.selection = Selection(**selection)
        self._selection = self.selection.config_of(selection)
        if self.selection.soft is not None or self.selection.center != "pixel":
            raise ValueError(
                "selection: expected one at pixels without a soft feature, "
                f"got center={self.selection.center!r}, soft={self.selection.soft!r}"
            )
        self.order, self.constant, self.degree = arguments.count("order", order, 1), bool(constant), degree
        self.footprint = layers.odd_footprint(footprint)
        self.powers = powers(self.order, self.constant)
        shape = (self.selection.num_bins, *self.footprint)
        self.bank = {
            name: self.add_weight(name=name, shape=shape, initializer="zeros", autocast=False) for name in self.powers
        }
        """The trainable weights by name: dx, dy, dx2, dxdy, ..."""
        self.supports_jit = ops.compiles_with_xla()
        self.built = True

    def select(self, image: tf.Tensor) -> list[tf.Tensor]:
        """The selection of an image, as a list; no gradient flows through it."""
        return [self.selection(tf.stop_gradient(image))]

    def mosaic(self) -> tuple[np.ndarray, int]:
        """The filters of dx to look at, and the number of orientations."""
        return keras.ops.convert_to_numpy(self.bank["dx"]), self.selection.orientations

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        if not isinstance(inputs, list | tuple) or len(inputs) != 2:
            raise ValueError(f"inputs: expected [image, displacement], got {type(inputs).__name__}")
        image, displacement = inputs
        return self.sample(image, displacement)

    def sample(self, image: Any, displacement: Any, fill: float = float("nan")) -> tf.Tensor:
        """The image at displaced positions, and `fill` where there is no displacement.

        Raises:
          TypeError: for dtypes that are not float.
          ValueError: for other ranks, or sizes that differ (tf.errors.InvalidArgumentError where they are unknown
            before a graph runs).
        """
        image = ops.image_tensor(image)
        image = image if image.shape.rank else tf.ensure_shape(image, [None] * 4)
        v = tf.convert_to_tensor(displacement)
        if v.dtype not in (tf.float32, tf.float64):
            raise TypeError(f"displacement: expected float32 or float64 [N, H, W, 2], got {v.dtype.name} {v.shape}")
        v = _of_image(v, image)
        u = tf.cast(image, tf.float64 if image.dtype == tf.float64 else tf.float32)
        filters = tf.stack([tf.cast(self.bank[name], u.dtype) for name in self.powers])
        coefficients, (chosen,) = spline_coefficients(u, self.degree), self.select(u)
        found = blade_resample(u, coefficients, filters, chosen, v, self.order, self.constant, fill)
        return tf.ensure_shape(tf.cast(found, image.dtype), image.shape)

    def compute_output_spec(self, inputs: Sequence[Any]) -> keras.KerasTensor:
        return keras.KerasTensor(inputs[0].shape, inputs[0].dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "selection": dict(self._selection),
            "order": self.order,
            "constant": self.constant,
            "footprint": list(self.footprint),
            "degree": self.degree,
        }
