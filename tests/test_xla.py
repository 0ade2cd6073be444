"""Programs that XLA compiles for the CPU: the operations are those that run without XLA, bit for bit."""

import importlib.util
import pathlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

import blade_tf
from blade_tf import models, native, pair_ops
from test_native import python

needs_native = pytest.mark.skipif(native.library is None, reason="blade_tf was installed without its native library")
needs_xla = pytest.mark.skipif(not native.xla, reason="blade_tf was built without its library for XLA")
DTYPES = pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])

OPTIONS = {"orientations": 8, "strength_thresholds": [0.3, 0.8], "coherence_thresholds": [0.3], "rho": 1.0}
BINS = 48
PAIRS = [pair_ops.Pair(0, (0, 0), (0, 1)), pair_ops.Pair(1, (0, 0), (1, -2))]


def compiled(function, *arguments):
    """What the function gives under XLA, as float64 or integers; asserts that XLA calls kernels of this package."""
    program = tf.function(function, jit_compile=True, autograph=False)
    assert "blade_tf_kernel" in program.experimental_get_compiler_ir(*arguments)(stage="hlo")
    return values(program(*arguments))


def values(tensors):
    return [t.numpy() if t.dtype.is_integer else tf.cast(t, tf.float64).numpy() for t in tf.nest.flatten(tensors)]


@needs_xla
def test_xla_has_a_kernel_of_every_operation():
    tf.function(lambda x: 2 * x, jit_compile=True)(tf.ones(3))  # makes them
    operations = [key for key in vars(native.library) if key.startswith("Blade")]
    assert len(operations) >= 10
    for name in operations:
        found = {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(name).kernel}
        assert {"CPU", "XLA_CPU_JIT"} <= found, name


def case(dtype, shape=(2, 37, 41, 3), seed=0):
    """A random image, a bank of filters, a selection and a gradient."""
    rng = np.random.default_rng(seed)
    image, grad = (tf.cast(rng.standard_normal(shape), dtype) for _ in range(2))
    return (
        image,
        tf.cast(rng.standard_normal((BINS, 5, 5)), dtype),
        rng.integers(BINS, size=shape[:3], dtype=np.int32),
        grad,
    )


@needs_xla
@DTYPES
@pytest.mark.parametrize("index", [np.int32, np.uint8])
def test_filter_and_gradients(dtype, index):
    def operations(image, filters, selection, grad):
        library = native.library
        return (
            library.blade_filter(image=image, filters=filters, selection=selection),
            library.blade_filter_grad_image(filters=filters, selection=selection, grad=grad),
            library.blade_filter_grad_filters(
                image=image, selection=selection, grad=grad, filters_shape=tf.shape(filters)
            ),
        )

    image, filters, selection, grad = case(dtype)
    arguments = image, filters, tf.constant(selection.astype(index)), grad
    for found, expected in zip(compiled(operations, *arguments), values(operations(*arguments)), strict=True):
        np.testing.assert_array_equal(found, expected)


