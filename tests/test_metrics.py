import math

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from blade_tf.metrics import psnr, ssim


def photograph(height=64, width=80, channels=1):
    picture = skimage.data.astronaut()[100 : 100 + 4 * height : 4, 60 : 60 + 4 * width : 4] / 255.0
    return picture[..., :channels][np.newaxis]


def noisy(image, deviation, seed=0):
    return image + np.random.default_rng(seed).normal(0, deviation, image.shape)


def skimage_ssim(a, b, **options):
    return [
        structural_similarity(
            x,
            y,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=options.get("max_value", 1.0),
            channel_axis=-1,
        )
        for x, y in zip(a, b, strict=True)
    ]


@pytest.mark.parametrize("deviation", [0.001, 0.05, 0.5])
@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_agrees_with_scikit_image(deviation, channels):
    a = np.concatenate([photograph(channels=channels), 1 - photograph(channels=channels)])
    b = noisy(a, deviation)
    expected = skimage_ssim(a, b)
    np.testing.assert_allclose(ssim(a, b), expected, rtol=0, atol=1e-11)
    single = [x.astype(np.float32) for x in (a, b)]
    np.testing.assert_allclose(ssim(*single), skimage_ssim(*(x.astype(np.float64) for x in single)), atol=1e-11)


@pytest.mark.parametrize("size", [(11, 11), (11, 30), (12, 17)])
def test_ssim_of_small_images(size):
    a = photograph(*size)
    np.testing.assert_allclose(ssim(a, noisy(a, 0.1)), skimage_ssim(a, noisy(a, 0.1)), atol=1e-11)


def test_ssim_of_another_range():
    a = photograph()
    b = noisy(a, 0.1)
    np.testing.assert_allclose(ssim(255 * a, 255 * b, 255.0), ssim(a, b), rtol=1e-12)
    np.testing.assert_allclose(ssim(a, b, 2.0), skimage_ssim(a, b, max_value=2.0), atol=1e-11)


def test_ssim_by_hand():
    # Constant images: variances vanish and only the first factor is left.
    a, b = np.full((1, 12, 12, 1), 0.25), np.full((1, 12, 12, 1), 0.75)
    np.testing.assert_allclose(ssim(a, b), [(2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)], rtol=1e-12)
    np.testing.assert_array_equal(ssim(photograph(), photograph()), [1.0])


def test_psnr_agrees_with_scikit_image():
    a = np.concatenate([photograph(channels=3), 1 - photograph(channels=3)])
    b = noisy(a, 0.1)
    expected = [peak_signal_noise_ratio(x, y, data_range=1.0) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(psnr(a, b), expected, rtol=1e-13)


def test_psnr_by_hand():
    a = np.zeros((3, 2, 2, 1), np.float32)
    b = a + np.reshape([0.1, 0.0, 10.0], (3, 1, 1, 1)).astype(np.float32)
    np.testing.assert_allclose(psnr(a, b), [20, math.inf, -20], rtol=1e-7)
    np.testing.assert_allclose(psnr(a, b, 255.0)[0], 20 * math.log10(2550), rtol=1e-7)


def test_psnr_neither_clips_nor_hides_nan():
    a = np.ones((2, 1, 2, 1))
    b = np.reshape([1.0, 1.5, 1.0, np.nan], (2, 1, 2, 1))
    np.testing.assert_allclose(psnr(a, b), [10 * math.log10(8), np.nan], rtol=1e-13)


def test_half_types_are_compared_exactly():
    a = photograph()
    half = a.astype(np.float16)
    np.testing.assert_array_equal(psnr(a, half), psnr(a, half.astype(np.float64)))
    np.testing.assert_array_equal(ssim(a, half), ssim(a, half.astype(np.float64)))
    assert psnr(half, half).dtype == tf.float64


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_graphs_of_unknown_shape_give_the_same(metric):
    graph = tf.function(metric, input_signature=[tf.TensorSpec([None] * 4, tf.float64)] * 2)
    unranked = tf.function(metric, input_signature=[tf.TensorSpec(None, tf.float64)] * 2)
    a = photograph(channels=3)
    b = noisy(a, 0.1)
    np.testing.assert_allclose(graph(a, b), metric(a, b), rtol=1e-13)
    np.testing.assert_allclose(unranked(a, b), metric(a, b), rtol=1e-13)
    np.testing.assert_array_equal(graph(a[:0], b[:0]), [])
    with pytest.raises(tf.errors.InvalidArgumentError, match="a, b: expected equal shapes"):
        graph(a, b[:, :, :, :1])


def test_ssim_refuses_images_smaller_than_its_window():
    with pytest.raises(ValueError, match=r"a, b: expected at least 11 x 11 pixels, got \[1, 10, 20, 1\]"):
        ssim(photograph(10, 20), photograph(10, 20))
    graph = tf.function(ssim, input_signature=[tf.TensorSpec([None] * 4, tf.float64)] * 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected H, W >= 11"):
        graph(photograph(10, 20), photograph(10, 20))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_what_does_not_match_is_named(metric):
    a = photograph()
    with pytest.raises(ValueError, match=r"a, b: expected equal shapes, got \[1, 64, 80, 1\] and \[1, 64, 79, 1\]"):
        metric(a, a[:, :, 1:])
    with pytest.raises(ValueError, match=r"b: expected float \[N, H, W, C\], got uint8 \[1, 64, 80, 1\]"):
        metric(a, a.astype(np.uint8))
    with pytest.raises(ValueError, match=r"a: expected float \[N, H, W, C\], got float64 \[64, 80, 1\]"):
        metric(a[0], a[0])
