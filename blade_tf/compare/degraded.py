"""Photographs blurred, with noise, or with pixels missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from blade_tf import operators
from blade_tf.apps import kernels

__all__ = ["Problem", "Problems", "degraded", "mask", "masked"]


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """f = A u + noise: the image f [H, W, 1], and what methods know beside it; sigma is that of a Gaussian kernel."""

    f: np.ndarray
    noise: float
    kernel: np.ndarray | None = None
    known: np.ndarray | None = None
    sigma: float | None = None


Problems = list[tuple[Problem, np.ndarray]]


def degraded(images: Iterable[np.ndarray], noise: float, sigma: float | None = None) -> Problems:
    """Each image blurred, by sigma pixels, and with noise of its own seed; not clipped."""
    kernel = None if sigma is None else kernels.gaussian(sigma)
    found = []
    for seed, u in enumerate(images):
        f = u if kernel is None else operators.blur(kernel)(u[np.newaxis])[0].numpy()
        f = f + np.random.default_rng(seed).normal(0, noise, f.shape).astype(f.dtype)
        found.append((Problem(f, noise, kernel, sigma=sigma), u))
    return found


def mask(kind: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Which pixels are known, bool [H, W, 1]: "random", a half of them, or all but "scratches"."""
    rng = np.random.default_rng(seed)
    height, width = shape[:2]
    if kind == "random":
        return rng.random((height, width, 1)) < 0.5
    places = np.moveaxis(np.mgrid[:height, :width], 0, -1)
    known = np.ones((height, width), bool)
    for _ in range(-(-height * width // 8000)):
        start, end = rng.random((2, 2)) * (height, width)
        length = np.linalg.norm(end - start)
        along = (end - start) / length
        nearest = start + np.clip((places - start) @ along, 0, length)[..., np.newaxis] * along
        known &= np.linalg.norm(places - nearest, axis=-1) > rng.uniform(0.5, 2)
    return known[..., np.newaxis]


def masked(images: Iterable[np.ndarray], kind: str) -> Problems:
    """Each image without the pixels that a mask of its own seed hides."""
    masks = ((u, mask(kind, u.shape, seed)) for seed, u in enumerate(images))
    return [(Problem(u * known, 0.0, None, known), u) for u, known in masks]
