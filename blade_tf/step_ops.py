"""The fused operation: a step of explicit Euler that selects, filters and updates in one pass over the image."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from blade_tf import native, ops, select_ops

__all__ = ["blade_step"]


@functools.lru_cache(maxsize=16)
def _constant(value: float, dtype: tf.DType) -> tf.Tensor:
    return tf.constant(value, dtype)


def _native_step(
    image: tf.Tensor, filters: tf.Tensor, dt: tf.Tensor, parameters: select_ops.SelectParameters
) -> tf.Tensor:
    index = tf.uint8 if parameters.num_bins <= 256 else tf.int32
    found = native.library.blade_step(image=image, filters=filters, dt=dt, Tsel=index, **parameters.step_arguments)
    return found.output


def blade_step(
    image: Any,
    filters: Any,
    dt: Any,
    *,
    orientations: int = 24,
    strength_thresholds: Sequence[float] = (),
    coherence_thresholds: Sequence[float] = (),
    intensity_thresholds: Sequence[float] = (),
    rho: float = 1.0,
) -> tf.Tensor:
    """A step of explicit Euler with the filters that the pixels select (eqs 2.1-2.6).

    `output = image + dt blade_filter(image, filters, blade_select(image, ...))`, the product and the sum rounded to the
    image's dtype: bit for bit what these operations give, in one pass that keeps the selection and the filtered rows in
    the processor's caches. For the backward pass it keeps the image and the selection, one byte a pixel for up to 256
    combinations of features, four bytes for more. Gradients with respect to the image, the filters and dt are those of
    that expression; as in eq 2.9, none flows through the selection.

    Args:
      image: float16, bfloat16, float32 or float64 [N, H, W, C].
      filters: [K, R, S] of the image's dtype, R and S at least 1, K at least the number of combinations of features.
      dt: length of the step, a scalar.
      orientations, strength_thresholds, coherence_thresholds, intensity_thresholds, rho: as `blade_tf.blade_select`.

    Returns:
      A tensor of the image's shape and dtype.

    Raises:
      TypeError: for a wrong dtype.
      ValueError: as `blade_tf.blade_filter` and `blade_tf.blade_select`; for fewer filters than combinations of
        features, or a dt that is not a scalar (tf.errors.InvalidArgumentError where that is unknown before the graph
        runs).

    Source: "Solving Image PDEs with a Shallow Network" (arXiv 2110.08327), section 2.
    """
    parameters = select_ops.parameters(
        orientations, strength_thresholds, coherence_thresholds, intensity_thresholds, rho
    )
    bins = parameters.num_bins
    if ops.eager(image, filters) and ops.uses_native() and (isinstance(dt, float) or ops.eager(dt)):
        with contextlib.suppress(tf.errors.InvalidArgumentError):  # the checks below know what is wrong
            length = _constant(dt, image.dtype) if isinstance(dt, float) else dt
            return _native_step(image, filters, length, parameters)
    image = ops.image_tensor(image)
    filters = ops.filters_tensor(filters, image)
    try:
        dt = tf.cast(dt, image.dtype) if tf.is_tensor(dt) else tf.convert_to_tensor(dt, image.dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"dt: expected a number, got {dt!r}") from error
    if dt.shape.rank not in (None, 0):
        raise ValueError(f"dt: expected a scalar, got {list(dt.shape)}")
    have = filters.shape[0] if filters.shape.rank == 3 else None
    if have is not None and have < bins:
        raise ValueError(f"filters: expected at least {bins}, one for each combination of features, got {have}")
    if not ops.uses_native():
        selection = select_ops.select(image, parameters)
        return image + dt * ops.blade_filter(image, filters, selection)
    return _native_step(image, filters, dt, parameters)


def _centre(filters: tf.Tensor) -> tf.Tensor:
    """[1, R, S]: 1 at the tap of the pixel itself, 0 elsewhere."""
    shape = filters.shape[1:]
    rows, columns = shape if shape.is_fully_defined() else tf.unstack(tf.shape(filters)[1:], num=2)
    around = [[0, 0], [(rows - 1) // 2, rows // 2], [(columns - 1) // 2, columns // 2]]
    return tf.pad(tf.ones([1, 1, 1], filters.dtype), around)


@tf.RegisterGradient("BladeStep")
def _blade_step_grad(op: tf.Operation, grad: tf.Tensor, _: tf.Tensor | None) -> list[tf.Tensor | None]:
    image, filters, dt = op.inputs
    selection = op.outputs[1]
    found: list[tf.Tensor | None] = [None, None, None]
    # Which gradients nobody asks for: a tape knows, tf.gradients prunes them.
    unwanted = getattr(op, "skip_input_indices", None) or ()
    if 0 not in unwanted:
        # The image's own share is one more tap of every filter.
        taps = dt * filters + _centre(filters)
        found[0] = native.library.blade_filter_grad_image(filters=taps, selection=selection, grad=grad)
    if 1 not in unwanted:
        found[1] = dt * ops.grad_filters(image, selection, grad, filters)
    if 2 not in unwanted:
        rate = native.library.blade_filter(image=image, filters=filters, selection=selection)
        found[2] = tf.reduce_sum(grad * rate)
    return found
