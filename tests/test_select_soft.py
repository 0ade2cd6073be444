import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import blade_tf
from blade_tf import native
from selections import CENTERS, features, noise, of_faces, photograph, plane, texture

needs_native = pytest.mark.skipif(native.library is None, reason="blade_tf was installed without its native library")
FEATURES = ["orientation", "strength", "coherence", "intensity"]
SOFT = pytest.mark.parametrize("soft", FEATURES)
SOFT_CENTERS = {
    "strength": [0.2, 0.5, 0.7, 1.5],
    "coherence": [0.05, 0.4, 0.6, 0.95],
    "intensity": [-2.0, 0.0, 0.5, 2.0],
    "orientation": [],
}
THRESHOLDS = {"strength": [0.5, 1.0], "coherence": [0.4], "intensity": [-1.0, 0.0, 1.0]}


@pytest.fixture
def implementation(request):
    with blade_tf.implementation(request.param):
        yield request.param


BOTH = pytest.mark.parametrize(
    "implementation", [pytest.param("native", marks=needs_native), "stock"], indirect=["implementation"]
)


def options_of(soft, orientations=6, scale=1.0, **others):
    """All other features binned; strengths and intensities scaled."""
    unit = {"strength": scale, "coherence": 1.0, "intensity": scale, "orientation": 1.0}
    thresholds = {f"{name}_thresholds": [unit[name] * t for t in ts] for name, ts in THRESHOLDS.items() if name != soft}
    centers = [unit[soft] * m for m in SOFT_CENTERS[soft]]
    return {"orientations": orientations, "soft": soft, "centers": centers} | thresholds | others


def select(image, **options):
    return [field.numpy() for field in blade_tf.blade_select_soft(image, **options)]


def bins(index, options):
    """An index's bins of orientation, strength, coherence and intensity."""
    found = {}
    for name in FEATURES[:-1]:
        size = len(options.get(f"{name}_thresholds", ())) + 1
        size = len(options["centers"]) if name == options["soft"] else size
        index, found[name] = np.divmod(index, options["orientations"] if name == "orientation" else size)
    return found | {"intensity": index}


def position(lower, weight, options):
    """Where between the soft feature's centres a pixel is."""
    return bins(lower, options)[options["soft"]] + weight.astype(np.float64)


def distance(a, b, period=math.inf):
    difference = abs(a - b) % period
    return np.minimum(difference, period - difference)


@BOTH
@SOFT
@CENTERS
@pytest.mark.parametrize("orientations", [3, 4, 5, 6, 8, 90])
@pytest.mark.parametrize(("rho", "channels"), [(0.5, 3), (1, 1)])
def test_agrees_with_square_roots_and_arc_tangents(soft, orientations, rho, channels, center, implementation):
    image = texture(2, 37, 41, channels)
    options = options_of(soft, orientations, rho=rho, center=center)
    values = dict(zip(FEATURES, features(image, rho, center), strict=True))
    value = values[soft]
    if soft != "orientation":
        options["centers"] = np.quantile(value, [0.1, 0.3, 0.6, 0.9]).tolist()
    lower, upper, weight = (of_faces(field, center) for field in select(image, **options))
    centers = np.float32(options["centers"]).astype(np.float64)
    if soft == "orientation":
        size, expected, period = orientations, value * orientations / math.pi, orientations
        # Rounding turns an almost isotropic pixel by any angle.
        error = 1e-11 * orientations / np.maximum(values["coherence"], 1e-9)
    else:
        size, expected, period = len(centers), np.interp(value, centers, np.arange(len(centers))), math.inf
        error = 1e-6
    assert np.all(distance(position(lower, weight, options), expected, period) <= error)
    assert np.all((weight >= 0) & (weight <= 1))
    low, high = bins(lower, options), bins(upper, options)
    assert set(np.unique(low[soft])) == set(range(size if soft == "orientation" else size - 1))
    np.testing.assert_array_equal(high[soft], (low[soft] + 1) % size)

    # All other features are those of the hard selection.
    del options["soft"], options["centers"]
    hard = of_faces(blade_tf.blade_select(image, **options).numpy(), center)
    hard = bins(hard, options | {"soft": "none"})
    for name in set(FEATURES) - {soft}:
        np.testing.assert_array_equal(low[name], hard[name])
        np.testing.assert_array_equal(high[name], hard[name])


