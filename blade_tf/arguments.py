"""Checks of numbers that callers give."""

from __future__ import annotations

import math
import numbers
from typing import Any

__all__ = ["count", "positive"]


def positive(name: str, value: Any) -> float:
    """The value as a float; ValueError unless it is a positive finite number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < math.inf:
        raise ValueError(f"{name}: expected a positive number, got {value!r}")
    return float(value)


def count(name: str, value: Any, least: int = 0) -> int:
    """The value as an int; ValueError unless it is an integer, and not below the least."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        kind = f"an integer of at least {least}" if least else "a non-negative integer"
        raise ValueError(f"{name}: expected {kind}, got {value!r}")
    return int(value)
