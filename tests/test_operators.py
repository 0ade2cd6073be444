import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from blade_tf import image, operators

RNG = np.random.default_rng(0)
KERNEL = RNG.random((3, 5))
ROW = np.outer(RNG.random(5), RNG.random(4))  # an outer product, of an even number of columns
GAUSSIAN = np.outer(image.gaussian_kernel(1.0), image.gaussian_kernel(1.0))
BORDERS = pytest.mark.parametrize("border", operators.BORDERS)
KERNELS = pytest.mark.parametrize("kernel", [KERNEL, ROW, GAUSSIAN, np.ones((1, 1))], ids=["3x5", "5x4", "7x7", "1x1"])


def inner(a, b):
    return float(tf.reduce_sum(a * b))


def noise(*shape):
    return tf.constant(RNG.standard_normal(shape))


def operators_on(shape):
    """Operators with the shape of what they make of an image of `shape`."""
    n, h, w, c = shape
    known = RNG.random((h, w, 1)) < 0.5
    known[0, 0] = True
    own = operators.Operator(lambda u: u[:, ::-1] * 2, lambda v: v[:, ::-1] * 2)
    found = [(operators.identity(), shape), (operators.mask(known), shape), (own, shape)]
    for border in operators.BORDERS:
        found += [(operators.blur(kernel, border), shape) for kernel in (KERNEL, ROW, GAUSSIAN)]
    for factor, offset in ((1, 0), (2, 1), (4, 0)):
        coarse = operators.subsample(factor, offset)
        small = (n, h // factor, w // factor, c)
        found += [(coarse, small), (coarse @ operators.blur(KERNEL) @ own, small)]
        found += [(operators.downsample(kernel, factor, offset), small) for kernel in (KERNEL, ROW, GAUSSIAN)]
    return found


@pytest.mark.parametrize("shape", [(2, 8, 12, 3), (1, 16, 8, 1)])
def test_the_adjoint_is_the_adjoint(shape):
    for operator, result in operators_on(shape):
        u, v = noise(*shape), noise(*result)
        forward = operator(u)
        assert forward.shape == result
        scale = float(tf.norm(forward) * tf.norm(v))
        assert inner(forward, v) == pytest.approx(inner(u, operator.adjoint(v)), abs=1e-13 * scale)


@BORDERS
@KERNELS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blur_is_the_convolution(dtype, kernel, border):
    u = RNG.standard_normal((2, 9, 7, 3))
    # scipy's centre is size // 2.
    origin = [(size - 1) // 2 - size // 2 for size in kernel.shape]
    mode = {"replicate": "nearest", "periodic": "wrap"}[border]
    expected = scipy.ndimage.convolve(u, kernel[np.newaxis, :, :, np.newaxis], mode=mode, origin=[0, *origin, 0])
    for blurred in (operators.blur(kernel, border), tf.function(operators.blur(kernel, border))):
        found = blurred(tf.constant(u, dtype))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, atol=1e-5 if dtype == "float32" else 1e-13)


@BORDERS
def test_blur_keeps_constants_and_an_impulse_shows_the_kernel(border):
    blurred = operators.blur(GAUSSIAN, border)
    np.testing.assert_allclose(blurred(tf.ones([1, 8, 9, 1], tf.float64)), 1, rtol=1e-14)
    impulse = np.zeros((1, 11, 12, 1))
    impulse[0, 5, 6] = 1
    shown = operators.blur(KERNEL, border)(impulse)[0, 4:7, 4:9, 0]
    np.testing.assert_allclose(shown, KERNEL, rtol=1e-14)


def test_subsampling_takes_pixels_and_its_adjoint_puts_them_back():
    u = noise(1, 6, 9, 2)
    coarse = operators.subsample(3, 2)
    np.testing.assert_array_equal(coarse(u), u.numpy()[:, 2::3, 2::3])
    back = coarse.adjoint(coarse(u)).numpy()
    np.testing.assert_array_equal(back[:, 2::3, 2::3], coarse(u))
    assert np.count_nonzero(back) == 2 * 3 * 2


def test_a_factor_may_be_a_float_that_is_whole():
    u = noise(1, 8, 8, 2)
    np.testing.assert_array_equal(operators.subsample(2.0, 1.0)(u), operators.subsample(2, 1)(u))
    np.testing.assert_array_equal(operators.downsample(KERNEL, 2.0)(u), operators.downsample(KERNEL, 2)(u))


@KERNELS
@pytest.mark.parametrize(("factor", "offset"), [(1, 0), (2, 0), (2, 1), (3, 2), (4, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_downsampling_is_the_composition(dtype, factor, offset, kernel):
    composition = operators.subsample(factor, offset) @ operators.blur(kernel, "periodic")
    once = operators.downsample(kernel, factor, offset)
    assert once.bound == composition.bound
    smallest = tuple(-(-size // factor) for size in kernel.shape)
    for size in (smallest, (7, 8)):
        u, v = noise(2, *(factor * n for n in size), 3), noise(2, *size, 3)
        for own, other, argument in ((once, composition, u), (once.adjoint, composition.adjoint, v)):
            argument = tf.cast(argument, dtype)
            graph = tf.function(own, input_signature=[tf.TensorSpec([None, None, None, 3], dtype)])
            expected = other(argument)
            for found in (own(argument), graph(argument)):
                assert found.dtype == dtype
                np.testing.assert_allclose(found, expected, atol=1e-5 if dtype == "float32" else 1e-13)


def test_a_mask_hides_what_is_unknown():
    u = np.array([[[[np.nan], [2.0]]]])
    np.testing.assert_array_equal(operators.mask([[[0], [1]]])(u), [[[[0.0], [2.0]]]])


def test_the_data_term_is_minus_the_gradient_of_the_distance():
    u, f = noise(1, 8, 8, 1), noise(1, 4, 4, 1)
    operator = operators.subsample(2, 1) @ operators.blur(GAUSSIAN)
    with tf.GradientTape() as tape:
        tape.watch(u)
        distance = 0.7 / 2 * tf.reduce_sum((operator(u) - f) ** 2)
    expected = -tape.gradient(distance, u)
    for weight in (0.7, np.array(0.7)):
        np.testing.assert_allclose(operators.data_term(operator, f, weight)(u), expected, atol=1e-13)


@pytest.mark.parametrize(
    ("factor", "offset", "size"), [(2, 0, (12, 10)), (3, 1, (9, 15)), (4, 3, (16, 8)), (1, 0, (8, 8))]
)
@pytest.mark.parametrize("sigma", [0.4, 0.8])
def test_the_pseudo_inverse_solves_and_projects(sigma, factor, offset, size):
    weights = image.gaussian_kernel(sigma)
    kernel = np.outer(weights, weights)
    operator = operators.subsample(factor, offset) @ operators.blur(kernel, "periodic")
    inverse = operators.pseudo_inverse(kernel, factor, offset)
    u, w = noise(2, *size, 3), noise(2, *size, 3)
    f = operator(u)
    np.testing.assert_allclose(operator(inverse(f)), f, atol=1e-11)

    def project(image):
        return image - inverse(operator(image))

    np.testing.assert_allclose(operator(project(u)), np.zeros_like(f), atol=1e-11)
    np.testing.assert_allclose(project(project(u)), project(u), atol=1e-11)
    assert inner(project(u), w) == pytest.approx(inner(u, project(w)), abs=1e-10)
    single = operators.pseudo_inverse(kernel, factor, offset)(tf.cast(f, tf.float32))
    assert single.dtype == tf.float32
    np.testing.assert_allclose(operator(tf.cast(single, tf.float64)), f, atol=1e-5)


def test_the_pseudo_inverse_is_that_of_the_matrix():
    size, kernel = (6, 4), KERNEL[:, :3]
    operator = operators.subsample(2, 1) @ operators.blur(kernel, "periodic")
    units = tf.reshape(tf.eye(24, dtype=tf.float64), [24, *size, 1])
    matrix = tf.reshape(operator(units), [24, 6]).numpy().T
    f = noise(1, 3, 2, 1)
    found = operators.pseudo_inverse(kernel, 2, 1)(f)
    expected = np.linalg.pinv(matrix) @ f.numpy().ravel()
    np.testing.assert_allclose(found.numpy().ravel(), expected, atol=1e-11)
    assert operators.squared_norm(kernel, 2) == pytest.approx(np.linalg.norm(matrix, 2) ** 2, rel=1e-12)


def test_the_pseudo_inverse_in_a_graph_of_open_sizes():
    inverse = operators.pseudo_inverse(GAUSSIAN, 2, 1)
    f = noise(1, 9, 6, 2)
    graph = tf.function(inverse, input_signature=[tf.TensorSpec([None, None, None, 2], tf.float64)])
    np.testing.assert_allclose(graph(f), inverse(f), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: operators.blur(np.ones(3)), r"kernel: expected \[R, S\], got \[3\]"),
        (lambda: operators.blur(KERNEL)(np.ones((1, 0, 8, 1))), r"u: expected at least one pixel .* \[1, 0, 8, 1\]"),
        (lambda: operators.downsample(KERNEL, 2)(np.ones((1, 8, 8, 0))), r"u: expected at least one pixel and channel"),
        (lambda: operators.blur([[np.nan]]), r"kernel: expected finite values"),
        (lambda: operators.blur(np.zeros((3, 3))), r"kernel: expected finite values, not all of them 0"),
        (lambda: operators.blur(KERNEL, "reflect"), r"border: unknown border 'reflect'"),
        (lambda: operators.blur(KERNEL)(np.ones((1, 8, 4, 1))), r"kernel: expected at most .* got \[3, 5\]"),
        (lambda: operators.blur(KERNEL)(np.ones((1, 8, 8, 1), int)), r"u: expected float \[N, H, W, C\], got int64"),
        (lambda: operators.blur(KERNEL).adjoint(np.ones((8, 8))), r"v: expected float \[N, H, W, C\], got"),
        (lambda: operators.subsample(0), r"factor: expected a positive integer, got 0"),
        (lambda: operators.subsample(1.5), r"factor: expected a positive integer, got 1.5"),
        (lambda: operators.subsample(2, 2), r"offset: expected an integer in \[0, 2\), got 2"),
        (lambda: operators.subsample(2)(np.ones((1, 3, 4, 1))), r"u: expected sizes .* got \[1, 3, 4, 1\]"),
        (lambda: operators.subsample(2)(np.ones((4, 4, 1))), r"u: expected float \[N, H, W, C\], got float64 \[4, 4"),
        (lambda: operators.subsample(2).adjoint(np.ones((4, 4, 1))), r"v: expected float \[N, H, W, C\], got float64"),
        (lambda: operators.mask(np.zeros((4, 4, 1))), r"known: expected at least one known pixel"),
        (lambda: operators.mask(np.array([[[1], [0.5]]])), r"known: expected values 0 and 1, or False .*, got 0.5"),
        (lambda: tf.function(operators.mask, [tf.TensorSpec([4, 4, 1])]).get_concrete_function(),
         r"known: expected an array, got a tensor of a graph, float32 \(4, 4, 1\)"),
        (lambda: operators.data_term(operators.identity(), np.ones((1, 4, 4, 1)), 0.0), r"weight: .* got 0.0"),
        (lambda: operators.data_term(operators.identity(), np.ones((1, 4, 4, 1)), -1.0), r"weight: .* got -1.0"),
        (lambda: operators.data_term(operators.identity(), np.ones((1, 4, 4, 1)), np.nan), r"weight: .* got nan"),
        (lambda: operators.data_term(operators.identity(), np.ones((1, 4, 4, 1)), "a"), r"weight: .*number, got 'a'"),
        (lambda: operators.pseudo_inverse(KERNEL, 2)(np.ones((8, 8, 1))), r"f: expected float .*, got float64 \[8, "),
        (lambda: operators.pseudo_inverse(KERNEL, 2)(np.ones((1, 8, 2, 1))), r"kernel: expected .* got \[3, 5\]"),
        (lambda: operators.pseudo_inverse(KERNEL, 2, 2), r"offset: expected an integer in \[0, 2\), got 2"),
        (lambda: operators.squared_norm(KERNEL, 0), r"factor: expected a positive integer, got 0"),
        (lambda: operators.squared_norm(np.ones(3), 2), r"kernel: expected \[R, S\], got \[3\]"),
    ],
)  # fmt: skip
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_graphs_refuse_a_kernel_that_is_too_large_when_they_run():
    blurred = tf.function(operators.blur(KERNEL), input_signature=[tf.TensorSpec(None, tf.float64)])
    assert blurred(np.ones((1, 3, 5, 1))).shape == [1, 3, 5, 1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="kernel: expected at most the image"):
        blurred(np.ones((1, 3, 4, 1)))


@pytest.mark.parametrize(
    "make", [lambda: operators.subsample(2), lambda: operators.downsample(KERNEL, 2)], ids=["subsample", "downsample"]
)
def test_graphs_refuse_sizes_that_the_factor_does_not_divide_when_they_run(make):
    graph = tf.function(make(), input_signature=[tf.TensorSpec([None] * 4, tf.float64)])
    assert graph(np.ones((1, 6, 8, 1))).shape == [1, 3, 4, 1]
    for size in ((5, 6), (6, 5)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="u: expected sizes that 2 divides, got"):
            graph(np.ones((1, *size, 1)))


def test_graphs_refuse_a_known_size_that_is_wrong_while_they_are_traced():
    spec = [tf.TensorSpec([None, 3, None, 1], tf.float64)]
    for operator, message in (
        (operators.blur(np.ones((5, 5))), "kernel: expected at most the image's size"),
        (operators.subsample(2), "u: expected sizes that 2 divides"),
    ):
        with pytest.raises(ValueError, match=message):
            tf.function(operator, input_signature=spec).get_concrete_function()


def test_the_transfer_function_is_that_of_the_matrix():
    """Its values are the eigenvalues of A A^T, a convolution on the coarse grid."""
    n, factor = 6, 2
    operator = operators.downsample(KERNEL, factor)
    impulse = np.zeros((1, n, n, 1))
    impulse[0, 0, 0, 0] = 1
    response = operator(operator.adjoint(impulse)).numpy()[0, ..., 0]
    np.testing.assert_allclose(operators.transfer(KERNEL, factor, n), np.fft.rfft2(response).real, atol=1e-13)


def test_no_image_is_an_empty_batch():
    for operator, result in operators_on((0, 8, 12, 3)):
        assert operator(np.zeros((0, 8, 12, 3))).shape == result
        assert operator.adjoint(np.zeros(result)).shape == (0, 8, 12, 3)
    assert operators.pseudo_inverse(KERNEL, 2)(np.zeros((0, 8, 12, 3))).shape == (0, 16, 24, 3)
    assert operators.mask(np.zeros((0, 4, 4, 1)))(np.zeros((0, 4, 4, 1))).shape == (0, 4, 4, 1)