def agrees(image, options):
    """Whether native and stock find the same: indices exactly, weights to two units in the last place of 1."""
    found = []
    for implementation in ("native", "stock"):
        with blade_tf.implementation(implementation):
            found.append(blade_tf.blade_select_soft(image, **options))
    np.testing.assert_array_equal(found[0].lower, found[1].lower)
    np.testing.assert_array_equal(found[0].upper, found[1].upper)
    weights = [tf.cast(fields.weight, tf.float64) for fields in found]
    assert found[0].weight.dtype == found[1].weight.dtype == image.dtype
    precision = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}[image.dtype.name]
    np.testing.assert_allclose(*weights, rtol=0, atol=2 * precision)
    return found[0]


@needs_native
@SOFT
@CENTERS
@pytest.mark.parametrize("rho", [0, 0.5, 2.5])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_native_and_stock_agree(dtype, rho, center, soft):
    """On a photograph, with its few gray levels and many ties, and noise."""
    image = np.concatenate([photograph("astronaut", 6, 3), texture(1, 86, 86, 3) / 20])
    for orientations in (8, 3, 6) if soft == "orientation" else (8,):
        options = options_of(soft, orientations, 1 / 20, rho=rho, center=center)
        found = agrees(tf.cast(image, dtype), options)
        assert len(np.unique(bins(found.lower.numpy(), options)[soft])) == (
            orientations if not options["centers"] else 3
        )


@needs_native
@pytest.mark.parametrize("width", [1, 2, 3, 7, 15, 16, 17, 18, 33, 255, 256, 257, 258, 513])
def test_native_and_stock_agree_at_any_width(width):
    for height, rho in ((1, 1), (2, 2.5), (9, 0.5)):
        image = tf.constant(noise(2, height, width, 2).astype(np.float32))
        for center in ("pixel", "face_x", "face_y"):
            for soft in FEATURES:
                agrees(image, options_of(soft, rho=rho, center=center))


@needs_native
@SOFT
@pytest.mark.parametrize("scale", [1e-12, 1e-19, 1e-22, 1e18, 1e30])
def test_native_and_stock_agree_where_numbers_underflow_and_overflow(scale, soft):
    image = tf.constant((noise(1, 40, 40, 1) * scale).astype(np.float32))
    for center in ("pixel", "face_x"):
        agrees(image, options_of(soft, center=center))


@needs_native
@SOFT
def test_graphs_of_unknown_shape_give_the_same(soft):
    image, options = texture(2, 30, 40, 3).astype(np.float32), options_of(soft, center="face_y")
    for implementation in ("native", "stock"):
        with blade_tf.implementation(implementation):
            expected = blade_tf.blade_select_soft(image, **options)
            for spec in ([None] * 4, None) if implementation == "native" else ([None, None, 40, None],):
                graph = tf.function(
                    lambda u: blade_tf.blade_select_soft(u, **options), input_signature=[tf.TensorSpec(spec)]
                )
                found = graph(image)
                assert isinstance(found, blade_tf.SoftSelection)
                np.testing.assert_array_equal(found.lower, expected.lower)
                np.testing.assert_array_equal(found.upper, expected.upper)
                np.testing.assert_allclose(found.weight, expected.weight, rtol=0, atol=2.0**-22)


@needs_native
def test_static_shapes_are_inferred():
    @tf.function(input_signature=[tf.TensorSpec([2, None, 5, 3], tf.float64)])
    def graph(image):
        found = blade_tf.blade_select_soft(image, soft="orientation")
        assert [field.shape.as_list() for field in found] == [[2, None, 5]] * 3
        assert [field.dtype for field in found] == [tf.int32, tf.int32, tf.float64]
        return found.weight

    graph.get_concrete_function()


# What is known exactly.


