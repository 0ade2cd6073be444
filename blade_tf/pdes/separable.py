"""Linear operators that act along the rows and the columns of an image, as products with dense matrices.

A step that XLA compiles runs them at the speed of matrix products, for any size of image: at 384 x 384 pixels faster
than the sliding sums of a Gaussian of radius 12. The cost grows as H W (H + W).
"""

from __future__ import annotations

import functools
import math

import numpy as np
import tensorflow as tf

from blade_tf import image as image_lib

__all__ = ["along_both_axes", "cosine_matrix", "gaussian_matrix", "static_size"]


@functools.lru_cache(maxsize=32)
def cosine_matrix(n: int) -> np.ndarray:
    """The orthonormal DCT-II, float64 [n, n]: row k is the cosine `cos(pi k (i + 1/2) / n)`, scaled to norm 1.

    The rows are the eigenvectors of the difference Laplacian with zero flux across the ends, [1 -2 1] in the interior,
    of eigenvalues `2 cos(pi k / n) - 2`.
    """
    modes = np.cos(np.pi / max(n, 1) * np.outer(np.arange(n), np.arange(n) + 0.5)) * math.sqrt(2 / max(n, 1))
    modes[:1] /= math.sqrt(2)
    return modes


@functools.lru_cache(maxsize=32)
def gaussian_matrix(n: int, sigma: float) -> np.ndarray:
    """`image.gaussian_kernel` with replicated ends, float64 [n, n]; rows sum to 1."""
    kernel = image_lib.gaussian_kernel(sigma)
    radius = len(kernel) // 2
    matrix = np.zeros((n, n))
    for k, weight in zip(range(-radius, radius + 1), kernel, strict=True):
        np.add.at(matrix, (np.arange(n), np.clip(np.arange(n) + k, 0, n - 1)), weight)
    return matrix


def static_size(u: tf.Tensor) -> tuple[int, int]:
    """H and W of u [N, H, W, C]; ValueError where they are not known when a graph is traced."""
    _, height, width, _ = u.shape
    if height is None or width is None:
        raise ValueError(f"u: expected a static height and width, got {u.shape.as_list()}")
    return height, width


def along_both_axes(u: tf.Tensor, rows: np.ndarray, columns: np.ndarray) -> tf.Tensor:
    """`rows @ u[n, :, :, c] @ columns^T` for u [N, H, W, C], rows [H', H] and columns [W', W]: [N, H', W', C]."""
    height, width = static_size(u)
    count, channels = tf.shape(u)[0], tf.shape(u)[3]
    # Products of two matrices: those with a batch of matrices are slower under XLA.
    v = tf.reshape(tf.transpose(u, [0, 3, 1, 2]), [count * channels * height, width])
    v = tf.matmul(v, tf.constant(columns, u.dtype), transpose_b=True)
    v = tf.transpose(tf.reshape(v, [count * channels, height, len(columns)]), [0, 2, 1])
    v = tf.reshape(v, [count * channels * len(columns), height])
    v = tf.matmul(v, tf.constant(rows, u.dtype), transpose_b=True)
    return tf.transpose(tf.reshape(v, [count, channels, len(columns), len(rows)]), [0, 3, 2, 1])
