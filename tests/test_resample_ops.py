"""The operation of resampling: native beside stock, gradients, XLA, and what it refuses."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from blade_tf import native, ops
from blade_tf.resample_ops import UNKNOWN, blade_resample, powers
from test_native import python

needs_native = pytest.mark.skipif(native.library is None, reason="blade_tf was installed without its native library")
needs_xla = pytest.mark.skipif(not native.xla, reason="blade_tf was built without its library for XLA")

BINS = 7
STRANGE = (np.nan, np.inf, -np.inf, 1.7e9, -1.7e9, 9e8, -9e8, 1e9, 0.5, -0.5, 1.5, 2.5, 0.0, -0.0, 1e-40)


def case(shape=(2, 9, 21, 3), order=2, constant=False, footprint=(5, 5), index="int32", size="float32", seed=0):
    """A random image, coefficients, filters, a selection, and a displacement with unknown and huge ones among it."""
    rng = np.random.default_rng(seed)
    image, coefficients = (tf.constant(rng.standard_normal(shape), tf.float32) for _ in range(2))
    filters = tf.constant(rng.standard_normal((len(powers(order, constant)), BINS, *footprint)), tf.float32)
    selection = tf.constant(rng.integers(BINS, size=shape[:3]), index)
    v = rng.uniform(-6, 6, (*shape[:3], 2))
    places = rng.random(v.shape) < 0.1
    v[places] = rng.choice(STRANGE, places.sum())
    return image, coefficients, filters, selection, tf.constant(v, size)


def both(function):
    """What it gives natively and in stock TensorFlow."""
    found = []
    for name in ("native", "stock"):
        with ops.implementation(name):
            found.append(tf.nest.map_structure(np.asarray, function()))
    return found


@needs_native
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("order", "constant"), [(1, False), (1, True), (3, False), (4, True)])
def test_native_equals_stock(channels, order, constant):
    given = case((2, 9, 21, channels), order, constant)
    found, expected = both(lambda: blade_resample(*given, order, constant))
    known = (np.abs(given[-1]) <= UNKNOWN).all(-1)
    assert 0 < np.mean(~known) < 0.2
    assert np.isnan(found[~known]).all()
    np.testing.assert_allclose(found[known], expected[known], rtol=0, atol=2e-6 * np.abs(expected[known]).max())


@needs_native
@pytest.mark.parametrize(("index", "size"), list(itertools.product(["int32", "uint8"], ["float32", "float64"])))
@pytest.mark.parametrize("footprint", [(1, 1), (3, 5), (5, 5), (7, 7)])
def test_any_types_and_footprints(index, size, footprint):
    for shape in ((1, 12, 33, 1), (1, 1, 1, 3), (2, 3, 2, 2), (0, 4, 5, 1), (1, 4, 0, 1)):
        given = case(shape, 3, False, footprint, index, size)
        found, expected = both(lambda given=given: blade_resample(*given, 3, fill=0.25))
        assert (found[~(np.abs(given[-1]) <= UNKNOWN).all(-1)] == 0.25).all()
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max(initial=1))


@needs_native
@pytest.mark.parametrize("size", ["float32", "float64"])
def test_whole_pixels_are_gathered(size):
    """From the border where they point beyond it."""
    image, coefficients, filters, selection, _ = case()
    n, y, x = np.indices(image.shape[:3])
    v = np.random.default_rng(1).integers(-30, 30, (*image.shape[:3], 2))
    expected = image.numpy()[n, np.clip(y + v[..., 1], 0, 8), np.clip(x + v[..., 0], 0, 20)]
    found = blade_resample(image, coefficients, filters, selection, tf.constant(v, size), 2)
    np.testing.assert_array_equal(found, expected)


@needs_native
@pytest.mark.parametrize(("constant", "size"), [(False, "float32"), (True, "float64")])
def test_gradients_are_those_of_stock(constant, size):
    image, coefficients, filters, selection, v = case((1, 8, 11, 3), 3, constant, size=size)
    upstream = tf.constant(np.random.default_rng(2).standard_normal(image.shape), tf.float32)

    def gradients():
        watched = image, coefficients, filters, v
        with tf.GradientTape() as tape:
            tape.watch(watched)
            output = blade_resample(image, coefficients, filters, selection, v, 3, constant, 0.0)
        return tape.gradient(output, watched, upstream)

    for found, expected in zip(*both(gradients), strict=True):
        assert np.abs(expected).max() > 1
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@needs_native
def test_the_gradient_of_an_image_that_is_its_own_coefficients():
    image, _, filters, selection, v = case((1, 8, 11, 3))
    upstream = tf.constant(np.random.default_rng(2).standard_normal(image.shape), tf.float32)

    def gradient(apart):
        with tf.GradientTape() as tape:
            tape.watch(image)
            output = blade_resample(image, tf.identity(image) if apart else image, filters, selection, v, 2, fill=0.0)
        return tape.gradient(output, image, upstream)

    expected, *found = gradient(True), *both(lambda: gradient(False))
    assert np.abs(expected).max() > 1
    for own in found:
        np.testing.assert_allclose(own, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@needs_native
def test_a_gradient_of_some_inputs_alone():
    given = case((1, 8, 11, 1))
    for k in (0, 1, 2, 4):
        with tf.GradientTape() as tape:
            tape.watch(given[k])
            total = tf.reduce_sum(blade_resample(*given, 2, fill=0.0))
        assert np.isfinite(tape.gradient(total, given[k])).all()


def test_float64_is_exact_to_its_own_rounding():
    """A parabola along x, by central differences: u + d u' + d^2 u'' / 2."""
    x = np.tile(np.arange(30.0) ** 2, (1, 4, 1))[..., np.newaxis]
    filters = np.zeros((5, 1, 1, 3))
    filters[0, 0, 0], filters[2, 0, 0] = (-0.5, 0, 0.5), (0.5, -1, 0.5)
    v = np.tile([1 / 3, 0.0], (1, 4, 30, 1))
    found = blade_resample(*(tf.constant(u) for u in (x, x, filters, np.zeros((1, 4, 30), np.int32), v)), 2)
    assert list(powers(2, False)) == ["dx", "dy", "dx2", "dxdy", "dy2"]
    np.testing.assert_allclose(found[0, :, 1:-1, 0], np.tile((np.arange(1, 29) + 1 / 3) ** 2, (4, 1)), rtol=1e-14)