@BOTH
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_intensities_between_at_and_beyond_centres(dtype, implementation):
    values = [-5.0, 0.0, 0.25, 1.0, 1.5, 2.0, 3.0, 4.0, 9.0]
    image = tf.cast(np.reshape(values, [1, 1, 9, 1]), dtype)
    lower, upper, weight = select(image, soft="intensity", centers=[0.0, 1.0, 2.0, 4.0], orientations=1)
    np.testing.assert_array_equal(lower, [[[0, 0, 0, 1, 1, 2, 2, 2, 2]]])
    np.testing.assert_array_equal(upper, lower + 1)
    np.testing.assert_array_equal(weight, tf.cast([[[0, 0, 0.25, 0, 0.5, 0, 0.5, 1, 1]]], dtype))


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("slope", [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 8.0])
def test_strengths_between_at_and_beyond_centres(slope, dtype, implementation):
    """Slopes of planes along an axis are exact without smoothing."""
    options = {"soft": "strength", "centers": [0.5, 1.0, 2.0], "orientations": 1, "rho": 0}
    for angle, at in ((0, "pixel"), (math.pi / 2, "pixel"), (0, "face_x"), (math.pi / 2, "face_y")):
        image = np.round(plane(angle), 12) * slope
        lower, upper, weight = (field[:, 1:-1, 1:-1] for field in select(image.astype(dtype), center=at, **options))
        expected = np.interp(slope, [0.5, 1.0, 2.0], [0, 1, 2])
        np.testing.assert_array_equal(lower, np.full_like(lower, min(int(expected), 1)))
        np.testing.assert_array_equal(upper, lower + 1)
        np.testing.assert_array_equal(lower + weight, np.full_like(weight, expected))


@BOTH
@pytest.mark.parametrize(("a", "b"), [(3.0, 1.0), (1.0, 3.0), (0.02, 0.015), (5.0, 5.0), (2.0, 0.0), (0.0, 0.0)])
def test_coherence_of_crossing_planes(a, b, implementation):
    """Channels a x and b y: the summed tensor is diag(a^2, b^2)."""
    y, x = np.mgrid[:19.0, :23.0]
    image = np.stack([a * x, b * y], -1)[np.newaxis]
    options = {"soft": "coherence", "centers": [0.1, 0.3, 0.8, 1.0], "orientations": 1}
    lower, upper, weight = (field[:, 4:-4, 4:-4] for field in select(image, **options))
    coherence = abs(a - b) / max(a + b, 1e-9)
    expected = np.interp(coherence, np.float32(options["centers"]), [0, 1, 2, 3])
    np.testing.assert_allclose(lower + weight, np.full_like(weight, expected), rtol=0, atol=1e-7)
    np.testing.assert_array_equal(upper, lower + 1)


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("orientations", [3, 4, 5, 6, 8, 12, 24])
def test_orientation_of_planes(orientations, dtype, implementation):
    """All round, the axes and diagonals among them: the bin and the weight together are the angle."""
    angles = np.concatenate([np.linspace(0, math.pi, 25), [0.01, math.pi - 0.01]])
    image = np.concatenate([plane(a) for a in angles]).astype(dtype)
    options = {"soft": "orientation", "orientations": orientations, "rho": 1}
    lower, upper, weight = (field[:, 4:-4, 4:-4] for field in select(image, **options))
    expected = (angles * orientations / math.pi)[:, np.newaxis, np.newaxis]
    error = 3e-6 if dtype == "float32" else 1e-12
    assert np.all(distance(lower + weight.astype(np.float64), expected, orientations) <= error * orientations)
    np.testing.assert_array_equal(upper, (lower + 1) % orientations)
    assert set(np.unique(lower)) == set(range(orientations))


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("orientations", [4, 8, 12, 24])
def test_axes_and_diagonals_are_the_first_of_their_bins(orientations, dtype, implementation):
    """Also where rounding could take them for the last of the bin before: gradients of whole numbers are exact."""
    y, x = np.mgrid[:9, :40]
    image = np.stack([x, x + y, y, y - x])[..., np.newaxis].astype(dtype)
    options = {"soft": "orientation", "orientations": orientations, "rho": 0}
    lower, _, weight = (field[:, 1:-1, 1:-1] for field in select(image, **options))
    expected = np.arange(4)[:, np.newaxis, np.newaxis] * (orientations // 4)
    np.testing.assert_array_equal(lower, np.broadcast_to(expected, lower.shape))
    np.testing.assert_allclose(weight, np.zeros_like(weight), atol=1e-6 if dtype == "float32" else 1e-14)


@BOTH
@SOFT
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 0.3, -7.0, np.nan, np.inf, -np.inf])
def test_flat_and_infinite_images(value, dtype, soft, implementation):
    """Bin 0 and weight 0 of all but a finite or infinite intensity."""
    image = np.full((1, 9, 20, 3), value, dtype)
    for center in ("pixel", "face_x"):
        options = options_of(soft, center=center)
        lower, upper, weight = (of_faces(field, center) for field in select(image, **options))
        found = bins(lower, options)
        for name in set(FEATURES) - {"intensity"}:
            np.testing.assert_array_equal(found[name], np.zeros_like(lower))
        if soft == "intensity" and not np.isnan(value):
            expected = np.interp(float(dtype(value)), SOFT_CENTERS[soft], range(4))
            np.testing.assert_allclose(position(lower, weight, options), np.full(lower.shape, expected), atol=2e-3)
        else:
            np.testing.assert_array_equal(weight, np.zeros_like(weight))
            np.testing.assert_array_equal(found[soft], np.zeros_like(lower))
        np.testing.assert_array_equal(bins(upper, options)[soft], found[soft] + 1)


