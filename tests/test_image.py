import math

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from blade_tf import image as im

SIZES = [(0, 5), (5, 0), (1, 1), (1, 6), (7, 1), (7, 6)]
NHWC = [None, None, None, None]


def random_image(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def in_graph(function, dtype=tf.float32, shape=NHWC):
    return tf.function(function, input_signature=[tf.TensorSpec(shape, dtype)])


def edge_pad(image, top, bottom, left, right):
    """numpy refuses to extend empty axes, which stay empty here."""
    n, h, w, c = image.shape
    top, bottom = (top, bottom) if h else (0, 0)
    left, right = (left, right) if w else (0, 0)
    if not image.size:
        return np.zeros((n, top + h + bottom, left + w + right, c), image.dtype)
    return np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)), mode="edge")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("amounts", [(0, 0, 0, 0), (2, 3, 1, 9), (0, 1, 4, 0)])
def test_pad_replicate_is_numpy_edge_padding(size, amounts):
    image = random_image(2, *size, 3)
    expected = edge_pad(image, *amounts)
    np.testing.assert_array_equal(im.pad_replicate(image, *amounts), expected)
    for shape in (NHWC, [None, *size, 3], None):
        graph = in_graph(lambda u: im.pad_replicate(u, *amounts), shape=shape)
        np.testing.assert_array_equal(graph(image), expected)


def test_pad_replicate_gradient_returns_each_copy_to_its_pixel():
    image = tf.constant(random_image(1, 2, 3, 1))
    with tf.GradientTape() as tape:
        tape.watch(image)
        total = tf.reduce_sum(im.pad_replicate(image, 1, 2, 0, 4))
    rows, columns = np.array([2, 3]), np.array([1, 1, 5])
    np.testing.assert_array_equal(tape.gradient(total, image)[0, :, :, 0], np.outer(rows, columns))


@pytest.mark.parametrize("dtype", [tf.int32, tf.uint8, tf.bfloat16])
def test_pad_replicate_keeps_any_dtype(dtype):
    image = tf.cast(tf.reshape(tf.range(4), [1, 2, 2, 1]), dtype)
    padded = im.pad_replicate(image, 1, 0, 0, 1)
    assert padded.dtype == dtype
    np.testing.assert_array_equal(tf.cast(padded[0, :, :, 0], tf.int32), [[0, 1, 1], [0, 1, 1], [2, 3, 3]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 8, 12, 3), (1, 4, 4, 1), (0, 4, 4, 1), (1, 0, 4, 1), (3, 8, 0, 2)])
def test_area_downscale_is_the_mean_of_blocks(dtype, shape):
    image = random_image(*shape, dtype=dtype)
    n, h, w, c = shape
    blocks = image.astype(np.float64).reshape(n, h // 4, 4, w // 4, 4, c)
    expected = blocks.sum((2, 4)) / 16
    tolerance = {"float16": 1e-3, "float32": 2e-7, "float64": 1e-15}[np.dtype(dtype).name]
    for function in (lambda u: im.area_downscale(u, 4), in_graph(lambda u: im.area_downscale(u, 4), dtype)):
        output = function(image)
        assert output.dtype == dtype
        np.testing.assert_allclose(output.numpy(), expected, rtol=tolerance, atol=tolerance)


def test_area_downscale_of_eight_bit_levels_is_exact():
    levels = np.random.default_rng(1).integers(0, 256, (1, 8, 8, 1))
    output = im.area_downscale(levels.astype(np.float32), 4)
    np.testing.assert_array_equal(output[0, :, :, 0] * 16, levels.reshape(2, 4, 2, 4).sum((1, 3)))


def test_area_downscale_sums_half_types_in_float32():
    image = tf.cast(tf.fill([1, 64, 64, 1], 100.0), tf.float16)  # the plain sum 409600 overflows float16
    assert im.area_downscale(image, 64).numpy().item() == 100.0


def test_area_downscale_by_one_is_the_identity():
    image = random_image(1, 3, 5, 2)
    np.testing.assert_array_equal(im.area_downscale(image, 1), image)


def test_area_downscale_keeps_the_static_shape_it_can():
    graph = in_graph(lambda u: im.area_downscale(u, 4), shape=[None, 8, None, 3])
    assert graph.get_concrete_function().output_shapes.as_list() == [None, 2, None, 3]


def test_area_downscale_refuses_other_sizes():
    with pytest.raises(ValueError, match=r"image: expected H and W divisible by 4, got \[1, 8, 6, 1\]"):
        im.area_downscale(random_image(1, 8, 6, 1), 4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="H and W divisible by 4"):
        in_graph(lambda u: im.area_downscale(u, 4))(random_image(1, 8, 6, 1))
    for factor in (0, -2, 1.5):
        with pytest.raises(ValueError, match="factor: expected a positive integer"):
            im.area_downscale(random_image(1, 4, 4, 1), factor)


def test_luma_weights_hand_computed():
    image = np.array([[[[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.25, 0.75]]]])
    expected = [0.299, 0.587, 0.114, 0.299 / 2 + 0.587 / 4 + 0.114 * 0.75]
    np.testing.assert_allclose(im.luma(image)[0, 0, :, 0], expected, rtol=1e-15)
    np.testing.assert_allclose(im.luma(image.astype(np.float32))[0, 0, :, 0], expected, rtol=1e-7)
    graph = in_graph(im.luma, tf.float64, [None, None, None, 3])
    np.testing.assert_array_equal(graph(image), im.luma(image))


def test_luma_of_half_types_rounds_once():
    image = random_image(1, 16, 16, 3).astype(np.float16)
    expected = im.luma(image.astype(np.float32)).numpy().astype(np.float16)
    np.testing.assert_array_equal(im.luma(image), expected)


def test_luma_of_a_gray_image_is_that_image():
    image = random_image(2, 3, 4, 1)
    np.testing.assert_array_equal(im.luma(image), image)
    np.testing.assert_array_equal(in_graph(im.luma, shape=[None, None, None, 1])(image), image)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_forward_difference_against_numpy(axis, size):
    image = random_image(2, *size, 2, dtype=np.float64)
    amounts = {1: (0, 1, 0, 0), 2: (0, 0, 0, 1)}[axis]
    expected = np.diff(edge_pad(image, *amounts), axis=axis) / 0.3
    for wrap in (lambda f: f, lambda f: in_graph(f, tf.float64)):
        np.testing.assert_array_equal(wrap(lambda u: im.forward_difference(u, axis, 0.3))(image), expected)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_flux_difference_is_minus_the_adjoint_of_the_forward_difference(axis, size):
    u, f = (random_image(1, *size, 2, dtype=np.float64, seed=seed) for seed in (1, 2))
    left = np.sum(im.forward_difference(u, axis, 0.3) * f)
    right = -np.sum(u * in_graph(lambda f: im.flux_difference(f, axis, 0.3), tf.float64)(f))
    np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)


