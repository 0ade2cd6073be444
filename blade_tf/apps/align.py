"""Alignment: the optical flow between two photographs, by coarse-to-fine block matching with sub-pixel refinement.

On each level of a pyramid, from the coarsest, the flow of the level before is doubled; on all but the finest ones,
block matching then looks for whole pixels that it is off (as in Hasinoff et al., "Burst photography for high dynamic
range and low-light imaging on mobile cameras", 2016); a few Gauss-Newton steps at each pixel find the fraction.
"""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf

from blade_tf import align_ops, arguments
from blade_tf import export as export_lib
from blade_tf import image as image_lib
from blade_tf.align_ops import AlignParameters

__all__ = ["LEVELS", "PARAMETERS", "AlignParameters", "align", "export"]

LEVELS = 5  # the coarsest has a sixteenth of the resolution
MOST_LEVELS = 32  # of which the coarsest of any image has one pixel
PARAMETERS = AlignParameters()


def _gray(name: str, image: Any) -> tf.Tensor:
    image = arguments.images(name, image, (tf.float32, tf.float64))
    if image.shape[3] is None:
        raise ValueError(f"{name}: expected a known number of channels, got {image.shape}")
    image = tf.cast(image, tf.float32)
    return image_lib.luma(image)[..., 0] if image.shape[3] == 3 else tf.reduce_mean(image, 3)


def align(reference: Any, moving: Any, levels: int = LEVELS, parameters: AlignParameters = PARAMETERS) -> tf.Tensor:
    """The optical flow from one image to another: `moving(x + flow(x))` shows what `reference(x)` does.

    `blade_tf.apps.resample.resample(moving, flow)` is then aligned with the reference. What is hidden in the moving
    image, or lies outside of it, gets the flow of what is around it.

    Args:
      reference, moving: float32 or float64 [N, H, W, C] in [0, 1], of the same shape; three channels count by their
        luma, others by their mean. H and W are below 2^24, H W below 2^31.
      levels: of the pyramid, at least 1. The coarsest looks two of its pixels around: 32 px with the default of five.
      parameters: of `align_ops.blade_align`, such as the smoothness.

    Returns:
      float32 [N, H, W, 2] in pixels, along x first.

    Raises:
      ValueError: another dtype or rank, shapes that differ, no pixel, a NaN (tf.errors.InvalidArgumentError where
        values or sizes are known only when a graph runs), an unknown number of channels, or a wrong number of levels.
    """
    if arguments.count("levels", levels, 1) > MOST_LEVELS:
        raise ValueError(f"levels: expected at most {MOST_LEVELS}, got {levels}")
    images = _gray("reference", reference), _gray("moving", moving)
    shapes = [tf.convert_to_tensor(image).shape for image in (reference, moving)]
    if not shapes[0].is_compatible_with(shapes[1]):
        raise ValueError(f"moving: expected the shape of the reference, {shapes[0]}, got {shapes[1]}")
    checks = [
        (tf.reduce_all(tf.shape(images[0]) == tf.shape(images[1])), "moving: expected the shape of the reference"),
        (tf.reduce_all(tf.shape(images[0])[1:] > 0), "reference: expected at least one pixel"),
    ]
    for name, image in zip(("reference", "moving"), images, strict=True):
        checks.append((tf.reduce_all(tf.math.is_finite(image)), f"{name}: expected finite values, got NaN or infinity"))
    if not tf.executing_eagerly():
        with tf.control_dependencies([tf.debugging.Assert(holds, [message]) for holds, message in checks]):
            return align_ops.blade_align(tf.identity(images[0]), tf.identity(images[1]), levels, parameters)
    for holds, message in checks:
        if not holds:
            raise ValueError(message)
    return align_ops.blade_align(*images, levels, parameters)


def export(
    output: str | os.PathLike[str],
    *,
    levels: int = LEVELS,
    parameters: AlignParameters = PARAMETERS,
    channels: int = 1,
    portable: bool = False,
) -> None:
    """Writes `align` as a SavedModel with batch, height and width open.

    The signature `serving_default(reference, moving)`, float32 [N, H, W, channels], returns "flow".

    Args:
      output: a new folder; it appears only when complete.
      levels, parameters: as of `align`.
      channels: of the images.
      portable: use stock TensorFlow operations, so that the SavedModel loads without blade_tf; twelve times as slow.

    Raises:
      ValueError: if `output` exists, or there is no channel.
    """
    specs = [export_lib.image_spec(channels, name) for name in ("reference", "moving")]

    def serve(reference: tf.Tensor, moving: tf.Tensor) -> dict[str, Any]:
        return {"flow": align(reference, moving, levels, parameters)}

    export_lib.write_saved_model({"serving_default": (serve, specs)}, output, portable=portable)
