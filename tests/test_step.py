"""The fused step: bit for bit the selection, the filter and the update one after the other, with their gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import blade_tf
from blade_tf import export, integrate, native
from test_native import python

needs_native = pytest.mark.skipif(native.library is None, reason="blade_tf was installed without its native library")

OPTIONS = {"orientations": 8, "strength_thresholds": [0.3, 0.8], "coherence_thresholds": [0.3], "rho": 1.0}
BINS = 48
DTYPES = pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])


@pytest.fixture
def implementation(request):
    with blade_tf.implementation(request.param):
        yield request.param


BOTH = pytest.mark.parametrize("implementation", [pytest.param("native", marks=needs_native), "stock"], indirect=True)


def case(shape, bank, dtype="float64", seed=0):
    """A random image and a bank of small filters."""
    rng = np.random.default_rng(seed)
    return tf.cast(rng.standard_normal(shape), dtype), tf.cast(rng.standard_normal(bank) / 5, dtype)


def composition(image, filters, dt, **options):
    """An operation after the other."""
    dt = tf.cast(dt, image.dtype) if tf.is_tensor(dt) else tf.constant(dt, image.dtype)
    return image + dt * blade_tf.blade_filter(image, filters, blade_tf.blade_select(image, **options))


def operations(function, *arguments):
    """The types of the operations of this package in the function's graph, those of its loops' bodies included."""
    graph = tf.function(function).get_concrete_function(*arguments).graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    return sorted(node.op for node in nodes if node.op.startswith("Blade"))


def as_float64(tensor):
    return tf.cast(tensor, tf.float64).numpy()


@needs_native
@DTYPES
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("footprint", "options"),
    [
        ((5, 5), OPTIONS),
        ((5, 5), OPTIONS | {"rho": 0.0}),
        ((5, 5), {"orientations": 24, "strength_thresholds": [0.2, 0.6], "coherence_thresholds": [0.2, 0.5]}),
        ((5, 5), {"orientations": 3, "intensity_thresholds": [-0.5, 0.5], "rho": 2.0}),
        ((5, 6), OPTIONS | {"rho": 0.5}),
        ((3, 3), {"orientations": 1, "rho": 1.5}),
    ],
)
def test_a_step_is_its_parts_bit_for_bit(footprint, options, channels, dtype):
    for shape in ((2, 21, 263, channels), (1, 40, 33, channels)):
        image, filters = case(shape, (216, *footprint), dtype)
        expected = composition(image, filters, 0.3, **options)
        assert np.any(expected != image)
        np.testing.assert_array_equal(blade_tf.blade_step(image, filters, 0.3, **options), expected)
        np.testing.assert_array_equal(
            tf.function(lambda *x, o=options: blade_tf.blade_step(*x, **o))(image, filters, tf.constant(0.3, dtype)),
            expected,
        )


@needs_native
@DTYPES
@pytest.mark.parametrize("channels", [1, 3])
def test_native_and_stock_agree(channels, dtype):
    image, filters = case((2, 21, 43, channels), (BINS, 5, 5), dtype)
    found = blade_tf.blade_step(image, filters, 0.3, **OPTIONS)
    with blade_tf.implementation("stock"):
        stock = blade_tf.blade_step(image, filters, 0.3, **OPTIONS)
        np.testing.assert_array_equal(stock, composition(image, filters, 0.3, **OPTIONS))
    assert (stock.dtype, stock.shape) == (found.dtype, found.shape)
    # Sums of 25 terms in another order; the half types then round it and what follows.
    error = {"float16": 2.0**-9, "bfloat16": 2.0**-6, "float32": 2.0**-20, "float64": 2.0**-49}[dtype]
    np.testing.assert_allclose(
        as_float64(found), as_float64(stock), rtol=0, atol=error * np.abs(as_float64(stock)).max()
    )


@BOTH
@pytest.mark.parametrize("shape", [(0, 4, 5, 1), (2, 0, 5, 1), (2, 4, 0, 3), (2, 4, 5, 0), (1, 1, 1, 1)])
def test_images_that_are_empty_or_one_pixel(shape, implementation):
    image, filters = case(shape, (BINS, 5, 5))
    with tf.GradientTape() as tape:
        tape.watch([image, filters])
        found = blade_tf.blade_step(image, filters, 0.5, **OPTIONS)
    np.testing.assert_array_equal(found, composition(image, filters, 0.5, **OPTIONS))
    image_gradient, filters_gradient = tape.gradient(found, [image, filters])
    assert image_gradient.shape == shape
    # A pixel alone is flat, and all its neighbours are itself.
    np.testing.assert_allclose(image_gradient, np.full(shape, 1 + 0.5 * np.sum(filters[0])))
    np.testing.assert_allclose(filters_gradient[0], np.full((5, 5), 0.5 * np.sum(image)))
    np.testing.assert_array_equal(filters_gradient[1:], np.zeros((BINS - 1, 5, 5)))


# Differences of 1e-5 move no pixel of these images to another filter.
FEW = {"orientations": 3, "strength_thresholds": [0.7], "coherence_thresholds": [0.3], "rho": 0.5}


@needs_native
@pytest.mark.parametrize(("shape", "footprint"), [((1, 6, 7, 1), (5, 5)), ((1, 5, 4, 2), (3, 4))])
def test_gradients_agree_with_differences(shape, footprint):
    image, filters = case(shape, (13, *footprint))
    assert len(np.unique(blade_tf.blade_select(image, **FEW))) > 5
    arguments = [image, filters, tf.constant(0.3, tf.float64)]
    theory, numeric = tf.test.compute_gradient(lambda *x: blade_tf.blade_step(*x, **FEW), arguments, delta=1e-5)
    for found, expected in zip(theory, numeric, strict=True):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def gradients(step, image, filters, dt, cotangent, **options):
    with tf.GradientTape() as tape:
        tape.watch([image, filters, dt])
        output = step(image, filters, dt, **options)
    return tape.gradient(output, [image, filters, dt], cotangent)


@needs_native
@DTYPES
@pytest.mark.parametrize(("channels", "footprint"), [(1, (5, 5)), (3, (5, 5)), (1, (3, 4))])
def test_gradients_are_those_of_the_parts(channels, footprint, dtype):
    image, filters = case((2, 12, 37, channels), (BINS + 2, *footprint), dtype)
    arguments = image, filters, tf.constant(0.3, dtype), case(image.shape, (1, 1, 1), dtype, seed=1)[0]
    exact = gradients(composition, *(tf.cast(x, tf.float64) for x in arguments), **OPTIONS)
    eager = gradients(blade_tf.blade_step, *arguments, **OPTIONS)
    graph = tf.function(lambda *x: gradients(blade_tf.blade_step, *x, **OPTIONS))(*arguments)
    # The half types round the filters, or what they make, before the last sum.
    error = {"float16": 2.0**-8, "bfloat16": 2.0**-5, "float32": 2.0**-19, "float64": 2.0**-48}[dtype]
    for found in (eager, graph):
        for gradient, wanted, of in zip(found, exact, arguments, strict=False):
            assert (gradient.dtype, gradient.shape) == (of.dtype, of.shape)
            scale = np.abs(wanted).max() if of.shape.rank else np.abs(image.numpy().astype(np.float64)).sum() ** 0.5
            np.testing.assert_allclose(as_float64(gradient), wanted, rtol=0, atol=error * scale)
    np.testing.assert_array_equal(eager[1][BINS:], tf.zeros_like(filters[BINS:]))


@needs_native
@pytest.mark.parametrize("wanted", [[0], [1], [2], [0, 1]])
def test_only_the_gradients_that_are_asked_for_are_computed(wanted, monkeypatch):
    """Eagerly too, where no graph is pruned."""
    inputs = [*case((1, 9, 20, 1), (BINS, 5, 5), "float32"), tf.constant(0.3)]
    made = ["blade_filter_grad_image", "blade_filter_grad_filters", "blade_filter"]
    called = []

    class Library:
        def __getattr__(self, name):
            called.append(name)
            return getattr(library, name)

    def some():
        with tf.GradientTape() as tape:
            tape.watch([inputs[i] for i in wanted])
            output = blade_tf.blade_step(*inputs, **OPTIONS)
        return tape.gradient(output, [inputs[i] for i in wanted])

    expected, library = gradients(blade_tf.blade_step, *inputs, inputs[0] * 0 + 1, **OPTIONS), native.library
    monkeypatch.setattr(native, "library", Library())
    for found in (some(), tf.function(some)()):
        for i, gradient in zip(wanted, found, strict=True):
            np.testing.assert_allclose(gradient, expected[i], rtol=1e-6, atol=1e-6)
    assert called == 2 * ["blade_step", *(made[i] for i in wanted)]


@needs_native
def test_second_derivatives_are_those_of_the_parts():
    image, filters = case((1, 6, 7, 2), (BINS, 3, 3))
    weights = case(image.shape, (1, 1, 1), seed=1)[0]
    inputs = [image, filters, tf.constant(0.3, tf.float64)]

    def second(step):
        with tf.GradientTape() as outer:
            outer.watch(inputs)
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                loss = tf.reduce_sum(weights * step(*inputs, **OPTIONS) ** 3)
            total = sum(tf.reduce_sum(tf.sin(gradient)) for gradient in inner.gradient(loss, inputs))
        return outer.gradient(total, inputs)

    expected = second(composition)
    for found in (second(blade_tf.blade_step), tf.function(second)(blade_tf.blade_step)):
        for gradient, wanted in zip(found, expected, strict=True):
            scale = np.abs(wanted).max()
            assert scale > 0.1
            np.testing.assert_allclose(gradient, wanted, rtol=0, atol=1e-11 * scale)


@needs_native
def test_a_step_that_is_a_number_costs_no_gradient(monkeypatch):
    """Eagerly, the rate is filtered again for the gradient with respect to dt alone."""
    image, filters = case((1, 9, 11, 1), (BINS, 5, 5))
    calls, blade_filter = [], native.library.blade_filter
    monkeypatch.setattr(native.library, "blade_filter", lambda **x: calls.append(1) or blade_filter(**x))
    for watched, count in (([image], 0), ([filters], 0), ([image, filters], 0)):
        with tf.GradientTape() as tape:
            tape.watch(watched)
            output = blade_tf.blade_step(image, filters, 0.3, **OPTIONS)
        tape.gradient(output, watched)
        assert len(calls) == count
    found = gradients(blade_tf.blade_step, image, filters, tf.constant(0.3, tf.float64), image, **OPTIONS)
    assert len(calls) == 1
    rate = blade_tf.blade_filter(image, filters, blade_tf.blade_select(image, **OPTIONS))
    np.testing.assert_allclose(found[2], np.sum(rate * image), rtol=1e-12)


@BOTH
def test_graphs_of_unknown_shape_give_the_same(implementation):
    image, filters = case((2, 9, 19, 3), (BINS + 1, 3, 3), "float32")
    expected = blade_tf.blade_step(image, filters, 0.3, **OPTIONS)
    wanted = gradients(composition, image, filters, tf.constant(0.3), image, **OPTIONS)
    native_shapes = ([None] * 4, [None] * 3, []), (None, None, None)
    for shapes in native_shapes if implementation == "native" else [([None] * 4, [None, 3, 3], [])]:
        signature = [tf.TensorSpec(shape) for shape in shapes]
        step = tf.function(lambda *x: blade_tf.blade_step(*x, **OPTIONS), input_signature=signature)
        np.testing.assert_array_equal(step(image, filters, 0.3), expected)
        assert step(image[:, :0], filters, 0.3).shape == (2, 0, 19, 3)
        graph = tf.function(
            lambda *x: gradients(blade_tf.blade_step, *x, **OPTIONS), input_signature=[*signature, signature[0]]
        )
        for found, gradient in zip(graph(image, filters, 0.3, image), wanted, strict=True):
            np.testing.assert_allclose(found, gradient, rtol=1e-5, atol=1e-5)


@needs_native
def test_static_shapes_are_inferred():
    @tf.function(input_signature=[tf.TensorSpec([2, None, 5, 3]), tf.TensorSpec([BINS, 5, 5]), tf.TensorSpec(None)])
    def graph(image, filters, dt):
        output = blade_tf.blade_step(image, filters, dt, **OPTIONS)
        assert output.shape.as_list() == [2, None, 5, 3]
        assert output.op.outputs[1].shape.as_list() == [2, None, 5]
        by_image, by_filters = tf.gradients(output, [image, filters])
        assert by_image.shape.as_list() == [2, None, 5, 3]
        assert by_filters.shape.as_list() == [BINS, 5, 5]
        return output

    graph.get_concrete_function()


@BOTH
def test_filters_that_no_pixel_can_select_do_not_matter(implementation):
    image, filters = case((1, 9, 11, 1), (BINS + 5, 5, 5), "float32")
    expected = blade_tf.blade_step(image, filters[:BINS], 0.3, **OPTIONS)
    wild = tf.concat([filters[:BINS], tf.fill([5, 5, 5], np.float32(np.nan))], 0)
    np.testing.assert_array_equal(blade_tf.blade_step(image, wild, 0.3, **OPTIONS), expected)


@BOTH
@pytest.mark.parametrize("dt", [0.3, np.float64(0.3), np.float32(0.3), "tensor", "double", "variable", "keras"])
def test_dt_may_be_any_number(dt, implementation):
    image, filters = case((1, 9, 11, 1), (BINS, 5, 5), "float32")
    makers = {
        "tensor": lambda: tf.constant(0.3),
        "double": lambda: tf.constant(0.3, tf.float64),
        "variable": lambda: tf.Variable(0.3),
        "keras": lambda: keras.Variable(0.3),
    }
    number = makers[dt]() if isinstance(dt, str) else dt
    expected = composition(image, filters, np.float32(0.3), **OPTIONS)
    np.testing.assert_array_equal(blade_tf.blade_step(image, filters, number, **OPTIONS), expected)


@BOTH
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"filters": np.zeros((47, 5, 5), np.float32)}, ValueError, "filters: expected at least 48, .* got 47"),
        ({"filters": np.zeros((48, 5), np.float32)}, ValueError, r"filters: expected float32 \[K, R, S\]"),
        ({"filters": np.zeros((48, 5, 0), np.float32)}, ValueError, r"filters: expected .* at least 1"),
        ({"filters": np.zeros((48, 5, 5))}, TypeError, "filters: expected float32 .* got float64"),
        ({"image": np.zeros((4, 6, 1), np.float32)}, ValueError, r"image: expected float32 \[N, H, W, C\]"),
        ({"image": np.zeros((1, 4, 6, 1), np.uint8)}, TypeError, "image: expected float16, .* got uint8"),
        ({"dt": [0.1]}, ValueError, r"dt: expected a scalar, got \[1\]"),
        ({"dt": np.full((1, 4, 6, 1), 0.1)}, ValueError, r"dt: expected a scalar, got \[1, 4, 6, 1\]"),
        ({"dt": tf.constant([[0.1]])}, ValueError, r"dt: expected a scalar, got \[1, 1\]"),
        ({"dt": "fast"}, (TypeError, ValueError), "dt: expected"),
        ({"dt": None}, (TypeError, ValueError), "dt: expected"),
        ({"orientations": 0}, ValueError, "orientations: expected an integer of at least 1"),
        ({"strength_thresholds": [0.2, 0.1]}, ValueError, "strength_thresholds: expected ascending"),
        ({"coherence_thresholds": [1.1]}, ValueError, "coherence_thresholds: expected ascending"),
        ({"intensity_thresholds": [float("nan")]}, ValueError, "intensity_thresholds: expected ascending"),
        ({"rho": -1.0}, ValueError, "rho: expected a number"),
    ],
)
def test_the_wrong_argument_is_named(change, error, message, implementation):
    arguments = {"image": np.zeros((1, 4, 6, 1), np.float32), "filters": np.zeros((48, 5, 5), np.float32), "dt": 0.1}
    with pytest.raises(error, match=message):
        blade_tf.blade_step(**arguments | OPTIONS | change)


@needs_native
def test_graphs_name_the_wrong_argument_when_they_run():
    step = tf.function(lambda *x: blade_tf.blade_step(*x, **OPTIONS), input_signature=[tf.TensorSpec(None)] * 3)
    image, filters = case((1, 4, 6, 1), (BINS, 5, 5), "float32")
    for arguments, message in (
        ((image, filters[1:], 0.1), "filters: expected at least 48, one for each combination of features, got 47"),
        ((image, filters, [0.1]), r"dt: expected .*scalar, got .*\[1\]"),
        ((image[0], filters, 0.1), r"image: expected float32 \[N, H, W, C\], got float32 \[4, 6, 1\]"),
        ((image, filters[0], 0.1), r"filters: expected float32 \[K, R, S\].*, got float32 \[5, 5\]"),
        ((image, filters[:, :0], 0.1), r"filters: expected .* at least 1, got float32 \[48, 0, 5\]"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            step(*arguments)


@needs_native
def test_the_operation_refuses_a_byte_for_more_filters_than_it_holds():
    image, filters = case((1, 4, 6, 1), (300, 5, 5), "float32")
    attributes = {"strength_thresholds": [], "coherence_thresholds": [], "rho": 0.0, "Tsel": tf.uint8}
    native.library.blade_step(image=image, filters=filters, dt=0.1, orientations=256, **attributes)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"Tsel: expected int32 for more than 256 .* uint8 for 257"
    ):
        native.library.blade_step(image=image, filters=filters, dt=0.1, orientations=257, **attributes)


@needs_native
@pytest.mark.parametrize(
    ("orientations", "index"), [(1, tf.uint8), (24, tf.uint8), (64, tf.uint8), (65, tf.int32), (90, tf.int32)]
)
def test_up_to_256_filters_are_selected_in_one_byte(orientations, index):
    options = {"orientations": orientations, "strength_thresholds": [0.5], "coherence_thresholds": [0.2], "rho": 0.5}
    image, filters = case((1, 60, 70, 1), (4 * orientations, 5, 5), "float32")
    found = []

    @tf.function
    def graph(u):
        output = blade_tf.blade_step(u, filters, 0.3, **options)
        found.append(output.op.outputs[1].dtype)
        return output, output.op.outputs[1]

    output, selection = graph(image)
    assert found == [index]
    expected = blade_tf.blade_select(image, **options)
    assert np.max(expected) >= 4 * orientations - 3
    np.testing.assert_array_equal(selection, expected)
    np.testing.assert_array_equal(output, composition(image, filters, 0.3, **options))


RESULTS = """
import sys
import numpy as np, tensorflow as tf
threads, path = int(sys.argv[1]), sys.argv[2]
tf.config.threading.set_intra_op_parallelism_threads(threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
import blade_tf

options = {"orientations": 8, "strength_thresholds": [0.3, 0.8], "coherence_thresholds": [0.3], "rho": 1.0}
found = {}
for dtype in ("float16", "bfloat16", "float32", "float64"):
    for channels in (1, 3):
        rng = np.random.default_rng(channels)
        image = tf.cast(rng.standard_normal((2, 151, 307, channels)), dtype)
        filters = tf.cast(rng.standard_normal((48, 5, 5)) / 5, dtype)
        with tf.GradientTape() as tape:
            tape.watch([image, filters])
            output = blade_tf.blade_step(image, filters, 0.3, **options)
        arrays = [output, *tape.gradient(output, [image, filters], output)]
        apart = blade_tf.blade_filter(image, filters, blade_tf.blade_select(image, **options))
        np.testing.assert_array_equal(output, image + tf.constant(0.3, output.dtype) * apart)
        for name, array in zip(("output", "image_gradient", "filters_gradient"), arrays):
            found[f"{name} {dtype} {channels}"] = tf.cast(array, tf.float64).numpy()
choose = blade_tf.Selection(**options, luma=False)
blade = blade_tf.Blade(48)
blade.filters.assign(np.random.default_rng(2).standard_normal((48, 5, 5)) / 100)
model = blade_tf.EvolutionModel(blade_tf.BladeRate(choose, blade), 0.1, 3)
u = np.random.default_rng(3).random((2, 151, 307, 1), np.float32)
with tf.GradientTape() as tape:
    states = model(u)
gradient, = tape.gradient(states, model.trainable_variables)
np.savez(path, **found, model=states, model_gradient=gradient)
"""


@needs_native
def test_threads_and_instruction_sets(tmp_path):
    """Any number of threads gives the same bits; the sums of instruction sets differ by their order alone."""
    runs = {str(n): python(RESULTS, n, tmp_path / f"{n}.npz") for n in (1, 2)}
    for level in ("portable", "avx2"):
        runs[level] = python(RESULTS, 2, tmp_path / f"{level}.npz", BLADE_TF_SIMD=level)
    errors, found = {name: run.communicate()[1] for name, run in runs.items()}, {}
    for name, run in runs.items():
        if "BLADE_TF_SIMD: expected one of" in errors[name]:
            continue  # the processor lacks it
        assert run.returncode == 0, errors[name]
        with np.load(tmp_path / f"{name}.npz") as arrays:
            found[name] = dict(arrays)
    assert len(found["1"]) == 26
    assert len(found) >= 3
    for key, expected in found.pop("1").items():
        assert found["2"][key].tobytes() == expected.tobytes(), key
        error = next((e for dtype, e in (("float16", 2.0**-9), ("float64", 1e-13)) if f" {dtype}" in key), 2e-6)
        error = 2.0**-6 if "bfloat16" in key else error
        for level in found:
            # The gradient to a filter is a sum of thousands of pixels.
            np.testing.assert_allclose(
                found[level][key], expected, rtol=0, atol=error * np.abs(expected).max(), err_msg=f"{level} {key}"
            )


# Models that evolve by the fused step.


def rate_of(dtype=None, seed=0, blade=None, **options):
    """A BLADE rate with small random filters that selects by the sum over the channels."""
    choose = blade_tf.Selection(**OPTIONS | {"luma": False} | options, dtype=dtype)
    if blade is None:
        blade = blade_tf.Blade(choose.num_bins, dtype=dtype)
        blade.filters.assign(np.random.default_rng(seed).standard_normal(blade.filters.shape) / 50)
    return blade_tf.BladeRate(choose, blade, dtype=dtype)


def convex_rate():
    blade = blade_tf.ConvexBlade(BINS, 0.3)
    blade.logits.assign(np.random.default_rng(0).standard_normal(blade.logits.shape))
    return rate_of(blade=blade)


def image_of(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@needs_native
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("make", [rate_of, convex_rate])
def test_a_fused_model_is_euler_of_its_rate_bit_for_bit(make, channels):
    rate, u = make(), image_of(2, 21, 35, channels)
    model = blade_tf.EvolutionModel(rate, 0.3, 3)
    states = [u]
    for _ in range(3):
        states.append(integrate.euler(model.rate, 0.3)(states[-1]))
    assert np.abs(states[-1] - u).max() > 0.01
    np.testing.assert_array_equal(model.step(u), states[1])
    np.testing.assert_array_equal(model(u), states[3])
    np.testing.assert_array_equal(model.evolve(u, tf.constant(2), tf.constant(0.3)), states[2])
    # Graphs make the convex filters from their logits with other roundings.
    error = 0 if make is rate_of else 1e-6
    np.testing.assert_allclose(tf.function(model)(u), states[3], rtol=0, atol=error)
    trajectory = blade_tf.EvolutionModel(rate, 0.3, 3, output="trajectory")(u)
    np.testing.assert_array_equal(trajectory, np.stack(states[1:], axis=1))
    assert operations(model, u) == ["BladeStep"]
    with blade_tf.implementation("stock"):
        assert operations(model, u) == []
        np.testing.assert_allclose(model(u), states[3], rtol=0, atol=2e-6)


@needs_native
@pytest.mark.parametrize("output", ["final", "trajectory"])
@pytest.mark.parametrize("make", [rate_of, convex_rate])
def test_filters_are_made_once_for_all_steps(make, output):
    model = blade_tf.EvolutionModel(make(), 0.3, 3, output=output)
    graph = tf.function(model).get_concrete_function(tf.TensorSpec([2, 21, 35, 1])).graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    assert sum(node.op == "ReadVariableOp" for node in nodes) == 1
    assert sum(node.op == "Softmax" for node in nodes) == (make is convex_rate)
    u = image_of(2, 21, 35, 1)
    before = model(u)
    model.trainable_variables[0].assign(2 * model.trainable_variables[0])
    assert np.abs(model(u) - before).max() > 0.01


@needs_native
def test_where_a_step_is_fused():
    """A selection by luma, other methods and further rates need the rate itself, and give what they gave."""
    gray, colour, apart = image_of(1, 9, 11, 1), image_of(1, 9, 11, 3), ["BladeFilter", "BladeSelect"]

    def decay(u):
        return -0.5 * u

    rate = rate_of(luma=True)
    plain = blade_tf.EvolutionModel(rate, 0.1, 2)
    assert operations(plain, gray) == ["BladeStep"]
    assert operations(plain, colour) == apart
    assert operations(plain, tf.TensorSpec([None, None, None, None])) == apart
    midpoint = blade_tf.EvolutionModel(rate, 0.1, 2, "midpoint")
    assert operations(midpoint, gray) == sorted(2 * apart)
    several = blade_tf.EvolutionModel([rate, decay], 0.1, 2)
    assert operations(several, gray) == apart
    assert operations(lambda u: plain.evolve(u, extra=[decay]), gray) == apart
    assert operations(lambda u: plain.step(u, extra=[decay]), gray) == apart
    face = rate_of(center="face_x")
    assert operations(blade_tf.EvolutionModel(face, 0.1, 2), gray) == apart
    for model, extra, u in (
        (plain, (), colour),
        (midpoint, (), gray),
        (several, (), gray),
        (plain, (decay,), gray),
        (blade_tf.EvolutionModel(face, 0.1, 2), (), gray),
    ):
        step = integrate.INTEGRATORS[model.method](lambda v, m=model, e=extra: m.rate(v, e), 0.1)
        np.testing.assert_array_equal(model.evolve(u, extra=extra), step(step(u)))
        np.testing.assert_array_equal(model.step(u, extra=extra), step(u))


@needs_native
@pytest.mark.parametrize(
    ("policy", "dtype", "fused"),
    [
        ("mixed_float16", "float32", False),
        ("mixed_bfloat16", "float32", False),
        ("mixed_float16", "float16", True),
        ("float16", "float16", True),
        ("bfloat16", "bfloat16", True),
        ("float64", "float64", True),
        (None, "float64", False),
        (None, "float16", False),
    ],
)
def test_precision_is_that_of_the_parts(policy, dtype, fused):
    """Where the bank computes in another type than the state has, the state is not computed in the bank's, nor dt."""
    rate = rate_of(policy)
    model = blade_tf.EvolutionModel(rate, 0.3, 2, dtype=policy)
    u = tf.cast(image_of(1, 13, 21, 1), dtype)
    assert operations(model, u) == (["BladeStep"] if fused else ["BladeFilter", "BladeSelect"])
    step = integrate.euler(model.rate, 0.3)
    found = model(u)
    assert found.dtype == u.dtype
    np.testing.assert_array_equal(found, step(step(u)))


@needs_native
def test_a_rate_that_overrides_another_is_what_evolves():
    class Twice(blade_tf.BladeRate):
        def call(self, image):
            return 2 * super().call(image)

    class Elsewhere(blade_tf.BladeRate):
        def select(self, image):
            return [tf.zeros_like(selection) for selection in super().select(image)]

    class Negated(blade_tf.Blade):
        def call(self, image, selection):
            return -super().call(image, selection)

    rate, u = rate_of(), image_of(1, 9, 11, 1)
    negated = Negated(BINS)
    negated.filters.assign(rate.blade.filters)
    for other in (
        Twice(rate.selection, rate.blade),
        Elsewhere(rate.selection, rate.blade),
        blade_tf.BladeRate(rate.selection, negated),
    ):
        model = blade_tf.EvolutionModel(other, 0.1, 1)
        np.testing.assert_array_equal(model(u), integrate.euler(model.rate, 0.1)(u))
        assert np.abs(model(u) - blade_tf.EvolutionModel(rate, 0.1, 1)(u)).max() > 1e-3


@needs_native
@pytest.mark.parametrize("channels", [1, 3])
def test_training_keeps_one_image_and_one_byte_a_pixel_and_step(channels):
    shape = 2, 40, 50, channels
    model = blade_tf.EvolutionModel(rate_of(), 0.1, 5, output="trajectory")
    kept = {}

    @tf.function
    def update(u):
        graph = tf.compat.v1.get_default_graph()
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(u))
        forward = {op.name for op in graph.get_operations()}
        found = tape.gradient(loss, model.trainable_variables[0].value)
        for op in graph.get_operations():
            if op.name not in forward:
                kept.update({tensor.name: tensor for tensor in op.inputs if tensor.op.name in forward})
        return found

    update.get_concrete_function(tf.TensorSpec(shape))
    large = sorted((x.dtype.name, tuple(x.shape)) for x in kept.values() if np.prod(x.shape) >= np.prod(shape[:3]))
    assert large == 5 * [("float32", shape)] + 5 * [("uint8", shape[:3])]
    # The filters, once for all steps, and lengths.
    assert {tuple(x.shape) for x in kept.values()} - {shape, shape[:3]} <= {(BINS, 5, 5), (), (3,), (5,)}


