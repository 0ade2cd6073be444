"""The structure tensor (eqs 2.3-2.4) and the analysis of its eigensystem (section 2.1), at pixels and at faces.

Centre "pixel" is (y, x), "face_x" (y, x + 1/2), "face_y" (y + 1/2, x). Faces have their own grids, [H, W - 1] and
[H - 1, W], and their own frame: the first axis is the face's normal. All that is at face_y is the transpose of what the
transposed image has at face_x.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from blade_tf import image as image_lib

__all__ = [
    "CENTERS",
    "Features",
    "coherence",
    "features",
    "intensity",
    "on_pixels",
    "square_root",
    "strength",
    "structure_tensor",
]

CENTERS: tuple[str, ...] = ("pixel", "face_x", "face_y")


class Features(NamedTuple):
    """The continuous features of section 2.1, and intensity, each [N, H, W]."""

    orientation: tf.Tensor
    strength: tf.Tensor
    coherence: tf.Tensor
    intensity: tf.Tensor


def _transpose_image(image: tf.Tensor) -> tf.Tensor:
    return tf.transpose(image, [0, 2, 1, 3])


def _transpose(field: tf.Tensor) -> tf.Tensor:
    return tf.transpose(field, [0, 2, 1])


def _gradient(image: tf.Tensor, center: str) -> tuple[tf.Tensor, tf.Tensor]:
    """The derivatives along x and y at pixels, or along the normal and the tangent at the faces of face_x."""
    size = tf.shape(image)
    padded = image_lib.pad_replicate(image, 1, 1, 1, 1)
    across = padded[:, 2:, 1 : size[2] + 1, :] - padded[:, : size[1], 1 : size[2] + 1, :]
    if center == "pixel":
        return 0.5 * (padded[:, 1 : size[1] + 1, 2:, :] - padded[:, 1 : size[1] + 1, : size[2], :]), 0.5 * across
    return image[:, :, 1:] - image[:, :, :-1], 0.25 * (across[:, :, :-1] + across[:, :, 1:])


def structure_tensor(image: tf.Tensor, rho: float, center: str = "pixel") -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """J_rho = G_rho * (grad u grad u^T), eqs 2.3-2.4, summed over the channels.

    At a pixel the gradient takes central differences over replicated borders. At a face it takes the difference of
    the face's two pixels along the normal, and along the tangent the mean of the pixels' central differences. G_rho is
    truncated at 3 rho, its border, that of the grid of pixels or faces, replicated too; it runs along x first, for
    face_y along y.

    Args:
      image: [N, H, W, C], float32 or float64.
      rho: standard deviation of the smoothing in pixels; 0 smooths nothing.
      center: where; "face_x" has the shape [N, H, W - 1], "face_y" [N, H - 1, W].

    Returns:
      J11, J12, J22: [N, H, W] each in squared intensity per squared pixel, axis 1 being x (the column axis) or a face's
      normal.
    """
    if center == "face_y":
        j11, j12, j22 = (_transpose(j) for j in structure_tensor(_transpose_image(image), rho, "face_x"))
        return j11, j12, j22
    gx, gy = _gradient(image, center)
    products = tf.stack([gx * gx, gx * gy, gy * gy], axis=-1)
    tensor = image_lib.gaussian_smooth(tf.reduce_sum(products, axis=-2), rho)
    return tensor[..., 0], tensor[..., 1], tensor[..., 2]


def intensity(image: tf.Tensor, center: str = "pixel") -> tf.Tensor:
    """The mean over the channels at a pixel, the mean of a face's two pixels; not smoothed.

    Args:
      image: [N, H, W, C], float32 or float64.
      center: as in `structure_tensor`.

    Returns:
      [N, H, W], [N, H, W - 1] for "face_x" or [N, H - 1, W] for "face_y".
    """
    if center == "face_y":
        return _transpose(intensity(_transpose_image(image), "face_x"))
    # Along the last axis the order of the sum would be the processor's.
    total = tf.reduce_sum(tf.stack([image, image], axis=-1), axis=-2)[..., 0]
    channels = image.shape[-1]
    if channels is None:
        reciprocal = tf.cast(1 / tf.cast(tf.shape(image)[-1], tf.float64), image.dtype)
    else:
        reciprocal = 1 / channels if channels else math.inf
    # Not a division: the graph optimiser would make it a product with the reciprocal.
    mean = total * reciprocal
    return mean if center == "pixel" else 0.5 * (mean[:, :, :-1] + mean[:, :, 1:])


def on_pixels(field: tf.Tensor, image: tf.Tensor, center: str) -> tf.Tensor:
    """Extends a field on the grid of faces to [N, H, W] by zeros in the last column (face_x) or row (face_y)."""
    if center == "pixel":
        return field
    axis = 2 if center == "face_x" else 1
    missing = tf.shape(image)[axis] - tf.shape(field)[axis]
    amounts = [[0, missing if i == axis else 0] for i in range(3)]
    return tf.ensure_shape(tf.pad(field, amounts), image.shape[:3])


def square_root(x: tf.Tensor) -> tf.Tensor:
    """sqrt(x), and 0 with gradient 0 where x <= 0."""
    none = x <= 0
    return tf.where(none, tf.zeros_like(x), tf.sqrt(tf.where(none, tf.ones_like(x), x)))


def strength(trace: tf.Tensor, root: tf.Tensor) -> tf.Tensor:
    """sqrt(l1) of a tensor of trace l1 + l2 and root l1 - l2."""
    return square_root(0.5 * (trace + root))


def coherence(trace: tf.Tensor, root: tf.Tensor, squared_root: tf.Tensor) -> tf.Tensor:
    """(sqrt l1 - sqrt l2) / (sqrt l1 + sqrt l2) = (l1 - l2) / (l1 + l2 + 2 sqrt(l1 l2)), and 0 where l1 = 0."""
    rest = trace * trace - squared_root
    rest = tf.where(rest > 0, rest, tf.zeros_like(rest))
    return tf.math.divide_no_nan(root, trace + square_root(rest))


def features(image: tf.Tensor, rho: float, center: str = "pixel") -> Features:
    """Orientation, strength and coherence of section 2.1, by square roots and the arc tangent, and intensity.

    With l1 >= l2 the eigenvalues of J_rho and w1 the eigenvector of l1: orientation = angle of w1 in [0, pi), from the
    x axis towards y or from a face's normal towards its tangent; strength = sqrt(l1), in intensity per pixel;
    coherence = (sqrt l1 - sqrt l2) / (sqrt l1 + sqrt l2), 0 where l1 = 0. They are differentiable; where one is not (a
    flat or isotropic pixel), its gradient is 0.

    Args:
      image: [N, H, W, C], float32 or float64.
      rho: standard deviation of the smoothing in pixels.
      center: as in `structure_tensor`; the last column of "face_x" and the last row of "face_y", which have no faces,
        hold 0.
    """
    j11, j12, j22 = structure_tensor(image, rho, center)
    c, s, trace = j11 - j22, j12 + j12, j11 + j22
    squared_root = c * c + s * s
    root = square_root(squared_root)
    isotropic = squared_root <= 0
    angle = tf.atan2(tf.where(isotropic, tf.zeros_like(s), s), tf.where(isotropic, tf.ones_like(c), c))
    fields = (
        tf.math.floormod(0.5 * angle, tf.constant(math.pi, image.dtype)),
        strength(trace, root),
        coherence(trace, root, squared_root),
        intensity(image, center),
    )
    return Features(*(on_pixels(field, image, center) for field in fields))
