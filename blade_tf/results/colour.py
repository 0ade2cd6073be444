"""Colour photographs (section 3.4): three ways to choose the filters of their channels."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import ml_collections
import tensorflow as tf

from blade_tf import colour as colour_lib
from blade_tf import evaluate, image_io, models, references
from blade_tf.colour import WAYS

__all__ = ["WAYS", "colour", "sequences", "ways"]

MOST = 8  # photographs


def sequences(
    trained: models.Trained, images: str | os.PathLike[str], cache: str | os.PathLike[str], workers: int | None = None
) -> references.References:
    """The reference of `references.colour_config` on some of the photographs, evenly: it costs three times luma's."""
    paths = image_io.find_images(pathlib.Path(images))
    only = [path.relative_to(images).as_posix() for path in paths[:: -(-len(paths) // MOST)]]
    config = references.colour_config(ml_collections.ConfigDict(trained.config))
    return references.reference_sequences(config, images, cache, workers, only=only, colour=True)


def ways(trained: models.Trained) -> dict[str, evaluate.Predictor]:
    """For each of `WAYS`, the state at the stopping time from the input [N, H, W, 3]."""
    return {way: colour_lib.Evolution(trained, way).evolve for way in WAYS}


def colour(
    trained: models.Trained,
    images: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    workers: int | None = None,
) -> dict[str, Any] | None:
    """Compares a model on colour photographs with the reference of `sequences`.

    PSNR is that of the mean squared error over all channels, SSIM the mean over them.

    Returns:
      "images" (their number), "identity" and each of `WAYS` (`evaluate.statistics`), and "best", the way whose mean
      PSNR is the highest; None for a folder without colour photographs.
    """
    frames = sequences(trained, images, cache, workers)
    if not frames:
        return None
    rows = {"identity": evaluate.Row("doing nothing", tf.identity)}
    rows |= {name: evaluate.Row(WAYS[name], predict) for name, predict in ways(trained).items()}
    found = {name: evaluate.statistics(scores) for name, scores in evaluate.compare(rows, frames).items()}
    usable = [name for name in WAYS if not found[name]["diverged"]]
    best = max(usable, key=lambda name: found[name]["psnr"], default=None)
    return {"images": len(frames), **found, "best": best}
