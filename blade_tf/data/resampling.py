"""Examples of resampling (Fig 20): a photograph translated, blurred by phi and subsampled; the same without it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import ml_collections
import numpy as np

from blade_tf import config as config_lib
from blade_tf.data.crops import training_crops

__all__ = ["check", "examples", "hops", "shifts", "translated", "turned"]


def check(config: ml_collections.ConfigDict) -> None:
    """ValueError, naming the key, for what makes no sense."""
    config_lib.check(config)
    given = tuple(config.camera.noise)
    if len(given) != 2 or not 0 <= given[0] <= given[1] < math.inf:
        raise ValueError(f"camera.noise: expected (lowest, highest), not negative, got {given}")
    if config.camera.shifts != int(config.camera.shifts) or config.camera.shifts % 2 != 1:
        raise ValueError(f"camera.shifts: expected an odd number, 0 being among them, got {config.camera.shifts!r}")


def shifts(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss's points in [-1/2, 1/2] and their weights: means over them are those over all shifts, for polynomials of
    degree below 2 count. Ascending, symmetric; 0 is among them where the count is odd.
    """
    points, weights = np.polynomial.legendre.leggauss(count)
    return points / 2, weights / 2


def _translated(image: np.ndarray, axis: int, shift: float, scale: int, blur: float) -> np.ndarray:
    """Along one axis: `out[i] = sum_k image[k] phi(k - scale (i + shift) - (scale - 1) / 2)`, replicated borders."""
    image = np.moveaxis(image, axis, 0)
    sigma, count = blur * scale, image.shape[0] // scale
    centre = scale * shift + (scale - 1) / 2
    first, last = math.ceil(centre - 4.5 * sigma), math.floor(centre + 4.5 * sigma)
    weights = np.exp(-((np.arange(first, last + 1) - centre) ** 2) / (2 * sigma**2))
    out = np.zeros((count, *image.shape[1:]), image.dtype)
    for k, weight in enumerate(weights / weights.sum(), first):
        at = np.clip(scale * np.arange(count) + k, 0, len(image) - 1)
        out += image.dtype.type(weight) * image[at]
    return np.moveaxis(out, 0, axis)


def translated(
    image: np.ndarray, dx: Iterable[float], dy: Iterable[float], scale: int = 4, blur: float = 0.5
) -> np.ndarray:
    """down(phi * u(. + v)) for each v = (dx, dy), dy varying slowest: [len(dy) len(dx), H / scale, W / scale, C].

    The sampled phi, a Gaussian, is displaced instead of the photograph, which needs no interpolation. Pixels of the
    coarse grid are centred on blocks of scale x scale pixels.

    Args:
      image: float [H, W, C], the fine grid; trailing rows and columns that fill no block are left out.
      dx, dy: in pixels of the coarse grid.
      scale: ratio of the grids.
      blur: standard deviation of phi in pixels of the coarse grid.
    """
    along_x = list(dx)
    rows = [_translated(image, 0, shift, scale, blur) for shift in dy]
    return np.stack([_translated(row, 1, shift, scale, blur) for row in rows for shift in along_x])


def examples(image: np.ndarray, config: ml_collections.ConfigDict, rng: np.random.Generator) -> list[np.ndarray]:
    """Random crops of a photograph's luma at all shifts along x and y: [camera.shifts^2, H, W, 1] each."""
    camera = config.camera
    points, _ = shifts(camera.shifts)
    return [
        translated(crop, points, points, camera.scale, camera.blur) for crop in training_crops(image, config.data, rng)
    ]


def turned(frames: np.ndarray, quarters: int, mirrored: bool) -> np.ndarray:
    """All shifts of a window in one of the square's symmetries: the shifts turn with the pixels."""
    count = math.isqrt(len(frames))
    grid = frames.reshape(count, count, *frames.shape[1:])
    grid = np.rot90(np.rot90(grid, quarters, (0, 1)), quarters, (2, 3))
    grid = grid[:, ::-1, :, ::-1] if mirrored else grid
    return grid.reshape(frames.shape)


def hops(frames: np.ndarray, config: ml_collections.ConfigDict, rng: np.random.Generator) -> np.ndarray:
    """Two displacements, one after the other, drawn from a window's shifts: [3, H, W, 3].

    Frame 0 is what is not translated, with noise of a standard deviation drawn from camera.noise; frame k the truth
    after displacement k. The channels are the image and the displacement, along x and y, from the frame before.
    """
    points, weights = shifts(config.camera.shifts)
    count = len(points)
    drawn = [count // 2 * np.ones(2, int), *rng.choice(count, (2, 2), p=weights / weights.sum())]
    found = np.zeros((3, *frames.shape[1:3], 3), frames.dtype)
    for k, (y, x) in enumerate(drawn):
        found[k, ..., :1] = frames[y * count + x]
        found[k, ..., 1:] = [points[x] - points[drawn[k - 1][1]], points[y] - points[drawn[k - 1][0]]]
    found[0, ..., 1:] = 0
    sigma = rng.uniform(*config.camera.noise)
    found[0, ..., 0] += (sigma * rng.standard_normal(frames.shape[1:3])).astype(frames.dtype)
    return found
