"""Image quality, computed in float64 whatever the images' dtype: eager tensors, numpy arrays or graphs."""

from typing import Any

import tensorflow as tf

from blade_tf import image as images

__all__ = ["SSIM_SIGMA", "psnr", "ssim"]

SSIM_SIGMA = 1.5
_RADIUS = 5

TensorLike = Any


def psnr(a: TensorLike, b: TensorLike, max_value: float = 1.0) -> tf.Tensor:
    """Peak signal-to-noise ratio 10 log10(max_value^2 / mean((a - b)^2)) of each image, in dB.

    Args:
      a, b: float [N, H, W, C], taken as they are: neither clipped nor rounded.
      max_value: the range of intensities.

    Returns:
      float64 [N]; inf for identical images, NaN for images without pixels or with NaN.

    Raises:
      ValueError: a or b is not float [N, H, W, C], or their shapes differ.
    """
    a, b = _pair(a, b)
    mse = tf.reduce_mean(tf.math.squared_difference(a, b), axis=[1, 2, 3])
    return 10 / tf.math.log(tf.constant(10.0, tf.float64)) * tf.math.log(max_value**2 / mse)


def ssim(a: TensorLike, b: TensorLike, max_value: float = 1.0) -> tf.Tensor:
    """Structural similarity (Wang et al. 2004) of each image, a mean over window positions and channels.

    (2 ma mb + c1)(2 sab + c2) / ((ma^2 + mb^2 + c1)(saa + sbb + c2)) with means m and population (co)variances s under
    an 11 x 11 Gaussian window of 1.5 px that lies inside the image, c1 = (0.01 max_value)^2, c2 = (0.03 max_value)^2.
    The same as scikit-image's with gaussian_weights=True, sigma=1.5, use_sample_covariance=False; tf.image.ssim differs
    by 1e-5.

    Args:
      a, b: float [N, H, W, C], H and W at least 11.
      max_value: the range of intensities.

    Returns:
      float64 [N].

    Raises:
      ValueError: a or b is not float [N, H, W, C], their shapes differ, or the images are smaller than the window.
      tf.errors.InvalidArgumentError: images whose size is known only when a graph runs are smaller than the window.
    """
    a, b = _pair(a, b)
    window = 2 * _RADIUS + 1
    if any(size is not None and size < window for size in a.shape[1:3]):
        raise ValueError(f"a, b: expected at least {window} x {window} pixels, got {a.shape.as_list()}")
    size = tf.shape(a)[1:3]
    with tf.control_dependencies([tf.debugging.assert_greater_equal(size, window, f"a, b: expected H, W >= {window}")]):
        products = tf.concat([a, b, a * a, b * b, a * b], axis=-1)
    # Away from the borders, gaussian_smooth is the window: ceil(3 * 1.5) = 5 = _RADIUS.
    means = images.gaussian_smooth(products, SSIM_SIGMA)[:, _RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
    ma, mb, maa, mbb, mab = tf.split(means, 5, axis=-1)
    c1, c2 = (0.01 * max_value) ** 2, (0.03 * max_value) ** 2
    luminance = (2 * ma * mb + c1) / (ma * ma + mb * mb + c1)
    structure = (2 * (mab - ma * mb) + c2) / (maa - ma * ma + mbb - mb * mb + c2)
    return tf.reduce_mean(luminance * structure, axis=[1, 2, 3])


def _pair(a: TensorLike, b: TensorLike) -> tuple[tf.Tensor, tf.Tensor]:
    a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
    for name, image in (("a", a), ("b", b)):
        if image.shape.rank not in (None, 4) or not image.dtype.is_floating:
            raise ValueError(f"{name}: expected float [N, H, W, C], got {image.dtype.name} {_text(image)}")
    if not a.shape.is_compatible_with(b.shape):
        raise ValueError(f"a, b: expected equal shapes, got {_text(a)} and {_text(b)}")
    shape = a.shape.merge_with(b.shape).with_rank(4)
    a, b = (tf.cast(tf.ensure_shape(image, shape), tf.float64) for image in (a, b))
    if not shape.is_fully_defined():
        # Otherwise axes of length 1 would be broadcast.
        tf.debugging.assert_equal(tf.shape(a), tf.shape(b), "a, b: expected equal shapes")
    return a, b


def _text(image: tf.Tensor) -> str:
    return str(image.shape.as_list() if image.shape.rank is not None else "unknown shape")
