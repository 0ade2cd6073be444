"""The operations of BLADE that filter: apply at each pixel the filter of a bank that `blade_tf.select_ops` chose.

Each has a native implementation (C++, threaded by TensorFlow's own pool) and one in stock TensorFlow, which is its
oracle, its fallback and the form of portable exports. `implementation` chooses; the native one is the default where it
is installed.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import tensorflow as tf

from blade_tf import native, stock

__all__ = ["blade_filter", "blade_filter_soft", "compiles_with_xla", "implementation", "uses_native"]

FLOATS = (tf.float16, tf.bfloat16, tf.float32, tf.float64)

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


def compiles_with_xla() -> bool:
    """Whether XLA compiles the operations called here: the stock ones do, the native ones on machines without a GPU."""
    return not uses_native() or (native.xla and not tf.config.list_physical_devices("GPU"))


def eager(*tensors: Any) -> bool:
    """Whether all are tensors with values: a native operation then finds what is wrong with them by itself.

    Python's checks cost more than the operation on a small image.
    """
    return tf.executing_eagerly() and all(isinstance(tensor, tf.Tensor) for tensor in tensors)


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


def filters_tensor(filters: Any, image: tf.Tensor) -> tf.Tensor:
    """The filters as a tensor; TypeError or ValueError unless they are [K, R, S] of the image's dtype, R and S >= 1."""
    filters = tf.convert_to_tensor(filters)
    if filters.dtype != image.dtype:
        raise TypeError(f"filters: expected {image.dtype.name} [K, R, S] like the image, {_got(filters)}")
    _check_rank("filters", filters, f"{image.dtype.name} [K, R, S]", 3)
    if filters.shape.rank == 3 and any(size == 0 for size in filters.shape[1:]):
        raise ValueError(f"filters: expected [K, R, S] with R and S of at least 1, {_got(filters)}")
    return filters


def of_shape(name: str, tensor: tf.Tensor, form: str, reference: tf.Tensor, rank: int) -> tf.Tensor:
    """The tensor; an error, in graphs of unknown shape when they run, unless it has the reference's first `rank` sizes.

    Otherwise axes of length 1 would broadcast.
    """
    form = f"{tensor.dtype.name} {form}"
    _check_rank(name, tensor, form, rank)
    wanted = reference.shape[:rank]
    if not tensor.shape.is_compatible_with(wanted):
        raise ValueError(f"{name}: expected {form} = {list(wanted)}, {_got(tensor)}")
    if tensor.shape.is_fully_defined() and wanted.is_fully_defined():
        return tensor
    sizes = tf.shape(tensor), tf.shape(reference)[:rank]
    with tf.control_dependencies([tf.debugging.assert_equal(*sizes, f"{name}: expected {form} of the image's sizes")]):
        return tf.identity(tensor)


def blade_filter(image: Any, filters: Any, selection: Any) -> tf.Tensor:
    """Applies at each pixel the filter that the pixel selects, to each channel (eq 2.1).

    `output[n, y, x, c] = sum_{r, s} filters[selection[n, y, x], r, s] image[n, y + r - a, x + s - b, c]`, with
    a = (R - 1) // 2 and b = (S - 1) // 2: cross-correlation, the image extended by replicating its border pixels. The
    cost does not depend on K. A footprint of odd size is centred on its pixel; one of even size S covers
    x - S / 2 + 1 to x + S / 2 and is centred on the face (y, x + 1/2), one of even size R likewise on (y + 1/2, x).

    The gradients with respect to the image and the filters are eq 2.9, at the borders the exact adjoint of the
    replicated extension; `selection` has none. The filter is bilinear, and second derivatives are supported too.
    Results are the same for any number of threads. float16 and bfloat16 are accumulated in float32. NaN and infinity
    stay within their stencil.

    Args:
      image: float16, bfloat16, float32 or float64 [N, H, W, C].
      filters: [K, R, S] of the image's dtype, R and S at least 1.
      selection: int32 or uint8 [N, H, W], values in [0, K).

    Returns:
      A tensor of the image's shape and dtype.

    Raises:
      TypeError: for a wrong dtype.
      ValueError: for a wrong rank, shapes that do not match, or an empty footprint.
      tf.errors.InvalidArgumentError: for a selection out of range (the message has its value and position), and for
        shapes that are wrong but unknown until the graph runs.

    Source: "Solving Image PDEs with a Shallow Network" (arXiv 2110.08327), eqs 2.1 and 2.9.
    """
    if eager(image, filters, selection) and uses_native():
        with contextlib.suppress(tf.errors.InvalidArgumentError):  # the checks below know what is wrong
            return native.library.blade_filter(image=image, filters=filters, selection=selection)
    image = image_tensor(image)
    filters = filters_tensor(filters, image)
    selection = tf.convert_to_tensor(selection)
    if selection.dtype not in (tf.int32, tf.uint8):
        raise TypeError(f"selection: expected int32 or uint8 [N, H, W], {_got(selection)}")
    form = f"{selection.dtype.name} [N, H, W]"
    _check_rank("selection", selection, form, 3)
    if not selection.shape.is_compatible_with(image.shape[:3]):
        raise ValueError(f"selection: expected {form} = {list(image.shape[:3])}, {_got(selection)}")
    if not uses_native():
        return stock.blade_filter(image, filters, tf.cast(selection, tf.int32))
    return native.library.blade_filter(image=image, filters=filters, selection=selection)


