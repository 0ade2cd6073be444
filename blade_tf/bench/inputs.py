"""What the cases compute on: a photograph of any size, a trained bank, a cotangent."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import skimage.data
import tensorflow as tf

from blade_tf import image_io, models, select_ops

__all__ = ["MODEL", "Inputs", "make", "photograph"]

MODEL = "tv_flow_paper"  # 24 orientations x 3 strengths x 3 coherences, 216 filters of 5x5, rho 1


@dataclasses.dataclass(frozen=True)
class Inputs:
    """An image with what belongs to it.

    Attributes:
      size: (width, height).
      gray: float32 [H, W] in [0, 1]; `u` is the same as a tensor [1, H, W, 1].
      colour: float32 [H, W, 3], or None where the image is too large for it; `u3` is [1, H, W, 3].
      filters: [216, 5, 5].
      selection: int32 [1, H, W]; `index` is the same in bytes, as models keep it.
      grad: a cotangent of the filter's output, [1, H, W, 1].
      parameters: of `blade_select`.
      dt: length of a time step.
    """

    size: tuple[int, int]
    gray: np.ndarray
    colour: np.ndarray | None
    u: tf.Tensor
    u3: tf.Tensor | None
    filters: tf.Tensor
    selection: tf.Tensor
    index: tf.Tensor
    grad: tf.Tensor
    parameters: dict[str, Any]
    dt: float


LARGEST_COLOUR = 1 << 23  # pixels


def photograph(path: str | None = None) -> np.ndarray:
    """Float32 [H, W, 3] in [0, 1]: the file, or scikit-image's astronaut.

    Raises:
      ImageError: for a file that is no image.
    """
    if path is None:
        return skimage.data.astronaut().astype(np.float32) / np.float32(255)
    pixels = image_io.read_image(path).pixels
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def _fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image, mirrored at its borders as often as needed and cropped: its statistics are the same at any size."""
    height, width = size[1], size[0]
    padding = [(0, max(height - image.shape[0], 0)), (0, max(width - image.shape[1], 0)), (0, 0)][: image.ndim]
    return np.ascontiguousarray(np.pad(image, padding, mode="symmetric")[:height, :width])


def make(picture: np.ndarray, size: tuple[int, int]) -> Inputs:
    """The inputs of a size from a photograph, float32 [H, W, 3]."""
    trained = models.load_trained(MODEL)
    gray = _fitted(image_io.luma(picture)[..., 0].astype(np.float32), size)
    colour = _fitted(picture, size) if size[0] * size[1] <= LARGEST_COLOUR else None
    chosen = trained.spec["selection"]
    parameters = {key: chosen[key] for key in ("orientations", "strength_thresholds", "coherence_thresholds", "rho")}
    u = tf.constant(gray[np.newaxis, ..., np.newaxis])
    selection = select_ops.blade_select(u, **parameters)
    grad = np.random.default_rng(0).standard_normal(gray.shape, np.float32)
    return Inputs(
        size=size,
        gray=gray,
        colour=colour,
        u=u,
        u3=None if colour is None else tf.constant(colour[np.newaxis]),
        filters=tf.constant(trained.bank()["filters"]),
        selection=selection,
        index=tf.cast(selection, tf.uint8),
        grad=tf.constant(grad[np.newaxis, ..., np.newaxis]),
        parameters=parameters,
        dt=float(trained.spec["dt"]),
    )
