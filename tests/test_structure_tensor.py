import math

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from blade_tf import structure_tensor as st


def random_image(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


CENTERS = ["pixel", "face_x", "face_y"]


def gradient(image, center):
    """Along x and y, or a face's normal and tangent: [N, H, W, C], [N, H, W - 1, C] or [N, H - 1, W, C] each."""
    if center == "face_y":
        return [field.swapaxes(1, 2) for field in gradient(image.swapaxes(1, 2), "face_x")]
    u = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    across = u[:, 2:, 1:-1] - u[:, :-2, 1:-1]
    if center == "pixel":
        return image.dtype.type(0.5) * (u[:, 1:-1, 2:] - u[:, 1:-1, :-2]), image.dtype.type(0.5) * across
    return np.diff(image, axis=2), image.dtype.type(0.25) * (across[:, :, :-1] + across[:, :, 1:])


def oracle(image, rho, center="pixel"):
    """J_rho in float64: [N, H, W, 2, 2]."""
    stacked = np.stack(gradient(image, center), -1)
    tensor = np.einsum("nhwci,nhwcj->nhwij", stacked, stacked)
    radius = math.ceil(3 * rho)
    for axis in (2, 1) if rho and tensor.size else ():
        tensor = scipy.ndimage.gaussian_filter1d(tensor, rho, axis, mode="nearest", radius=radius)
    return tensor


def plane(angle, height=17, width=21, slope=1.0):
    y, x = np.mgrid[:height, :width]
    return (slope * (x * math.cos(angle) + y * math.sin(angle)))[np.newaxis, ..., np.newaxis]


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("rho", [0, 0.4, 1, 2.5])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 1, 9, 1), (1, 8, 1, 2), (1, 3, 4, 3), (2, 20, 15, 4)])
def test_tensor_agrees_with_scipy(shape, rho, center):
    image = random_image(*shape)
    expected = oracle(image, rho, center)
    for dtype, tolerance in ((np.float64, 2e-14), (np.float32, 6e-6)):
        found = st.structure_tensor(image.astype(dtype), rho, center)
        for component, (i, j) in zip(found, [(0, 0), (0, 1), (1, 1)], strict=True):
            assert component.dtype == dtype
            assert component.shape == expected.shape[:3]
            np.testing.assert_allclose(component, expected[..., i, j], rtol=0, atol=tolerance)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("shape", [(0, 3, 4, 1), (1, 0, 4, 1), (1, 3, 0, 2), (2, 3, 4, 0)])
def test_tensor_and_features_of_empty_images(shape, center):
    image = np.zeros(shape, np.float32)
    for component in st.structure_tensor(image, 1.0, center):
        assert component.shape[0] == shape[0]
        assert not np.any(component)
    for field in st.features(image, 1.0, center)[:3]:
        assert field.shape == shape[:3]
        assert not np.any(field)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rho", [0, 1, 2.5])
@pytest.mark.parametrize("shape", [(1, 12, 9, 1), (2, 12, 9, 3), (1, 30, 20, 12), (1, 1, 2, 300), (1, 2, 40, 64)])
def test_every_rounding_is_that_of_the_definition(shape, rho, dtype, center):
    """The order of all sums is fixed, for the selection's sake: channels ascend, a Gaussian's taps go outward, along a
    face's normal first."""
    image = random_image(*shape).astype(dtype)
    gx, gy = gradient(image, center)
    radius = math.ceil(3 * rho)
    weights = [math.exp(-k * k / (2 * rho * rho)) if k else 1.0 for k in range(radius + 1)]
    total = sum([2 * w for w in weights[1:]], start=weights[0])
    for a, b, found in zip((gx, gx, gy), (gx, gy, gy), st.structure_tensor(image, rho, center), strict=True):
        expected = np.zeros(a.shape[:3], dtype)
        for channel in range(shape[-1]):
            expected += a[..., channel] * b[..., channel]
        for axis in ((1, 2) if center == "face_y" else (2, 1)) if expected.size else ():
            pad = [(radius, radius) if i == axis else (0, 0) for i in range(3)]
            padded, size = np.moveaxis(np.pad(expected, pad, "edge"), axis, 0), expected.shape[axis]
            smooth = dtype(weights[0] / total) * padded[radius : radius + size]
            for k in range(1, radius + 1):
                before, after = padded[radius - k : radius - k + size], padded[radius + k : radius + k + size]
                smooth = smooth + dtype(weights[k] / total) * (before + after)
            expected = np.moveaxis(smooth, 0, axis)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 64, 300])
