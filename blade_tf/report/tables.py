"""Tables of text and numbers."""

import math
import re
from collections.abc import Sequence
from typing import Any

__all__ = ["layout", "text_table"]

_NUMBER = re.compile(r"[-+]?[\d.]|[-+]?inf$|nan$|diverged$|-$")


def layout(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[list[list[str]], list[bool]]:
    """The rows' texts (floats with four significant digits, None as -), and which columns hold numbers alone.

    Raises:
      ValueError: a row is not as long as the headers.
    """
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"rows: expected {len(headers)} cells for {list(headers)}, got {list(row)}")
    texts = [[_text(cell) for cell in row] for row in rows]
    numeric = [bool(texts) and all(_NUMBER.match(row[k]) for row in texts) for k in range(len(headers))]
    return texts, numeric


def text_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """An aligned table for terminals, without a newline at the end; numbers to the right.

    Raises:
      ValueError: a row is not as long as the headers.
    """
    texts, numeric = layout(headers, rows)
    lines = [list(headers), *texts]
    widths = [max(len(line[k]) for line in lines) for k in range(len(headers))]

    def aligned(line: Sequence[str]) -> str:
        cells = zip(line, widths, numeric, strict=True)
        return "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells).rstrip()

    return "\n".join([aligned(headers), "  ".join("-" * width for width in widths), *map(aligned, texts)])


def _text(cell: Any) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float) and math.isfinite(cell):
        return f"{cell:.4g}" if abs(cell) < 1e4 else f"{cell:.0f}"
    return str(cell)
