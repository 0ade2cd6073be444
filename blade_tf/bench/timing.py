"""Interleaved repeats: each turn takes one sample of every case, so that what else a machine does meets all alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tqdm

__all__ = ["LEAST", "interleaved", "ratios", "summary"]

LEAST = 5  # samples that a slow case has
SAMPLE = 1e-3  # seconds; quicker cases are called several times for a sample, whose clock would be too coarse
WARM = 0.02  # seconds; slower cases need no call before the timed one to fill the caches again

Clock = Callable[[], float]


def _once(run: Callable[[], Any], calls: int, clock: Clock) -> float:
    start = clock()
    for _ in range(calls):
        run()
    return (clock() - start) / calls


def interleaved(
    runs: Sequence[Callable[[], Any]],
    repeats: int,
    seconds: float = math.inf,
    *,
    description: str = "",
    clock: Clock = time.perf_counter,
) -> np.ndarray:
    """Seconds a call of each function, in turns.

    Each function is called twice before, which compiles it and tells how long it takes; in each turn once more right
    before the sample, if it is quick, as others have filled the caches meanwhile.

    Args:
      runs: the functions.
      repeats: number of turns, at least 1.
      seconds: a function whose samples have taken so long altogether, and number at least five, rests.
      description: stands before the progress bar.
      clock: tells the time in seconds.

    Returns:
      [len(runs), repeats], NaN where a function rested.
    """
    calls, warm = [], []
    for run in runs:
        run()
        estimate = _once(run, 1, clock)
        calls.append(max(1, math.ceil(SAMPLE / max(estimate, 1e-6))))
        warm.append(estimate < WARM)
    samples = np.full((len(runs), repeats), np.nan)
    spent = np.zeros(len(runs))
    turns: Iterable[int] = range(repeats)
    for turn in tqdm.tqdm(turns, desc=description, unit="turn", leave=True) if description else turns:
        for k, run in enumerate(runs):
            if turn >= LEAST and spent[k] > seconds:
                continue
            if warm[k]:
                run()
            samples[k, turn] = _once(run, calls[k], clock)
            spent[k] += calls[k] * samples[k, turn]
    return samples


def summary(samples: Any) -> dict[str, float | int] | None:
    """Median, quartiles, least value and number of the samples that are not NaN; None if there are none."""
    values = np.asarray(samples, np.float64)
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {
        "median": float(middle),
        "quartile_1": float(low),
        "quartile_3": float(high),
        "least": float(values.min()),
        "samples": int(values.size),
    }


def ratios(samples: Any, of: Any) -> np.ndarray:
    """Turn by turn, how many times as long one case took as another; NaN where either rested.

    Both samples of a turn were taken close together, so that the median of these does not follow a machine's moods.
    """
    return np.asarray(samples, np.float64) / np.asarray(of, np.float64)
