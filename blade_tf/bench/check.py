"""Comparison of results, before their times mean anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from blade_tf import ops

__all__ = ["MismatchError", "compare", "filters_gradient", "on_windows"]

WHOLE = 1 << 20  # pixels up to which an image is compared as a whole
BAND = 512  # rows at a time
WINDOW, MARGIN = 160, 16  # sides of the windows of larger ones, and what they see around


class MismatchError(ValueError):
    """A result that is not what it should be; the message says how far it is off."""


def compare(name: str, expected: Any, got: Any, *, tolerance: float, share: float = 0.0) -> dict[str, Any]:
    """How far two results differ.

    Args:
      name: of the case.
      expected, got: arrays of one shape; values differ where they are further apart than `tolerance` times the largest
        expected magnitude, or where one alone is NaN. Integers differ unless they are equal.
      tolerance: see there.
      share: the part of the values that may differ. More than 0 where a selection may: at ties, a rounding in another
        order chooses another filter.

    Returns:
      "name", "exact" (whether all values are equal), "worst" (the largest difference, relative to the largest
      magnitude, among the values that may not differ; None for integers), "differing" (share of values), "tolerance"
      and "allowed" (share).

    Raises:
      MismatchError: the shapes or too many values differ.
    """
    expected, got = np.asarray(expected), np.asarray(got)
    if expected.shape != got.shape:
        raise MismatchError(f"{name}: expected a result of shape {list(expected.shape)}, got {list(got.shape)}")
    if np.issubdtype(expected.dtype, np.integer):
        apart, worst = expected != got, None
    else:
        expected, got = expected.astype(np.float64), got.astype(np.float64)
        scale = float(np.max(np.abs(expected), initial=0.0)) or 1.0
        distance = np.abs(expected - got) / scale
        apart = ~(distance <= tolerance) & ~(np.isnan(expected) & np.isnan(got))
        worst = float(np.max(distance[~apart], initial=0.0))
    differing = float(np.mean(apart)) if apart.size else 0.0
    if differing > share:
        raise MismatchError(
            f"{name}: {100 * differing:.3g} % of the values differ by more than the tolerance of {tolerance:g}, "
            f"expected at most {100 * share:g} %"
        )
    exact = worst in (None, 0.0) and not differing
    return {
        "name": name,
        "exact": exact,
        "worst": worst,
        "differing": differing,
        "tolerance": tolerance,
        "allowed": share,
    }


def _windows(height: int, width: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Windows of an image, corners and the middle, each with its surroundings; or the whole of it."""
    if height * width <= WHOLE:
        yield (slice(0, height), slice(0, width)), (slice(0, height), slice(0, width))
        return
    places = [(0, 0), (0, width - WINDOW), (height - WINDOW, 0), (height - WINDOW, width - WINDOW)]
    for y, x in [*places, (height // 2, width // 2)]:
        inner = [(max(at, 0), min(at + WINDOW, end)) for at, end in ((y, height), (x, width))]
        outer = [(max(a - MARGIN, 0), min(b + MARGIN, end)) for (a, b), end in zip(inner, (height, width), strict=True)]
        yield tuple(slice(*pair) for pair in inner), tuple(slice(*pair) for pair in outer)  # type: ignore[misc]


def on_windows(
    name: str, got: Any, oracle: Callable[..., Any], arguments: tuple[Any, ...], *, tolerance: float
) -> dict[str, Any]:
    """Compares a local operation's result with stock TensorFlow's, in the whole image or, if it is large, in windows.

    Args:
      name: of the case.
      got: [1, H, W, ...].
      oracle: is called with the arguments on each window and its surroundings, inside `implementation("stock")`.
      arguments: [1, H, W, ...] each.
      tolerance: as of `compare`.
    """
    found = []
    for inner, outer in _windows(*got.shape[1:3]):
        with ops.implementation("stock"):
            around = oracle(*(argument[:, outer[0], outer[1]] for argument in arguments))
        rows, columns = (slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
        found.append(
            compare(name, around[:, rows, columns], got[:, inner[0], inner[1]], tolerance=tolerance)  # the border too
        )
    return max(found, key=lambda record: record["worst"] or 0.0)


def filters_gradient(image: np.ndarray, selection: np.ndarray, grad: np.ndarray, shape: tuple[int, ...]) -> Any:
    """dh of eq 2.9 in float64, one tap at a time; of a large image the corners and the middle alone, NaN elsewhere.

    Args:
      image, selection, grad: [H, W].
      shape: (K, R, S).
    """
    (height, width), (bins, rows, columns) = image.shape, shape
    places = [((rows - 1) // 2, (columns - 1) // 2), *((r, s) for r in (0, rows - 1) for s in (0, columns - 1))]
    every = [(r, s) for r in range(rows) for s in range(columns)]
    found = np.full(shape, np.nan)
    for r, s in places if height * width > WHOLE else every:
        x = np.clip(np.arange(width) + s - (columns - 1) // 2, 0, width - 1)
        found[:, r, s] = 0
        for begin in range(0, height, BAND):
            band = slice(begin, min(begin + BAND, height))
            y = np.clip(np.arange(band.start, band.stop) + r - (rows - 1) // 2, 0, height - 1)
            weights = image[y][:, x].astype(np.float64) * grad[band]
            found[:, r, s] += np.bincount(selection[band].ravel(), weights.ravel(), minlength=bins)
    return found
