import itertools

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import tensorflow as tf

import blade_tf
from blade_tf import native, ops

needs_native = pytest.mark.skipif(native.library is None, reason="blade_tf was installed without its native library")
NATIVE = pytest.param("native", marks=needs_native)

UNIT_ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}


@pytest.fixture
def implementation(request):
    with blade_tf.implementation(request.param):
        yield request.param


BOTH = pytest.mark.parametrize("implementation", [NATIVE, "stock"], indirect=True)


def case(shape, bank, seed=0):
    """A random image, bank and selection in float64."""
    rng = np.random.default_rng(seed)
    selection = rng.integers(0, max(bank[0], 1), shape[:3]).astype(np.int32)
    return rng.standard_normal(shape), rng.standard_normal(bank), selection


def oracle(image, filters, selection):
    """Eq 2.1 in float64: every pixel's window of the extended image, times the filter that it selects."""
    rows, columns = filters.shape[1:]
    if image.size == 0:
        return np.zeros(image.shape)
    pad = (0, 0), ((rows - 1) // 2, rows // 2), ((columns - 1) // 2, columns // 2), (0, 0)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, pad, "edge"), (rows, columns), (1, 2))
    return np.einsum("nhwcrs,nhwrs->nhwc", windows, filters[selection])


def as_float64(tensor):
    return tf.cast(tensor, tf.float64).numpy()


def gradients(image, filters, selection, cotangent):
    """dL/dimage, dL/dfilters of L = sum(cotangent * output)."""
    image, filters = tf.convert_to_tensor(image), tf.convert_to_tensor(filters)
    with tf.GradientTape() as tape:
        tape.watch([image, filters])
        output = blade_tf.blade_filter(image, filters, selection)
    return tape.gradient(output, [image, filters], tf.convert_to_tensor(cotangent))


@pytest.mark.parametrize(("rows", "columns", "above", "left"), [(3, 5, 1, 2), (5, 6, 2, 2), (4, 1, 1, 0), (2, 7, 0, 3)])
def test_oracle_is_eq_2_1_by_loops(rows, columns, above, left):
    """Footprints cover x - 2 to x + 2 where S = 5, x - 2 to x + 3 where S = 6."""
    image, filters, selection = case((2, 3, 4, 2), (5, rows, columns))
    expected = np.zeros(image.shape)
    for n, y, x, c in np.ndindex(image.shape):
        for r, s in itertools.product(range(rows), range(columns)):
            v, u = min(max(y + r - above, 0), 2), min(max(x + s - left, 0), 3)
            expected[n, y, x, c] += filters[selection[n, y, x], r, s] * image[n, v, u, c]
    np.testing.assert_allclose(oracle(image, filters, selection), expected, rtol=1e-13, atol=1e-14)


# Sizes around the kernels' vectors and runs, footprints larger than the image, many and few filters and channels.
SHAPES = [
    ((1, 1, 1, 1), (1, 1, 1)),
    ((2, 3, 4, 2), (5, 3, 5)),
    ((1, 1, 7, 1), (3, 5, 5)),
    ((3, 8, 1, 3), (3, 5, 5)),
    ((1, 2, 2, 1), (4, 9, 7)),
    ((1, 6, 5, 4), (2, 1, 7)),
    ((1, 6, 5, 1), (2, 7, 1)),
    ((2, 5, 15, 1), (216, 5, 5)),
    ((1, 5, 16, 3), (216, 5, 5)),
    ((1, 4, 17, 2), (217, 5, 5)),
    ((1, 7, 31, 5), (10, 3, 3)),
    ((1, 9, 33, 1), (1, 5, 5)),
    ((2, 3, 255, 1), (50, 5, 5)),
    ((1, 3, 256, 3), (50, 5, 5)),
    ((1, 3, 257, 1), (50, 7, 7)),
    ((1, 2, 515, 2), (3, 11, 5)),
    ((1, 7, 33, 1), (50, 5, 6)),
    ((1, 7, 33, 1), (50, 6, 5)),
    ((1, 4, 259, 2), (7, 5, 6)),
    ((1, 4, 259, 1), (7, 6, 5)),
    ((2, 3, 18, 1), (5, 4, 4)),
    ((1, 3, 17, 1), (5, 2, 8)),
    ((1, 3, 17, 1), (5, 8, 4)),
    ((1, 1, 1, 1), (2, 2, 6)),
    ((1, 2, 3, 2), (3, 10, 8)),
    ((1, 5, 4, 1), (3, 6, 1)),
    ((1, 9, 33, 1), (4, 2, 1)),
    ((1, 9, 33, 1), (4, 1, 2)),
    ((1, 70, 130, 1), (1000, 5, 5)),
    ((2, 40, 50, 3), (216, 5, 5)),
]
EMPTY = [
    ((0, 4, 5, 1), 3),
    ((2, 0, 5, 1), 3),
    ((2, 4, 0, 3), 3),
    ((2, 4, 5, 0), 3),
    ((0, 0, 0, 0), 3),
    ((1, 0, 4, 1), 0),
]


# The stock operations' arithmetic does not depend on the size.
SHAPES_OF = [pytest.param("native", *sizes, marks=needs_native) for sizes in SHAPES]
SHAPES_OF += [("stock", *sizes) for sizes in SHAPES if sizes[0][2] < 20]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(("implementation", "shape", "bank"), SHAPES_OF, indirect=["implementation"])
def test_filter_and_gradients_agree_with_float64(implementation, shape, bank, dtype):
    image, filters, selection = case(shape, bank)
    cotangent = np.random.default_rng(1).standard_normal(shape)
    image, filters, cotangent = (tf.cast(x, dtype) for x in (image, filters, cotangent))
    exact = [as_float64(x) for x in (image, filters, cotangent)]
    # Half types round once; what they round was accumulated in float32, whose error grows with the number of terms.
    relative = 1.01 * UNIT_ROUNDOFF[dtype] if dtype in ("float16", "bfloat16") else 0
    accumulated = 4 * UNIT_ROUNDOFF["float64" if dtype == "float64" else "float32"]

    output = blade_tf.blade_filter(image, filters, selection)
    assert (output.dtype, output.shape) == (image.dtype, image.shape)
    scale = oracle(abs(exact[0]), abs(exact[1]), selection)
    assert np.all(
        abs(as_float64(output) - oracle(exact[0], exact[1], selection))
        <= accumulated * np.sqrt(bank[1] * bank[2]) * scale + relative * abs(oracle(exact[0], exact[1], selection))
    )

    found = gradients(image, filters, selection, cotangent)
    expected = adjoints(*exact, selection)
    scales = adjoints(*map(abs, exact), selection)
    for gradient, of, wanted, size in zip(found, (image, filters), expected, scales, strict=True):
        assert (gradient.dtype, gradient.shape) == (of.dtype, of.shape)
        bound = accumulated * 16 * size + relative * abs(wanted) + 6e-8 * (dtype == "float16")
        assert np.all(abs(as_float64(gradient) - wanted) <= bound)


def adjoints(image, filters, cotangent, selection):
    """Eq 2.9 in float64: what each pixel of the extended image contributed to, scattered back to the image."""
    rows, columns = filters.shape[1:]
    h, w = image.shape[1:3]
    pad = (0, 0), ((rows - 1) // 2, rows // 2), ((columns - 1) // 2, columns // 2), (0, 0)
    extended = np.pad(image, pad, "edge")
    y, x = np.pad(np.arange(h), pad[1], "edge"), np.pad(np.arange(w), pad[2], "edge")
    image_gradient, filters_gradient = np.zeros(image.shape), np.zeros(filters.shape)
    for r, s in np.ndindex(rows, columns):
        tap = filters[:, r, s][selection][..., np.newaxis] * cotangent
        np.add.at(image_gradient, (slice(None), y[r : r + h, np.newaxis], x[s : s + w]), tap)
        products = (extended[:, r : r + h, s : s + w] * cotangent).sum(-1)
        filters_gradient[:, r, s] = np.bincount(selection.ravel(), products.ravel(), len(filters))
    return image_gradient, filters_gradient


@BOTH
@pytest.mark.parametrize(("shape", "filters"), EMPTY)
@pytest.mark.parametrize("dtype", [tf.float16, tf.float64])
def test_empty_images_and_banks(shape, filters, dtype, implementation):
    image, bank = tf.zeros(shape, dtype), tf.ones([filters, 3, 5], dtype)
    selection = np.zeros(shape[:3], np.int32)
    assert blade_tf.blade_filter(image, bank, selection).shape == shape
    image_gradient, filters_gradient = gradients(image, bank, selection, image)
    assert image_gradient.shape == shape
    np.testing.assert_array_equal(filters_gradient, tf.zeros_like(bank))
    chosen = blade_tf.blade_select(image, strength_thresholds=[0.1], coherence_thresholds=[])
    assert (chosen.dtype, chosen.shape) == (tf.int32, shape[:3])
    assert not np.any(chosen)


@needs_native
@pytest.mark.parametrize("footprint", [(5, 5), (5, 6)])
def test_native_and_stock_agree_on_a_photograph(footprint):
    image = skimage.data.astronaut()[np.newaxis, ::2, ::2].astype(np.float32) / 255
    selection = blade_tf.blade_select(image, strength_thresholds=[0.01, 0.04], coherence_thresholds=[0.3, 0.6])
    filters = (np.random.default_rng(0).standard_normal((216, *footprint)) / 25).astype(np.float32)

    def results(name, dtype):
        with blade_tf.implementation(name):
            arguments = image.astype(dtype), filters.astype(dtype), selection
            output = blade_tf.blade_filter(*arguments)
            return [output, *gradients(*arguments, output)]

    found, stock, exact = results("native", "f"), results("stock", "f"), results("stock", "d")
    # Thousands of pixels share a filter: stock TensorFlow sums its gradient in float32, the native one in float64.
    for native_array, stock_array, exact_array, tolerance in zip(found, stock, exact, [1e-6, 1e-6, 1e-5], strict=True):
        scale = np.abs(exact_array).max()
        np.testing.assert_allclose(native_array, exact_array, rtol=0, atol=1e-6 * scale)
        np.testing.assert_allclose(native_array, stock_array, rtol=0, atol=tolerance * scale)


@BOTH
@pytest.mark.parametrize(
    "footprint", [(1, 1), (3, 3), (5, 5), (7, 3), (1, 9), (15, 15), (5, 6), (6, 5), (2, 8), (4, 4)]
)
def test_constant_selection_is_scipy_correlation(footprint, implementation):
    image, filters, _ = case((1, 11, 9, 1), (4, *footprint))
    output = blade_tf.blade_filter(image, filters, np.full((1, 11, 9), 2, np.int32))
    # SciPy's origin of even sizes is the pixel right of or below the middle.
    origin = [-1 if size % 2 == 0 else 0 for size in footprint]
    expected = scipy.ndimage.correlate(image[0, :, :, 0], filters[2], mode="nearest", origin=origin)
    np.testing.assert_allclose(output[0, :, :, 0], expected, rtol=1e-12, atol=1e-13)


@BOTH
@pytest.mark.parametrize(("footprint", "above", "left"), [((3, 5), 1, 2), ((4, 2), 1, 0)])
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64])
def test_a_filter_of_one_tap_shifts_the_image_exactly(dtype, footprint, above, left, implementation):
    image = tf.cast(np.random.default_rng(0).standard_normal((2, 6, 19, 3)), dtype)
    taps = footprint[0] * footprint[1]
    bank = tf.cast(np.eye(taps).reshape(taps, *footprint), dtype)
    for k, (r, s) in enumerate(np.ndindex(*footprint)):
        output = blade_tf.blade_filter(image, bank, tf.fill([2, 6, 19], k))
        rows, columns = np.clip(np.arange(6) + r - above, 0, 5), np.clip(np.arange(19) + s - left, 0, 18)
        np.testing.assert_array_equal(output, image.numpy()[:, rows][:, :, columns])


