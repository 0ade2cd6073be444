import math

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

import blade_tf
from blade_tf import native
from selections import CENTERS, features, noise, of_faces, photograph, plane, texture

needs_native = pytest.mark.skipif(native.library is None, reason="blade_tf was installed without its native library")
STRENGTHS, COHERENCES, INTENSITIES = [0.004, 0.02, 0.3 / 7], [0.2, 0.55, 0.9], [0.1, 0.5]


@pytest.fixture
def implementation(request):
    with blade_tf.implementation(request.param):
        yield request.param


BOTH = pytest.mark.parametrize(
    "implementation", [pytest.param("native", marks=needs_native), "stock"], indirect=["implementation"]
)


def select(image, strength=(), coherence=(), **options):
    return blade_tf.blade_select(image, strength_thresholds=strength, coherence_thresholds=coherence, **options).numpy()


def bin_of(radians, orientations):
    """The edges are at (j + phase) / orientations of a half turn, bin 0 between the last and the first."""
    phase = 0.5 if orientations % 2 == 0 else 0.25
    return (np.floor(radians / math.pi * orientations - phase).astype(int) + 1) % orientations


def test_bins_of_angles():
    degrees = np.radians([0, 3.7, 3.8, 11.2, 11.3, 90, 176.2, 176.3, 180])
    np.testing.assert_array_equal(bin_of(degrees, 24), [0, 0, 1, 1, 2, 12, 23, 0, 0])
    np.testing.assert_array_equal(bin_of(np.radians([0, 14, 16, 74, 76, 134, 136, 179]), 3), [0, 0, 1, 1, 2, 2, 0, 0])


@BOTH
@CENTERS
@pytest.mark.parametrize("orientations", [1, 2, 3, 4, 6, 7, 8, 24])
@pytest.mark.parametrize(
    ("rho", "channels", "dtype"), [(0, 1, "f"), (0.4, 3, "f"), (1, 1, "d"), (1, 3, "f"), (2.5, 4, "d")]
)
def test_agrees_with_square_roots_and_arc_tangents(orientations, rho, channels, dtype, center, implementation):
    image = texture(2, 37, 41, channels).astype(dtype)
    orientation, *others = features(image.astype(np.float64), rho, center)
    strengths, coherences, intensities = (
        np.quantile(feature, [0.2, 0.5, 0.8]) if name != "coherence" or rho else []
        for name, feature in zip(("strength", "coherence", "intensity"), others, strict=True)
    )
    index = select(
        image,
        strengths,
        coherences,
        intensity_thresholds=intensities,
        orientations=orientations,
        rho=rho,
        center=center,
    )
    rest, orientation_bin = np.divmod(of_faces(index, center), orientations)
    rest, strength_bin = np.divmod(rest, 4)
    intensity_bin, coherence_bin = np.divmod(rest, 4 if rho else 1)

    # Rounding moves angles the more, the less coherent the pixel is, and the larger eigenvalue of an isotropic one by
    # the square root of a rounding.
    angle_error, strength_error, error = (1e-5, 1e-4, 1e-5) if dtype == "f" else (1e-12, 1e-7, 1e-7)
    phase = 0.5 if orientations % 2 == 0 else 0.25
    position = orientation / math.pi * orientations - phase
    sure = abs(position - np.round(position)) * others[1] > angle_error * orientations
    assert np.mean(sure) > 0.98
    np.testing.assert_array_equal(orientation_bin[sure], bin_of(orientation, orientations)[sure])
    for found, feature, thresholds, margin in (
        (strength_bin, others[0], strengths, strength_error),
        (coherence_bin, others[1], coherences, error),
        (intensity_bin, others[2], intensities, error),
    ):
        sure = np.all(abs(feature[..., np.newaxis] - thresholds) > margin, -1)
        assert np.mean(sure) > 0.99
        np.testing.assert_array_equal(found[sure], (feature[..., np.newaxis] > thresholds).sum(-1)[sure])
    bins = [len(np.unique(found)) for found in (orientation_bin, strength_bin, coherence_bin, intensity_bin)]
    assert bins == [orientations, 4, 4 if rho else 1, 4]


def both(image, *arguments, **options):
    """What the native and the stock operation select."""
    found = []
    for implementation in ("native", "stock"):
        with blade_tf.implementation(implementation):
            found.append(select(image, *arguments, **options))
    return found


