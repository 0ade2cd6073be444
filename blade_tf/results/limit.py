"""How near to the reference a model can come that sees a photograph only on the operating grid."""

from __future__ import annotations

import json
import os
import pathlib

import ml_collections
import numpy as np
import scipy.ndimage

from blade_tf import image_io, metrics, parallel
from blade_tf.data import prepare, reference

__all__ = ["block_means", "interpolate", "limit"]

_ROUNDS = 30  # of cubic splines, after which hardly anything of the means is missing


def block_means(image: np.ndarray, scale: int) -> np.ndarray:
    """The means of scale x scale blocks of [H, W]."""
    height, width = (size // scale for size in image.shape)
    return image.reshape(height, scale, width, scale).mean((1, 3))


def interpolate(means: np.ndarray, scale: int) -> np.ndarray:
    """A smooth image [scale H, scale W] with the given means [H, W] of its scale x scale blocks.

    Cubic splines, of the means and then again and again of what they miss; the little that is left is added as it is.
    """
    positions = [(np.arange(scale * size) + 0.5) / scale - 0.5 for size in means.shape]
    points = np.meshgrid(*positions, indexing="ij")
    image = np.zeros([scale * size for size in means.shape])
    for _ in range(_ROUNDS):
        image += scipy.ndimage.map_coordinates(means - block_means(image, scale), points, order=3, mode="reflect")
    return image + np.kron(means - block_means(image, scale), np.ones((scale, scale)))


def _errors(config_json: str, path: str) -> tuple[float, float] | None:
    config = ml_collections.ConfigDict(json.loads(config_json))
    scale = config.reference.scale
    try:
        image = image_io.luma(image_io.read_image(path).pixels)[..., 0].astype(np.float64)
    except image_io.ImageError:
        return None
    height, width = (size - size % scale for size in image.shape)
    if min(height, width) < scale:
        return None
    image = image[:height, :width]
    smooth = interpolate(block_means(image, scale), scale)

    def final(of: np.ndarray) -> np.ndarray:
        return reference.reference_sequence(of[..., np.newaxis], config)[-1].astype(np.float64)

    expected, guess, twin = final(image), final(smooth), final(2 * smooth - image)
    return float(metrics.psnr(expected[np.newaxis], guess[np.newaxis])[0]), float(
        metrics.psnr(expected[np.newaxis], (expected + twin)[np.newaxis] / 2)[0]
    )


def limit(
    config: ml_collections.ConfigDict, images: str | os.PathLike[str], workers: int | None = None
) -> dict[str, float]:
    """Two solutions on the reference's fine grid, from what the operating grid holds of each photograph.

    Args:
      config: see `blade_tf.config`.
      images: a folder of photographs, at the resolution of the reference; those that cannot be read are left out.
      workers: number of processes.

    Returns:
      Mean PSNRs in dB of the final state on the operating grid:
      "interpolated": that of a smooth image with the photograph's block means: what is there to reach without any
      knowledge of photographs, at the reference's cost.
      "twins": a bound. The photograph's twin is 2 smooth - photograph: block by block it has the same means, with the
      opposite detail inside. A model that sees the means gives one answer for both, and the mean of its two squared
      errors is at least a quarter of the squared difference of their final states.
    """
    relevant = json.dumps(prepare.relevant(config))
    jobs = [(relevant, str(path)) for path in image_io.find_images(pathlib.Path(images))]
    found = [pair for pair in parallel.run(_errors, jobs, workers=workers, description="limit", unit="image") if pair]
    if not found:
        raise ValueError(f"images: no photograph in {images} can be used")
    interpolated, twins = np.mean(found, axis=0)
    return {"interpolated": float(interpolated), "twins": float(twins)}