@BOTH
@SOFT
def test_one_nan_stays_within_its_stencil(soft, implementation):
    image, options = texture(1, 30, 50, 1).astype(np.float32), options_of(soft, rho=1)
    clean = select(image, **options)
    image[0, 12, 17] = np.nan
    found = select(image, **options)
    y, x = np.mgrid[:30, :50]
    near = (np.maximum(abs(y - 12), abs(x - 17)) <= 4)[np.newaxis]
    for a, b in zip(found, clean, strict=True):
        np.testing.assert_array_equal(a[~near], b[~near])
    at_nan = (0, 12, 17)
    assert (found[0][at_nan], found[2][at_nan]) == (0, 0)
    assert all(np.all(np.isfinite(field)) for field in found)


@BOTH
@SOFT
@pytest.mark.parametrize("shape", [(2, 9, 40, 2), (1, 1, 1, 1), (2, 1, 7, 1), (2, 7, 1, 3)])
def test_faces_along_y_are_those_along_x_of_the_transposed_image(shape, soft, implementation):
    image = texture(*shape).astype(np.float32) if min(shape[1:3]) > 1 else noise(*shape).astype(np.float32)
    y = select(image, **options_of(soft, center="face_y"))
    x = select(image.swapaxes(1, 2), **options_of(soft, center="face_x"))
    for a, b in zip(y, x, strict=True):
        np.testing.assert_array_equal(a, b.swapaxes(1, 2))
        np.testing.assert_array_equal(a[:, -1], np.zeros_like(a[:, -1]))


@BOTH
@SOFT
@pytest.mark.parametrize("shape", [(0, 4, 5, 1), (2, 0, 5, 1), (2, 4, 0, 3), (2, 4, 5, 0)])
@pytest.mark.parametrize("dtype", [tf.float16, tf.float64])
def test_empty_images(shape, dtype, soft, implementation):
    for center in ("pixel", "face_x", "face_y"):
        lower, upper, weight = blade_tf.blade_select_soft(tf.zeros(shape, dtype), **options_of(soft, center=center))
        assert (lower.shape, upper.shape, weight.shape, weight.dtype) == (*[shape[:3]] * 3, dtype)
        assert not np.any(lower)
        assert not np.any(weight)


@BOTH
@SOFT
def test_interpolation_is_continuous(soft, implementation):
    """Along a path of images the interpolated table moves no faster than its steepest piece, through all bins."""
    a, b = texture(1, 40, 50, 1), texture(1, 40, 50, 1, seed=1)
    options = options_of(soft) | {f"{name}_thresholds": [] for name in THRESHOLDS}
    options |= {"orientations": 6 if soft == "orientation" else 1}
    size = len(options["centers"]) or 6
    table = np.random.default_rng(0).standard_normal(size)
    times = np.linspace(0, 1, 41)
    image = np.concatenate([(1 - t) * a + t * b for t in times])
    lower, upper, weight = select(image, **options)
    output = (1 - weight) * table[lower] + weight * table[upper]
    value = features(image, 1)[FEATURES.index(soft)]
    if soft == "orientation":
        moved, slope = distance(value[1:], value[:-1], math.pi), 6 / math.pi
    else:
        moved, slope = abs(np.diff(value, axis=0)), 1 / np.diff(options["centers"]).min()
    steepest = slope * abs(np.diff(np.append(table, table[0]))).max()
    assert np.all(abs(np.diff(output, axis=0)) <= steepest * moved * (1 + 1e-6) + 1e-6)
    assert np.mean(lower[1:] != lower[:-1]) > 0.01


