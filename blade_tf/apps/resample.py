"""Resampling at displaced positions (section 5): image registration, warping along optical flow, sub-pixel shifts."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import arguments, models
from blade_tf import export as export_lib
from blade_tf.resampling import ResampleModel

__all__ = ["DEFAULT_MODEL", "export", "load", "resample"]

DEFAULT_MODEL = "resample"
TASK = "resampling"


def load(model: str | os.PathLike[str]) -> ResampleModel:
    """A `ResampleModel` by its name ("resample", "resample_noisy", "resample_paper"), or from a folder of training.

    Raises:
      ValueError: for an unknown name, or a model that was trained for something else.
    """
    return models.load_task(model, TASK)


def _field(displacement: Any, image: tf.Tensor) -> tf.Tensor:
    """The displacements as a float tensor [N, H, W, 2]; ValueError for NaN that can be seen."""
    v = tf.convert_to_tensor(displacement, None if hasattr(displacement, "dtype") else tf.float32)
    if tf.executing_eagerly() and v.dtype.is_floating and bool(tf.reduce_any(tf.math.is_nan(v))):
        place = tf.where(tf.math.is_nan(v))[0].numpy().tolist()
        raise ValueError(f"displacement: expected numbers, got NaN at {place}; mark unknown ones by more than 1e9")
    if v.shape.rank != 1:
        return v
    form = "displacement: expected two numbers or [N, H, W, 2]"
    if v.shape[0] not in (None, 2):
        raise ValueError(f"{form}, got {v.shape.as_list()}")
    checks = [tf.debugging.assert_equal(tf.size(v), 2, form)] if v.shape[0] is None else []
    with tf.control_dependencies(checks):
        return tf.broadcast_to(v, tf.concat([tf.shape(image)[:3], [2]], 0))


def resample(
    image: Any, displacement: Any, model: str | os.PathLike[str] | ResampleModel = DEFAULT_MODEL, fill: float = np.nan
) -> tf.Tensor:
    """The image at displaced positions, `out(x) = image(x + v(x))` (eq 5.5 and further orders): see `ResampleModel`.

    With v the optical flow from frame 0 to frame 1, resampling frame 1 gives frame 0 again, where both see the same.

    Args:
      image: float [N, H, W, C] in [0, 1], H and W at least 1; colour images are selected by luma.
      displacement: v in pixels, float32 or float64 [N, H, W, 2], along x (the column axis) first; or two numbers for
        all pixels. It may point anywhere: positions are clamped to the image, beyond which lies what its border pixels
        say.
      model: a model or what `load` takes. "resample" is near to u(x + v) itself; "resample_noisy" removes noise of
        3/255 on the way; "resample_paper" is eq 5.5 as printed, linear in the displacement and meant for less than 0.3
        pixels.
      fill: the value where the displacement is unknown: infinite, beyond 1e9, or in graphs NaN.

    Returns:
      A tensor of the image's shape and dtype.

    Raises:
      ValueError: for an image that is not float [N, H, W, C], or has no pixel, NaN in the displacement, sizes that
        differ, or an unknown model.
      TypeError: for an array or tensor of displacements that is not float32 or float64.
    """
    image = arguments.images("image", image)
    loaded = model if isinstance(model, ResampleModel) else load(model)
    return loaded.sample(image, _field(displacement, image), fill)


def export(
    output: str | os.PathLike[str],
    model: str | os.PathLike[str] | ResampleModel = DEFAULT_MODEL,
    *,
    portable: bool = False,
    channels: int = 1,
) -> None:
    """Writes a SavedModel with batch, height and width open.

    Signature: `serving_default(image, displacement)`, float32 [N, H, W, channels] and [N, H, W, 2]; the output is
    called "output", and NaN where the displacement is unknown or NaN.

    Args:
      output: a new folder; it appears only when complete.
      model: as of `resample`.
      portable: use stock TensorFlow operations, so that the SavedModel loads without blade_tf.
      channels: the number of channels.

    Raises:
      ValueError: if `output` exists, or channels < 1.
    """
    signature = [export_lib.image_spec(channels), export_lib.image_spec(2, "displacement")]
    loaded = model if isinstance(model, ResampleModel) else load(model)

    def serve(image: tf.Tensor, displacement: tf.Tensor) -> dict[str, Any]:
        return {"output": loaded.sample(image, displacement)}

    export_lib.write_saved_model({"serving_default": (serve, signature)}, output, portable=portable, track=loaded)