@BOTH
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_every_half_number_survives_the_identity_filter(dtype, implementation):
    image = tf.bitcast(tf.constant(np.arange(65536, dtype=np.uint16).reshape(1, 256, 256, 1)), dtype)
    values = as_float64(image)
    least = np.finfo(np.float32).smallest_normal if dtype == tf.bfloat16 else 0
    keep = np.isfinite(values) & (abs(values) >= least)
    image = tf.where(keep, image, tf.zeros_like(image))
    output = blade_tf.blade_filter(image, tf.ones([1, 1, 1], dtype), np.zeros([1, 256, 256], np.int32))
    np.testing.assert_array_equal(as_float64(output), as_float64(image))


@BOTH
def test_half_sums_overflow_only_at_the_end(implementation):
    image = tf.constant([60000.0, 60000.0, 60000.0], tf.float16, [1, 1, 3, 1])
    filters = tf.constant([[[1.0, 1.0, -1.0]], [[1.0, 1.0, 1.0]]], tf.float16)
    output = blade_tf.blade_filter(image, filters, [[[0, 0, 1]]])
    np.testing.assert_array_equal(tf.reshape(output, [-1]), [60000.0, 60000.0, np.inf])


@BOTH
def test_graphs_of_unknown_shape_give_the_same(implementation):
    image, filters, selection = case((2, 6, 19, 3), (7, 3, 5))
    footprint = [None, None] if implementation == "native" else [3, 5]
    specs = [
        [tf.TensorSpec([None] * 4, tf.float64), tf.TensorSpec([None, *footprint], tf.float64)],
        [tf.TensorSpec(None, tf.float64), tf.TensorSpec([7, *footprint], tf.float64)],
    ]
    for spec, selected in zip(specs, ([None] * 3, None), strict=True):
        signature = [*spec, tf.TensorSpec(selected, tf.int32), tf.TensorSpec(spec[0].shape, tf.float64)]
        graph = tf.function(gradients, input_signature=signature)
        forward = tf.function(blade_tf.blade_filter, input_signature=signature[:3])
        np.testing.assert_array_equal(
            forward(image, filters, selection), blade_tf.blade_filter(image, filters, selection)
        )
        for found, expected in zip(
            graph(image, filters, selection, image), gradients(image, filters, selection, image), strict=True
        ):
            # TensorFlow adds up the stock operations' gradients in another order in graphs.
            np.testing.assert_allclose(found, expected, rtol=0, atol=0 if implementation == "native" else 1e-13)


