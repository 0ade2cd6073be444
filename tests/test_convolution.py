"""Convolution: the native operation beside the stock ones."""

import numpy as np
import pytest
import tensorflow as tf

from blade_tf import convolution, native, operators, ops
from blade_tf import image as image_lib

RNG = np.random.default_rng(0)
needs_native = pytest.mark.skipif(native.library is None, reason="the native library is not installed")
BORDERS = pytest.mark.parametrize("border", convolution.BORDERS)
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
KERNELS = [RNG.standard_normal(shape) for shape in [(1, 1), (3, 3), (5, 4), (7, 1), (1, 6)]]


def tolerance(dtype):
    return 1e-5 if dtype == "float32" else 1e-13


def image(dtype, *shape):
    return tf.constant(RNG.standard_normal(shape or (2, 12, 16, 3)), dtype)


def convolved(u, border, function):
    return [function(u, kernel, border) for kernel in KERNELS]


@needs_native
@BORDERS
@DTYPES
@pytest.mark.parametrize("function", [convolution.convolve, convolution.transpose])
def test_native_and_stock_agree(border, dtype, function):
    u = image(dtype)
    found = convolved(u, border, function)
    with ops.implementation("stock"):
        expected = convolved(u, border, function)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance(dtype))


@needs_native
@BORDERS
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (9, 3)])
def test_the_native_adjoint_is_one_for_images_smaller_than_the_kernel(border, size):
    u, v = image("float64", 1, *size, 2), image("float64", 1, *size, 2)
    for kernel in KERNELS:
        forward, back = convolution.convolve(u, kernel, border), convolution.transpose(v, kernel, border)
        assert float(tf.reduce_sum(forward * v)) == pytest.approx(float(tf.reduce_sum(u * back)), abs=1e-12)


@needs_native
@DTYPES
@pytest.mark.parametrize(("factor", "offset"), [(2, 0), (2, 1), (4, 3)])
def test_downsampling_by_axes_is_subsampling_of_the_blur(factor, offset, dtype):
    kernel = np.outer(RNG.standard_normal(5), RNG.standard_normal(6))
    one = operators.downsample(kernel, factor, offset)
    two = operators.subsample(factor, offset) @ operators.blur(kernel, "periodic")
    u = image(dtype)
    coarse = two(u)
    np.testing.assert_allclose(one(u), coarse, atol=10 * tolerance(dtype))
    np.testing.assert_allclose(one.adjoint(coarse), two.adjoint(coarse), atol=100 * tolerance(dtype))
    with ops.implementation("stock"):
        np.testing.assert_allclose(one(u), coarse, atol=10 * tolerance(dtype))
    graph = tf.function(one, input_signature=[tf.TensorSpec([None, None, None, 3], dtype)])
    np.testing.assert_array_equal(graph(u), one(u))


@needs_native
@DTYPES
def test_a_symmetric_filter_is_the_stock_one(dtype):
    half = [0.5, 0.2, -0.1, 0.15]
    u = image(dtype)
    np.testing.assert_allclose(
        convolution.symmetric(u, half), image_lib.symmetric_filter(u, half), atol=tolerance(dtype)
    )


@DTYPES
@pytest.mark.parametrize("sigma", [0.0, 0.7, 2.0])
def test_a_gaussian_is_the_stock_one(dtype, sigma):
    u = image(dtype)
    np.testing.assert_allclose(
        convolution.gaussian(u, sigma), image_lib.gaussian_smooth(u, sigma), atol=tolerance(dtype)
    )


@needs_native
@BORDERS
@pytest.mark.parametrize("function", [convolution.convolve, convolution.transpose])
def test_gradients_of_any_order_are_the_adjoint(border, function):
    u, v = image("float64", 1, 5, 6, 2), image("float64", 1, 5, 6, 2)
    other = convolution.transpose if function is convolution.convolve else convolution.convolve
    kernel = KERNELS[2]
    with tf.GradientTape() as outer:
        outer.watch(u)
        with tf.GradientTape() as inner:
            inner.watch(u)
            value = tf.reduce_sum(v * function(u, kernel, border) ** 2) / 2
        gradient = inner.gradient(value, u)
    expected = other(v * function(u, kernel, border), kernel, border)
    np.testing.assert_allclose(gradient, expected, atol=1e-12)
    # The Hessian of a quadratic form applied to u is its gradient.
    np.testing.assert_allclose(outer.gradient(gradient, u, u), expected, atol=1e-12)


@needs_native
def test_gradients_of_downsampling_are_its_adjoint():
    down = operators.downsample(np.outer([1.0, 2, 1], [1.0, 3, 1]) / 20, 2, 1)
    u, v = image("float64"), image("float64", 2, 6, 8, 3)
    for value, at, upstream, expected in ((down, u, v, down.adjoint), (down.adjoint, v, u, down)):
        with tf.GradientTape() as tape:
            tape.watch(at)
            found = value(at)
        np.testing.assert_allclose(tape.gradient(found, at, upstream), expected(upstream), atol=1e-13)


@pytest.mark.skipif(not native.xla, reason="the library for XLA is not installed")
def test_xla_computes_the_same():
    u = image("float32")
    down = operators.downsample(np.outer([1.0, 2, 1], [1.0, 3, 1]) / 20, 2)
    for function in (lambda u: convolution.convolve(u, KERNELS[1]), lambda u: down.adjoint(down(u))):
        np.testing.assert_array_equal(tf.function(function, jit_compile=True)(u), function(u))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_convolved_by_stock_operations(dtype):
    u = tf.cast(image("float32"), dtype)
    found = convolution.convolve(u, np.full((3, 3), 1 / 9))
    assert found.dtype == dtype
    expected = convolution.convolve(tf.cast(u, tf.float32), np.full((3, 3), 1 / 9))
    np.testing.assert_allclose(tf.cast(found, tf.float32), expected, atol=0.03)


@needs_native
@pytest.mark.parametrize(
    ("inputs", "attributes", "message"),
    [
        ((np.zeros((4, 4)), np.ones((1, 1))), {}, r"image: expected float64 \[N, H, W, C\], got float64 \[4, 4\]"),
        ((np.zeros((1, 4, 4, 1)), np.ones(3)), {}, r"kernel: expected float64 \[R, S\] with R and S of at least 1"),
        ((np.zeros((1, 4, 4, 1)), np.ones((0, 3))), {}, r"kernel: expected .* got float64 \[0, 3\]"),
        ((np.zeros((1, 4, 5, 1)), np.ones((1, 1))), {"factors": [2, 2]}, r"image: expected sizes that 2 and 2 divide"),
        ((np.zeros((1, 4, 4, 1)), np.ones((1, 1))), {"offsets": [1, 0]}, r"offsets: expected numbers in \[0, factor\)"),
        (
            (np.zeros((1, 4, 4, 1)), np.ones((1, 1))),
            {"factors": [2, 2, 2]},
            "factors, offsets: expected two numbers each",
        ),
    ],
)
def test_errors_of_the_operation_name_the_argument(inputs, attributes, message):
    given, kernel = (tf.constant(value) for value in inputs)
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
        native.library.blade_convolve(image=given, kernel=kernel, border="replicate", transposed=False, **attributes)
