"""Colour photographs (section 3.4): selection by luma against the tensor of all channels."""

from __future__ import annotations

import os
from typing import Any

import ml_collections
import tensorflow as tf

from blade_tf import evaluate, models, references

__all__ = ["colour", "colour_rows"]


def colour_rows(trained: models.Trained) -> dict[str, evaluate.Row]:
    """Doing nothing, and the model with both ways to select."""
    return {
        "identity": evaluate.Row("doing nothing", tf.identity),
        "luma": evaluate.Row("selection by luma", trained.model(luma=True).evolve),
        "joint": evaluate.Row("selection by the tensor of all channels", trained.model(luma=False).evolve),
    }


def colour(
    trained: models.Trained,
    images: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    workers: int | None = None,
) -> dict[str, Any] | None:
    """Compares a model on colour photographs with the reference of `references.colour_config`.

    PSNR is that of the mean squared error over all channels, SSIM the mean over them.

    Returns:
      "images" (their number), "identity", "luma" and "joint" (`evaluate.statistics` of each), and "better", the one of
      the last two whose mean PSNR is higher; None for a folder without colour photographs.
    """
    config = references.colour_config(ml_collections.ConfigDict(trained.config))
    sequences = references.reference_sequences(config, images, cache, workers, colour=True)
    if not sequences:
        return None
    scores = evaluate.compare(colour_rows(trained), sequences)
    found = {row: evaluate.statistics(of_row) for row, of_row in scores.items()}
    better = "joint" if found["joint"]["psnr"] > found["luma"]["psnr"] else "luma"
    return {"images": len(sequences), **found, "better": better}