@needs_native
def test_static_shapes_are_inferred():
    @tf.function(
        input_signature=[
            tf.TensorSpec([2, None, 5, 3]),
            tf.TensorSpec([7, 3, 5]),
            tf.TensorSpec([None, 4, 5], tf.int32),
        ]
    )
    def graph(image, filters, selection):
        output = blade_tf.blade_filter(image, filters, selection)
        assert output.shape.as_list() == [2, 4, 5, 3]
        by_image, by_filters = tf.gradients(output, [image, filters])
        assert by_image.shape.as_list() == [2, 4, 5, 3]
        assert by_filters.shape.as_list() == [7, 3, 5]
        chosen = blade_tf.blade_select(image, strength_thresholds=[], coherence_thresholds=[])
        assert chosen.shape.as_list() == [2, None, 5]
        return output

    graph.get_concrete_function()


GRADIENT_CASES = [
    ((1, 1, 1, 1), (2, 5, 5)),
    ((1, 1, 6, 1), (3, 5, 5)),
    ((1, 7, 1, 2), (3, 3, 7)),
    ((1, 2, 3, 1), (2, 7, 5)),
    ((2, 5, 6, 1), (4, 5, 5)),
    ((1, 4, 5, 3), (3, 1, 3)),
    ((1, 4, 5, 1), (3, 5, 6)),
    ((1, 5, 4, 1), (3, 6, 5)),
    ((1, 1, 1, 2), (2, 4, 2)),
    ((1, 2, 3, 1), (2, 4, 8)),
]