# The weight's gradient.


def gradient(image, cotangent, options):
    u = tf.convert_to_tensor(image)
    with tf.GradientTape() as tape:
        tape.watch(u)
        weight = blade_tf.blade_select_soft(u, **options).weight
    return tape.gradient(weight, u, tf.cast(cotangent, u.dtype))


@BOTH
@SOFT
@CENTERS
@pytest.mark.parametrize(("rho", "channels"), [(0.5, 2), (1, 1)])
def test_gradient_agrees_with_differences(rho, channels, center, soft, implementation):
    image, cotangent = texture(1, 8, 9, channels), noise(1, 8, 9)
    options = options_of(soft, rho=rho, center=center)
    steps = 1e-6 * np.eye(image.size).reshape(-1, *image.shape[1:])
    # Where the bin changes with the pixel, the weight jumps: leave such pixels out.
    above, below = (select(image + sign * steps, **options) for sign in (1, -1))
    same = np.all((above[0] == above[0][:1]) & (below[0] == above[0][:1]), 0)
    assert np.mean(same) > 0.9
    cotangent *= same
    difference = ((above[2] - below[2]) * cotangent).sum((1, 2)) / 2e-6
    found = np.ravel(gradient(image, cotangent, options))
    assert np.count_nonzero(found) > 0.5 * found.size
    np.testing.assert_allclose(found, difference, rtol=1e-5, atol=1e-6 * abs(found).max())


@needs_native
@SOFT
@CENTERS
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_native_and_stock_gradients_agree(dtype, center, soft):
    image, cotangent = tf.cast(texture(2, 20, 30, 3), dtype), noise(2, 20, 30)
    found = []
    for implementation in ("native", "stock"):
        with blade_tf.implementation(implementation):
            found.append(gradient(image, cotangent, options_of(soft, center=center)))
            if dtype == "float32" and center == "face_y":
                graph = tf.function(lambda u: gradient(u, cotangent, options_of(soft, center=center)))
                found.append(graph(image))
    scale = np.abs(tf.cast(found[0], tf.float64)).max()
    assert scale > 0
    precision = {"float16": 1e-3, "bfloat16": 1e-2, "float32": 1e-5, "float64": 1e-13}[dtype]
    for other in found:
        assert (other.dtype, other.shape) == (image.dtype, image.shape)
        np.testing.assert_allclose(
            tf.cast(other, tf.float64), tf.cast(found[0], tf.float64), rtol=0, atol=precision * scale
        )


@BOTH
@SOFT
@CENTERS
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gradient_is_finite_where_the_image_is_flat(dtype, center, soft, implementation):
    """Steps of four heights; there is no gradient where there is no step."""
    image = np.zeros((4, 9, 12, 1))
    image[:, :, 4:] = np.reshape([0.0, 1e-19, 1e-2, 1.0], [4, 1, 1, 1])
    image[:, 4:, 8:] *= -1
    for rho in (0.0, 1.0):
        options = options_of(soft, rho=rho, center=center) | {"centers": [0.0, 0.1, 1.0] if SOFT_CENTERS[soft] else []}
        found = gradient(image.astype(dtype), noise(4, 9, 12), options).numpy()
        assert np.all(np.isfinite(found))
        assert np.any(found[3]) or rho == 0  # where every step has coherence 1
        if soft != "intensity":
            np.testing.assert_array_equal(found[0], np.zeros_like(found[0]))


@BOTH
def test_gradient_of_an_intensity_by_hand(implementation):
    """Between two centres 1 / (their distance), through the mean over channels and a face's pixels; 0 beyond."""
    image = np.zeros((1, 1, 4, 2))
    image[0, 0, :, 0] = [0.5, 3.0, 19.0, 19.0]
    options = {"soft": "intensity", "centers": [0.0, 1.0, 3.0], "orientations": 1}
    found = gradient(image, np.ones((1, 1, 4)), options)
    np.testing.assert_allclose(found[0, 0], [[0.5, 0.5], [0.25, 0.25], [0, 0], [0, 0]], rtol=1e-15)
    faces = gradient(image, np.ones((1, 1, 4)), options | {"center": "face_x"})
    np.testing.assert_allclose(faces[0, 0], [[0.25, 0.25], [0.25, 0.25], [0, 0], [0, 0]], rtol=1e-15)


