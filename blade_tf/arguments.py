"""Checks of numbers and images that callers give."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["count", "images", "positive"]


def positive(name: str, value: Any) -> float:
    """The value as a float; ValueError unless it is a positive finite number, which may be an array [] too."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < math.inf:
        raise ValueError(f"{name}: expected a positive number, got {value!r}")
    return float(value)


def count(name: str, value: Any, least: int = 0) -> int:
    """The value as an int; ValueError unless it is an integer, and not below the least."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        kind = f"an integer of at least {least}" if least else "a non-negative integer"
        raise ValueError(f"{name}: expected {kind}, got {value!r}")
    return int(value)


def images(name: str, value: Any, dtypes: tuple[tf.DType, ...] = (), finite: bool = False) -> tf.Tensor:
    """The value as a tensor [N, H, W, C], N of 0 or more.

    Raises:
      ValueError: another dtype than these, or, without any, than floats; another rank; no pixel or channel; with
        `finite`, outside of graphs, NaN or infinity.
    """
    image = tf.convert_to_tensor(value)
    got = f"{image.dtype.name} {'of unknown rank' if image.shape.rank is None else list(image.shape)}"
    fits = image.dtype in dtypes if dtypes else image.dtype.is_floating
    if not fits or image.shape.rank not in (None, 4):
        form = " or ".join(dtype.name for dtype in dtypes) or "float"
        raise ValueError(f"{name}: expected {form} [N, H, W, C], got {got}")
    image = tf.ensure_shape(image, [None] * 4)
    if 0 in image.shape[1:]:
        raise ValueError(f"{name}: expected at least one pixel and channel, got {got}")
    if finite and tf.executing_eagerly() and not bool(tf.reduce_all(tf.math.is_finite(image))):
        raise ValueError(f"{name}: expected finite values, got NaN or infinity")
    return image
