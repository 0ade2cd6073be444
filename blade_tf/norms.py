"""Norms of linear operators on images of any size."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import scipy.signal
import scipy.sparse.linalg

__all__ = ["blur_bound"]

SHARES = (1.15, 1.25, 1.35, 1.5, 1.65, 2.0)  # of the kernel's size
MARGIN = 1.03


def blur_bound(kernel: np.ndarray) -> float:
    """||A||^2 of a blur [R, S], float64, with replicated borders, from above, for images of any size.

    What a border pixel stands for beyond the border makes it more than convolution's (sum of |kernel|)^2. The excess
    lies at borders and corners: it is largest in images of up to twice the kernel's size, where both borders count, and
    stays from three times on. By Lanczos iterations for some sizes, with a margin for those between.
    """
    return _bound(kernel.tobytes(), kernel.shape)


@functools.lru_cache(maxsize=64)
def _bound(values: bytes, shape: tuple[int, int]) -> float:
    kernel = np.frombuffer(values).reshape(shape)
    alike = [tuple(math.ceil(share * n) for n in shape) for share in SHARES]
    sizes = {*alike, *itertools.product(*((n, max(3 * n, 24)) for n in shape))}
    return max(MARGIN * max(_largest(kernel, size) for size in sizes), float(np.abs(kernel).sum() ** 2))


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
