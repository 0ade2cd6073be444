"""What a good programmer gets from numba: the filter, the selection and a fused classical step, one thread, fastmath.

The functions are plain Python until `compiled` translates them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["compiled", "filter_image", "select", "selection_constants", "tv_step"]


def filter_image(image: Any, filters: Any, selection: Any) -> Any:
    """The 5x5 filter that each pixel selects (eq 2.1): float32 [H, W], [K, 5, 5], int32 [H, W] -> [H, W]."""
    h, w = image.shape
    padded = np.empty((h + 4, w + 4), np.float32)
    for y in range(h + 4):
        row = min(max(y - 2, 0), h - 1)
        padded[y, 2 : w + 2] = image[row]
        padded[y, :2] = image[row, 0]
        padded[y, w + 2 :] = image[row, w - 1]
    out = np.empty((h, w), np.float32)
    for y in range(h):
        for x in range(w):
            k = selection[y, x]
            total = np.float32(0)
            for r in range(5):
                for s in range(5):
                    total += filters[k, r, s] * padded[y + r, x + s]
            out[y, x] = total
    return out


def selection_constants(
    orientations: int, strength_thresholds: Sequence[float], coherence_thresholds: Sequence[float], rho: float
) -> tuple[Any, ...]:
    """What `select` takes after the image.

    Raises:
      ValueError: the number of orientations is not a multiple of 4.
    """
    if orientations % 4:
        raise ValueError(f"orientations: expected a multiple of 4, got {orientations}")
    weights = np.exp(-0.5 * (np.arange(math.ceil(3 * rho) + 1) / rho) ** 2)
    weights /= 2 * weights.sum() - weights[0]
    edges = 2 * math.pi * (np.arange(orientations // 4) + 0.5) / orientations
    t, q = (np.asarray(values, np.float32).astype(np.float64) for values in (strength_thresholds, coherence_thresholds))
    arrays = (weights, np.cos(edges), np.sin(edges), 2 * t**2, (2 * q / (1 + q**2)) ** 2)
    return tuple(array.astype(np.float32) for array in arrays)


def select(image: Any, weights: Any, edge_cos: Any, edge_sin: Any, strength: Any, coherence: Any) -> Any:
    """`blade_select` by comparisons (eqs 2.3-2.5): float32 [H, W] and `selection_constants` -> int32 [H, W].

    In loops along rows, which vectorise.
    """
    h, w = image.shape
    radius = weights.shape[0] - 1
    half, one = np.float32(0.5), np.int32(1)
    padded = np.empty(w + 2, np.float32)
    rows = np.empty((3, w + 2 * radius), np.float32)
    smooth = np.zeros((3, h + 2 * radius, w), np.float32)
    for y in range(h):
        up, down = image[max(y - 1, 0)], image[min(y + 1, h - 1)]
        padded[1 : w + 1] = image[y]
        padded[0], padded[w + 1] = image[y, 0], image[y, w - 1]
        for x in range(w):
            gx, gy = half * (padded[x + 2] - padded[x]), half * (down[x] - up[x])
            rows[0, x + radius] = gx * gx
            rows[1, x + radius] = gx * gy
            rows[2, x + radius] = gy * gy
        for k in range(3):
            row, out_row = rows[k], smooth[k, y + radius]
            row[:radius] = row[radius]
            row[w + radius :] = row[w + radius - 1]
            for x in range(w):
                out_row[x] = weights[0] * row[x + radius]
            for d in range(1, radius + 1):
                for x in range(w):
                    out_row[x] += weights[d] * (row[x + radius - d] + row[x + radius + d])
    for k in range(3):
        for d in range(radius):
            smooth[k, d] = smooth[k, radius]
            smooth[k, h + radius + d] = smooth[k, h + radius - 1]
    out = np.empty((h, w), np.int32)
    quarter = edge_cos.shape[0]
    half_turn = np.int32(2 * quarter)
    turn = np.int32(4 * quarter)
    coherent = np.int32(turn * (strength.shape[0] + 1))
    j = np.empty((3, w), np.float32)
    features = np.empty((5, w), np.float32)
    c, s, trace, r2, u = features[0], features[1], features[2], features[3], features[4]
    bins = np.empty(w, np.int32)
    for y in range(h):
        for k in range(3):
            out_row, row = j[k], smooth[k, y + radius]
            for x in range(w):
                out_row[x] = weights[0] * row[x]
            for d in range(1, radius + 1):
                above, below = smooth[k, y + radius - d], smooth[k, y + radius + d]
                for x in range(w):
                    out_row[x] += weights[d] * (above[x] + below[x])
        for x in range(w):
            c[x], s[x], trace[x] = j[0, x] - j[2, x], j[1, x] + j[1, x], j[0, x] + j[2, x]
            r2[x] = c[x] * c[x] + s[x] * s[x]
            bins[x] = 0
        for i in range(quarter):
            for x in range(w):
                bins[x] += one if abs(s[x]) * edge_cos[i] > abs(c[x]) * edge_sin[i] else 0
        for x in range(w):
            bins[x] = half_turn - bins[x] if c[x] < 0 else bins[x]
            bins[x] = turn - bins[x] if s[x] < 0 and bins[x] > 0 else bins[x]
        for i in range(strength.shape[0]):
            for x in range(w):
                u[x] = strength[i] - trace[x]
                bins[x] += turn if r2[x] > u[x] * abs(u[x]) else 0
        for i in range(coherence.shape[0]):
            for x in range(w):
                bins[x] += coherent if r2[x] > coherence[i] * (trace[x] * trace[x]) else 0
        out[y] = bins
    return out


def tv_step(image: Any, dt: Any, epsilon: Any) -> Any:
    """One explicit step of TV flow (eq 3.2), fused: float32 [H, W] -> [H, W]."""
    h, w = image.shape
    zero, e2 = np.float32(0), epsilon * epsilon
    p = np.empty((h + 2, w + 2), np.float32)
    for y in range(h + 2):
        row = min(max(y - 1, 0), h - 1)
        p[y, 1 : w + 1] = image[row]
        p[y, 0] = image[row, 0]
        p[y, w + 1] = image[row, w - 1]
    out = np.empty((h, w), np.float32)
    above, across = np.zeros(w, np.float32), np.zeros(w + 1, np.float32)
    for y in range(1, h + 1):
        # across[x] is the flux through the face right of pixel x - 1.
        for x in range(1, w):
            d = p[y, x + 1] - p[y, x]
            a, b = p[y + 1, x] - p[y, x], p[y, x] - p[y - 1, x]
            m = max(min(a, b), zero) + min(max(a, b), zero)
            across[x] = d / math.sqrt(d * d + m * m + e2)
        for x in range(w):
            d = p[y + 1, x + 1] - p[y, x + 1]
            a, b = p[y, x + 2] - p[y, x + 1], p[y, x + 1] - p[y, x]
            m = max(min(a, b), zero) + min(max(a, b), zero)
            below = d / math.sqrt(d * d + m * m + e2)
            out[y - 1, x] = p[y, x + 1] + dt * (across[x + 1] - across[x] + below - above[x])
            above[x] = below
    return out


def compiled() -> dict[str, Callable[..., Any]]:
    """The functions by name, compiled at their first call."""
    import numba

    return {
        function.__name__: numba.njit(fastmath=True, error_model="numpy")(function)
        for function in (filter_image, select, tv_step)
    }
