"""Norms of linear operators on images of any size."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import scipy.signal
import scipy.sparse.linalg

__all__ = ["blur_bound"]


def blur_bound(kernel: np.ndarray) -> float:
    """||A||^2 of a blur [R, S], float64, with replicated borders, from above, for images of any size.

    What a border pixel stands for beyond the border makes it more than convolution's (sum of |kernel|)^2. The excess
    lies at borders and corners: images as large as the kernel, and of three times its size, show what all others do.
    By Lanczos iterations, with a margin for what these leave out.
    """
    return _bound(kernel.tobytes(), kernel.shape)


@functools.lru_cache(maxsize=64)
def _bound(values: bytes, shape: tuple[int, int]) -> float:
    kernel = np.frombuffer(values).reshape(shape)
    sizes = itertools.product(*((n, max(3 * n, 24)) for n in shape))
    return max(1.02 * max(_largest(kernel, size) for size in sizes), float(np.abs(kernel).sum() ** 2))


def _largest(kernel: np.ndarray, size: tuple[int, ...]) -> float:
    """The largest eigenvalue of A^T A on images of a size."""
    around = [(n - 1 - (n - 1) // 2, (n - 1) // 2) for n in kernel.shape]

    def normal(u: np.ndarray) -> np.ndarray:
        blurred = scipy.signal.fftconvolve(np.pad(u.reshape(size), around, mode="edge"), kernel, "valid")
        spread = scipy.signal.fftconvolve(blurred, kernel[::-1, ::-1], "full")
        for before, after in around:
            # Pixels beyond a border are copies of those at it. After two turns the axes are as they were.
            inside = spread[before : spread.shape[0] - after].copy()
            inside[0] += spread[:before].sum(0)
            inside[-1] += spread[spread.shape[0] - after :].sum(0)
            spread = inside.T
        return spread.ravel()

    pixels = size[0] * size[1]
    if pixels <= 64:
        return float(np.linalg.eigvalsh([normal(unit) for unit in np.eye(pixels)])[-1])
    operator = scipy.sparse.linalg.LinearOperator((pixels, pixels), normal, dtype=np.float64)
    start = np.random.default_rng(0).random(pixels)
    return float(scipy.sparse.linalg.eigsh(operator, 1, v0=start, tol=1e-3, return_eigenvectors=False)[0])