@BOTH
def test_only_the_weight_has_a_gradient(implementation):
    image = tf.constant(texture(1, 6, 7, 1))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        lower, upper, weight = blade_tf.blade_select_soft(image, **options_of("strength"))
        indices = tf.cast(lower + upper, tf.float64)
    assert tape.gradient(indices, image) is None
    assert tape.gradient(weight, image) is not None


@BOTH
def test_second_derivatives(implementation):
    """Of the squared weight along a line, against differences of the first ones."""
    image, direction = texture(1, 8, 9, 1), noise(1, 8, 9, 1)
    options = options_of("strength", rho=0.5)

    def slope(t):
        with tf.GradientTape() as tape:
            tape.watch(t)
            found = blade_tf.blade_select_soft(image + t * direction, **options)
            loss = tf.reduce_sum(same * found.weight**2)
        return tape.gradient(loss, t)

    step, zero = 1e-5, tf.constant(0.0, tf.float64)
    lowers = [select(image + t * direction, **options)[0] for t in (-step, step)]
    same = (lowers[0] == lowers[1]).astype(np.float64)
    with tf.GradientTape() as tape:
        tape.watch(zero)
        first = slope(zero)
    difference = (slope(zero + step) - slope(zero - step)) / (2 * step)
    np.testing.assert_allclose(tape.gradient(first, zero), difference, rtol=1e-5)


# Errors.


@BOTH
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"soft": "curvature"}, r"soft: expected 'strength', 'coherence', 'orientation' or 'intensity', got 'curv"),
        ({"soft": None}, r"soft: expected 'strength', .* got None"),
        ({"strength_thresholds": [0.1]}, r"strength_thresholds: expected none where strength is soft, got \[0.1\]"),
        ({"centers": [0.1]}, r"centers: expected at least 2 where strength is soft, got \[0.1\]"),
        ({"centers": []}, r"centers: expected at least 2 where strength is soft, got \[\]"),
        ({"centers": [0.2, 0.1]}, r"centers: expected ascending numbers in \[0, inf\], got \[0.2, 0.1\]"),
        ({"centers": [-0.1, 0.1]}, r"centers: expected ascending numbers in \[0, inf\], got \[-0.1, 0.1\]"),
        ({"soft": "coherence", "centers": [0.5, 1.5]}, r"centers: expected ascending numbers in \[0, 1\], got \[0.5"),
        ({"soft": "intensity", "centers": [0.5, math.nan]}, r"centers: expected ascending .* got \[0.5, nan\]"),
        ({"soft": "intensity", "intensity_thresholds": [1]}, r"intensity_thresholds: expected none where intensity"),
        ({"soft": "coherence", "coherence_thresholds": [1]}, r"coherence_thresholds: expected none where coherence"),
        ({"soft": "orientation"}, r"centers: expected none where orientation is soft, got \[0.1, 0.2\]"),
        ({"soft": "orientation", "centers": (), "orientations": 2}, r"orientations: .* at least 3 .* got 2"),
        ({"orientations": 2**30}, r"orientations: expected at most 2147483647 combinations of features, got 21474"),
        ({"center": "node"}, r"center: expected 'pixel', 'face_x' or 'face_y', got 'node'"),
    ],
)  # fmt: skip
def test_errors_name_the_argument(arguments, message, implementation):
    with pytest.raises(ValueError, match=message):
        blade_tf.blade_select_soft(
            np.zeros((1, 4, 6, 1), np.float32), **{"soft": "strength", "centers": [0.1, 0.2]} | arguments
        )


