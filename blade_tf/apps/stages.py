"""Restoration by stages of BLADE that were trained for a degradation, or for a range of them that they are told."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import arguments, models
from blade_tf import export as export_lib
from blade_tf.apps.noise import estimate_noise
from blade_tf.restoration import RestorationModel

__all__ = ["DEFAULT_MODEL", "check_degradation", "export", "load", "restore"]

DEFAULT_MODEL = "restoration"
ROUNDING = 1e-6  # of the ends of a range


def load(model: str | os.PathLike[str] = DEFAULT_MODEL) -> RestorationModel:
    """A `RestorationModel` by its name ("restoration", "restoration_range"), or from a folder that training wrote.

    Raises:
      ValueError: for an unknown name, or a model that was trained for something else.
    """
    return models.load_task(model, "restoration")


def check_degradation(model: RestorationModel, blur: Any = None, noise: Any = None) -> None:
    """ValueError for what `restore` refuses of a degradation; tensors in graphs are not looked at."""
    for name, given, trained, unit, written in (
        ("blur", blur, model.knots, 1.0, " px"),
        ("noise", noise, model.noise, 1 / 255, "/255"),
    ):
        if not model.knots and given is not None:
            raise ValueError(f"{name}: expected none, as the model was trained for one degradation, got {given!r}")
        given = 0.0 if given is None and name == "blur" else given
        if given is None or not model.knots or (tf.is_tensor(given) and not hasattr(given, "numpy")):
            continue
        values = np.asarray(given, np.float64)
        low, high = trained[0], trained[-1]
        inside = (values >= low * (1 - ROUNDING)) & (values <= high * (1 + ROUNDING))
        if not inside.all():
            least, most, wrong = (f"{value / unit:g}{written}" for value in (low, high, values[~inside][0]))
            raise ValueError(f"{name}: expected {least} to {most}, what the model was trained for, got {wrong}")


def restore(
    image: Any, model: str | os.PathLike[str] | RestorationModel = DEFAULT_MODEL, blur: Any = None, noise: Any = None
) -> tf.Tensor:
    """The image without the degradation that a model was trained for: see `blade_tf.restoration.RestorationModel`.

    Args:
      image: float [N, H, W, C] in [0, 1]; the filters of three channels are chosen by luma.
      model: a model or what `load` takes. "restoration" undoes a Gaussian blur of 1 px and noise of 5/255;
        "restoration_range", told how much, Gaussian blurs of up to 1.6 px and noise of 1/255 to 20/255.
      blur: of a model that is told: standard deviation of the blur in pixels, a number or [N]; none by default.
      noise: of a model that is told: standard deviation of the noise, in [0, 1], a number or [N]; by default
        `blade_tf.apps.noise.estimate_noise`, or the nearest level that the model was trained for.

    Returns:
      A tensor of the image's shape and dtype; values are not clipped.

    Raises:
      ValueError: an image that is not float [N, H, W, C], or has no pixel; NaN or infinity (found eagerly alone); an
        unknown model; a degradation that the model was not trained for (in graphs tf.errors.InvalidArgumentError), or
        one that is stated to a model that is told nothing.
    """
    loaded = model if isinstance(model, RestorationModel) else load(model)
    f = arguments.images("image", image, finite=True)
    check_degradation(loaded, blur, noise)
    return loaded([f, _degradation(loaded, f, blur, noise)] if loaded.knots else f)


def _degradation(model: RestorationModel, f: tf.Tensor, blur: Any, noise: Any) -> tf.Tensor:
    """What the model is told: [N, 2]."""
    given = {"blur": 0.0 if blur is None else blur, "noise": noise}
    if noise is None:
        given["noise"] = tf.clip_by_value(estimate_noise(f), *model.noise)
    columns = []
    for (name, value), trained in zip(given.items(), (model.knots, model.noise), strict=True):
        value = tf.cast(value, f.dtype)
        if not tf.executing_eagerly():
            inside = (value >= trained[0] * (1 - ROUNDING)) & (value <= trained[-1] * (1 + ROUNDING))
            told = f"{name}: expected {trained[0]:g} to {trained[-1]:g}, what the model was trained for"
            with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(inside), [told, value])]):
                value = tf.identity(value)
        if value.shape.rank and not value.shape.is_compatible_with(f.shape[:1]):
            raise ValueError(f"{name}: expected a number, or one for each image, [{f.shape[0]}], got {value.shape}")
        columns.append(value if value.shape.rank else tf.fill(tf.shape(f)[:1], value))
    return tf.stack(columns, axis=1)


def export(
    output: str | os.PathLike[str],
    model: str | os.PathLike[str] | RestorationModel = DEFAULT_MODEL,
    *,
    portable: bool = False,
    channels: int = 1,
) -> None:
    """Writes a SavedModel with batch, height and width open.

    Signatures: `serving_default(image)`; of a model that is told the degradation `serving_default(image, blur)`, which
    estimates the noise, and `restore(image, blur, noise)`. image: float32 [N, H, W, channels]; blur, in pixels, and
    noise: float32 [N]. Outputs: "output", and "noise" where it is told or estimated.

    Args:
      output: a new folder; it appears only when complete.
      model: as of `restore`.
      portable: use stock TensorFlow operations, so that the SavedModel loads without blade_tf.
      channels: the number of channels.

    Raises:
      ValueError: if `output` exists, or channels < 1.
    """
    image = export_lib.image_spec(channels)
    loaded = model if isinstance(model, RestorationModel) else load(model)
    blur, noise = (tf.TensorSpec([None], tf.float32, name) for name in ("blur", "noise"))

    def serve(image: tf.Tensor) -> dict[str, Any]:
        return {"output": loaded(image)}

    def restored(image: tf.Tensor, blur: tf.Tensor, noise: Any = None) -> dict[str, Any]:
        degradation = _degradation(loaded, image, blur, noise)
        return {"output": loaded([image, degradation]), "noise": degradation[:, 1]}

    endpoints: export_lib.Endpoints = {"serving_default": (serve, [image])}
    if loaded.knots:
        endpoints = {"serving_default": (restored, [image, blur]), "restore": (restored, [image, blur, noise])}
    export_lib.write_saved_model(endpoints, output, portable=portable, track=loaded)