def blade_filter_soft(image: Any, filters: Any, soft: Sequence[Any]) -> tf.Tensor:
    """Interpolates at each pixel between the outputs of the two filters that it selects.

    `output = (1 - weight) blade_filter(image, filters, lower) + weight blade_filter(image, filters, upper)`, which is
    the output of the interpolated filter. The gradients with respect to the image, the filters and the weight are
    exact. float16 and bfloat16 images are interpolated in float32.

    Args:
      image: float16, bfloat16, float32 or float64 [N, H, W, C].
      filters: [K, R, S] of the image's dtype, as in `blade_filter`.
      soft: a `SoftSelection` or another sequence of lower and upper, int32 [N, H, W] in [0, K), and weight, float
        [N, H, W].

    Returns:
      A tensor of the image's shape and dtype.

    Raises:
      TypeError, ValueError, tf.errors.InvalidArgumentError: as `blade_filter`, and for a weight that is not float
        [N, H, W].

    Source: "Solving Image PDEs with a Shallow Network" (arXiv 2110.08327), eq 2.1, for the filter.
    """
    if not isinstance(soft, list | tuple) or len(soft) != 3:
        got = f"{len(soft)} parts" if isinstance(soft, list | tuple) else type(soft).__name__
        raise TypeError(f"soft: expected lower, upper and weight, got {got}")
    lower, upper, weight = soft
    image, weight = image_tensor(image), tf.convert_to_tensor(weight)
    if weight.dtype not in FLOATS:
        raise TypeError(f"weight: expected float16, bfloat16, float32 or float64 [N, H, W], {_got(weight)}")
    weight = of_shape("weight", weight, "[N, H, W]", image, 3)
    compute = tf.float64 if image.dtype == tf.float64 else tf.float32
    w = tf.cast(weight, compute)[..., tf.newaxis]
    low, high = (tf.cast(blade_filter(image, filters, chosen), compute) for chosen in (lower, upper))
    return tf.cast((1 - w) * low + w * high, image.dtype)


def _grad_image(filters: tf.Tensor, selection: tf.Tensor, grad: tf.Tensor) -> tf.Tensor:
    return native.library.blade_filter_grad_image(filters=filters, selection=selection, grad=grad)


def grad_filters(image: tf.Tensor, selection: tf.Tensor, grad: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
    """The gradient of `blade_filter` with respect to the filters (eq 2.9), natively."""
    shape = tf.shape(filters)
    return native.library.blade_filter_grad_filters(image=image, selection=selection, grad=grad, filters_shape=shape)


# out = F(z, h) is bilinear in the image z and the filters h. Its adjoints with respect to each, Gz(h, g) and Gh(z, g),
# are bilinear too, and the gradients of the three are made of the three.


@tf.RegisterGradient("BladeFilter")
def _blade_filter_grad(op: tf.Operation, grad: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, None]:
    image, filters, selection = op.inputs
    return _grad_image(filters, selection, grad), grad_filters(image, selection, grad, filters), None


@tf.RegisterGradient("BladeFilterGradImage")
def _grad_image_grad(op: tf.Operation, cotangent: tf.Tensor) -> tuple[tf.Tensor, None, tf.Tensor]:
    filters, selection, grad = op.inputs
    forward = native.library.blade_filter(image=cotangent, filters=filters, selection=selection)
    return grad_filters(cotangent, selection, grad, filters), None, forward


@tf.RegisterGradient("BladeFilterGradFilters")
def _grad_filters_grad(op: tf.Operation, cotangent: tf.Tensor) -> tuple[tf.Tensor, None, tf.Tensor, None]:
    image, selection, grad, _ = op.inputs
    forward = native.library.blade_filter(image=image, filters=cotangent, selection=selection)
    return _grad_image(cotangent, selection, grad), None, forward, None