def test_flux_difference_hand_computed():
    flux = np.reshape([1.0, 3.0, 7.0, math.nan], (1, 1, 4, 1))
    np.testing.assert_array_equal(np.ravel(im.flux_difference(flux, 2, 0.5)), [2, 4, 8, -14])


def test_gaussian_kernel_against_scipy_and_by_hand():
    impulse = np.zeros(13)
    impulse[6] = 1
    for sigma in (0.4, 1.0, 1.7, 2.0):
        kernel = im.gaussian_kernel(sigma, 6)
        expected = scipy.ndimage.gaussian_filter1d(impulse, sigma, radius=6, mode="constant")
        np.testing.assert_allclose(kernel, expected, rtol=1e-13)
        assert len(im.gaussian_kernel(sigma)) == 2 * math.ceil(3 * sigma) + 1
        np.testing.assert_allclose(im.gaussian_kernel(sigma).sum(), 1, rtol=1e-15)
    a = math.exp(-0.5)
    np.testing.assert_allclose(im.gaussian_kernel(1, 1), np.array([a, 1, a]) / (1 + 2 * a), rtol=1e-15)
    np.testing.assert_array_equal(im.gaussian_kernel(0), [1])
    np.testing.assert_array_equal(im.gaussian_kernel(0, 2), [0, 0, 1, 0, 0])


