import math

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from blade_tf import structure_tensor as st


def random_image(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def oracle(image, rho):
    """J_rho in float64: [N, H, W, 2, 2]."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    gx = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    gy = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    gradient = np.stack([gx, gy], -1)
    tensor = np.einsum("nhwci,nhwcj->nhwij", gradient, gradient)
    radius = math.ceil(3 * rho)
    for axis in (2, 1) if rho else ():
        tensor = scipy.ndimage.gaussian_filter1d(tensor, rho, axis, mode="nearest", radius=radius)
    return tensor


def plane(angle, height=17, width=21, slope=1.0):
    y, x = np.mgrid[:height, :width]
    return (slope * (x * math.cos(angle) + y * math.sin(angle)))[np.newaxis, ..., np.newaxis]


@pytest.mark.parametrize("rho", [0, 0.4, 1, 2.5])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 1, 9, 1), (1, 8, 1, 2), (1, 3, 4, 3), (2, 20, 15, 4)])
def test_tensor_agrees_with_scipy(shape, rho):
    image = random_image(*shape)
    expected = oracle(image, rho)
    for dtype, tolerance in ((np.float64, 1e-14), (np.float32, 3e-6)):
        found = st.structure_tensor(image.astype(dtype), rho)
        for component, (i, j) in zip(found, [(0, 0), (0, 1), (1, 1)], strict=True):
            assert component.dtype == dtype
            np.testing.assert_allclose(component, expected[..., i, j], rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(0, 3, 4, 1), (1, 0, 4, 1), (1, 3, 0, 2), (2, 3, 4, 0)])
def test_tensor_of_empty_images(shape):
    for component in st.structure_tensor(np.zeros(shape, np.float32), 1.0):
        assert component.shape == shape[:3]
        assert not np.any(component)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rho", [0, 1, 2.5])
@pytest.mark.parametrize("shape", [(1, 12, 9, 1), (2, 12, 9, 3), (1, 30, 20, 12), (1, 1, 1, 300), (1, 1, 40, 64)])
def test_every_rounding_is_that_of_the_definition(shape, rho, dtype):
    """The order of all sums is fixed, for the selection's sake: channels ascend, a Gaussian's taps go outward."""
    image = random_image(*shape).astype(dtype)
    u = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    gx, gy = dtype(0.5) * (u[:, 1:-1, 2:] - u[:, 1:-1, :-2]), dtype(0.5) * (u[:, 2:, 1:-1] - u[:, :-2, 1:-1])
    radius = math.ceil(3 * rho)
    weights = [math.exp(-k * k / (2 * rho * rho)) if k else 1.0 for k in range(radius + 1)]
    total = sum([2 * w for w in weights[1:]], start=weights[0])
    for a, b, found in zip((gx, gx, gy), (gx, gy, gy), st.structure_tensor(image, rho), strict=True):
        expected = np.zeros(shape[:3], dtype)
        for channel in range(shape[-1]):
            expected += a[..., channel] * b[..., channel]
        for axis in (2, 1):
            pad = [(radius, radius) if i == axis else (0, 0) for i in range(3)]
            padded, size = np.moveaxis(np.pad(expected, pad, "edge"), axis, 0), shape[axis]
            smooth = dtype(weights[0] / total) * padded[radius : radius + size]
            for k in range(1, radius + 1):
                before, after = padded[radius - k : radius - k + size], padded[radius + k : radius + k + size]
                smooth = smooth + dtype(weights[k] / total) * (before + after)
            expected = np.moveaxis(smooth, 0, axis)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("rho", "channels"), [(0, 12), (1, 1), (1, 3), (4, 2)])
@pytest.mark.parametrize("size", [[1, 30, 20], [1, None, 20], None])
def test_graphs_give_the_same_bits(size, rho, channels):
    """The graph optimiser must not sum in another order: the selection's definition depends on it."""
    image = random_image(1, 30, 20, channels).astype(np.float32)
    spec = tf.TensorSpec([*size, channels] if size else [None] * 4)
    graph = tf.function(lambda u: st.structure_tensor(u, rho), input_signature=[spec])
    for found, expected in zip(graph(image), st.structure_tensor(image, rho), strict=True):
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


def test_features_agree_with_eigenvectors():
    image = random_image(2, 20, 15, 3)
    found = st.features(image, 1.5)
    values, vectors = np.linalg.eigh(oracle(image, 1.5))
    minor, major = np.sqrt(np.moveaxis(values, -1, 0))
    np.testing.assert_allclose(found.strength, major, rtol=1e-12)
    np.testing.assert_allclose(found.coherence, (major - minor) / (major + minor), rtol=1e-9)
    x, y = np.moveaxis(vectors[..., 1], -1, 0)
    assert np.all((found.orientation >= 0) & (found.orientation < math.pi))
    np.testing.assert_allclose(np.sin(found.orientation - np.arctan2(y, x)), 0, atol=1e-9)


def test_features_of_a_flat_image_are_zero():
    for dtype in (np.float32, np.float64):
        for feature in st.features(np.full((1, 5, 6, 3), 0.3, dtype), 1.0):
            assert feature.dtype == dtype
            np.testing.assert_array_equal(feature, np.zeros((1, 5, 6)))
