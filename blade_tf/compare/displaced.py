"""Displaced photographs with the truth that a finer grid gives: problems for resampling."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import scipy.ndimage

from blade_tf.data.resampling import translated

__all__ = [
    "BLUR",
    "SCALE",
    "Problem",
    "coarse",
    "displaced",
    "of_length",
    "smooth_field",
    "translation",
    "translations",
    "warps",
]

SCALE, BLUR = 4, 0.5  # of the grids; of phi in pixels of the coarse grid
SHIFTS = 12  # for each photograph
DIRECTIONS = 3  # for each length and photograph


@dataclasses.dataclass(frozen=True)
class Problem:
    """An image [H, W, 1] and the displacements [H, W, 2] that it takes, one after the other."""

    image: np.ndarray
    displacements: Sequence[np.ndarray]


def _rng(name: str, *key: int) -> np.random.Generator:
    return np.random.default_rng([*key, *name.encode()])


def coarse(photograph: np.ndarray, shift: Sequence[float] | np.ndarray = (0.0, 0.0)) -> np.ndarray:
    """down(phi * u(. + shift)): [H / SCALE, W / SCALE, C]."""
    return translated(photograph, [shift[0]], [shift[1]], SCALE, BLUR)[0]


def translation(image: np.ndarray, shifts: Sequence[np.ndarray] | np.ndarray) -> Problem:
    """An image with shifts (dx, dy) of all its pixels."""
    return Problem(image, [np.broadcast_to(shift, (*image.shape[:2], 2)) for shift in shifts])


def translations(images: Mapping[str, np.ndarray], hops: int, noise: float) -> Iterator[tuple[Problem, np.ndarray]]:
    """SHIFTS problems for each photograph: as many random shifts as there are hops, each within half a pixel."""
    for name, photograph in images.items():
        rng = _rng(name, 0)
        given = coarse(photograph)
        given = given + noise * rng.standard_normal(given.shape).astype(np.float32)
        for shifts in rng.uniform(-0.5, 0.5, (SHIFTS, 2, 2)):
            yield translation(given, shifts[:hops]), coarse(photograph, shifts[:hops].sum(0))


def of_length(images: Mapping[str, np.ndarray], length: float) -> Iterator[tuple[Problem, np.ndarray]]:
    """DIRECTIONS problems for each photograph: shifts of one length."""
    for name, photograph in images.items():
        given = coarse(photograph)
        for angle in _rng(name, 1).uniform(0, 2 * math.pi, DIRECTIONS):
            shift = length * np.array([math.cos(angle), math.sin(angle)])
            yield translation(given, [shift]), coarse(photograph, shift)


def displaced(photograph: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """down(phi * u(. + v)) as in `translated`, for v [H, W, 2] that varies: [H, W, C]."""
    radius = math.ceil(4.5 * BLUR * SCALE)
    grid = np.indices(displacement.shape[:2])
    centres = [SCALE * (grid[1 - k] + displacement[..., k]) + (SCALE - 1) / 2 for k in range(2)]
    starts = [np.floor(centre).astype(int) - radius for centre in centres]
    steps = range(2 * radius + 2)
    (x_weights, y_weights) = (
        [np.exp(-((start + k - centre) ** 2) / (2 * (BLUR * SCALE) ** 2)) for k in steps]
        for start, centre in zip(starts, centres, strict=True)
    )
    out = np.zeros((*displacement.shape[:2], photograph.shape[2]))
    for ky in steps:
        rows = np.clip(starts[1] + ky, 0, photograph.shape[0] - 1)
        for kx in steps:
            columns = np.clip(starts[0] + kx, 0, photograph.shape[1] - 1)
            out += (y_weights[ky] * x_weights[kx])[..., np.newaxis] * photograph[rows, columns]
    return (out / (sum(x_weights) * sum(y_weights))[..., np.newaxis]).astype(np.float32)


def smooth_field(shape: tuple[int, int], size: float, smoothness: float, rng: np.random.Generator) -> np.ndarray:
    """A random displacement [H, W, 2]: white noise smoothed by a Gaussian, of the given root mean square."""
    planes = [scipy.ndimage.gaussian_filter(rng.standard_normal(shape), smoothness, mode="wrap") for _ in range(2)]
    field = np.stack(planes, axis=-1)
    return (size * field / np.sqrt(np.mean(field**2))).astype(np.float32)


def warps(images: Mapping[str, np.ndarray], size: float, smoothness: float) -> Iterator[tuple[Problem, np.ndarray]]:
    """A problem for each photograph: a random field as of `smooth_field`."""
    for name, photograph in images.items():
        given = coarse(photograph)
        field = smooth_field(given.shape[:2], size, smoothness, _rng(name, 2))
        yield Problem(given, [field]), displaced(photograph, field)
