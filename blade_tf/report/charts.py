"""Charts as inline SVG: text in the page's colour, series in its --series-k, described for screen readers."""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["bar_chart", "curve_chart", "line_chart", "svg_file"]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7a7a7a")
_DASHES = ("", "7 4", "2 3", "9 3 2 3")
_LETTER = 8.2  # a wide guess at a letter of 13 px, bold
_LINE = 17
_MARGIN = 12


def line_chart(
    series: Mapping[str, Sequence[float]],
    *,
    title: str,
    x: Sequence[float] | None = None,
    x_label: str = "",
    y_label: str = "",
) -> str:
    """One line for each named series over x (1, 2, ... by default); values that are not finite are left out.

    Raises:
      ValueError: a series is not as long as x, or nothing can be drawn.
    """
    if x is not None and any(len(ys) != len(x) for ys in series.values()):
        raise ValueError(f"series: expected {len(x)} values each, got {[len(ys) for ys in series.values()]}")
    points = {}
    for name, ys in series.items():
        xs = x if x is not None else range(1, len(ys) + 1)
        points[name] = list(zip(xs, ys, strict=True))
    return _chart(points, title, x_label, y_label, log_x=False)


def curve_chart(
    curves: Mapping[str, Sequence[tuple[float, float]]], *, title: str, x_label: str = "", y_label: str = ""
) -> str:
    """One line for each named curve through its points (x, y), x on a logarithmic axis.

    Points that are not finite, or whose x is not positive, are left out.

    Raises:
      ValueError: nothing can be drawn.
    """
    positive = {name: [point for point in line if point[0] > 0] for name, line in curves.items()}
    return _chart(positive, title, x_label, y_label, log_x=True)


def _chart(
    curves: Mapping[str, Sequence[tuple[float, float]]], title: str, x_label: str, y_label: str, log_x: bool
) -> str:
    points = {
        name: [(float(a), float(b)) for a, b in line if math.isfinite(a) and math.isfinite(b)]
        for name, line in curves.items()
    }
    points = {name: line for name, line in points.items() if line}
    shown = [point for line in points.values() for point in line]
    if not shown:
        raise ValueError("series: expected at least one finite value")
    ticks = _ticks(min(b for _, b in shown), max(b for _, b in shown))
    scale = math.log10 if log_x else float
    first, last = scale(min(a for a, _ in shown)), scale(max(a for a, _ in shown))
    left, top, plot_width, plot_height = 48.0, 28.0, (380.0 if log_x else 300.0), (270.0 if log_x else 210.0)
    width = left + plot_width + 16 + _LETTER * max(map(len, points))
    height = top + plot_height + 46

    def px(value: float) -> float:
        return left + plot_width * ((scale(value) - first) / (last - first) if last > first else 0.5)

    def py(value: float) -> float:
        return top + plot_height * (ticks[-1] - value) / (ticks[-1] - ticks[0])

    parts = [_text(0, 14, y_label)]
    for tick in ticks:
        parts += [_rule(left, py(tick), left + plot_width, py(tick)), _text(left - 8, py(tick) + 4, f"{tick:g}", "end")]
    if log_x:
        for tick in _log_ticks(first, last):
            parts.append(_rule(px(tick), top, px(tick), top + plot_height))
            parts.append(_text(px(tick), top + plot_height + 20, f"{tick:g}", "middle"))
    else:
        places = sorted({a for a, _ in shown})
        for tick in places if len(places) <= 12 else (t for t in _ticks(first, last) if first <= t <= last):
            parts.append(_text(px(tick), top + plot_height + 20, f"{tick:g}", "middle"))
    parts.append(_text(left + plot_width / 2, height - 4, x_label, "middle"))
    ends: list[tuple[float, int, str]] = []
    for k, (name, line) in enumerate(points.items()):
        path = " ".join(f"{px(a):.1f},{py(b):.1f}" for a, b in line)
        dash = f' stroke-dasharray="{_DASHES[k // len(_COLOURS) % len(_DASHES)]}"' if k >= len(_COLOURS) else ""
        parts.append(f'<polyline points="{path}" fill="none" style="stroke:{_colour(k)}" stroke-width="2.2"{dash}/>')
        for a, b in line:
            tip = f"<title>{escape(name)}: {b:.4g} at {a:g}</title>"
            parts.append(f'<circle cx="{px(a):.1f}" cy="{py(b):.1f}" r="3.2" style="fill:{_colour(k)}">{tip}</circle>')
        ends.append((py(line[-1][1]), k, name))
    y = -math.inf
    for at, k, name in sorted(ends):
        y = max(at + 4, y + _LINE)
        parts.append(_text(left + plot_width + 12, y, name, style=f"fill:{_colour(k)};font-weight:600"))
    height = max(height, y + 6)
    summary = "; ".join(f"{name}: {line[0][1]:.4g} to {line[-1][1]:.4g}" for name, line in points.items())
    return _svg(width, height, title, summary, parts)