@BOTH
@pytest.mark.parametrize(("shape", "bank"), GRADIENT_CASES)
def test_gradients_agree_with_differences_at_every_pixel_and_tap(shape, bank, implementation):
    """The filter is linear in each argument: central differences are exact, at border and corner pixels too."""
    image, filters, selection = case(shape, bank)
    cotangent = np.random.default_rng(1).standard_normal(shape)

    def losses(images, banks):
        """One for each of P images and banks, in one batch of P * N images and one bank of P * K filters."""
        count = len(images)
        selections = selection + len(filters) * np.arange(count, dtype=np.int32)[:, np.newaxis, np.newaxis, np.newaxis]
        arguments = images, banks, selections
        flat = (x.reshape(-1, *x.shape[2:]) for x in arguments)
        outputs = blade_tf.blade_filter(*flat).numpy().reshape(images.shape)
        return (outputs * cotangent).reshape(count, -1).sum(1)

    def repeated(array, count):
        return np.broadcast_to(array, (count, *array.shape))

    by_image, by_filters = gradients(image, filters, selection, cotangent)
    steps = 0.5 * np.eye(image.size).reshape(-1, *shape)
    banks = repeated(filters, len(steps))
    difference = losses(image + steps, banks) - losses(image - steps, banks)
    np.testing.assert_allclose(np.ravel(by_image), difference, rtol=1e-9, atol=1e-12 * abs(difference).max())
    steps = 0.5 * np.eye(filters.size).reshape(-1, *bank)
    images = repeated(image, len(steps))
    difference = losses(images, filters + steps) - losses(images, filters - steps)
    np.testing.assert_allclose(np.ravel(by_filters), difference, rtol=1e-9, atol=1e-12 * abs(difference).max())


@BOTH
@pytest.mark.parametrize(
    ("shape", "bank"),
    [
        ((2, 33, 47, 3), (50, 5, 5)),
        ((1, 70, 9, 1), (9, 7, 11)),
        ((1, 33, 47, 2), (50, 5, 6)),
        ((1, 33, 47, 1), (9, 6, 5)),
    ],
)
def test_adjoint_identities(shape, bank, implementation):
    """<F(z, h), g> = <z, Gz(h, g)> = <h, Gh(z, g)>."""
    image, filters, selection = case(shape, bank)
    cotangent = np.random.default_rng(1).standard_normal(shape)
    by_image, by_filters = gradients(image, filters, selection, cotangent)
    products = [
        np.vdot(blade_tf.blade_filter(image, filters, selection), cotangent),
        np.vdot(image, by_image),
        np.vdot(filters, by_filters),
    ]
    scale = np.linalg.norm(image) * np.linalg.norm(cotangent)
    np.testing.assert_allclose(products, products[0], rtol=0, atol=1e-13 * scale)


def hessian_vector_product(image, filters, selection, direction):
    """Of L = |F(z, h)|^2 / 2, a polynomial of degree four along any line."""
    image, filters = tf.constant(image), tf.constant(filters)
    with tf.GradientTape() as outer:
        outer.watch([image, filters])
        with tf.GradientTape() as inner:
            inner.watch([image, filters])
            loss = tf.nn.l2_loss(blade_tf.blade_filter(image, filters, selection))
        first = inner.gradient(loss, [image, filters])
        along = tf.add_n([tf.reduce_sum(g * d) for g, d in zip(first, direction, strict=True)])
    return [x.numpy() for x in outer.gradient(along, [image, filters])]


@BOTH
@pytest.mark.parametrize(("shape", "bank"), GRADIENT_CASES)
def test_second_derivatives(shape, bank, implementation):
    image, filters, selection = case(shape, bank)
    rng = np.random.default_rng(2)
    direction = [rng.standard_normal(shape), rng.standard_normal(bank)]

    def gradient(t):
        z, h = image + t * direction[0], filters + t * direction[1]
        return gradients(z, h, selection, blade_tf.blade_filter(z, h, selection))

    found = hessian_vector_product(image, filters, selection, direction)
    samples = [gradient(t) for t in (1, -1, 2, -2)]
    for value, a, b, c, d in zip(found, *samples, strict=True):
        # The five-point difference is exact for the cubic gradient.
        expected = (8 * (a - b) - (c - d)) / 12
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max())