@needs_native
@CENTERS
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("rho", [0, 1 / 3, 1, 2.5])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_native_and_stock_agree_bit_for_bit(dtype, rho, channels, center):
    """On a photograph, with its few gray levels and many ties, and noise; eager and in graphs."""
    image = np.concatenate([photograph("astronaut", 4, channels), noise(1, 128, 128, channels) / 20])
    image = tf.cast(image, dtype)
    for orientations in (24, 3) if channels == 3 else (24,):
        options = {
            "strength_thresholds": STRENGTHS,
            "coherence_thresholds": COHERENCES,
            "intensity_thresholds": INTENSITIES,
            "orientations": orientations,
            "rho": rho,
            "center": center,
        }

        def choose(u, options=options):
            return blade_tf.blade_select(u, **options)

        expected = choose(image).numpy()
        assert len(np.unique(expected % orientations)) == orientations
        assert len(np.unique(expected // orientations % 4)) >= 3
        assert len(np.unique(expected // (16 * orientations))) == 3
        with blade_tf.implementation("stock"):
            np.testing.assert_array_equal(choose(image), expected)
            if dtype == "float32" and rho < 2:
                for spec in (image.shape, [None] * 4):
                    graph = tf.function(choose, input_signature=[tf.TensorSpec(spec, dtype)])
                    np.testing.assert_array_equal(graph(image), expected)
        if dtype == "float32":
            np.testing.assert_array_equal(tf.function(choose)(image), expected)


@needs_native
@pytest.mark.parametrize("orientations", [1, 2, 3, 4, 5, 6, 8, 12, 24, 90])
@pytest.mark.parametrize(("name", "step", "channels"), [("coffee", 5, 3), ("camera", 3, 1)])
def test_native_and_stock_agree_for_any_number_of_orientations(name, step, channels, orientations):
    image = photograph(name, step, channels).astype(np.float32)
    found = both(image, STRENGTHS, COHERENCES, orientations=orientations)
    np.testing.assert_array_equal(*found)
    assert len(np.unique(found[0] % orientations)) == orientations


@needs_native
@CENTERS
@pytest.mark.parametrize("shape", [(1, 33, 35, 12), (2, 20, 2, 64), (1, 2, 2, 300)])
def test_native_and_stock_agree_for_any_number_of_channels(shape, center):
    """Both add the channels' tensors one after the other."""
    image, unit = noise(*shape).astype(np.float32), shape[-1] ** 0.5
    options = {"intensity_thresholds": [-1 / unit, 0, 1 / unit], "center": center}
    np.testing.assert_array_equal(*both(image, [0.7 * unit], [0.02, 0.1], **options))


@needs_native
@pytest.mark.parametrize("width", [1, 2, 3, 7, 15, 16, 17, 18, 31, 33, 255, 256, 257, 258, 511, 513, 514, 770])
def test_native_and_stock_agree_at_any_width(width):
    """Around the sizes of vectors and strips, and images smaller than the Gaussian."""
    for height, rho in ((1, 1), (2, 2.5), (9, 1)):
        image = noise(2, height, width, 2).astype(np.float32)
        for center in ("pixel", "face_x", "face_y"):
            options = {"intensity_thresholds": [0, 0.5], "rho": rho, "center": center}
            np.testing.assert_array_equal(*both(image, [0.5, 1], COHERENCES, **options))


@needs_native
@CENTERS
@pytest.mark.parametrize("scale", [1e-12, 1e-18, 1e-19, 3e-20, 1e-22, 1e18, 1e30])
def test_native_and_stock_agree_where_numbers_underflow_and_overflow(scale, center):
    image = (noise(1, 40, 40, 1) * scale).astype(np.float32)
    options = {"intensity_thresholds": [-scale, 0.0, scale], "center": center}
    np.testing.assert_array_equal(*both(image, [0.1], COHERENCES, **options))


# Faces.


@BOTH
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("rho", [0, 1, 2.5])
def test_faces_along_y_are_those_along_x_of_the_transposed_image(rho, dtype, implementation):
    """Bit for bit, also at the ties of a photograph."""
    for image in (photograph("coffee", 5, 3), texture(2, 33, 270, 2) / 30):
        options = {"intensity_thresholds": [0.2, 0.5], "rho": rho}
        image = image.astype(dtype)
        y = select(image, STRENGTHS, COHERENCES, center="face_y", **options)
        x = select(image.swapaxes(1, 2), STRENGTHS, COHERENCES, center="face_x", **options)
        np.testing.assert_array_equal(y, x.swapaxes(1, 2))
        assert len(np.unique(y % 24)) > 20


@BOTH
@pytest.mark.parametrize("rho", [0, 1, 2.5])
@pytest.mark.parametrize("orientations", [4, 6, 24])
def test_mirrored_images_select_the_mirrored_faces(orientations, rho, implementation):
    image = texture(1, 63, 77, 2)

    def chosen(u):
        options = {"intensity_thresholds": [-0.5, 0.5], "orientations": orientations, "rho": rho, "center": "face_x"}
        index = select(u, [0.4, 0.9, 1.3], COHERENCES, **options)[:, :, :-1]
        return index % orientations, index // orientations

    orientation, rest = chosen(image)
    assert len(np.unique(orientation)) == orientations
    for move, sign in (
        (lambda u: u[:, ::-1], -1),
        (lambda u: u[:, :, ::-1], -1),
        (lambda u: u[:, ::-1, ::-1], 1),
    ):
        found = chosen(move(image))
        np.testing.assert_array_equal(found[0], sign * move(orientation) % orientations)
        np.testing.assert_array_equal(found[1], move(rest))


@BOTH
def test_a_face_sees_the_difference_of_its_pixels(implementation):
    """Without smoothing a column of ones is seen by its two faces alone; alternating columns by all, by no pixel."""
    image = np.zeros((1, 6, 40, 1), np.float32)
    image[:, :, 17] = 1
    expected = np.zeros((1, 6, 40), np.int32)
    expected[:, :, 16:18] = 1
    chosen = select(image, [0.999, 1.001], orientations=1, rho=0, center="face_x")
    np.testing.assert_array_equal(chosen, expected)
    half = select(image, intensity_thresholds=[0.499, 0.5], orientations=1, rho=0, center="face_x")
    np.testing.assert_array_equal(half, expected)
    alternating = np.resize(np.float32([1, -1]), image.shape)
    pixels = select(alternating, [0.0], orientations=1, rho=0)
    np.testing.assert_array_equal(pixels[:, :, 1:-1], np.zeros((1, 6, 38)))
    faces = select(alternating, [1.999, 2.001], orientations=1, rho=1, center="face_x")
    np.testing.assert_array_equal(faces[:, :, :-1], np.ones((1, 6, 39)))


@BOTH
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(2, 9, 40, 2), (1, 1, 1, 1), (2, 1, 7, 1), (2, 7, 1, 3), (1, 300, 1, 1)])
def test_there_is_no_face_beyond_the_last_pixel(shape, dtype, implementation):
    image = 2 + noise(*shape).astype(dtype)
    for center, axis in (("face_x", 2), ("face_y", 1)):
        index = select(image, intensity_thresholds=[-100.0], orientations=1, center=center)
        expected = np.ones(shape[:3], np.int32)
        np.moveaxis(expected, axis, 0)[-1] = 0
        np.testing.assert_array_equal(index, expected)


# Intensity.


@BOTH
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_intensity_bins_are_strict_and_not_smoothed(dtype, implementation):
    image = tf.cast(np.arange(-2, 6).reshape(1, 2, 4, 1) / 4, dtype)
    index = select(image, intensity_thresholds=[-0.25, 0.0, 0.75], orientations=1)
    np.testing.assert_array_equal(index, [[[0, 0, 1, 2], [2, 2, 3, 3]]])
    np.testing.assert_array_equal(
        index // 1, select(image, intensity_thresholds=[-0.25, 0, 0.75], orientations=24) // 24
    )


@BOTH
def test_intensity_of_nan_and_infinity(implementation):
    """NaN takes bin 0 where it is, and nowhere else; infinities are above or below all thresholds."""
    image = np.full((1, 5, 40, 1), 0.5, np.float32)
    image[0, 2, [3, 17, 30], 0] = np.nan, np.inf, -np.inf
    expected = np.ones((1, 5, 40), np.int32)
    expected[0, 2, [3, 17, 30]] = 0, 2, 0
    index = select(image, intensity_thresholds=[0.25, 0.75], orientations=24)
    np.testing.assert_array_equal(index // 24, expected)
    faces = np.ones((1, 5, 39), np.int32)
    faces[0, 2, [2, 3, 16, 17, 29, 30]] = 0, 0, 2, 2, 0, 0
    index = select(image, intensity_thresholds=[0.25, 0.75], orientations=24, center="face_x")
    np.testing.assert_array_equal(index[:, :, :-1] // 24, faces)


@BOTH
def test_the_index_of_all_features_together(implementation):
    image = noise(1, 30, 40, 1)
    options = {"strength_thresholds": [0.5, 1.0], "coherence_thresholds": [0.3], "intensity_thresholds": [-1, 0, 1.0]}
    index = blade_tf.blade_select(image, orientations=6, **options).numpy()
    parts = [blade_tf.blade_select(image, orientations=1, **{name: values}).numpy() for name, values in options.items()]
    orientation = blade_tf.blade_select(image, orientations=6).numpy()
    np.testing.assert_array_equal(index, orientation + 6 * (parts[0] + 3 * (parts[1] + 2 * parts[2])))
    assert index.max() < 6 * 3 * 2 * 4


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("orientations", [1, 2, 3, 4, 5, 6, 8, 24])
def test_orientation_of_planes(orientations, dtype, implementation):
    phase = 0.5 if orientations % 2 == 0 else 0.25
    edges = (np.arange(orientations) + phase) * math.pi / orientations
    width = math.pi / orientations
    # The middle of each bin, and both sides of each edge.
    angles = np.concatenate([edges + 0.5 * width, edges - 0.01 * width, edges + 0.01 * width, [0, math.pi / 2]])
    image = np.concatenate([plane(a) for a in angles]).astype(dtype)
    chosen = select(image, orientations=orientations, rho=1)
    inner = chosen[:, 4:-4, 4:-4]
    np.testing.assert_array_equal(inner, np.broadcast_to(inner[:, :1, :1], inner.shape))
    np.testing.assert_array_equal(inner[:, 0, 0], bin_of(angles, orientations))
    after_edge = (np.arange(orientations) + 1) % orientations
    np.testing.assert_array_equal(inner[2 * orientations : 3 * orientations, 0, 0], after_edge)
    np.testing.assert_array_equal(inner[orientations : 2 * orientations, 0, 0], (after_edge - 1) % orientations)


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("slope", [0.003, 1.0, 40.0])
def test_strength_of_planes(slope, dtype, implementation):
    image = np.concatenate([plane(a, slope=slope) for a in (0, 0.3, math.pi / 2, 2.0)]).astype(dtype)
    thresholds = [slope * f for f in (0.5, 1 - 1e-4, 1 + 1e-4, 2)]
    chosen = select(image, thresholds, orientations=1)[:, 4:-4, 4:-4]
    np.testing.assert_array_equal(chosen, np.full_like(chosen, 2))


@BOTH
@pytest.mark.parametrize(("a", "b"), [(3.0, 1.0), (1.0, 3.0), (0.02, 0.015), (5.0, 5.0), (2.0, 0.0), (0.0, 0.0)])
def test_channels_of_crossing_planes(a, b, implementation):
    """Channels a x and b y: the summed tensor is diag(a^2, b^2)."""
    y, x = np.mgrid[:19.0, :23.0]
    image = np.stack([a * x, b * y], -1)[np.newaxis]
    strength, coherence = max(a, b), abs(a - b) / max(a + b, 1e-9)
    strengths = [strength * f for f in (0.999, 1.001)] if strength else [0.0, 1e-9]
    coherences = [max(coherence - 1e-3, 0), min(coherence + 1e-3, 1)]
    chosen = select(image, strengths, coherences, orientations=4)[:, 4:-4, 4:-4]
    expected = (2 if b > a else 0) + 4 * (strength > 0) + 4 * 3 * (coherence > 0)
    np.testing.assert_array_equal(chosen, np.full_like(chosen, expected))


@BOTH
def test_strength_and_coherence_of_one_and_zero(implementation):
    """Thresholds are strict: nothing is more coherent than 1, a flat pixel is not stronger than 0."""
    ramp = select(plane(0), [0.0], [0.0, 0.999, 1.0], orientations=1)[:, 4:-4, 4:-4]
    np.testing.assert_array_equal(ramp, np.full_like(ramp, 1 + 2 * 2))
    ramp = select(plane(0.4), [0.0], [0.0, 0.999], orientations=1)[:, 4:-4, 4:-4]
    np.testing.assert_array_equal(ramp, np.full_like(ramp, 1 + 2 * 2))
    flat = select(np.full((1, 9, 9, 3), 0.7), [0.0], [0.0, 1.0])
    np.testing.assert_array_equal(flat, np.zeros_like(flat))


@BOTH
@pytest.mark.parametrize("rho", [0, 1, 2.5])
@pytest.mark.parametrize("orientations", [2, 4, 6, 8, 24])
def test_symmetries_of_the_square(orientations, rho, implementation):
    """Mirror images and turned ones select the mirrored and turned orientations, for a noise without ties."""
    n, image = orientations, noise(1, 33, 47, 2)

    def features(u):
        index = select(u, [0.4, 0.9, 1.3], COHERENCES, orientations=n, rho=rho)
        return index % n, index // n

    orientation, rest = features(image)
    assert len(np.unique(orientation)) == n
    maps = [
        (lambda u: u[:, ::-1], lambda o: -o),
        (lambda u: u[:, :, ::-1], lambda o: -o),
        (lambda u: u[:, ::-1, ::-1], lambda o: o),
        (lambda u: np.rot90(u, 1, (1, 2)), lambda o: o + n // 2),
        (lambda u: np.rot90(u, 3, (1, 2)), lambda o: o + n // 2),
        (lambda u: u.swapaxes(1, 2), lambda o: n // 2 - o),
    ]
    for move, turn in maps:
        found = features(move(image))
        np.testing.assert_array_equal(found[0], turn(move(orientation)) % n)
        np.testing.assert_array_equal(found[1], move(rest))


@BOTH
@pytest.mark.parametrize("name", ["camera", "astronaut"])
def test_a_mirrored_photograph_selects_mirrored_orientations(name, implementation):
    """With 24 bins no gradient of 8-bit gray levels lies on an edge: exact in float32 too."""
    image = photograph(name, 4).astype(np.float32)
    index, mirrored = select(image, orientations=24), select(image[:, :, ::-1], orientations=24)
    flat = select(image, [0.0], orientations=1) == 0
    np.testing.assert_array_equal(mirrored[:, :, ::-1], -index % 24)
    np.testing.assert_array_equal(index[flat], np.zeros_like(index[flat]))


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exponent", [-20, -1, 3, 20])
def test_scaled_images_select_the_same_with_scaled_thresholds(exponent, dtype, implementation):
    """A power of two changes no rounding."""
    image, scale = photograph("coffee", 4, 3).astype(dtype), 2.0**exponent
    expected = select(image, STRENGTHS, COHERENCES)
    assert len(np.unique(expected)) > 150
    np.testing.assert_array_equal(select(image * scale, [t * scale for t in STRENGTHS], COHERENCES), expected)
    np.testing.assert_array_equal(select(-image, STRENGTHS, COHERENCES), expected)


@BOTH
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 0.3, -7.0, np.nan, np.inf, -np.inf])
def test_flat_and_infinite_images_select_bin_zero(value, dtype, implementation):
    chosen = select(np.full((1, 9, 20, 3), value, dtype), [0.0, 1.0], COHERENCES)
    np.testing.assert_array_equal(chosen, np.zeros_like(chosen))


@BOTH
@CENTERS
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("rho", [0, 1, 2.5])
def test_one_wild_pixel_stays_within_its_stencil(value, rho, center, implementation):
    image = noise(1, 40, 61, 2).astype(np.float32)
    options = {"rho": rho, "center": center, "intensity_thresholds": [0.0]}
    clean = select(image, STRENGTHS, COHERENCES, **options)
    wild = np.zeros(image.shape[:3], bool)
    for y, x in ((0, 0), (20, 15), (25, 48), (39, 60)):
        image[0, y, x, 1] = value
        wild[0, y, x] = True
    # Differences reach one pixel along the axes, those of faces also the diagonal ones; then the Gaussian a square.
    stencil = np.zeros((1, 3, 3), bool)
    stencil[:, 1, :] = stencil[:, :, 1] = True
    if center == "face_x":
        stencil = np.pad(np.ones((1, 3, 2), bool), [(0, 0), (0, 0), (0, 1)])
    if center == "face_y":
        stencil = np.pad(np.ones((1, 2, 3), bool), [(0, 0), (0, 1), (0, 0)])
    seen = scipy.ndimage.binary_dilation(wild, stencil)
    radius = math.ceil(3 * rho)
    reached = scipy.ndimage.binary_dilation(seen, np.ones((1, 2 * radius + 1, 2 * radius + 1), bool))
    chosen = select(image, STRENGTHS, COHERENCES, **options)
    np.testing.assert_array_equal(chosen[~reached], clean[~reached])
    assert chosen.min() >= 0
    assert chosen.max() < 24 * 16 * 2
    if np.isnan(value):
        # Nothing but intensity is left; without smoothing a wild pixel does not see its own value.
        assert np.count_nonzero(chosen[reached] % (24 * 16)) <= 4 * (rho == 0 and center == "pixel")


@BOTH
def test_nothing_flows_back(implementation):
    image, bank = tf.constant(noise(1, 6, 7, 1)), tf.ones([24, 3, 3], tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        chosen = blade_tf.blade_select(image, strength_thresholds=[], coherence_thresholds=[])
        as_float = tf.cast(chosen, tf.float64)
        output = blade_tf.blade_filter(tf.stop_gradient(image), bank, chosen)
    assert tape.gradient(as_float, image) is None
    assert tape.gradient(output, image) is None


@BOTH
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"image": np.zeros((4, 6, 1), np.float32)}, ValueError, r"image: expected .*, got float32 \[4, 6, 1\]"),
        ({"image": np.zeros((1, 4, 6, 1), np.uint8)}, TypeError, r"image: expected float16, .* got uint8 \[1, 4,"),
        ({"orientations": 0}, ValueError, r"orientations: expected an integer of at least 1, got 0"),
        ({"orientations": 2.5}, ValueError, r"orientations: expected an integer of at least 1, got 2.5"),
        ({"orientations": True}, ValueError, r"orientations: expected an integer .* got True"),
        ({"orientations": "24"}, ValueError, r"orientations: expected an integer .* got '24'"),
        ({"orientations": 2**30}, ValueError, r"orientations: expected at most 2147483647 .* got 4294967296"),
        ({"strength_thresholds": [0.2, 0.1]}, ValueError, r"strength_thresholds: expected .*, got \[0.2, 0.1\]"),
        ({"strength_thresholds": [0.1, 0.1]}, ValueError, r"strength_thresholds: expected ascending"),
        ({"strength_thresholds": [0.1, 0.1 + 1e-12]}, ValueError, r"strength_thresholds: expected ascending"),
        ({"strength_thresholds": [-0.1]}, ValueError, r"strength_thresholds: .* in \[0, inf\], got \[-0.1\]"),
        ({"strength_thresholds": [math.inf]}, ValueError, r"strength_thresholds: .*, got \[inf\]"),
        ({"strength_thresholds": [1e39]}, ValueError, r"strength_thresholds: .*, got \[1e\+39\]"),
        ({"strength_thresholds": [math.nan]}, ValueError, r"strength_thresholds: .*, got \[nan\]"),
        ({"coherence_thresholds": [0.5, 1.1]}, ValueError, r"coherence_thresholds: .* in \[0, 1\], got \[0.5, 1.1\]"),
        ({"coherence_thresholds": [-0.1]}, ValueError, r"coherence_thresholds: .* in \[0, 1\], got \[-0.1\]"),
        ({"intensity_thresholds": [0.2, 0.2]}, ValueError, r"intensity_thresholds: expected .*, got \[0.2, 0.2\]"),
        ({"intensity_thresholds": [math.nan]}, ValueError, r"intensity_thresholds: .*, got \[nan\]"),
        ({"intensity_thresholds": [-math.inf]}, ValueError, r"intensity_thresholds: .*, got \[-inf\]"),
        ({"orientations": 2**28, "intensity_thresholds": [0, 1]}, ValueError, r"orientations: .* got 3221225472"),
        ({"center": "corner"}, ValueError, r"center: expected 'pixel', 'face_x' or 'face_y', got 'corner'"),
        ({"center": None}, ValueError, r"center: expected 'pixel', .* got None"),
        ({"dtype": "int64"}, TypeError, r"dtype: expected int32 or uint8, got 'int64'"),
        ({"dtype": "byte"}, TypeError, r"dtype: expected int32 or uint8, got 'byte'"),
        ({"dtype": tf.uint8, "orientations": 65}, ValueError, r"dtype: expected int32 .* 256 .*, got uint8 for 260"),
        ({"rho": -1.0}, ValueError, r"rho: expected a number in \[0, 10000\], got -1.0"),
        ({"rho": math.nan}, ValueError, r"rho: expected .* got nan"),
        ({"rho": math.inf}, ValueError, r"rho: expected .* got inf"),
    ],
)  # fmt: skip
def test_errors_name_the_argument(arguments, error, message, implementation):
    defaults = {
        "image": np.zeros((1, 4, 6, 1), np.float32),
        "strength_thresholds": [0.1],
        "coherence_thresholds": [0.5],
    }
    with pytest.raises(error, match=message):
        blade_tf.blade_select(**defaults | arguments)


@BOTH
@CENTERS
@pytest.mark.parametrize("width", [1, 15, 64, 300])
def test_bytes_hold_the_same(width, center, implementation):
    image = noise(2, 9, width, 3)
    options = {"strength_thresholds": [0.5, 1.0, 1.5], "coherence_thresholds": [0.2, 0.4, 0.6], "center": center}
    expected = blade_tf.blade_select(image, orientations=16, **options)
    for choose in (blade_tf.blade_select, tf.function(blade_tf.blade_select)):
        found = choose(image, orientations=16, dtype="uint8", **options)
        assert found.dtype == tf.uint8
        np.testing.assert_array_equal(found, expected)


@needs_native
def test_the_native_operation_refuses_bytes_for_too_many_combinations():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Tsel: expected int32 for more than 256 .* for 257"):
        native.library.blade_select(
            image=noise(1, 4, 4, 1),
            orientations=257,
            strength_thresholds=[],
            coherence_thresholds=[],
            rho=1.0,
            Tsel=tf.uint8,
        )


@BOTH
def test_graphs_refuse_a_wrong_rank_when_they_run(implementation):
    graph = tf.function(
        lambda u: blade_tf.blade_select(u, strength_thresholds=[], coherence_thresholds=[]),
        input_signature=[tf.TensorSpec(None)],
    )
    assert graph(np.zeros((1, 4, 6, 1))).shape == [1, 4, 6]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[4, ?6, ?1\]"):
        graph(np.zeros((4, 6, 1)))


@BOTH
def test_thresholds_may_be_arrays_and_unhashable(implementation):
    image = noise(1, 9, 11, 1)
    expected = select(image, [0.5, 1.0], [0.3], orientations=6)
    np.testing.assert_array_equal(
        select(image, np.array([0.5, 1.0]), (np.float32(0.3),), orientations=np.int64(6)), expected
    )
    with pytest.raises(ValueError, match=r"orientations: expected an integer .* got True"):
        select(image, [0.5, 1.0], [0.3], orientations=True, rho=1)


@needs_native
def test_graphs_without_the_newer_attributes_still_load():
    """As saved before there were faces and intensities."""
    image = noise(1, 9, 11, 1).astype(np.float32)
    graph = tf.function(lambda u: blade_tf.blade_select(u, strength_thresholds=[0.5], coherence_thresholds=[]))
    definition = graph.get_concrete_function(tf.TensorSpec(image.shape)).graph.as_graph_def()
    nodes = [node for node in definition.node if node.op == "BladeSelect"]
    assert len(nodes) == 1
    for name in ("center", "intensity_thresholds"):
        del nodes[0].attr[name]

    def rebuilt(u):
        return tf.graph_util.import_graph_def(definition, {"u": u}, [f"{nodes[0].name}:0"])[0]

    np.testing.assert_array_equal(tf.function(rebuilt)(image), select(image, [0.5]))


# The layer.


def make(**options):
    return blade_tf.Selection(**{"strength_thresholds": [0.1, 0.4], "coherence_thresholds": [0.3]} | options)


def test_layer_is_the_operation():
    image = noise(2, 9, 11, 2).astype(np.float32)
    layer = make(orientations=8, rho=0.5)
    assert layer.num_bins == 8 * 3 * 2
    np.testing.assert_array_equal(layer(image), select(image, [0.1, 0.4], [0.3], orientations=8, rho=0.5))
    assert layer.weights == []
    assert not layer.trainable


def test_layer_selects_by_luma_or_by_the_summed_tensor():
    image = noise(1, 9, 11, 3).astype(np.float32)
    luma = (image @ np.float32([0.299, 0.587, 0.114]))[..., np.newaxis]
    by_luma, by_channels = make()(image), make(luma=False)(image)
    np.testing.assert_array_equal(by_luma, make()(luma))
    np.testing.assert_array_equal(by_channels, select(image, [0.1, 0.4], [0.3]))
    assert np.any(by_luma != by_channels)


def test_layer_config_round_trip():
    layer = make(
        orientations=np.int64(6),
        rho=np.float32(0.25),
        luma=False,
        intensity_thresholds=(0.1, 0.2),
        center="face_y",
        name="choice",
        dtype="mixed_bfloat16",
    )
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    assert (copy.num_bins, copy.rho, copy.luma, copy.name, copy.trainable) == (108, 0.25, False, "choice", False)
    assert (copy.intensity_thresholds, copy.center) == ([0.1, 0.2], "face_y")
    image = noise(1, 9, 11, 3).astype(np.float32)
    np.testing.assert_array_equal(copy(image), layer(image))


def test_layer_of_a_config_from_before_faces_and_intensities():
    config = make().get_config()
    for name in ("intensity_thresholds", "center", "soft", "centers"):
        del config[name]
    layer = blade_tf.Selection.from_config(config)
    assert layer.get_config() == make(name=layer.name).get_config()


def test_layer_at_another_centre():
    layer, image = make(orientations=6, intensity_thresholds=[0.2], luma=False), noise(1, 9, 11, 3)
    turned = layer.at("face_x").at("face_y")
    assert (turned.center, turned.num_bins, layer.center) == ("face_y", layer.num_bins, "pixel")
    assert turned.name != layer.name
    options = {"orientations": 6, "intensity_thresholds": [0.2], "center": "face_y"}
    np.testing.assert_array_equal(turned(image), select(image, [0.1, 0.4], [0.3], **options))
    np.testing.assert_array_equal(turned.at("pixel")(image), layer(image))
    with pytest.raises(ValueError, match=r"center: expected .* got 'node'"):
        layer.at("node")


def test_layer_selects_by_the_intensity_of_luma_or_of_the_mean():
    image = np.zeros((1, 4, 5, 3), np.float32)
    image[..., 1] = 1
    for luma, value in ((True, 0.587), (False, 1 / 3)):
        for threshold, expected in ((value - 1e-3, 1), (value + 1e-3, 0)):
            layer = blade_tf.Selection(orientations=1, intensity_thresholds=[threshold], luma=luma)
            np.testing.assert_array_equal(layer(image), np.full((1, 4, 5), expected))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_layer_selects_by_the_image_as_it_is_whatever_the_policy(policy):
    image = (0.5 + noise(1, 30, 30, 1) / 1000).astype(np.float32)
    layer = make(dtype=policy, strength_thresholds=[2e-4, 5e-4])
    chosen = layer(image)
    assert chosen.dtype == tf.int32
    np.testing.assert_array_equal(chosen, make(strength_thresholds=[2e-4, 5e-4])(image))
    # In half precision the image is almost flat: the comparison above can fail.
    assert np.mean(layer(tf.cast(image, layer.compute_dtype)) != chosen) > 0.2


def test_layer_in_a_functional_model():
    inputs = keras.Input((None, None, 3))
    chosen = make()(inputs)
    assert (chosen.shape, chosen.dtype) == ((None, None, None), "int32")
    image = noise(2, 9, 11, 3).astype(np.float32)
    np.testing.assert_array_equal(keras.Model(inputs, chosen)(image), make()(image))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength_thresholds": [2.0, 1.0]}, "strength_thresholds: expected ascending"),
        ({"coherence_thresholds": [2.0]}, "coherence_thresholds: expected ascending"),
        ({"orientations": 0}, "orientations: expected an integer of at least 1, got 0"),
        ({"rho": -1}, "rho: expected a number"),
        ({"intensity_thresholds": [1.0, 0.0]}, "intensity_thresholds: expected ascending"),
        ({"center": "edge"}, "center: expected 'pixel', 'face_x' or 'face_y', got 'edge'"),
    ],
)
def test_layer_refuses_what_the_operation_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


