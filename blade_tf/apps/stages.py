"""Restoration by stages of BLADE that were trained for a degradation: nothing has to be known of it but its name."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf

from blade_tf import export as export_lib
from blade_tf import models, ops
from blade_tf.restoration import RestorationModel

__all__ = ["DEFAULT_MODEL", "export", "load", "restore"]

DEFAULT_MODEL = "restoration"


def load(model: str | os.PathLike[str] = DEFAULT_MODEL) -> RestorationModel:
    """A `RestorationModel` by its name ("restoration", "restoration_range"), or from a folder that training wrote.

    Raises:
      ValueError: for an unknown name, or a model that was trained for something else.
    """
    trained = models.load_trained(model)
    trained.check_task("restoration")
    return trained.model()


def restore(image: Any, model: str | os.PathLike[str] | RestorationModel = DEFAULT_MODEL) -> tf.Tensor:
    """The image without the degradation that a model was trained for: see `blade_tf.restoration.RestorationModel`.

    Args:
      image: float [N, H, W, C] in [0, 1]; the filters of three channels are chosen by luma.
      model: a model or what `load` takes. "restoration" undoes a Gaussian blur of 1 px and noise of 5/255,
        "restoration_range" blurs of 0.4 to 1.5 px and noise of 1/255 to 10/255 without being told how much.

    Returns:
      A tensor of the image's shape and dtype; values are not clipped.

    Raises:
      TypeError: an image that is not float.
      ValueError: another rank, or an unknown model.
    """
    loaded = model if isinstance(model, RestorationModel) else load(model)
    return loaded(ops.image_tensor(image))


def export(
    output: str | os.PathLike[str],
    model: str | os.PathLike[str] | RestorationModel = DEFAULT_MODEL,
    *,
    portable: bool = False,
    channels: int = 1,
) -> None:
    """Writes a SavedModel with batch, height and width open.

    Signature: `serving_default(image)`, float32 [N, H, W, channels]; the output is called "output".

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

    def serve(image: tf.Tensor) -> dict[str, Any]:
        return {"output": loaded(image)}

    export_lib.write_saved_model({"serving_default": (serve, [image])}, output, portable=portable, track=loaded)
