"""SavedModels of evolution models."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from blade_tf import arguments, models, ops

__all__ = ["Endpoints", "export", "export_model", "image_spec", "write_saved_model"]

Endpoints = dict[str, tuple[Callable[..., dict[str, Any]], Sequence[tf.TensorSpec]]]


def export(
    model: str | os.PathLike[str], output: str | os.PathLike[str], *, portable: bool = False, channels: int = 1
) -> None:
    """Exports what `blade_tf.load` takes: see `export_model`."""
    export_model(models.load(model), output, portable=portable, channels=channels)


def export_model(
    model: models.EvolutionModel, output: str | os.PathLike[str], *, portable: bool = False, channels: int = 1
) -> None:
    """Writes a SavedModel with batch, height and width open.

    Signatures: `serving_default(image)` evolves by the model's own steps and dt; `evolve(image, steps, dt)` by given
    ones, int32 and float32 scalars. image: float32 [N, H, W, channels]; the output is called "output".

    Args:
      model: the model; for 3 channels the filters are selected by luma.
      output: a new folder; it appears only when complete.
      portable: use stock TensorFlow operations, so that the SavedModel loads without blade_tf.
      channels: the number of channels.

    Raises:
      ValueError: if `output` exists, or channels < 1.
    """
    image = image_spec(channels)
    steps, dt = tf.TensorSpec([], tf.int32, "steps"), tf.TensorSpec([], tf.float32, "dt")

    def serve(image: tf.Tensor) -> dict[str, Any]:
        return {"output": model.evolve(image)}

    def evolve(image: tf.Tensor, steps: tf.Tensor, dt: tf.Tensor) -> dict[str, Any]:
        return {"output": model.evolve(image, steps, dt)}

    endpoints: Endpoints = {"serving_default": (serve, [image]), "evolve": (evolve, [image, steps, dt])}
    write_saved_model(endpoints, output, portable=portable, track=model)


def image_spec(channels: int, name: str = "image") -> tf.TensorSpec:
    """float32 [N, H, W, channels] with batch, height and width open; ValueError for less than one channel."""
    return tf.TensorSpec([None, None, None, arguments.count("channels", channels, 1)], tf.float32, name)


def write_saved_model(
    endpoints: Endpoints, output: str | os.PathLike[str], *, portable: bool = False, track: Any = None
) -> None:
    """Writes functions as the signatures of a SavedModel.

    Args:
      endpoints: by name, a function from tensors to a dict of tensors, and the specs of its arguments.
      output: a new folder; it appears only when complete.
      portable: use stock TensorFlow operations, so that the SavedModel loads without blade_tf.
      track: what holds the variables that the functions use: a layer, model or tf.Module.

    Raises:
      ValueError: if `output` exists.
    """
    path = pathlib.Path(output)
    if path.exists():
        raise ValueError(f"output: {path} exists; choose a new folder")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        # An archive traces each endpoint as it is added.
        with ops.implementation("stock" if portable or not ops.uses_native() else "native"):
            archive = keras.export.ExportArchive()
            archive.track(track if track is not None else tf.Module())
            for name, (function, signature) in endpoints.items():
                archive.add_endpoint(name, function, signature)
            archive.write_out(str(partial), verbose=False)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