def bar_chart(values: Mapping[str, float], *, title: str, start: float = 0.0, unit: str = "") -> str:
    """Horizontal bars from `start`, each with its name and value; a value that is not finite has no bar.

    Raises:
      ValueError: no finite value.
    """
    finite = [value for value in values.values() if math.isfinite(value)]
    if not finite:
        raise ValueError("values: expected at least one finite value")
    low, high = min(start, *finite), max(start, *finite)
    left = 12 + _LETTER * max(map(len, values))
    span = 270.0

    def px(value: float) -> float:
        return left + span * ((value - low) / (high - low) if high > low else 0.0)

    parts = []
    for k, (name, value) in enumerate(values.items()):
        y = 8 + 30 * k
        label = f"{value:.4g} {unit}".strip()
        parts.append(_text(left - 10, y + 15, name, "end"))
        end = px(value) if math.isfinite(value) else px(start)
        x, width = min(end, px(start)), abs(end - px(start))
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="20" rx="3" style="fill:{_colour(0)}"/>')
        parts.append(_text(max(end, px(start)) + 8, y + 15, label, style="font-weight:600"))
    if low < start:
        parts.append(_rule(px(start), 0, px(start), 8 + 30 * len(values), 0.6))
    summary = "; ".join(f"{name}: {value:.4g} {unit}".strip() for name, value in values.items())
    return _svg(left + span + 12 + _LETTER * (6 + len(unit)), 8.0 + 30 * len(values), title, summary, parts)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, about five, that enclose low..high."""
    span = high - low or max(abs(high), 1.0) * 0.1
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (factor * step) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(k * step, 12) for k in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between 10^low and 10^high, with their double and fivefold where that makes no more than eight."""
    for factors in ((1, 2, 5), (1,)):
        powers = range(math.floor(low), math.ceil(high) + 1)
        found = [factor * 10.0**power for power in powers for factor in factors]
        found = [tick for tick in found if low - 1e-9 <= math.log10(tick) <= high + 1e-9]
        if len(found) <= 8:
            break
    return found


def _colour(k: int) -> str:
    k %= len(_COLOURS)
    return f"var(--series-{k},{_COLOURS[k]})"


def _text(x: float, y: float, text: str, anchor: str = "start", style: str = "") -> str:
    styled = f' style="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{styled}>{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, opacity: float = 0.15) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="currentColor" stroke-opacity="{opacity}"/>'


def _svg(width: float, height: float, title: str, summary: str, parts: Sequence[str]) -> str:
    label = escape(f"{title}. {summary}")
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" font-size="13" fill="currentColor" '
        f'role="img" aria-label="{label}"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )


def svg_file(svg: str) -> str:
    """A chart as a file of its own: dark on white, whatever shows it."""
    found = re.match(r'<svg viewBox="0 0 (\d+) (\d+)" width="\d+"', svg)
    if not found:
        raise ValueError(f"svg: expected a chart of this module, got {svg[:40]!r}")
    width, height = (int(size) + 2 * _MARGIN for size in found.groups())
    box = f'viewBox="{-_MARGIN} {-_MARGIN} {width} {height}" width="{width}" height="{height}"'
    opening, rest = svg[found.end() :].split(">", 1)
    opening = opening.replace('fill="currentColor"', 'font-family="sans-serif" fill="#222" color="#222"', 1)
    paper = f'<rect x="{-_MARGIN}" y="{-_MARGIN}" width="{width}" height="{height}" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}{opening}>{paper}{rest}\n'
