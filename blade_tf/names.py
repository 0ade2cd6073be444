"""Hints for names that are not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["hint"]


def hint(name: str, known: Iterable[str]) -> str:
    """How an error about an unknown name ends: the nearest known one, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    return f", did you mean {near[0]!r}?" if near else f", expected one of {names}"