@needs_xla
def test_a_program_that_xla_compiles():
    given = case((2, 17, 23, 3), 3)
    program = tf.function(lambda *given: blade_resample(*given, 3, fill=0.5), jit_compile=True, autograph=False)
    assert "blade_tf_kernel" in program.experimental_get_compiler_ir(*given)(stage="hlo")
    np.testing.assert_array_equal(program(*given), blade_resample(*given, 3, fill=0.5))


WRONG = [
    ({"image": np.s_[0]}, "image"),
    ({"coefficients": np.s_[:, 1:]}, r"coefficients: expected float32 \[N, H, W, C\]"),
    ({"coefficients": np.s_[..., :1]}, "coefficients"),
    ({"filters": np.s_[1:]}, r"filters: expected float32 \[M, K, R, S\]"),
    ({"filters": np.s_[0]}, "filters"),
    ({"filters": np.s_[:, :, :0]}, r"filters: expected .* of at least 1"),
    ({"selection": np.s_[:, :, 1:]}, r"selection: expected int32 \[N, H, W\]"),
    ({"displacement": np.s_[..., :1]}, r"displacement: expected float32 \[N, H, W, 2\]"),
    ({"displacement": np.s_[:, :-1]}, r"displacement: expected float32 \[N, H, W, 2\]"),
    ({"displacement": np.s_[0]}, "displacement"),
]


@needs_native
@pytest.mark.parametrize(("change", "message"), WRONG)
def test_other_shapes_are_refused(change, message):
    names = "image", "coefficients", "filters", "selection", "displacement"
    given = dict(zip(names, case(), strict=True))
    given |= {name: given[name][part] for name, part in change.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        blade_resample(**given, order=2)


@pytest.mark.parametrize(("filters", "order"), [(np.s_[1:], 2), (np.s_[:0], 0)])
def test_filters_of_other_monomials_are_refused_by_stock_operations_too(filters, order):
    image, coefficients, banks, selection, v = case()
    with ops.implementation("stock"), pytest.raises(ValueError, match=r"filters: expected \[M, K, R, S\] of M = "):
        blade_resample(image, coefficients, banks[filters], selection, v, order)


@needs_native
@pytest.mark.parametrize("index", ["int32", "uint8"])
def test_a_selection_out_of_range_is_refused(index):
    image, coefficients, filters, selection, v = case(index=index)
    wrong = selection.numpy()
    wrong[1, 2, 3] = BINS
    message = rf"selection: expected values in \[0, {BINS}\), got {BINS} at \[1, 2, 3\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        blade_resample(image, coefficients, filters, tf.constant(wrong), v, 2)


THREADS = """
import sys
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
from blade_tf.resample_ops import blade_resample
rng = np.random.default_rng(0)
image = tf.constant(rng.random((1, 240, 320, 3), np.float32))
filters = tf.constant(rng.standard_normal((9, 7, 5, 5)), tf.float32)
selection = tf.constant(rng.integers(7, size=(1, 240, 320), dtype=np.int32))
v = tf.constant(rng.uniform(-3, 3, (1, 240, 320, 2)), tf.float32)
print(hash(blade_resample(image, image, filters, selection, v, 3).numpy().tobytes()))
"""


@needs_native
def test_threads_do_not_change_the_result(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    runs = [python(THREADS, threads) for threads in (1, 2)]
    one, two = (run.communicate(timeout=200) for run in runs)
    assert [run.returncode for run in runs] == [0, 0], one[1] + two[1]
    assert one[0] == two[0]
    assert one[0].strip()
