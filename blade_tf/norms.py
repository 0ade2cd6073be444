"""Norms of linear operators on images of any size."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
import scipy.fft
import scipy.sparse.linalg

__all__ = ["blur_bound"]

SHARES = (1.0, 1.15, 1.25, 1.35, 1.5, 1.65, 2.0)  # of the kernel's size
FINE_SHARES = tuple(1 + k / 20 for k in range(21))  # along one axis, where they cost little
MARGIN = 1.03


def blur_bound(factors: Sequence[np.ndarray]) -> float:
    """||A||^2 of a blur with replicated borders, from above, for images of any size.

    What a border pixel stands for beyond the border makes it more than convolution's (sum of |kernel|)^2. The excess
    lies at borders and corners: it is largest in images of up to twice the kernel's size, where both borders count, and
    stays from three times on. By Lanczos iterations for some sizes along each axis, with a margin for those between.

    Args:
      factors: float64 [R, S] each; the kernel, or a column and a row whose outer product it is, as each acts along an
        axis of its own and the norms multiply.
    """
    largest = math.prod(_over_sizes(factor.tobytes(), factor.shape) for factor in factors)
    return max(MARGIN * largest, math.prod(float(np.abs(factor).sum() ** 2) for factor in factors))


@functools.lru_cache(maxsize=64)
def _over_sizes(values: bytes, shape: tuple[int, int]) -> float:
    kernel = np.frombuffer(values).reshape(shape)
    shares = SHARES if min(shape) > 1 else FINE_SHARES
    sizes = ({*(math.ceil(share * n) for share in shares), max(3 * n, 24)} if n > 1 else {1} for n in shape)
    return max(_largest(kernel, size) for size in itertools.product(*sizes))


def _largest(kernel: np.ndarray, size: tuple[int, ...]) -> float:
    """The largest eigenvalue of A^T A on images of a size."""
    around = [(n - 1 - (n - 1) // 2, (n - 1) // 2) for n in kernel.shape]
    padded = [n + sum(ends) for n, ends in zip(size, around, strict=True)]
    whole = [scipy.fft.next_fast_len(n, real=True) for n in padded]
    transfer = scipy.fft.rfft2(kernel, whole)
    # The outcome of a periodic convolution where none of the padding's own is seen.
    seen = tuple(slice(extent - 1, n) for extent, n in zip(kernel.shape, padded, strict=True))

    def normal(u: np.ndarray) -> np.ndarray:
        extended = np.pad(u.reshape(size), around, mode="edge")
        blurred = scipy.fft.irfft2(scipy.fft.rfft2(extended, whole) * transfer, whole)
        kept = np.zeros(whole)
        kept[seen] = blurred[seen]
        spread = scipy.fft.irfft2(scipy.fft.rfft2(kept) * transfer.conj(), whole)[: padded[0], : padded[1]]
        for before, after in around:
            # Pixels beyond a border are copies of those at it. After two turns the axes are as they were.
            inside = spread[before : spread.shape[0] - after].copy()
            inside[0] += spread[:before].sum(0)
            inside[-1] += spread[spread.shape[0] - after :].sum(0)
            spread = inside.T
        return spread.ravel()

    pixels = size[0] * size[1]
    if pixels <= 24:
        return float(np.linalg.eigvalsh([normal(unit) for unit in np.eye(pixels)])[-1])
    operator = scipy.sparse.linalg.LinearOperator((pixels, pixels), normal, dtype=np.float64)
    start = np.random.default_rng(0).random(pixels)
    return float(scipy.sparse.linalg.eigsh(operator, 1, v0=start, ncv=10, tol=1e-3, return_eigenvectors=False)[0])
