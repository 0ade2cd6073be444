"""Results as Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from blade_tf import evaluate
from blade_tf.results import colour, verdicts, work_precision

__all__ = ["document", "long_runs", "markdown_table", "readme_table", "seeds", "summary", "title"]

TITLES = {
    "tv_flow": "TV flow",
    "perona_malik": "Perona-Malik",
    "ced": "Coherence-enhancing diffusion",
    "cahn_hilliard": "Cahn-Hilliard",
}
# Rows of the table of all equations: suffix of the model's name, None for what all share, and row of its evaluation.
ROWS = {
    "doing nothing": (None, "identity"),
    "classical scheme on the coarse grid, 10 steps": (None, "coarse_10"),
    "10 steps, scheme and parameters tuned": (None, "coarse_10_tuned"),
    "classical scheme on the coarse grid, converged": (None, "coarse_converged"),
    "any number of steps, scheme and parameters tuned": (None, "coarse_tuned"),
    "one fixed 5x5 filter": (None, "single_filter"),
    "BLADE, the paper's form, least squares": ("_paper", "least_squares"),
    "BLADE, the paper's form": ("_paper", "blade"),
    "BLADE, convex filters": ("_convex", "blade"),
    "BLADE, best form, least squares": ("", "least_squares"),
    "BLADE, best form": ("", "blade"),
}
# Average PSNR and SSIM of section 3.3.
PAPER = {
    "tv_flow": (33.43, 0.9553),
    "perona_malik": (35.68, 0.9821),
    "ced": (35.54, 0.9663),
    "cahn_hilliard": (12.92, 0.7737),
}
BANKS = (
    "How banks are drawn: each tile is one entry. Orientations follow one another along the columns, strength, then "
    "coherence, then intensity down the rows; where a bank has fewer orientations than other bins it is the other way "
    "round, one row for each orientation. Filters: a square is a tap, red positive, white 0, blue negative, relative "
    "to the filter's largest magnitude. Pairs: a dot is a pixel, and a line joins two that exchange intensity, the "
    "darker red the larger their conductance is, relative to the tile's largest. Of pairs and fluxes, those at faces "
    "between neighbours along x are shown."
)
PROVED = "†"
LEGEND = (
    f"Mean PSNR in dB / mean SSIM against the reference; the nearest in bold. {PROVED}: the maximum principle is "
    "proved. ±: standard deviation over training runs with several seeds. Tuned: on the validation photographs, not on "
    "these."
)

Results = dict[str, Any]
Models = dict[str, Any]


def title(equation: str) -> str:
    """An equation's name for readers."""
    return TITLES.get(equation, equation.replace("_", " "))


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _groups(results: Results) -> dict[str, Models]:
    groups: dict[str, Models] = {}
    for name, model in results["models"].items():
        groups.setdefault(model["equation"], {})[name] = model
    return groups


