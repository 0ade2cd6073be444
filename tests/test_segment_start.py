"""Masks to start a segmentation from."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from blade_tf import models
from blade_tf.apps import segment as app
from blade_tf.compare.segment import agreement
from blade_tf.level_set_ops import signed_distance


@pytest.fixture(scope="module", params=[None, "tv_flow_paper"])
def model(request):
    return models.load(request.param) if request.param else None


def distance(mask):
    """Of one mask [H, W], by SciPy."""
    inside, outside = (scipy.ndimage.distance_transform_cdt(part, "taxicab") for part in (mask, ~mask))
    signed = np.where(mask, inside - 0.5, 0.5 - outside)
    return signed / np.abs(signed).max()


def masks(size):
    found = np.random.default_rng(0).uniform(size=[2, *size]) > 0.9
    found[:, 0, 0], found[:, -1, -1] = True, False
    return found


@pytest.mark.parametrize("size", [(13, 9), (1, 5), (40, 33), (2, 1)])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_the_signed_distance_is_scipys(size, dtype):
    mask = masks(size)
    expected = np.stack([distance(one) for one in mask])[..., np.newaxis]
    specs = [tf.TensorSpec([None, None, None, 1], tf.bool)]
    for function in (
        lambda mask: signed_distance(mask, dtype),
        tf.function(lambda mask: signed_distance(mask, dtype), specs),
        tf.function(lambda mask: signed_distance(mask, dtype), jit_compile=True),
    ):
        found = function(tf.constant(mask[..., np.newaxis]))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("value", [True, False])
def test_without_a_border_it_is_one_or_minus_one(value):
    found = signed_distance(tf.fill([2, 4, 5, 1], value), tf.float32)
    np.testing.assert_array_equal(found, np.full([2, 4, 5, 1], 1.0 if value else -1.0))


def test_a_mask_is_its_signed_distance(model):
    image, inside = disc(64)
    mask = tf.constant(inside[np.newaxis, ..., np.newaxis])
    settings = app.Settings(iterations=20, tolerance=0.0)
    starts = mask, signed_distance(mask, tf.float32)
    found = [app.segment(image, start, model=model, settings=settings).level_set for start in starts]
    np.testing.assert_array_equal(*found)


def disc(size):
    """A disc beside the middle in little noise [1, size, size, 1], and where it is."""
    y, x = np.mgrid[:size, :size] / size
    inside = (x - 0.55) ** 2 + (y - 0.5) ** 2 < 0.28**2
    image = np.where(inside, 0.8, 0.2) + np.random.default_rng(0).normal(0, 0.05, inside.shape)
    return image[np.newaxis, ..., np.newaxis].astype(np.float32), inside


def middle(size, half):
    """A square around the middle of an image, [size, size]."""
    y, x = np.mgrid[:size, :size]
    return (np.abs(x - size // 2) < half) & (np.abs(y - size // 2) < half)


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("half", [1 / 6, 5])
def test_a_square_grows_to_the_disc(size, half, model):
    image, inside = disc(size)
    start = middle(size, half if half > 1 else half * size)
    assert agreement(start, inside) < 0.5
    found = app.segment(image, start[np.newaxis, ..., np.newaxis], model=model)
    assert agreement(found.mask[0, ..., 0].numpy(), inside) > 0.99


@pytest.mark.parametrize("in_graph", [False, True])
def test_a_start_like_the_result_stays(in_graph, model):
    image, inside = disc(64)
    function = tf.function(app.segment) if in_graph else app.segment
    found = function(image, inside[np.newaxis, ..., np.newaxis], model=model)
    assert agreement(found.mask[0, ..., 0].numpy(), inside) > 0.99


def test_a_start_of_hardly_any_contrast_takes_its_time(model):
    """Half of the image: a model is there after 300 iterations, the reference solver with more and no tolerance."""
    image, inside = disc(64)
    half = np.broadcast_to(np.arange(64) < 32, [1, 64, 64])[..., np.newaxis]
    settings = app.Settings() if model else app.Settings(iterations=3000, tolerance=0.0)
    found = app.segment(image, half, model=model, settings=settings)
    assert agreement(found.mask[0, ..., 0].numpy(), inside) > 0.99
