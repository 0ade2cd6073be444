"""The operations of BLADE: apply at each pixel one filter of a bank, and choose that filter by local structure.

Each has a native implementation (C++, threaded by TensorFlow's own pool) and one in stock TensorFlow, which is its
oracle, its fallback and the form of portable exports. `implementation` chooses; the native one is the default where it
is installed.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from blade_tf import native, stock

__all__ = ["blade_filter", "blade_select", "implementation", "uses_native"]

FLOATS = (tf.float16, tf.bfloat16, tf.float32, tf.float64)
MAX_RHO = 1e4

_chosen: contextvars.ContextVar[str | None] = contextvars.ContextVar("blade_tf_implementation", default=None)


@contextlib.contextmanager
def implementation(name: Literal["native", "stock"]) -> Iterator[None]:
    """Makes the operations called (or traced into a graph) inside the block native or stock.

    Raises:
      ValueError: for another name, or for "native" where the native library is not installed.
    """
    if name not in ("native", "stock"):
        raise ValueError(f"implementation: expected 'native' or 'stock', got {name!r}")
    if name == "native" and native.library is None:
        raise ValueError("implementation: got 'native', but blade_tf was installed without its native library")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def uses_native() -> bool:
    """Whether the operations called here are the native ones."""
    return native.library is not None and _chosen.get() != "stock"


def _got(tensor: tf.Tensor) -> str:
    return f"got {tensor.dtype.name} {'of unknown rank' if tensor.shape.rank is None else list(tensor.shape)}"


def _check_rank(name: str, tensor: tf.Tensor, form: str, rank: int) -> None:
    if tensor.shape.rank not in (None, rank):
        raise ValueError(f"{name}: expected {form}, {_got(tensor)}")


def image_tensor(image: Any) -> tf.Tensor:
    """The image as a tensor; TypeError or ValueError unless it is float [N, H, W, C]."""
    image = tf.convert_to_tensor(image)
    if image.dtype not in FLOATS:
        raise TypeError(f"image: expected float16, bfloat16, float32 or float64 [N, H, W, C], {_got(image)}")
    _check_rank("image", image, f"{image.dtype.name} [N, H, W, C]", 4)
    return image


def blade_filter(image: Any, filters: Any, selection: Any) -> tf.Tensor:
    """Applies at each pixel the filter that the pixel selects, to each channel (eq 2.1).

    `output[n, y, x, c] = sum_{r, s} filters[selection[n, y, x], r, s] image[n, y + r - R // 2, x + s - S // 2, c]`:
    cross-correlation, the image extended by replicating its border pixels. The cost does not depend on K.

    The gradients with respect to the image and the filters are eq 2.9, at the borders the exact adjoint of the
    replicated extension; `selection` has none. The filter is bilinear, and second derivatives are supported too.
    Results are the same for any number of threads. float16 and bfloat16 are accumulated in float32. NaN and infinity
    stay within their stencil.

    Args:
      image: float16, bfloat16, float32 or float64 [N, H, W, C].
      filters: [K, R, S] of the image's dtype, R and S odd.
      selection: int32 [N, H, W], values in [0, K).

    Returns:
      A tensor of the image's shape and dtype.

    Raises:
      TypeError: for a wrong dtype.
      ValueError: for a wrong rank, shapes that do not match, or an even or empty footprint.
      tf.errors.InvalidArgumentError: for a selection out of range (the message has its value and position), and for
        shapes that are wrong but unknown until the graph runs.

    Source: "Solving Image PDEs with a Shallow Network" (arXiv 2110.08327), eqs 2.1 and 2.9.
    """
    image = image_tensor(image)
    filters = tf.convert_to_tensor(filters)
    selection = tf.convert_to_tensor(selection)
    if filters.dtype != image.dtype:
        raise TypeError(f"filters: expected {image.dtype.name} [K, R, S] like the image, {_got(filters)}")
    _check_rank("filters", filters, f"{image.dtype.name} [K, R, S]", 3)
    if filters.shape.rank == 3 and any(size is not None and size % 2 == 0 for size in filters.shape[1:]):
        raise ValueError(f"filters: expected [K, R, S] with odd R and S, {_got(filters)}")
    if selection.dtype != tf.int32:
        raise TypeError(f"selection: expected int32 [N, H, W], {_got(selection)}")
    _check_rank("selection", selection, "int32 [N, H, W]", 3)
    if not selection.shape.is_compatible_with(image.shape[:3]):
        raise ValueError(f"selection: expected int32 [N, H, W] = {list(image.shape[:3])}, {_got(selection)}")
    if not uses_native():
        return stock.blade_filter(image, filters, selection)
    return native.library.blade_filter(image=image, filters=filters, selection=selection)


def check_thresholds(name: str, thresholds: Sequence[float], low: float, high: float) -> list[float]:
    """The thresholds as floats; ValueError unless, in float32, they are finite, ascending and within [low, high]."""
    values = [float(t) for t in thresholds]
    single = _in_float32(values)
    finite = all(math.isfinite(t) for t in single) and all(low <= t <= high for t in values)
    if not finite or any(a >= b for a, b in itertools.pairwise(single)):
        raise ValueError(f"{name}: expected ascending numbers in [{low:g}, {high:g}], got {values}")
    return values


def _in_float32(values: Sequence[float]) -> list[float]:
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32).tolist()


def blade_select(
    image: Any,
    *,
    orientations: int = 24,
    strength_thresholds: Sequence[float],
    coherence_thresholds: Sequence[float],
    rho: float = 1.0,
) -> tf.Tensor:
    """Chooses at each pixel a filter by the structure tensor's orientation, strength and coherence (section 2.1).

    `index = ori + orientations * (str + n_strength * coh)` (eq 2.5), where n thresholds make n + 1 bins. With J_rho of
    eqs 2.3-2.4 summed over the channels (central differences and a Gaussian truncated at 3 rho, borders replicated),
    l1 >= l2 its eigenvalues and w1 the eigenvector of l1:

    - str = number of thresholds t with sqrt(l1) > t; t in intensity per pixel, t >= 0;
    - coh = number of thresholds q with (sqrt l1 - sqrt l2) / (sqrt l1 + sqrt l2) > q; q in [0, 1];
    - ori = the bin of width pi / orientations that holds the angle of w1; bin 0 contains the x axis, and is centred on
      it where `orientations` is even (for odd numbers the bins are turned by a quarter of a bin, so that neither axis
      is an edge).

    It is computed without square roots or arc tangents: with c = J11 - J22, s = 2 J12, R2 = c^2 + s^2 and tr = J11 +
    J22, strength is R2 > u |u| for u = 2 t^2 - tr, coherence is R2 > k^2 tr^2 for k = 2 q / (1 + q^2), and orientation
    compares cross products of (c, s) with the edges' directions. These comparisons, in float32 (float64 for a float64
    image), are the definition: every implementation agrees exactly away from ties. They are strict, so flat pixels and
    NaN take bin 0. No gradient.

    Args:
      image: float16, bfloat16, float32 or float64 [N, H, W, C].
      orientations: number of orientation bins, at least 1.
      strength_thresholds: ascending, in intensity per pixel.
      coherence_thresholds: ascending, in [0, 1].
      rho: standard deviation of the tensor's smoothing in pixels, at most 10000; 0 smooths nothing.

    Returns:
      int32 [N, H, W].

    Raises:
      TypeError: for a wrong dtype.
      ValueError: for a wrong rank, thresholds that do not ascend or are out of range, `orientations` < 1, rho out of
        range.

    Source: "Solving Image PDEs with a Shallow Network" (arXiv 2110.08327), section 2.1.
    """
    image = image_tensor(image)
    if isinstance(orientations, bool) or not isinstance(orientations, int | np.integer) or orientations < 1:
        raise ValueError(f"orientations: expected an integer of at least 1, got {orientations!r}")
    strength = check_thresholds("strength_thresholds", strength_thresholds, 0.0, math.inf)
    coherence = check_thresholds("coherence_thresholds", coherence_thresholds, 0.0, 1.0)
    bins = int(orientations) * (len(strength) + 1) * (len(coherence) + 1)
    if bins > tf.int32.max:
        raise ValueError(f"orientations: expected at most {tf.int32.max} combinations of features, got {bins}")
    if not 0 <= rho <= MAX_RHO:
        raise ValueError(f"rho: expected a number in [0, {MAX_RHO:g}], got {rho!r}")
    # The native operation's attributes are float32 numbers: the stock one takes the same.
    arguments: dict[str, Any] = {
        "orientations": int(orientations),
        "strength_thresholds": _in_float32(strength),
        "coherence_thresholds": _in_float32(coherence),
        "rho": _in_float32([rho])[0],
    }
    if not uses_native():
        return tf.stop_gradient(stock.blade_select(image, **arguments))
    return native.library.blade_select(image=image, **arguments)


def _grad_image(filters: tf.Tensor, selection: tf.Tensor, grad: tf.Tensor) -> tf.Tensor:
    return native.library.blade_filter_grad_image(filters=filters, selection=selection, grad=grad)


def _grad_filters(image: tf.Tensor, selection: tf.Tensor, grad: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(filters)
    return native.library.blade_filter_grad_filters(image=image, selection=selection, grad=grad, filters_shape=shape)


# out = F(z, h) is bilinear in the image z and the filters h. Its adjoints with respect to each, Gz(h, g) and Gh(z, g),
# are bilinear too, and the gradients of the three are made of the three.


@tf.RegisterGradient("BladeFilter")
def _blade_filter_grad(op: tf.Operation, grad: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, None]:
    image, filters, selection = op.inputs
    return _grad_image(filters, selection, grad), _grad_filters(image, selection, grad, filters), None


@tf.RegisterGradient("BladeFilterGradImage")
def _grad_image_grad(op: tf.Operation, cotangent: tf.Tensor) -> tuple[tf.Tensor, None, tf.Tensor]:
    filters, selection, grad = op.inputs
    forward = native.library.blade_filter(image=cotangent, filters=filters, selection=selection)
    return _grad_filters(cotangent, selection, grad, filters), None, forward


@tf.RegisterGradient("BladeFilterGradFilters")
def _grad_filters_grad(op: tf.Operation, cotangent: tf.Tensor) -> tuple[tf.Tensor, None, tf.Tensor, None]:
    image, selection, grad, _ = op.inputs
    forward = native.library.blade_filter(image=image, filters=cotangent, selection=selection)
    return _grad_image(cotangent, selection, grad), None, forward, None


tf.no_gradient("BladeSelect")