@needs_native
def test_a_loop_keeps_no_more_for_its_gradient():
    """What is pushed onto lists in the loop's body: the state and the selection; the filters come from outside."""
    model, shape = blade_tf.EvolutionModel(rate_of(), 0.1, 5), (2, 40, 50, 1)

    @tf.function
    def update(u):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(u))
        return tape.gradient(loss, model.trainable_variables[0].value)

    graph = update.get_concrete_function(tf.TensorSpec(shape)).graph.as_graph_def()
    pushed = {
        node.input[1].split(":")[0].rsplit("/", 1)[-1] + ":" + tf.dtypes.as_dtype(node.attr["element_dtype"].type).name
        for body in graph.library.function
        for node in body.node_def
        if node.op == "TensorListPushBack"
    }
    assert len(pushed) == 2
    assert sum(name.endswith(":uint8") for name in pushed) == 1


@needs_native
def test_gradients_of_a_fused_model_are_those_of_its_rate():
    rate, u, target = rate_of(), image_of(2, 13, 21, 1), image_of(2, 13, 21, 1, seed=1)
    fused = blade_tf.EvolutionModel(rate, 0.3, 3)

    def steps(u):
        for _ in range(3):
            u = integrate.euler(fused.rate, 0.3)(u)
        return u

    found = []
    for evolve in (steps, fused, tf.function(fused)):
        with tf.GradientTape() as tape:
            tape.watch(u)
            loss = tf.reduce_sum(evolve(u) * target)
        found.append(tape.gradient(loss, [u, *fused.trainable_variables]))
    for other in found[1:]:
        for a, b in zip(other, found[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * np.abs(b).max())


@needs_native
def test_a_native_export_is_fused(tmp_path):
    model, u = blade_tf.EvolutionModel(rate_of(), 0.3, 3), image_of(2, 21, 35, 1)
    export.export_model(model, tmp_path / "saved")
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    graph = serve.graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    assert {node.op for node in nodes if node.op.startswith("Blade")} == {"BladeStep"}
    np.testing.assert_array_equal(serve(image=u)["output"], model(u))


@needs_native
def test_functional_models_and_keras_files(tmp_path):
    rate, u = rate_of(), image_of(2, 13, 21, 1)
    inputs = keras.Input((None, None, 1))
    evolution = blade_tf.EvolutionModel(rate, 0.3, 3)
    model = keras.Model(inputs, [rate(inputs), evolution(inputs)])
    np.testing.assert_array_equal(model(u)[0], evolution.rate(u))
    np.testing.assert_array_equal(model(u)[1], evolution(u))
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    for found, expected in zip(copy(u), model(u), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(copy.predict(u, verbose=0)[1], model(u)[1])
    assert operations(lambda v: copy(v)[1], u) == ["BladeFilter", "BladeSelect", "BladeStep"]
