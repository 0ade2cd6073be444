"""The results of a benchmark as tables on screen, as a Markdown page, and as a chart."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from blade_tf import files, report
from blade_tf.bench import cases

__all__ = ["chart", "markdown", "summary", "write"]

HEADERS = ["target", "measured", "", "bound", "after", "verdict"]
LONGEST = 20.0
IDLE = 0.5  # load
ROW_HEADERS = ["what", "whose", "size", "ns a pixel", "quartiles", "x filter2D"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _verdict(record: dict[str, Any]) -> str:
    if record["value"] is None:
        return "not measured"
    if record["met"] is None:
        return f"too few samples ({record['samples']})"
    if not record["met"]:
        return "missed"
    return "met" if not record["aim_met"] else "met, and what we are after"


def _verdicts(found: dict[str, Any]) -> list[list[str]]:
    return [
        [
            record["title"],
            _number(record["value"]),
            record["sense"],
            _number(record["limit"]),
            _number(record["aim"]),
            _verdict(record),
        ]
        for record in found["verdicts"]
    ]


def _cells(row: dict[str, Any]) -> list[str]:
    times, ratio = row["nanoseconds"], row["ratio"]
    return [
        row["what"] + (", in a graph" if row["how"] == "graph" and row["group"].startswith("operations") else ""),
        row["by"],
        f"{row['size'][0]}x{row['size'][1]}",
        _number(times["median"]),
        f"{_number(times['quartile_1'])}-{_number(times['quartile_3'])}",
        _number(ratio["median"] if ratio else None),
    ]


def _groups(found: dict[str, Any]) -> dict[str, list[list[str]]]:
    tables: dict[str, list[list[str]]] = {}
    for row in found["rows"]:
        threads = f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"
        tables.setdefault(f"{row['group']}, {row['simd']}, {threads}", []).append(_cells(row))
    return tables


def _training(found: dict[str, Any]) -> list[str]:
    lines = []
    if found["training"]:
        t = found["training"]
        times = t["milliseconds"]
        lines.append(
            f"A training step ({t['batch']} windows of {t['crop']}x{t['crop']}, {t['steps']} unrolled steps, forward, "
            f"backward and Adam) takes {_number(times['median'])} ms (quartiles {_number(times['quartile_1'])}-"
            f"{_number(times['quartile_3'])}), {_number(t['nanoseconds_per_pixel'])} ns a pixel and unrolled step; "
            f"{100 * t['share']:.0f} % of it in the kernels, by TensorFlow's profiler: "
            + ", ".join(f"{name} {_number(value)} ms" for name, value in t["operations"].items())
            + "."
        )
    if found["memory"]:
        what = {"final": "a loss of the last state", "trajectory": "a loss of all states"}
        parts = [f"{value:.1f} bytes a pixel for {what[name]}" for name, value in found["memory"].items()]
        lines.append(f"Each unrolled step adds to training's peak memory {', '.join(parts)}.")
    return lines


def _notes(found: dict[str, Any]) -> list[str]:
    lines, load = [], found["machine"]["load"][0]
    if load > IDLE:
        lines.append(f"The machine was not idle: its load was {load:.2f} before; measure again when it is.")
    lines += [f"Not installed, so not measured: {name} ({reason})." for name, reason in found["missing"].items()]
    return lines + [f"Left out: {name}: {reason}." for name, reason in found["failed"].items()]


def _machine(found: dict[str, Any]) -> str:
    m = found["machine"]
    caches = ", ".join(f"{name} {size}" for name, size in m["caches"].items())
    versions = ", ".join(f"{name} {value}" for name, value in found["versions"].items() if name not in ("cxx", "flags"))
    return (
        f"{m['processor']}, {m['processors']} processors ({m['usable']} usable), {caches or 'caches unknown'}, "
        f"{', '.join(m['simd'])}, governor {m['governor'] or 'unknown'}, load {m['load'][0]:.2f} before; {versions}."
    )


def _difference(check: dict[str, Any]) -> str:
    if check["exact"]:
        return "equal"
    parts = [] if check["worst"] is None else [f"{check['worst']:.1e}"]
    return ", ".join(parts + ([f"{100 * check['differing']:.2g} % differ"] if check["differing"] else []))


def _checks(found: dict[str, Any]) -> list[list[str]]:
    # A check of several processes once, with its largest difference.
    checks = sorted(found["checks"], key=lambda check: (check["worst"] or 0.0, check["differing"]))
    largest = {check["name"]: check for check in checks}
    return [
        [
            name,
            _difference(largest[name]),
            "none" if largest[name]["worst"] is None else f"{largest[name]['tolerance']:g}",
            f"{100 * largest[name]['allowed']:g} %",
        ]
        for name in dict.fromkeys(check["name"] for check in found["checks"])
    ]


CHECK_HEADERS = ["checked", "largest difference", "tolerance", "values that may differ"]


def summary(found: dict[str, Any]) -> str:
    """All tables for the screen."""
    parts = [_machine(found)]
    for title, cells in _groups(found).items():
        parts.append(f"{title}\n{report.text_table(ROW_HEADERS, cells)}")
    parts.append("Correctness, checked before timing\n" + report.text_table(CHECK_HEADERS, _checks(found)))
    parts += _training(found) + _notes(found)
    parts.append(report.text_table(HEADERS, _verdicts(found)))
    return "\n\n".join(parts)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def markdown(found: dict[str, Any]) -> str:
    """A page with the same tables."""
    s = found["settings"]
    parts = [
        "# Benchmark",
        "Written by `blade-bench`. A ratio is the median over turns of a case's time divided by that of "
        "`cv2.filter2D` (one fixed 5x5 filter, float32, as many channels, one thread) in the same turn; at most "
        f"{s['repeats']} turns, fewer for what takes long. Times are medians, in nanoseconds a pixel and operation or "
        "time step. Selections of this package's operations are in bytes. All allocate their results; freed memory is "
        "kept for the next call but where a result has more than 32 MiB, which glibc takes from the system each time.",
        _machine(found),
        "![Ratios](bench.svg)",
        "## Targets",
        _table(HEADERS, _verdicts(found)),
        "## Training",
        *(_training(found) or ["Not measured."]),
        "## All cases",
    ]
    for title, cells in _groups(found).items():
        parts += [f"### {title[0].upper()}{title[1:]}", _table(ROW_HEADERS, cells)]
    parts += ["## Correctness", "Checked before timing.", _table(CHECK_HEADERS, _checks(found)), *_notes(found)]
    return "\n\n".join(parts) + "\n"


def chart(found: dict[str, Any]) -> str:
    """Bars of the ratios to filter2D at the main size in the first process, ours and then the peers'.

    Those beyond `LONGEST` are left to the tables: no others would be seen beside them.

    Raises:
      ValueError: nothing has a ratio.
    """
    main, first = found["settings"]["main"], found["rows"][0] if found["rows"] else {}
    bars: dict[str, float] = {}
    for row in found["rows"]:
        same = row["size"] == main and all(row[key] == first[key] for key in ("threads", "simd"))
        listed = row["group"].startswith("operations at") or row["by"] != cases.OWN
        name = f"{row['what']}, {row['by']}"
        if same and listed and row["ratio"] and name not in bars and row["ratio"]["median"] <= LONGEST:
            bars[name] = row["ratio"]["median"]
    return report.bar_chart(bars, title="Times over OpenCV's fixed 5x5 filter", unit="x")


def write(found: dict[str, Any], folder: str | os.PathLike[str]) -> None:
    """Writes bench.json, bench.md and bench.svg.

    Raises:
      OSError: they cannot be written.
    """
    path = pathlib.Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    files.write_json(path / "bench.json", found)
    files.write_text(path / "bench.svg", report.svg_file(chart(found)))
    files.write_text(path / "bench.md", markdown(found))