@needs_native
def test_the_native_operation_names_what_is_wrong_with_its_attributes():
    image, lists = tf.zeros([1, 4, 6, 1]), {"strength_thresholds": [], "coherence_thresholds": []}
    for arguments, message in (
        ({"soft": "strength", "centers": [0.1]}, r"centers: expected at least 2, got \[0.1\]"),
        (
            {"soft": "orientation", "orientations": 2},
            "orientations: expected at least 3 where orientation is soft, got",
        ),
        ({"soft": "intensity", "intensity_thresholds": [0.5]}, "intensity_thresholds: expected none where intensity"),
        ({"soft": "nothing"}, "nothing"),
        ({"soft": "orientation", "center": "corner"}, "corner"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            native.library.blade_select_soft(**{"image": image, "orientations": 4, "rho": 1.0} | lists | arguments)


# The layer.


def make(**options):
    return blade_tf.Selection(**{"soft": "strength", "centers": [0.2, 0.5, 1.0], "orientations": 6} | options)


def test_layer_is_the_operation():
    image = texture(2, 9, 11, 2).astype(np.float32)
    for soft in FEATURES:
        options = options_of(soft, center="face_x", rho=0.5)
        layer = blade_tf.Selection(**options)
        found = layer(image)
        assert isinstance(found, blade_tf.SoftSelection)
        for a, b in zip(found, select(image, **options), strict=True):
            np.testing.assert_array_equal(a, b)
        assert layer.num_bins == math.prod([6, 4 if soft == "strength" else 3, 4 if soft == "coherence" else 2, 4])
        assert np.max(found.upper) < layer.num_bins


def test_layer_config_round_trip():
    layer = make(intensity_thresholds=(0.1, 0.2), center="face_y", dtype="mixed_bfloat16", luma=False)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    assert (copy.soft, copy.centers, copy.center, copy.num_bins) == ("strength", [0.2, 0.5, 1.0], "face_y", 54)
    turned = layer.at("pixel")
    assert turned.get_config() == layer.get_config() | {"center": "pixel", "name": turned.name}


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "float16", "float64"])
def test_layer_keeps_the_image_as_it_is_whatever_the_policy(policy):
    image = (0.5 + texture(1, 30, 30, 1) / 1000).astype(np.float32)
    options = {"centers": [2e-4, 5e-4, 1e-3]}
    found, expected = make(dtype=policy, **options)(image), make(**options)(image)
    assert found.weight.dtype == tf.float32
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_layer_in_a_functional_model_saved_and_loaded(tmp_path):
    inputs = keras.Input((None, None, 3))
    chosen = make()(inputs)
    assert [(field.shape, field.dtype) for field in chosen] == [
        ((None, None, None), t) for t in ("int32", "int32", "float32")
    ]
    lower, upper, weight = chosen
    model = keras.Model(inputs, {"lower": lower, "upper": upper, "weight": weight})
    image = texture(2, 9, 11, 3).astype(np.float32)
    expected = make()(image)._asdict()
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "exported", verbose=False)
    for found in (
        model(image),
        keras.saving.load_model(tmp_path / "model.keras")(image),
        tf.saved_model.load(tmp_path / "exported").serve(image),
    ):
        assert set(found) == set(expected)
        for name, field in expected.items():
            np.testing.assert_array_equal(found[name], field)


def test_a_model_whose_output_is_the_selection(tmp_path):
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, make()(inputs))
    image = texture(2, 9, 11, 1).astype(np.float32)
    model.save(tmp_path / "model.keras")
    for found in (
        model(image),
        keras.saving.load_model(tmp_path / "model.keras")(image),
        model.predict(image, verbose=0),
    ):
        for a, b in zip(found, make()(image), strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_stock_layer_compiles_with_xla():
    image = texture(1, 12, 16, 1).astype(np.float32)
    with blade_tf.implementation("stock"):
        layer = make()
        assert layer.supports_jit
        expected, found = layer(image), tf.function(layer, jit_compile=True)(image)
    # XLA contracts products and sums: that moves weights, and pixels from the end of a bin to the next's beginning.
    a, b = (
        bins(f.lower.numpy(), {"soft": "strength", "centers": layer.centers, "orientations": 6})
        for f in (expected, found)
    )
    np.testing.assert_allclose(a["strength"] + expected.weight, b["strength"] + found.weight, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"soft": None}, r"centers: expected none without a soft feature, got \[0.2, 0.5, 1.0\]"),
        ({"strength_thresholds": [0.5]}, "strength_thresholds: expected none where strength is soft"),
        ({"soft": "orientation"}, "centers: expected none where orientation is soft"),
        ({"soft": "slope"}, "soft: expected 'strength', 'coherence', 'orientation' or 'intensity', got 'slope'"),
        ({"soft": "orientation", "centers": (), "orientations": 1}, "orientations: expected an integer of at least 3"),
    ],
)
def test_layer_refuses_what_makes_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