@needs_native
def test_second_derivatives_in_a_graph_of_unknown_shape():
    image, filters, selection = case((2, 5, 6, 1), (4, 3, 5))
    direction = [image[::-1], filters[::-1]]
    spec = [tf.TensorSpec([None] * 4, tf.float64), tf.TensorSpec([None] * 3, tf.float64)]

    @tf.function(input_signature=[*spec, tf.TensorSpec([None] * 3, tf.int32), *spec])
    def graph(z, h, s, dz, dh):
        first = tf.gradients(tf.nn.l2_loss(blade_tf.blade_filter(z, h, s)), [z, h])
        return tf.gradients(first, [z, h], [dz, dh])

    with blade_tf.implementation("stock"):
        expected = hessian_vector_product(image, filters, selection, direction)
    for found, wanted in zip(graph(image, filters, selection, *direction), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)


@BOTH
def test_forward_mode_is_the_product_rule(implementation):
    image, filters, selection = (tf.constant(x) for x in case((1, 5, 6, 2), (4, 3, 5)))
    dz, dh = tf.reverse(image, [1]), tf.reverse(filters, [0])
    with tf.autodiff.ForwardAccumulator([image, filters], [dz, dh]) as accumulator:
        output = blade_tf.blade_filter(image, filters, selection)
    expected = blade_tf.blade_filter(dz, filters, selection) + blade_tf.blade_filter(image, dh, selection)
    np.testing.assert_allclose(accumulator.jvp(output), expected, rtol=1e-12, atol=1e-13)


SOFT_CASES = [((2, 5, 6, 2), (4, 3, 5)), ((1, 4, 7, 1), (3, 5, 6)), ((1, 1, 1, 1), (2, 2, 2))]


def soft_case(shape, bank):
    image, filters, lower = case(shape, bank)
    rng = np.random.default_rng(7)
    upper = rng.integers(0, bank[0], shape[:3]).astype(np.int32)
    return image, filters, lower, upper, rng.random(shape[:3])


@BOTH
@pytest.mark.parametrize(("shape", "bank"), SOFT_CASES)
def test_soft_filter_is_that_of_the_interpolated_filters(shape, bank, implementation):
    image, filters, lower, upper, weight = soft_case(shape, bank)
    w = weight.ravel()[:, np.newaxis, np.newaxis]
    of_pixels = (1 - w) * filters[lower.ravel()] + w * filters[upper.ravel()]
    expected = oracle(image, of_pixels, np.arange(weight.size).reshape(weight.shape))
    for of_weight in (weight, weight.astype(np.float32)):
        output = blade_tf.blade_filter_soft(image, filters, (lower, upper, of_weight))
        assert output.dtype == tf.float64
        np.testing.assert_allclose(output, expected, rtol=0, atol=1e-12 if of_weight is weight else 1e-6)


@BOTH
@pytest.mark.parametrize(("shape", "bank"), SOFT_CASES)
def test_soft_gradients_agree_with_differences(shape, bank, implementation):
    """The output is linear in each of image, filters and weight: central differences are exact."""
    image, filters, lower, upper, weight = soft_case(shape, bank)
    sources = [tf.constant(x) for x in (image, filters, weight)]
    rng = np.random.default_rng(8)
    cotangent = rng.standard_normal(shape)

    def loss(z, h, w):
        return tf.reduce_sum(cotangent * blade_tf.blade_filter_soft(z, h, (lower, upper, w)))

    with tf.GradientTape() as tape:
        tape.watch(sources)
        value = loss(*sources)
    for i, gradient in enumerate(tape.gradient(value, sources)):
        found, differences = [], []
        for _ in range(5):
            direction = rng.standard_normal(gradient.shape)
            ends = [loss(*[x + sign * direction if j == i else x for j, x in enumerate(sources)]) for sign in (1, -1)]
            found.append(np.vdot(gradient, direction))
            differences.append((ends[0] - ends[1]) / 2)
        np.testing.assert_allclose(found, differences, rtol=1e-10, atol=1e-11)


@BOTH
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_soft_filter_in_half_precision_is_interpolated_in_float32(dtype, implementation):
    image, filters, lower, upper, weight = soft_case((2, 5, 6, 2), (4, 3, 5))
    image, filters, weight = tf.cast(image, dtype), tf.cast(filters, dtype), weight.astype(np.float32)
    low, high = (tf.cast(blade_tf.blade_filter(image, filters, s), tf.float32) for s in (lower, upper))
    w = weight[..., np.newaxis]
    output = blade_tf.blade_filter_soft(image, filters, (lower, upper, weight))
    np.testing.assert_array_equal(output, tf.cast((1 - w) * low + w * high, dtype))