@needs_xla
@DTYPES
def test_selections_and_step(dtype):
    def operations(image, filters):
        step = native.library.blade_step(
            image=image, filters=filters, dt=tf.constant(0.3, dtype), Tsel=tf.uint8, **OPTIONS
        )
        hard = [blade_tf.blade_select(image, **OPTIONS, center=center) for center in ("pixel", "face_x", "face_y")]
        soft = blade_tf.blade_select_soft(image, soft="orientation", **OPTIONS)
        return [*step, *hard, *soft]

    arguments = case(dtype)[:2]
    expected = values(operations(*arguments))
    assert len(expected) == 8
    assert all(len(np.unique(array)) > 1 for array in expected)
    for found, wanted in zip(compiled(operations, *arguments), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@needs_xla
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pairs_and_lookup(dtype):
    def operations(image, conductance, grad, table, lower, upper, weight):
        library, numbers = native.library, [number for pair in PAIRS for number in (pair.plane, *pair.a, *pair.b)]
        planes = library.blade_lookup(table=table, lower=lower, upper=upper, weight=weight)
        return (
            library.blade_exchange(image=image, conductance=conductance, pairs=numbers),
            library.blade_exchange_grad(image=image, conductance=conductance, grad=grad, pairs=numbers),
            planes,
            *library.blade_lookup_grad(table=table, lower=lower, upper=upper, weight=weight, grad=planes),
        )

    rng = np.random.default_rng(0)
    numbers = [rng.random(shape) for shape in ((2, 3, 19, 23), (2, 2, 19, 23), (2, 3, 19, 23), (7, 4))]
    indices = [tf.constant(rng.integers(7, size=(2, 19, 23), dtype=np.int32)) for _ in range(2)]
    arguments = [*(tf.cast(n, dtype) for n in numbers), *indices, tf.cast(rng.random((2, 19, 23)), dtype)]
    for found, expected in zip(compiled(operations, *arguments), values(operations(*arguments)), strict=True):
        np.testing.assert_array_equal(found, expected)


@needs_xla
def test_gradients_through_the_public_operations():
    """XLA sums and contracts the stock operations among them in an order of its own."""
    image, filters, selection, _ = case("float64")
    conductance = tf.constant(np.random.default_rng(1).random((2, 2, 37, 41)))
    dt = tf.constant(0.3, tf.float64)

    def loss(image, filters, dt, conductance):
        step = blade_tf.blade_step(image, filters, dt, **OPTIONS)
        change = pair_ops.blade_exchange(image, conductance, PAIRS)
        soft = blade_tf.blade_select_soft(image, soft="strength", centers=[0.3, 0.9], orientations=8)
        filtered = blade_tf.blade_filter_soft(change, filters, soft) + blade_tf.blade_filter(image, filters, selection)
        return tf.reduce_sum(filtered**2) + tf.reduce_sum(step**3)

    def gradients(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            total = loss(*arguments)
        return tape.gradient(total, arguments)

    arguments = image, filters, dt, conductance
    for found, expected in zip(compiled(gradients, *arguments), values(gradients(*arguments)), strict=True):
        assert np.abs(expected).max() > 1
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def photograph(data, height, width):
    """Part of a photograph, in [0, 1]."""
    return tf.constant(data[None, :height, :width, None] / 255, tf.float32)


@needs_xla
@pytest.mark.parametrize("name", sorted(set(models.pretrained_names()) - set(models.ALIASES)))
def test_pretrained_models(name):
    """Bit for bit where the steps are fused; elsewhere rounding moves a few pixels to another bin."""
    skimage = pytest.importorskip("skimage", reason="the photograph is scikit-image's")
    model, image = blade_tf.load_pretrained(name), photograph(skimage.data.camera()[200:], 64, 72)
    if model.valid_range is not None and model.valid_range[0] < 0:
        image = 2 * image - 1
    (found,), expected = compiled(model, image), model(image).numpy()
    assert np.abs(expected - image).max() > 0.05
    error = np.abs(found - expected)
    assert error.max() < (1e-12 if name.endswith("_paper") else 1e-2)
    assert np.quantile(error, 0.98) < 1e-5


@needs_xla
def test_each_size_is_compiled_on_its_own():
    program = tf.function(
        lambda image, filters: blade_tf.blade_filter(image, filters, blade_tf.blade_select(image, **OPTIONS)),
        input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([None, None, None])],
        jit_compile=True,
    )
    for shape in [(1, 16, 17, 1), (2, 3, 40, 3), (1, 1, 1, 1), (0, 4, 4, 1), (1, 16, 17, 1)]:
        image, filters, _, _ = case("float32", shape)
        expected = blade_tf.blade_filter(image, filters, blade_tf.blade_select(image, **OPTIONS))
        np.testing.assert_array_equal(program(image, filters), expected)
    assert program.experimental_get_tracing_count() == 1


@needs_xla
def test_a_wrong_selection_is_the_same_error():
    image, filters, selection, grad = case("float32")
    library = native.library
    filter_ = tf.function(library.blade_filter, jit_compile=True, autograph=False)
    grad_image = tf.function(library.blade_filter_grad_image, jit_compile=True, autograph=False)
    grad_filters = tf.function(library.blade_filter_grad_filters, jit_compile=True, autograph=False)
    wrong = selection.copy()
    wrong[1, 2, 3] = BINS
    message = rf"selection: expected values in \[0, {BINS}\), got {BINS} at \[1, 2, 3\]"
    for call in (
        lambda: filter_(image, filters, tf.constant(wrong)),
        lambda: grad_image(filters, tf.constant(wrong), grad),
        lambda: grad_filters(image, tf.constant(wrong), grad, tf.shape(filters)),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            call()
    expected = blade_tf.blade_filter(image, filters, selection)
    np.testing.assert_array_equal(filter_(image, filters, tf.constant(selection)), expected)


@needs_xla
def test_wrong_shapes_are_errors_of_the_compilation():
    program = tf.function(
        blade_tf.blade_filter,
        input_signature=[tf.TensorSpec(None), tf.TensorSpec(None), tf.TensorSpec(None, tf.int32)],
        jit_compile=True,
        autograph=False,
    )
    image, filters, selection, _ = case("float32")
    for arguments, message in [
        (
            (image, filters, selection[:, :5]),
            r"selection: expected int32 \[N, H, W\] = \[2, 37, 41\], got .*\[2, 5, 41\]",
        ),
        ((image[0], filters, selection), r"image: expected float32 \[N, H, W, C\], got float32 \[37, 41, 3\]"),
        ((image, filters[:, :0], selection), "filters: expected float32 .* of at least 1"),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            program(*arguments)


@needs_xla
def test_sizes_that_depend_on_values_are_refused():
    @tf.function(jit_compile=True, autograph=False)
    def program(image, mask):
        return blade_tf.blade_select(tf.boolean_mask(image, mask, axis=1), **OPTIONS)

    with pytest.raises(tf.errors.UnimplementedError, match="BladeSelect: expected shapes known to XLA, got"):
        program(case("float32")[0], tf.constant([True] * 20 + [False] * 17))


def fitted(make, jit, data):
    """The weights after two steps of training."""
    model = make()
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit)
    assert model.jit_compile is (jit is True)
    model.fit(*data, batch_size=2, epochs=1, shuffle=False, verbose=0)
    return model.get_weights()


def layer_model():
    inputs = keras.Input((None, None, 1))
    choose = blade_tf.Selection(**OPTIONS)
    return keras.Model(
        inputs, blade_tf.Blade(choose.num_bins, filters_initializer="random_normal")(inputs, choose(inputs))
    )


def evolution_model(name):
    rates = blade_tf.load_pretrained(name).rates
    return blade_tf.EvolutionModel(rates, rates[0].stable_dt or 0.1, 1)


@needs_xla
@pytest.mark.parametrize("form", ["layer", "tv_flow_paper", "tv_flow_convex", "tv_flow"])
def test_models_train_under_xla(form):
    def make():
        keras.utils.set_random_seed(0)
        return layer_model() if form == "layer" else evolution_model(form)

    rng = np.random.default_rng(0)
    data = [rng.random((4, 12, 14, 1), np.float32) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, expected = fitted(make, True, data), fitted(make, False, data)
    start = make().get_weights()
    assert max(np.abs(a - b).max() for a, b in zip(start, expected, strict=True)) > 1e-4
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="Keras may choose XLA where there is a GPU")
@pytest.mark.parametrize("make", [layer_model, lambda: evolution_model("tv_flow_paper")])
def test_keras_does_not_choose_xla_by_itself(make):
    data = [np.random.default_rng(0).random((4, 12, 14, 1), np.float32)] * 2
    assert all(np.isfinite(weights).all() for weights in fitted(make, "auto", data))


LAYERS = [
    lambda: blade_tf.Blade(1),
    lambda: blade_tf.ConvexBlade(1, 1.0),
    lambda: blade_tf.BladeFlux(1),
    lambda: blade_tf.Selection(),
    lambda: evolution_model("tv_flow_paper"),
    lambda: evolution_model("tv_flow_convex").rates[0],
]


@needs_native
@pytest.mark.parametrize("make", LAYERS)
def test_layers_say_whether_xla_compiles_them(make, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    for built in (True, False):
        monkeypatch.setattr(native, "xla", built)
        assert make().supports_jit == built
    monkeypatch.setattr(native, "xla", True)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert not make().supports_jit
    with blade_tf.implementation("stock"):
        assert make().supports_jit


@needs_native
def test_training_goes_on_without_the_library(monkeypatch):
    monkeypatch.setattr(native, "xla", False)
    model = layer_model()
    with pytest.warns(UserWarning, match="Model doesn't support `jit_compile=True`. Proceeding with") as caught:
        model.compile("sgd", "mse", jit_compile=True)
    assert len(caught) == 1
    image = np.random.default_rng(0).random((2, 12, 14, 1), np.float32)
    assert np.isfinite(model.fit(image, image, epochs=2, verbose=0).history["loss"]).all()


def test_a_library_for_xla_that_does_not_load_is_warned_about(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "XLA_LIBRARY", tmp_path / "_blade_ops_xla.so")
    assert not native._load_xla()
    native.XLA_LIBRARY.write_bytes(b"no library")
    with pytest.warns(UserWarning, match=r"_blade_ops_xla\.so does not load.*XLA does not compile.*Reinstall"):
        assert not native._load_xla()


# XLA compiles something before it knows of the operations; then, on as many threads as the argument says, many
# operations at once that do not wait for each other.
LATE = """
import sys
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
assert tf.function(lambda x: 2 * x, jit_compile=True)(tf.ones(3))[0] == 2
import blade_tf

rng = np.random.default_rng(0)
images = [tf.constant(rng.random((1, 128, 256, 1), np.float32)) for _ in range(6)]
filters = tf.constant(rng.random((48, 5, 5), np.float32))
options = {"orientations": 8, "strength_thresholds": [0.3, 0.8], "coherence_thresholds": [0.3]}

def gradients(filters, *images):
    with tf.GradientTape() as tape:
        tape.watch([filters, *images])
        found = [blade_tf.blade_filter(u, filters, blade_tf.blade_select(u, **options)) for u in images]
    return tape.gradient(found, [filters, *images], images)

expected, program = gradients(filters, *images), tf.function(gradients, jit_compile=True)
for _ in range(20):
    for a, b in zip(program(filters, *images)[1:], expected[1:]):
        np.testing.assert_array_equal(a, b)
"""


@needs_xla
def test_a_program_may_use_xla_before():
    for run in [python(LATE, threads) for threads in (1, 2, 3)]:
        _, err = run.communicate(timeout=200)
        assert run.returncode == 0, err


@pytest.fixture
def build_backend(monkeypatch):
    """The build's switches."""
    pytest.importorskip("setuptools", reason="the build needs setuptools")
    path = pathlib.Path(__file__).parents[1] / "build_backend.py"
    spec = importlib.util.spec_from_file_location("build_backend", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("BLADE_TF_XLA", "BLADE_TF_NATIVE"):
        monkeypatch.delenv(name, raising=False)
    return module


def test_switches_of_the_build(build_backend, monkeypatch):
    assert build_backend.xla() == "auto"
    for switch in ("1", "0"):
        monkeypatch.setenv("BLADE_TF_XLA", switch)
        assert build_backend.xla() == switch
    monkeypatch.setenv("BLADE_TF_NATIVE", "0")
    assert build_backend.xla() == "0"
    monkeypatch.setenv("BLADE_TF_XLA", "1")
    with pytest.raises(SystemExit, match="BLADE_TF_XLA: expected 0 or auto where BLADE_TF_NATIVE is 0, got '1'"):
        build_backend.xla()
