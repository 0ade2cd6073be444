"""Applies a model to images and image files."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from blade_tf import arguments, image_files, image_io, models, names
from blade_tf import colour as colour_lib

__all__ = ["apply_files", "apply_image"]


def apply_image(
    model: models.EvolutionModel | colour_lib.Evolution,
    image: np.ndarray,
    steps: int | None = None,
    dt: float | None = None,
) -> np.ndarray:
    """Evolves one image [H, W, C] by a model: float32 of the same shape. Values are not clipped.

    Args:
      model: its dt and number of steps are the defaults; a `blade_tf.colour.Evolution` for colour as `apply_files`.
      image: float, in the intensities that the model was trained with ([0, 1]); its grid is the model's operating grid.
        A model of an equation that is meant for [0, 1] alone, Cahn-Hilliard's, warns of others.
      steps: number of time steps.
      dt: length of a time step, in the model's unit.
    """
    if image.ndim != 3:
        raise ValueError(f"image: expected [H, W, C], got {image.dtype} {list(image.shape)}")
    return model.evolve(tf.constant(image[np.newaxis], tf.float32), steps, dt)[0].numpy()


def apply_files(
    model: str | os.PathLike[str],
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    steps: int | None = None,
    dt: float | None = None,
    colour: str | None = None,
) -> dict[str, str]:
    """Evolves an image file, or each image of a folder, and writes results of the same depth with the same alpha.

    Args:
      model: what `blade_tf.load` takes.
      source: an image file or a folder.
      target: an image file, or a folder that receives the results under the same relative names (WebP and BMP as PNG).
      steps: number of time steps; by default the model's.
      dt: length of a time step, at most the model's; by default the model's.
      colour: how the filters of a colour image's channels are chosen, one of `blade_tf.colour.WAYS`; by default the one
        that comes nearest to the equation. A .keras file knows one way alone, its own.

    Returns:
      For each file that could not be read or written, the reason.

    Raises:
      ValueError: for an unknown model, steps or dt that make no sense, a missing input, or an output over the input.
    """
    loaded = models.load(model)
    evolution: models.EvolutionModel | colour_lib.Evolution = loaded
    if not str(model).endswith(".keras"):
        if colour is not None and colour not in colour_lib.WAYS:
            raise ValueError(f"colour: unknown way {colour!r}{names.hint(colour, colour_lib.WAYS)}")
        evolution = colour_lib.Evolution(models.load_trained(model), colour)
    elif colour is not None:
        raise ValueError(f"colour: expected none, as a .keras file selects in its own way, got {colour!r}")
    if dt is not None and dt > loaded.dt * (1 + 1e-6):
        raise ValueError(f"dt: expected at most the {loaded.dt:g} that the model was trained with, got {dt:g}")
    # Refuses steps and dt before any file is touched.
    loaded.evolve(tf.zeros([1, 0, 0, 1]), None if steps is None else min(arguments.count("steps", steps), 1), dt)

    def evolved(image: image_io.Image) -> np.ndarray:
        pixels = apply_image(evolution, image.pixels, steps, dt)
        if not np.isfinite(pixels).all():
            raise image_io.ImageError("the result is not finite; a smaller dt may help")
        return pixels

    return image_files.convert(source, target, evolved, "apply")