SCHARR = np.array([[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]) / 32


@pytest.mark.parametrize("size", SIZES)
def test_scharr_gradient_against_scipy(size):
    image = random_image(2, *size, 3, dtype=np.float64)
    for found, kernel in zip(im.scharr_gradient(image, 0.5), (SCHARR, SCHARR.T), strict=True):
        expected = np.zeros_like(image)
        for n, c in np.ndindex(2, 3):
            if image.size:
                expected[n, ..., c] = 2 * scipy.ndimage.correlate(image[n, ..., c], kernel, mode="nearest")
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("size", SIZES)
def test_scharr_divergence_is_minus_the_adjoint_of_the_gradient(size):
    """<f, grad u> = -<div f, u> for any u and f; constants have no gradient, so that no mass appears."""
    u, fx, fy = (random_image(2, *size, 3, dtype=np.float64, seed=seed) for seed in range(3))
    gx, gy = im.scharr_gradient(u, 0.5)
    divergence = im.scharr_divergence(fx, fy, 0.5).numpy()
    assert divergence.shape == u.shape
    assert np.sum(fx * gx + fy * gy) == pytest.approx(-np.sum(divergence * u), abs=1e-12)
    np.testing.assert_allclose(divergence.sum((1, 2)), 0, rtol=0, atol=1e-13)


def test_scharr_divergence_applies_the_same_filters_in_the_interior():
    fx, fy = (random_image(1, 7, 6, 1, dtype=np.float64, seed=seed) for seed in range(2))
    expected = sum(scipy.ndimage.correlate(f[0, ..., 0], k) for f, k in ((fx, SCHARR), (fy, SCHARR.T)))
    np.testing.assert_allclose(im.scharr_divergence(fx, fy)[0, 1:-1, 1:-1, 0], expected[1:-1, 1:-1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("sigma", [-1, math.nan, math.inf])
def test_gaussian_kernel_refuses(sigma):
    with pytest.raises(ValueError, match="sigma: expected a finite value >= 0"):
        im.gaussian_kernel(sigma)


def test_gaussian_kernel_refuses_a_negative_radius():
    with pytest.raises(ValueError, match="radius: expected a value >= 0, got -1"):
        im.gaussian_kernel(1.0, -1)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (17, 12)])
@pytest.mark.parametrize("rho", [0.3, 1.0, 2.5])
def test_gaussian_smooth_against_scipy(size, rho):
    image = random_image(2, *size, 3, dtype=np.float64)
    radius = math.ceil(3 * rho)
    expected = scipy.ndimage.gaussian_filter(image, (0, rho, rho, 0), radius=(0, radius, radius, 0), mode="nearest")
    np.testing.assert_allclose(im.gaussian_smooth(image, rho), expected, rtol=0, atol=1e-14)


def smooth_by_loops(image, rho):
    """The definition pixel by pixel, in the image's own arithmetic."""
    radius = math.ceil(3 * rho)
    weights = [math.exp(-(k * k) / (2 * rho * rho)) for k in range(radius + 1)]
    total = weights[0]
    for weight in weights[1:]:
        total += 2 * weight
    weights = [image.dtype.type(weight / total) for weight in weights]
    for axis in (1, 0):
        source, image = np.moveaxis(image, axis, 0), np.empty_like(image)
        target = np.moveaxis(image, axis, 0)
        for x in range(len(source)):
            a = weights[0] * source[x]
            for k in range(1, radius + 1):
                a = a + weights[k] * (source[max(x - k, 0)] + source[min(x + k, len(source) - 1)])
            target[x] = a
    return image


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(1, 1), (5, 2), (23, 31)])
def test_gaussian_smooth_keeps_the_order_of_operations(dtype, size):
    image = random_image(1, *size, 1, dtype=dtype)
    for rho in (0.4, 1.0, 1.5):
        expected = smooth_by_loops(image[0, :, :, 0], rho)
        for function in (im.gaussian_smooth, in_graph(lambda u: im.gaussian_smooth(u, rho), dtype)):  # noqa: B023
            output = function(image, rho) if function is im.gaussian_smooth else function(image)
            np.testing.assert_array_equal(output[0, :, :, 0], expected)


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_gaussian_smooth_of_nothing(size):
    assert im.gaussian_smooth(np.zeros((1, *size, 1), np.float32), 1.0).shape == (1, *size, 1)


def test_gaussian_smooth_with_rho_zero_is_the_identity():
    image = random_image(1, 4, 5, 1)
    np.testing.assert_array_equal(im.gaussian_smooth(image, 0.0), image)


def test_gaussian_smooth_keeps_nan_in_its_stencil():
    image = np.zeros((1, 15, 15, 1), np.float32)
    image[0, 7, 7, 0] = np.nan
    bad = np.isnan(im.gaussian_smooth(image, 1.0)[0, :, :, 0])
    expected = np.zeros((15, 15), bool)
    expected[4:11, 4:11] = True
    np.testing.assert_array_equal(bad, expected)


@pytest.mark.parametrize(
    "function", [im.luma, lambda u: im.forward_difference(u, 1), lambda u: im.gaussian_smooth(u, 1.0)]
)
def test_wrong_images_are_named(function):
    with pytest.raises(ValueError, match=r"image: expected \[N, H, W, C\], got \[4, 5\]"):
        function(np.zeros((4, 5), np.float32))
    with pytest.raises(ValueError, match=r"image: expected a float dtype, got uint8 \[1, 4, 5, 3\]"):
        function(np.zeros((1, 4, 5, 3), np.uint8))


def test_other_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"image: expected 1 or 3 channels, got \[1, 4, 5, 2\]"):
        im.luma(random_image(1, 4, 5, 2))
    with pytest.raises(ValueError, match=r"image: expected 1 or 3 channels, got \[\?, \?, \?, \?\]"):
        in_graph(im.luma)(random_image(1, 4, 5, 3))
    with pytest.raises(ValueError, match="left: expected a non-negative amount, got -1"):
        im.pad_replicate(random_image(1, 4, 5, 2), 0, 0, -1, 0)
    for function in (im.forward_difference, im.flux_difference):
        with pytest.raises(ValueError, match=r"axis: expected 1 \(y\) or 2 \(x\), got 3"):
            function(random_image(1, 4, 5, 2), 3)