# Thresholds at quantiles.


@pytest.mark.parametrize("rho", [0.0, 1.0])
def test_quantile_thresholds_fill_the_bins_evenly(rho):
    image = noise(2, 50, 60, 1).astype(np.float32)
    strength, coherence = blade_tf.quantile_thresholds(image, rho, [0.25, 0.5, 0.75], [0.5, 0.9] if rho else [])
    index = select(image, strength, coherence, orientations=1, rho=rho)
    shares = np.bincount(index.ravel() % 4) / index.size
    np.testing.assert_allclose(shares, [0.25] * 4, atol=3 / index.size)
    if rho:
        shares = np.bincount(index.ravel() // 4) / index.size
        np.testing.assert_allclose(shares, [0.5, 0.4, 0.1], atol=3 / index.size)


def test_quantile_thresholds_of_a_known_image():
    """Rows of slopes 1, ..., 9 without smoothing: the strengths are the slopes."""
    image = np.float32(np.arange(1, 10)[:, np.newaxis] * np.arange(30))[:, np.newaxis, :, np.newaxis]
    strength, coherence = blade_tf.quantile_thresholds(image[:, :, 1:-1], 0.0, [0.1, 0.9], [])
    assert coherence == []
    assert 1 <= strength[0] <= 2
    assert 8 <= strength[1] <= 9


def test_quantile_thresholds_refuse():
    image = noise(1, 9, 9, 1)
    for quantiles in ([0.5, 0.2], [-0.1], [1.5]):
        with pytest.raises(ValueError, match="strength_quantiles: expected ascending numbers"):
            blade_tf.quantile_thresholds(image, 1.0, quantiles, [])
        with pytest.raises(ValueError, match="coherence_quantiles: expected ascending numbers"):
            blade_tf.quantile_thresholds(image, 1.0, [], quantiles)
    with pytest.raises(ValueError, match="strength_thresholds from the data's quantiles: expected ascending"):
        blade_tf.quantile_thresholds(np.ones((1, 9, 9, 1)), 1.0, [0.2, 0.5], [])


def test_feature_quantiles_fill_the_bins_of_pixels_evenly():
    image = noise(2, 50, 60, 1).astype(np.float32)
    for feature in ("strength", "coherence", "intensity"):
        thresholds = blade_tf.feature_quantiles(image, 1.0, "pixel", feature, [0.25, 0.5, 0.75])
        index = blade_tf.blade_select(image, orientations=1, **{f"{feature}_thresholds": thresholds}).numpy()
        shares = np.bincount(index.ravel()) / index.size
        np.testing.assert_allclose(shares, [0.25] * 4, atol=3 / index.size)


@pytest.mark.parametrize("feature", ["strength", "coherence", "intensity"])
def test_feature_quantiles_fill_the_bins_of_both_kinds_of_faces_together(feature):
    """An image stretched along x: its faces along x are weaker than those along y."""
    image = scipy.ndimage.zoom(noise(40, 20), (1, 4), order=1)[np.newaxis, ..., np.newaxis].astype(np.float32)
    found = [blade_tf.feature_quantiles(image, 1.0, center, feature, [0.2, 0.5]) for center in ("face_x", "face_y")]
    assert found[0] == found[1]
    options = {"orientations": 1, f"{feature}_thresholds": found[0]}
    bins = [of_faces(blade_tf.blade_select(image, center=c, **options).numpy(), c) for c in ("face_x", "face_y")]
    counts = np.bincount(np.concatenate([np.ravel(index) for index in bins]))
    np.testing.assert_allclose(counts / sum(counts), [0.2, 0.3, 0.5], atol=3 / sum(counts))
    if feature == "strength":
        shares = [np.mean(index == 0) for index in bins]
        assert shares[0] > shares[1] + 0.1


def test_feature_quantiles_of_colour_images_are_those_of_what_is_selected_by():
    image = np.random.default_rng(4).random((2, 40, 40, 3)).astype(np.float32)
    weights = {True: [0.299, 0.587, 0.114], False: [1 / 3] * 3}
    for luma, weight in weights.items():
        found = blade_tf.feature_quantiles(image, 1.0, "pixel", "intensity", [0.0, 0.3, 1.0], luma)
        np.testing.assert_allclose(found, np.quantile(image @ np.array(weight), [0.0, 0.3, 1.0]), rtol=1e-5)


def test_feature_quantiles_refuse():
    image = noise(1, 9, 9, 1)
    for center, feature, quantiles, message in (
        ("corner", "strength", [0.5], "center: expected 'pixel', 'face_x' or 'face_y', got 'corner'"),
        ("pixel", "curvature", [0.5], "feature: expected 'orientation', .* got 'curvature'"),
        ("pixel", "strength", [0.5, 0.2], r"quantiles: expected ascending numbers in \[0, 1\], got \[0.5, 0.2\]"),
        ("pixel", "strength", [1.5], r"quantiles: expected ascending numbers in \[0, 1\], got \[1.5\]"),
    ):
        with pytest.raises(ValueError, match=message):
            blade_tf.feature_quantiles(image, 1.0, center, feature, quantiles)
    with pytest.raises(ValueError, match="thresholds from the data's quantiles: expected ascending"):
        blade_tf.feature_quantiles(np.ones((1, 9, 9, 1)), 1.0, "face_x", "intensity", [0.2, 0.5])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_unknown_number_of_channels_selects_as_the_known_one(channels: int) -> None:
    image = np.random.default_rng(3).random((1, 17, 19, channels)).astype(np.float32)
    layer = make()
    graph = tf.function(layer, input_signature=[tf.TensorSpec([None] * 4)], autograph=False)
    np.testing.assert_array_equal(graph(image), layer(image))


def test_quantile_thresholds_of_colour_images_are_those_of_what_is_selected_by() -> None:
    image = np.random.default_rng(4).random((2, 40, 40, 3)).astype(np.float32)
    strength, coherence = blade_tf.quantile_thresholds(image, 1.0, [0.5], [0.5])
    bins = blade_tf.Selection(strength, coherence, orientations=1)(image).numpy()
    assert abs(np.mean(bins % 2) - 0.5) < 1e-3
    assert abs(np.mean(bins // 2) - 0.5) < 1e-3