def test_intensity_is_the_mean_over_channels_and_a_faces_pixels(channels, dtype, center):
    image = random_image(2, 3, 4, channels).astype(dtype)
    mean = np.zeros((2, 3, 4), dtype)
    for channel in range(channels):
        mean += image[..., channel]
    mean *= dtype(1 / channels)
    if center == "face_x":
        mean = dtype(0.5) * (mean[:, :, :-1] + mean[:, :, 1:])
    if center == "face_y":
        mean = dtype(0.5) * (mean[:, :-1] + mean[:, 1:])
    np.testing.assert_array_equal(st.intensity(image, center), mean)
    graph = tf.function(lambda u: st.intensity(u, center), input_signature=[tf.TensorSpec([None] * 4, dtype)])
    np.testing.assert_array_equal(graph(image), mean)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize(("rho", "channels"), [(0, 12), (1, 1), (1, 3), (4, 2)])
@pytest.mark.parametrize("size", [[1, 30, 20], [1, None, 20], None])
def test_graphs_give_the_same_bits(size, rho, channels, center):
    """The graph optimiser must not sum in another order: the selection's definition depends on it."""
    image = random_image(1, 30, 20, channels).astype(np.float32)
    spec = tf.TensorSpec([*size, channels] if size else [None] * 4)
    graph = tf.function(lambda u: st.structure_tensor(u, rho, center), input_signature=[spec])
    for found, expected in zip(graph(image), st.structure_tensor(image, rho, center), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rho", [0.0, 1.0])
@pytest.mark.parametrize("degrees", [0, 10, 45, 60, 90, 135, 179])
def test_features_of_a_plane(degrees, rho):
    angle, slope = math.radians(degrees), 0.7
    found = st.features(plane(angle, slope=slope), rho)
    inner = (0, slice(4, -4), slice(4, -4))
    turned = (found.orientation[inner] - angle + math.pi / 2) % math.pi - math.pi / 2
    np.testing.assert_allclose(turned, 0, atol=1e-7)
    np.testing.assert_allclose(found.strength[inner], slope, rtol=1e-12)
    np.testing.assert_allclose(found.coherence[inner], 1, atol=1e-6)  # sqrt of a rounded l2 = 0


@pytest.mark.parametrize("rho", [0.0, 1.0])
@pytest.mark.parametrize("degrees", [0, 10, 45, 60, 90, 135, 179])
def test_features_of_a_plane_at_faces(degrees, rho):
    """The angle is measured from the face's normal towards its tangent."""
    angle, image = math.radians(degrees), plane(math.radians(degrees), slope=0.7)
    inner = (0, slice(4, -5), slice(4, -5))
    offset = {"face_x": (0.5, 0), "face_y": (0, 0.5)}
    for center, expected in (("face_x", angle), ("face_y", math.pi / 2 - angle)):
        found = st.features(image, rho, center)
        turned = (found.orientation[inner] - expected + math.pi / 2) % math.pi - math.pi / 2
        np.testing.assert_allclose(turned, 0, atol=1e-7)
        np.testing.assert_allclose(found.strength[inner], 0.7, rtol=1e-12)
        np.testing.assert_allclose(found.coherence[inner], 1, atol=1e-6)
        x, y = offset[center]
        moved = image[..., 0] + 0.7 * (x * math.cos(angle) + y * math.sin(angle))
        np.testing.assert_allclose(found.intensity[inner], moved[inner], rtol=0, atol=1e-13)


def test_features_at_faces_see_what_central_differences_do_not():
    """A column of ones: strength 1 at its two faces and 0 elsewhere; alternating columns: 2 everywhere."""
    image = np.zeros((1, 5, 8, 1))
    image[:, :, 3] = 1
    expected = np.zeros((1, 5, 8))
    expected[:, :, 2:4] = 1
    np.testing.assert_array_equal(st.features(image, 0.0, "face_x").strength, expected)
    np.testing.assert_array_equal(st.features(image, 0.0, "face_x").intensity, expected / 2)
    alternating = np.resize([1.0, -1.0], (1, 5, 8, 1))
    np.testing.assert_array_equal(st.features(alternating, 0.0).strength[:, :, 1:-1], np.zeros((1, 5, 6)))
    found = st.features(alternating, 1.0, "face_x").strength
    np.testing.assert_allclose(found[:, :, :-1], 2, rtol=1e-14)
    np.testing.assert_array_equal(found[:, :, -1], np.zeros((1, 5)))
    across = st.features(alternating.swapaxes(1, 2), 1.0, "face_y").strength
    np.testing.assert_array_equal(across, np.swapaxes(found, 1, 2))


@pytest.mark.parametrize("center", ["face_x", "face_y"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 6, 2), (1, 6, 1, 1)])
def test_features_are_zero_where_no_face_is(shape, center):
    image = 1 + random_image(*shape)
    axis = {"face_x": 2, "face_y": 1}[center]
    for field in st.features(image, 1.0, center):
        assert field.shape == shape[:3]
        np.testing.assert_array_equal(np.take(field, -1, axis), np.zeros_like(np.take(field, -1, axis)))
    assert np.any(field) == (shape[axis] > 1)