def _row(model: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((row for row in model["evaluation"]["rows"] if row["name"] == name), None)


def _spread(results: Results, name: str, row: str) -> str:
    psnr = [run[row]["psnr"] for run in results["seeds"].get(name, [])]
    return f" ± {statistics.stdev(psnr):.2f}" if len(psnr) > 1 and all(map(math.isfinite, psnr)) else ""


def _psnr(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """A row's PSNR as text, in bold where none of the rows has a higher one in this precision."""
    text = evaluate.cells(row)[0]
    best = max((other["psnr"] for other in rows if not other["diverged"]), default=math.nan)
    return f"**{text}**" if text == f"{best:.2f}" else text


def _cells(results: Results, equation: str, group: Models) -> list[str]:
    """An equation's column of the table of all equations."""
    found: list[tuple[str, dict[str, Any] | None]] = []
    for suffix, kind in ROWS.values():
        name = next(iter(group)) if suffix is None else equation + suffix
        found.append((name, _row(group[name], kind) if name in group else None))
    rows = [row for _, row in found if row]
    cells = []
    for name, row in found:
        if row is None or row["diverged"]:
            cells.append("diverges" if row else "-")
            continue
        own = row["name"] in verdicts.OWN_ROWS
        spread = _spread(results, name, row["name"]) if own else ""
        proved = f" {PROVED}" if own and group[name]["evaluation"]["stable_dt"] else ""
        cells.append(f"{_psnr(row, rows)}{spread} / {row['ssim']:.3f}{proved}")
    return cells


def readme_table(results: Results) -> str:
    """A column for each equation: what BLADE is compared with, its forms, and the figures that the paper states."""
    groups = _groups(results)
    columns = [_cells(results, equation, group) for equation, group in groups.items()]
    lines = [[what, *cells] for what, *cells in zip(ROWS, *columns, strict=True) if set(cells) != {"-"}]
    paper = (
        f"{PAPER[equation][0]:.2f} / {PAPER[equation][1]:.3f}" if equation in PAPER else "-" for equation in groups
    )
    lines.append(["for comparison: stated in the paper, whose parameters are unknown", *paper])
    return markdown_table(["", *map(title, groups)], lines)


def summary(results: Results) -> str:
    """The table of all equations and what it says, for the project's README too."""
    lines = [verdicts.against_classical(group) for group in _groups(results).values()]
    return "\n\n".join([readme_table(results), LEGEND, "\n".join(lines)])


def _all_rows(group: Models) -> str:
    """All rows of an equation: those that its models share, then each model's own."""
    first = next(iter(group.values()))
    rows = [("", row) for row in first["evaluation"]["rows"] if row["name"] not in verdicts.OWN_ROWS]
    for name, model in group.items():
        rows += [(f"{name}: ", row) for row in model["evaluation"]["rows"] if row["name"] in verdicts.OWN_ROWS]
    lines = []
    for prefix, row in rows:
        psnr, rest = _psnr(row, [other for _, other in rows]), evaluate.cells(row)[1:]
        what = row["what"] + (f"; diverged on {row['diverged']}" if row["diverged"] else "")
        lines.append([f"{prefix}`{row['name']}`", psnr, *rest, what])
    return markdown_table(["row", "PSNR, dB", "std", "worst", "SSIM", "what it is"], lines)


def _rivals(rivals: dict[str, Any]) -> str:
    lines = []
    for name, tuned in rivals.items():
        parameters = ", ".join(f"{key} = {value:.4g}" for key, value in tuned["parameters"].items())
        lines.append(
            f"- `{name}`: {tuned.get('scheme', 'the reference scheme')}, {tuned['steps']} steps to "
            f"{tuned['time_scale']:.3g} times the stopping time, {parameters}; {tuned['psnr']:.2f} dB on the "
            "validation photographs."
        )
    return "\n".join(lines)


def _proof(model: dict[str, Any]) -> str:
    bound, mass = model["evaluation"]["stable_dt"], model["form"] in verdicts.CONSERVATIVE
    parts = [f"range, for dt up to {bound:g}"] if bound else []
    return "; ".join([*parts, *(["mass"] if mass else [])]) or "nothing"


def long_runs(group: Models) -> str:
    """Long runs of some models, by name: a table, and what is bad about them."""
    lines = []
    for name, model in group.items():
        for kind, run in model["evaluation"]["long_run"].items():
            if kind != "steps":
                numbers = [f"{run[key]:.1e}" if run["finite"] else "-" for key in ("overshoot", "mean_drift")]
                lines.append([f"`{name}`", _proof(model), kind, "yes" if run["finite"] else "**no**", *numbers])
    headers = ["model", "kept by proof", "from", "finite", "range exceeded by", "mean changed by"]
    parts = [
        f"{evaluate.LONG_RUN} steps; the largest excess over the range of the image at the start, and the largest "
        "change of its mean.",
        markdown_table(headers, lines),
        verdicts.long_runs(group),
    ]
    return "\n\n".join(part for part in parts if part)


def _work_precision(found: dict[str, Any]) -> str:
    counts = sorted({point["steps"] for point in found["points"]})
    curves: dict[str, dict[int, dict[str, Any]]] = {}
    for point in found["points"]:
        curves.setdefault(point["curve"], {})[point["steps"]] = point

    def cell(point: dict[str, Any] | None) -> str:
        if point is None:
            return ""
        if point["milliseconds"] is None:
            return f"{point['psnr']:.2f}" if math.isfinite(point["psnr"]) else "diverges"
        return f"{point['psnr']:.2f} / {point['milliseconds']:.3g}"

    lines = [[curve, *(cell(points.get(count)) for count in counts)] for curve, points in curves.items()]
    return markdown_table(["PSNR, dB / ms", *(f"{count} steps" for count in counts)], lines)


def seeds(results: Results, names: Sequence[str]) -> list[str]:
    """Runs of the named models with several seeds: a heading and a table, or nothing."""
    lines = []
    for name in names:
        runs = sorted(results["seeds"].get(name, []), key=lambda run: run["seed"])
        for row in verdicts.OWN_ROWS if runs else ():
            psnr, ssim = ([run[row][key] for run in runs] for key in ("psnr", "ssim"))
            mean = f"{statistics.fmean(psnr):.2f}{_spread(results, name, row)} / {statistics.fmean(ssim):.4f}"
            each = ", ".join(f"{evaluate.cells(run[row])[0]} ({run['seed']})" for run in runs)
            lines.append([f"{name}: `{row}`", mean if all(map(math.isfinite, psnr)) else "diverges", each])
    return ["### Seeds", markdown_table(["row", "PSNR, dB / SSIM, mean", "each (seed)"], lines)] if lines else []


def _colour(results: Results) -> list[str]:
    lines, counts = [], set()
    for name, model in results["models"].items():
        found = model["colour"]
        if found:
            counts.add(str(found["images"]))
            cells = {row: " / ".join(evaluate.cells(found[row])[::3]) for row in ("identity", *colour.WAYS)}
            lines.append(
                [f"`{name}`", *(f"**{cell}**" if row == found["best"] else cell for row, cell in cells.items())]
            )
    if not lines:
        return []
    return [
        "## Colour",
        f"Photographs: {', '.join(sorted(counts))}. Filters are selected by luma, by the mean of the channels' "
        "structure tensors (section 3.4), or for each channel by itself. The reference is the equation on each "
        "channel; for coherence-enhancing diffusion the channels share the diffusion tensor of the mean of their "
        "structure tensors. PSNR in dB over all channels / mean SSIM.",
        markdown_table(["model", "doing nothing", *colour.WAYS.values()], lines),
        "The best model of each equation, with the way that is best for it:",
        "![The input, the reference and BLADE, in colour.](figures/colour.jpg)",
    ]


def _equation(equation: str, group: Models, results: Results) -> list[str]:
    found = results["work_precision"][equation]
    width, height = found["size"]
    convergence = next(iter(group.values()))["evaluation"]["reference_convergence"]
    parts = [
        f"## {title(equation)}",
        _all_rows(group),
        "Tuned classical schemes:\n\n" + _rivals(results["rivals"][equation]) if results["rivals"][equation] else "",
        *(
            f"The reference against itself with half its time step: {psnr:.1f} dB ({name})."
            for name, psnr in convergence.items()
        ),
        *(verdicts.against_limit(found, group) for key, found in results["limits"].items() if key == equation),
        f"![The reference, BLADE, the input, and ten times the difference of the former two.]"
        f"(figures/{equation}_states.jpg)",
        "### Long runs",
        long_runs(group),
        *seeds(results, list(group)),
        "### Error against time",
        f"Mean PSNR over {found['images']} photographs, and the time for one of {width} x {height} pixels: median, "
        "one thread, one run, all compiled. "
        f"The reference takes {found['reference_milliseconds']:.0f} ms on its own grid; doing nothing reaches "
        f"{found['identity']:.2f} dB, and what is no better is not timed. `tuned`: parameters and stopping time that "
        "were best on the validation photographs with that number of steps.",
        f"![Error against time for each method.](figures/{equation}_work_precision.svg)"
        if work_precision.curves(found)
        else "",
        verdicts.error_and_time(found),
        _work_precision(found),
        "### Banks",
    ]
    parts += [
        f"`{name}` ({model['form']}):\n\n![The trained bank of {name}.](figures/{name}_bank.png)"
        for name, model in group.items()
    ]
    return [part for part in parts if part]


def document(results: Results) -> str:
    """results/README.md."""
    machine = results["machine"]
    native = "native operations" if machine["native"] else "stock TensorFlow operations, without the native library"
    parts = [
        "# Results",
        f"{results['images']} photographs, luma, unclipped floats: the state at the stopping time, against the "
        "reference solver on a finer grid, averaged over blocks. Written by `blade-results`.",
        *(f"Left out: {name}: {reason}." for name, reason in results["left_out"].items()),
        summary(results),
        f"Measured on: {machine['processor']}, {machine['processors']} processors, TensorFlow {machine['tensorflow']}, "
        f"{native}.",
        BANKS,
    ]
    for equation, group in _groups(results).items():
        parts += _equation(equation, group, results)
    parts += _colour(results)
    return "\n\n".join(parts) + "\n"