@BOTH
def test_soft_filter_names_the_wrong_argument(implementation):
    weight = np.zeros((1, 4, 6), np.float32)
    for soft, error, message in [
        (SELECTION, TypeError, "soft: expected lower, upper and weight, got ndarray"),
        ((SELECTION, SELECTION), TypeError, "soft: expected lower, upper and weight, got 2 parts"),
        ((SELECTION, SELECTION, SELECTION), TypeError, r"weight: expected float16, .* got int32 \[1, 4, 6\]"),
        ((SELECTION, SELECTION, weight[0]), ValueError, r"weight: expected float32 \[N, H, W\], got float32 \[4, 6\]"),
        ((SELECTION, SELECTION, weight[:, :1]), ValueError, r"weight: expected .* = \[1, 4, 6\], got .* \[1, 1, 6\]"),
        ((SELECTION, weight, weight), TypeError, r"selection: expected int32 .* got float32"),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            blade_tf.blade_filter_soft(IMAGE, FILTERS, soft)
    signature = [tf.TensorSpec([None] * 4), tf.TensorSpec([3, 5, 5]), *[tf.TensorSpec([None] * 3, tf.int32)] * 2]
    graph = tf.function(
        lambda z, h, a, b, w: blade_tf.blade_filter_soft(z, h, (a, b, w)),
        input_signature=[*signature, tf.TensorSpec([None] * 3)],
    )
    np.testing.assert_array_equal(graph(IMAGE, FILTERS, SELECTION, SELECTION, weight), IMAGE)
    with pytest.raises(tf.errors.InvalidArgumentError, match="weight: expected"):
        graph(IMAGE, FILTERS, SELECTION, SELECTION, weight[:, :, :1])


@BOTH
@pytest.mark.parametrize(("footprint", "origin"), [((5, 5), (0, 0)), ((6, 5), (-1, 0)), ((4, 4), (-1, -1))])
def test_nan_and_infinity_stay_within_their_stencil(footprint, origin, implementation):
    arrays = case((1, 40, 70, 1), (9, *footprint))
    image, filters, selection = (x.astype(t) for x, t in zip(arrays, "ffi", strict=True))
    clean = blade_tf.blade_filter(image, filters, selection).numpy()
    poisoned = np.zeros(image.shape, bool)
    for n, (y, x) in enumerate([(0, 0), (0, 17), (39, 69), (20, 15), (20, 16), (21, 47), (30, 0), (12, 69)]):
        poisoned[0, y, x] = True
        image[0, y, x] = [np.nan, np.inf, -np.inf][n % 3]
    output = blade_tf.blade_filter(image, filters, selection).numpy()
    reached = scipy.ndimage.maximum_filter(poisoned, (1, *footprint, 1), mode="nearest", origin=(0, *origin, 0))
    np.testing.assert_array_equal(~np.isfinite(output), reached)
    np.testing.assert_array_equal(output[~reached], clean[~reached])


@BOTH
@pytest.mark.parametrize("footprint", [(5, 5), (6, 5), (4, 4)])
def test_nan_and_infinity_stay_within_the_adjoint_stencil(footprint, implementation):
    arrays = case((1, 20, 70, 1), (200, *footprint))
    image, filters, selection = (x.astype(t) for x, t in zip(arrays, "ffi", strict=True))
    cotangent = image[:, ::-1].copy()
    clean = gradients(image, filters, selection, cotangent)
    poisoned = np.zeros(image.shape, np.float32)
    for n, (y, x) in enumerate([(0, 0), (19, 69), (10, 16), (11, 33)]):
        poisoned[0, y, x] = 1
        cotangent[0, y, x] = [np.nan, np.inf][n % 2]
    ones = np.ones_like
    reached = [
        gradients(ones(image), ones(filters), selection, poisoned)[0] > 0,
        gradients(ones(image), ones(filters), selection, poisoned)[1] > 0,
    ]
    for found, before, mask in zip(gradients(image, filters, selection, cotangent), clean, reached, strict=True):
        np.testing.assert_array_equal(~np.isfinite(found), mask)
        np.testing.assert_array_equal(found[~mask], before[~mask])
    image, cotangent = np.where(poisoned, np.nan, image), image[:, ::-1]
    by_image, by_filters = gradients(image, filters, selection, cotangent)
    np.testing.assert_array_equal(by_image, clean[0])
    mask = gradients(poisoned, filters, selection, ones(image))[1] > 0
    np.testing.assert_array_equal(np.isnan(by_filters), mask)
    np.testing.assert_array_equal(by_filters[~mask], clean[1][~mask])


@BOTH
@pytest.mark.parametrize("footprint", [(5, 5), (4, 4), (2, 8), (6, 5)])
def test_a_nan_in_a_filter_stays_with_the_pixels_that_select_it(footprint, implementation):
    """Filters lie side by side in memory, with no gap where their taps fill the last vector."""
    arrays = case((1, 12, 70, 1), (9, *footprint))
    image, filters, selection = (x.astype(t) for x, t in zip(arrays, "ffi", strict=True))
    filters[4] = np.nan
    output = blade_tf.blade_filter(image, filters, selection).numpy()
    np.testing.assert_array_equal(np.isnan(output[..., 0]), selection == 4)


@needs_native
@pytest.mark.parametrize("value", [5, -1, 2**31 - 1, -(2**31)])
def test_the_first_selection_out_of_range_is_named(value):
    selection = np.zeros((3, 200, 300), np.int32)
    for position in [(2, 199, 299), (1, 150, 7), (1, 150, 8), (1, 199, 0)]:
        selection[position] = value
    image = np.zeros((3, 200, 300, 1), np.float32)
    message = rf"selection: expected values in \[0, 5\), got {value} at \[1, 150, 7\]"
    with blade_tf.implementation("native"), pytest.raises(tf.errors.InvalidArgumentError, match=message):
        blade_tf.blade_filter(image, np.zeros((5, 5, 5), np.float32), selection)
    for gradient in (
        lambda: ops._grad_image(np.zeros((5, 3, 3), np.float32), selection, image),
        lambda: ops.grad_filters(image, selection, image, np.zeros((5, 3, 3), np.float32)),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            gradient()


@needs_native
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("footprint", [(5, 5), (3, 4)])
def test_native_selections_of_one_byte_give_the_same(footprint, dtype):
    """They are what the step keeps for its gradient."""
    image, filters, selection = case((2, 9, 261, 3), (256, *footprint))
    image, filters, library = tf.cast(image, dtype), tf.cast(filters, dtype), native.library
    both = []
    for index in (selection, selection.astype(np.uint8)):
        output = library.blade_filter(image=image, filters=filters, selection=index)
        both.append([output, ops._grad_image(filters, index, image), ops.grad_filters(image, index, image, filters)])
    for found, expected in zip(*both, strict=True):
        np.testing.assert_array_equal(found, expected)


@needs_native
@pytest.mark.parametrize(("filters", "value"), [(5, 5), (5, 255), (255, 255)])
def test_the_first_byte_out_of_range_is_named(filters, value):
    selection = np.zeros((2, 20, 300), np.uint8)
    selection[1, 7, 299] = selection[1, 8, 0] = value
    image, bank = np.zeros((2, 20, 300, 1), np.float32), np.zeros((filters, 5, 5), np.float32)
    for operation in (
        lambda: native.library.blade_filter(image=image, filters=bank, selection=selection),
        lambda: ops._grad_image(bank, selection, image),
        lambda: ops.grad_filters(image, selection, image, bank),
    ):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=rf"expected values in \[0, {filters}\), got {value} at \[1, 7, 299\]"
        ):
            operation()


@BOTH
@pytest.mark.parametrize(("filters", "value"), [(5, 5), (5, -1), (0, 0)])
def test_a_selection_out_of_range_is_an_error(filters, value, implementation):
    selection = np.zeros((1, 4, 6), np.int32)
    selection[0, 2, 3] = value
    position = r"\[0, ?0, ?0\]" if filters == 0 else r"\[0, ?2, ?3\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"(?s)(?=.*{position})(?=.*{value}).*\[0, {filters}\)"):
        blade_tf.blade_filter(np.zeros((1, 4, 6, 1), np.float32), np.zeros((filters, 3, 3), np.float32), selection)


IMAGE, FILTERS, SELECTION = (
    np.zeros((1, 4, 6, 1), np.float32),
    np.zeros((3, 5, 5), np.float32),
    np.zeros((1, 4, 6), np.int32),
)
WRONG = [
    ((IMAGE[0], FILTERS, SELECTION), ValueError, r"image: expected float32 \[N, H, W, C\], got float32 \[4, 6, 1\]"),
    ((IMAGE.astype(np.uint8), FILTERS, SELECTION), TypeError, r"image: expected float16, .* got uint8 \[1, 4, 6, 1\]"),
    ((IMAGE, FILTERS[0], SELECTION), ValueError, r"filters: expected float32 \[K, R, S\], got float32 \[5, 5\]"),
    ((IMAGE, FILTERS.astype(np.float64), SELECTION), TypeError, r"filters: expected float32 .* got float64 \[3, 5"),
    ((IMAGE, FILTERS[:, :0], SELECTION), ValueError, r"filters: expected .* at least 1, got float32 \[3, 0, 5\]"),
    ((IMAGE, FILTERS[:, :, :0], SELECTION), ValueError, r"filters: expected .* at least 1, got float32 \[3, 5, 0\]"),
    ((IMAGE, FILTERS, SELECTION.astype(np.int64)), TypeError, r"selection: expected int32 .* got int64 \[1, 4, 6\]"),
    ((IMAGE, FILTERS, SELECTION.astype(np.float32)), TypeError, r"selection: expected int32 .* got float32"),
    ((IMAGE, FILTERS, SELECTION[0]), ValueError, r"selection: expected int32 \[N, H, W\], got int32 \[4, 6\]"),
    ((IMAGE, FILTERS, SELECTION[:0]), ValueError, r"selection: expected .* = \[1, 4, 6\], got int32 \[0, 4, 6\]"),
    ((IMAGE, FILTERS, SELECTION[:, :1]), ValueError, r"selection: expected .* = \[1, 4, 6\], got int32 \[1, 1, 6\]"),
    ((IMAGE, FILTERS, SELECTION[:, :, :1]), ValueError, r"selection: expected .* = \[1, 4, 6\], got int32 \[1, 4, 1\]"),
]  # fmt: skip


@BOTH
@pytest.mark.parametrize(("arguments", "error", "message"), WRONG)
def test_filter_names_the_wrong_argument(arguments, error, message, implementation):
    with pytest.raises(error, match=message):
        blade_tf.blade_filter(*arguments)


@needs_native
@pytest.mark.parametrize(("arguments", "message"), [(a, m) for a, error, m in WRONG if error is ValueError])
def test_native_graphs_name_the_wrong_argument_when_they_run(arguments, message):
    graph = tf.function(
        blade_tf.blade_filter,
        input_signature=[tf.TensorSpec(None), tf.TensorSpec(None), tf.TensorSpec(None, tf.int32)],
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=message.replace(r"\[K, R, S\],", ".*")):
        graph(*arguments)


def test_stock_graphs_refuse_what_would_broadcast():
    signature = [tf.TensorSpec([None] * 4), tf.TensorSpec([None, 5, 5]), tf.TensorSpec(None, tf.int32)]
    with blade_tf.implementation("stock"):
        graph = tf.function(blade_tf.blade_filter, input_signature=signature)
        np.testing.assert_array_equal(graph(IMAGE, FILTERS, SELECTION), IMAGE)
        for wrong in (SELECTION[:, :1], SELECTION[:, :, :1], np.zeros((2, 4, 6), np.int32)):
            with pytest.raises(tf.errors.InvalidArgumentError, match="selection: expected"):
                graph(IMAGE, FILTERS, wrong)
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            graph(IMAGE, FILTERS, SELECTION[0])
        open_footprint = tf.function(
            blade_tf.blade_filter, input_signature=[signature[0], tf.TensorSpec([None] * 3), signature[2]]
        )
        with pytest.raises(ValueError, match=r"filters: stock operations need a static footprint \[K, R, S\]"):
            open_footprint(IMAGE, FILTERS, SELECTION)


@needs_native
def test_native_gradients_name_the_wrong_argument():
    library = native.library
    image, other = tf.constant(IMAGE), tf.zeros([1, 4, 6, 2])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"grad: expected .* = \[1, 4, 6, 1\], got float32 \[1, 4, 6, 2\]"
    ):
        library.blade_filter_grad_filters(image=image, selection=SELECTION, grad=other, filters_shape=[3, 5, 5])
    for shape in ([3, 0, 5], [3, 5, 0], [-1, 5, 5], [3, -5, 5], [3, -4, 5]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="filters_shape: expected"):
            library.blade_filter_grad_filters(image=image, selection=SELECTION, grad=image, filters_shape=shape)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"filters_shape: expected .* got int32 \[2\]"):
        library.blade_filter_grad_filters(image=image, selection=SELECTION, grad=image, filters_shape=[3, 5])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"selection: expected .* = \[1, 4, 6\], got int32 \[1, 4, 5\]"
    ):
        library.blade_filter_grad_image(filters=FILTERS, selection=SELECTION[:, :, :5], grad=image)