def test_features_of_two_crossing_planes():
    """Channels a x and b y: J = diag(a^2, b^2)."""
    image = np.concatenate([plane(0, slope=3.0), plane(math.pi / 2, slope=1.0)], -1)
    found = st.features(image, 1.0)
    inner = (0, slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(found.orientation[inner], 0, atol=1e-12)
    np.testing.assert_allclose(found.strength[inner], 3, rtol=1e-12)
    np.testing.assert_allclose(found.coherence[inner], 0.5, rtol=1e-12)
    turned = st.features(image.swapaxes(1, 2), 1.0)
    np.testing.assert_allclose(turned.orientation[0, 4:-4, 4:-4], math.pi / 2, rtol=1e-12)


@pytest.mark.parametrize("center", CENTERS)
def test_features_agree_with_eigenvectors(center):
    image = random_image(2, 20, 15, 3)
    tensor = oracle(image, 1.5, center)
    found = st.Features(*(field[:, : tensor.shape[1], : tensor.shape[2]] for field in st.features(image, 1.5, center)))
    values, vectors = np.linalg.eigh(tensor)
    minor, major = np.sqrt(np.moveaxis(values, -1, 0))
    np.testing.assert_allclose(found.strength, major, rtol=1e-12)
    np.testing.assert_allclose(found.coherence, (major - minor) / (major + minor), rtol=1e-9)
    x, y = np.moveaxis(vectors[..., 1], -1, 0)
    assert np.all((found.orientation >= 0) & (found.orientation < math.pi))
    np.testing.assert_allclose(np.sin(found.orientation - np.arctan2(y, x)), 0, atol=1e-9)


def test_features_of_a_flat_image_are_zero():
    for dtype in (np.float32, np.float64):
        image = np.full((1, 5, 6, 3), 0.25, dtype)
        orientation, strength, coherence, intensity = st.features(image, 1.0)
        for feature in (orientation, strength, coherence):
            assert feature.dtype == dtype
            np.testing.assert_array_equal(feature, np.zeros((1, 5, 6)))
        np.testing.assert_allclose(intensity, 0.25, rtol=1e-7)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_gradients_agree_with_differences(rho, center):
    image = random_image(1, 5, 6, 2)
    cotangent = random_image(1, 5, 6, seed=1)

    def losses(images):
        fields = st.features(images, rho, center)._asdict()
        fields["orientation"] = tf.sin(2 * fields["orientation"])  # a smooth function of the angle modulo pi
        return {name: tf.reduce_sum(cotangent * field, [1, 2]) for name, field in fields.items()}

    u = tf.constant(image)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(u)
        values = losses(u)
    steps = 1e-6 * np.eye(image.size).reshape(-1, *image.shape[1:])
    above, below = losses(tf.constant(image + steps)), losses(tf.constant(image - steps))
    for name, value in values.items():
        difference = (above[name] - below[name]) / 2e-6
        np.testing.assert_allclose(np.ravel(tape.gradient(value, u)), difference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-19, 1e-12, 1.0])
def test_gradients_are_finite_where_features_are_not_smooth(scale, dtype, center):
    """Flat images, gradients whose squares vanish, columns alone, and isotropic pixels."""
    image = np.zeros((1, 8, 12, 1))
    image[:, :, 4:] = scale
    image[:, 4:, 8:] = -scale
    image = image.astype(dtype)
    for rho in (0.0, 1.0):
        u = tf.constant(image)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(u)
            fields = st.features(u, rho, center)
        for field in fields:
            gradient = tape.gradient(field, u)
            assert gradient is not None
            assert np.all(np.isfinite(gradient))
