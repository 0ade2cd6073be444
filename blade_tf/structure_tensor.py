"""The structure tensor (eqs 2.3-2.4) and the analysis of its eigensystem (section 2.1)."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from blade_tf import image as image_lib

__all__ = ["Features", "features", "structure_tensor"]


class Features(NamedTuple):
    """The continuous features of section 2.1, each [N, H, W]."""

    orientation: tf.Tensor
    strength: tf.Tensor
    coherence: tf.Tensor


def structure_tensor(image: tf.Tensor, rho: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """J_rho = G_rho * (grad u grad u^T), eqs 2.3-2.4, summed over the channels.

    The gradient takes central differences over replicated borders; G_rho is truncated at 3 rho, its border replicated
    too.

    Args:
      image: [N, H, W, C], float32 or float64.
      rho: standard deviation of the smoothing in pixels; 0 smooths nothing.

    Returns:
      J11, J12, J22: [N, H, W] each, x the column axis, in squared intensity per squared pixel.
    """
    size = tf.shape(image)
    padded = image_lib.pad_replicate(image, 1, 1, 1, 1)
    gx = 0.5 * (padded[:, 1 : size[1] + 1, 2:, :] - padded[:, 1 : size[1] + 1, : size[2], :])
    gy = 0.5 * (padded[:, 2:, 1 : size[2] + 1, :] - padded[:, : size[1], 1 : size[2] + 1, :])
    products = tf.stack([gx * gx, gx * gy, gy * gy], axis=-1)
    tensor = image_lib.gaussian_smooth(tf.reduce_sum(products, axis=-2), rho)
    return tensor[..., 0], tensor[..., 1], tensor[..., 2]


def features(image: tf.Tensor, rho: float) -> Features:
    """Orientation, strength and coherence of section 2.1, by square roots and the arc tangent.

    With l1 >= l2 the eigenvalues of J_rho and w1 the eigenvector of l1: orientation = angle of w1 in [0, pi); strength
    = sqrt(l1), in intensity per pixel; coherence = (sqrt l1 - sqrt l2) / (sqrt l1 + sqrt l2), 0 where l1 = 0.

    Args:
      image: [N, H, W, C], float32 or float64.
      rho: standard deviation of the smoothing in pixels.
    """
    j11, j12, j22 = structure_tensor(image, rho)
    c, s, trace = j11 - j22, j12 + j12, j11 + j22
    root = tf.sqrt(c * c + s * s)
    strength = tf.sqrt(0.5 * (trace + root))
    minor = tf.sqrt(tf.maximum(0.5 * (trace - root), 0))
    orientation = tf.math.floormod(0.5 * tf.atan2(s, c), tf.constant(3.141592653589793, image.dtype))
    return Features(orientation, strength, tf.math.divide_no_nan(strength - minor, strength + minor))
