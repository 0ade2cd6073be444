"""Random crops of photographs."""

from __future__ import annotations

import ml_collections
import numpy as np

from blade_tf import image_io

__all__ = ["training_crops"]


def training_crops(image: np.ndarray, data: ml_collections.ConfigDict, rng: np.random.Generator) -> list[np.ndarray]:
    """Random square crops of a photograph's luma, float32 [crop, crop, 1], on the reference grid.

    The photograph is first averaged over blocks of the largest integer side that leaves its shorter side
    `data.min_side` long.

    Raises:
      ValueError: for a photograph smaller than a crop.
    """
    luma = image_io.luma(image)
    factor = max(1, min(luma.shape[:2]) // data.min_side)
    height, width = luma.shape[0] // factor, luma.shape[1] // factor
    blocks = luma[: height * factor, : width * factor].reshape(height, factor, width, factor, 1)
    luma = blocks.mean((1, 3), dtype=np.float64).astype(np.float32)
    if min(height, width) < data.crop:
        raise ValueError(f"expected at least {data.crop} x {data.crop} pixels, got {width} x {height}")
    corners = [
        (rng.integers(height - data.crop + 1), rng.integers(width - data.crop + 1)) for _ in range(data.crops_per_image)
    ]
    return [luma[y : y + data.crop, x : x + data.crop] for y, x in corners]