def test_plain_lists_are_arrays():
    output = blade_tf.blade_filter([[[[1.0], [2.0]]]], [[[0.0, 0.0, 1.0]]], [[[0, 0]]])
    np.testing.assert_array_equal(output, [[[[2.0], [2.0]]]])


@needs_native
def test_implementation_is_chosen_by_block():
    assert ops.uses_native()
    with blade_tf.implementation("stock"):
        assert not ops.uses_native()
        with blade_tf.implementation("native"):
            assert ops.uses_native()
        with pytest.raises(KeyError), blade_tf.implementation("native"):
            raise KeyError
        assert not ops.uses_native()
        graph = tf.function(blade_tf.blade_filter).get_concrete_function(IMAGE, FILTERS, SELECTION).graph
        assert not [op for op in graph.get_operations() if "Blade" in op.type]
    assert ops.uses_native()
    graph = tf.function(blade_tf.blade_filter).get_concrete_function(IMAGE, FILTERS, SELECTION).graph
    assert [op.type for op in graph.get_operations() if "Blade" in op.type] == ["BladeFilter"]


def test_implementation_names_what_it_cannot_do(monkeypatch):
    with (
        pytest.raises(ValueError, match="implementation: expected 'native' or 'stock', got 'cuda'"),
        blade_tf.implementation("cuda"),
    ):
        pass
    monkeypatch.setattr(native, "library", None)
    assert not ops.uses_native()
    with pytest.raises(ValueError, match="without its native library"), blade_tf.implementation("native"):
        pass
    np.testing.assert_array_equal(blade_tf.blade_filter(IMAGE, FILTERS, SELECTION), IMAGE)
