"""Results as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from blade_tf import evaluate

__all__ = ["document", "markdown_table", "readme_table", "title"]

TITLES = {
    "tv_flow": "TV flow",
    "perona_malik": "Perona-Malik",
    "ced": "Coherence-enhancing diffusion",
    "cahn_hilliard": "Cahn-Hilliard",
}
# Column of the table of all equations: suffix of the model's name, and the row of its evaluation.
COLUMNS = {
    "doing nothing": (None, "identity"),
    "classical, 10 steps": (None, "coarse_10"),
    "10 steps, tuned": (None, "coarse_10_tuned"),
    "converged": (None, "coarse_converged"),
    "any steps, tuned": (None, "coarse_tuned"),
    "one 5x5 filter": (None, "single_filter"),
    "BLADE, the paper's form": ("_paper", "blade"),
    "BLADE, stable by proof": ("_stable", "blade"),
    "BLADE, best": ("", "blade"),
}
OWN_ROWS = ("least_squares", "blade")
NOT_CLASSICAL = ("identity", "single_filter", *OWN_ROWS)

Results = dict[str, Any]


def title(equation: str) -> str:
    """An equation's name for readers."""
    return TITLES.get(equation, equation.replace("_", " "))


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _groups(results: Results) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for name, model in results["models"].items():
        groups.setdefault(model["equation"], {})[name] = model
    return groups


def _row(model: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((row for row in model["evaluation"]["rows"] if row["name"] == name), None)


def _cell(row: dict[str, Any] | None, best: float) -> str:
    if row is None:
        return "-"
    psnr = evaluate.cells(row)[0]
    if row["diverged"]:
        return psnr
    return f"{f'**{psnr}**' if row['psnr'] >= best else psnr} / {row['ssim']:.3f}"


def readme_table(results: Results) -> str:
    """A row for each equation: mean PSNR in dB and SSIM of what BLADE is compared with, and of its forms."""
    lines = []
    for equation, group in _groups(results).items():
        entries = []
        for suffix, row in COLUMNS.values():
            model = next(iter(group.values())) if suffix is None else group.get(equation + suffix)
            entries.append(_row(model, row) if model else None)
        best = max(entry["psnr"] for entry in entries if entry and not entry["diverged"])
        lines.append([title(equation), *(_cell(entry, best) for entry in entries)])
    return markdown_table(["equation", *COLUMNS], lines)


def _kodak(group: dict[str, Any]) -> str:
    """All rows of an equation: those that its models share, then each model's own."""
    first = next(iter(group.values()))
    rows = [("", row) for row in first["evaluation"]["rows"] if row["name"] not in OWN_ROWS]
    for name, model in group.items():
        rows += [(f"{name}: ", row) for row in model["evaluation"]["rows"] if row["name"] in OWN_ROWS]
    best = max(row["psnr"] for _, row in rows if not row["diverged"])
    lines = []
    for prefix, row in rows:
        psnr, *rest = evaluate.cells(row)
        strong = not row["diverged"] and row["psnr"] >= best
        what = row["what"] + (f"; diverged on {row['diverged']}" if row["diverged"] else "")
        lines.append([f"{prefix}`{row['name']}`", f"**{psnr}**" if strong else psnr, *rest, what])
    return markdown_table(["row", "PSNR, dB", "std", "worst", "SSIM", "what it is"], lines)


def _against(group: dict[str, Any]) -> str:
    lines = []
    for name, model in group.items():
        behind, ahead = [], []
        for row in model["evaluation"]["rows"]:
            if row["name"] in NOT_CLASSICAL:
                continue
            if row["diverged"]:
                ahead.append(f"`{row['name']}` (which diverges)")
            elif row["blade_gain"] is None:
                behind.append(f"`{row['name']}` (it diverges itself)")
            else:
                count = f"{abs(row['blade_gain']):.2f} dB, nearer on {row['blade_nearer']} photographs"
                (ahead if row["blade_gain"] > 0 else behind).append(f"`{row['name']}` ({count})")
        parts = [f"nearer to the reference than {', '.join(ahead)}"] if ahead else []
        parts += [f"**not nearer** than {', '.join(behind)}"] if behind else []
        lines.append(f"- `{name}` is {'; '.join(parts)}.")
    return "\n".join(lines)


def _long_runs(group: dict[str, Any]) -> str:
    lines = []
    for name, model in group.items():
        evaluation = model["evaluation"]
        proof = f"for dt up to {evaluation['stable_dt']:g}" if evaluation["stable_dt"] else "none"
        for kind, run in evaluation["long_run"].items():
            if kind != "steps":
                numbers = [f"{run[key]:.1e}" if run["finite"] else "-" for key in ("overshoot", "mean_drift")]
                lines.append([f"`{name}`", proof, kind, "yes" if run["finite"] else "**no**", *numbers])
    headers = ["model", "proved maximum principle", "from", "finite", "range exceeded by", "mean changed by"]
    return markdown_table(headers, lines)


def _work_precision(found: dict[str, Any]) -> str:
    counts = sorted({point["steps"] for point in found["points"]})
    curves: dict[str, dict[int, dict[str, Any]]] = {}
    for point in found["points"]:
        curves.setdefault(point["curve"], {})[point["steps"]] = point

    def cell(point: dict[str, Any] | None) -> str:
        if point is None:
            return ""
        return "diverged" if point["psnr"] is None else f"{point['psnr']:.2f} / {point['milliseconds']:.3g}"

    lines = [[curve, *(cell(points.get(count)) for count in counts)] for curve, points in curves.items()]
    return markdown_table(["PSNR in dB / milliseconds", *(f"{count} steps" for count in counts)], lines)


def _seeds(results: Results, names: Sequence[str]) -> list[str]:
    lines = []
    for name in names:
        runs = sorted(results["seeds"].get(name, []), key=lambda run: run["seed"])
        if not runs:
            continue
        for row in OWN_ROWS:
            psnr = [run[row]["psnr"] for run in runs]
            mean = "diverged" if None in psnr else f"{statistics.fmean(psnr):.2f} ± {statistics.pstdev(psnr):.2f}"
            each = ", ".join(f"{evaluate.cells(run[row])[0]} ({run['seed']})" for run in runs)
            ssim = ", ".join(evaluate.cells(run[row])[3] for run in runs)
            lines.append([f"`{name}`: `{row}`", mean, each, ssim])
    if not lines:
        return []
    return [
        "### Seeds",
        markdown_table(["row", "PSNR, dB: mean ± std", "each (seed)", "SSIM, each"], lines),
    ]


def _colour(results: Results) -> list[str]:
    lines = []
    for name, model in results["models"].items():
        found = model["colour"]
        if found:
            entries = [" / ".join(evaluate.cells(found[row])[::3]) for row in ("identity", "luma", "joint")]
            lines.append([f"`{name}`", *entries, found["better"]])
    if not lines:
        return []
    return [
        "## Colour",
        "Filters are selected by luma, or by the tensor of all channels (section 3.4), and applied to each channel. "
        "The reference is the equation on each channel; for coherence-enhancing diffusion the channels share the "
        "diffusion tensor of the mean of their structure tensors. PSNR in dB over all channels, and mean SSIM.",
        markdown_table(["model", "doing nothing", "by luma", "by all channels", "better"], lines),
        "![input, reference and BLADE](figures/colour.jpg)",
    ]


def _equation(equation: str, group: dict[str, Any], results: Results) -> list[str]:
    found = results["work_precision"][equation]
    width, height = found["size"]
    convergence = next(iter(group.values()))["evaluation"]["reference_convergence"]
    parts = [
        f"## {title(equation)}",
        _kodak(group),
        _against(group),
        *(
            f"The reference against itself with half its time step: {psnr:.1f} dB ({name})."
            for name, psnr in convergence.items()
        ),
        f"![input, reference, BLADE, 10 x difference](figures/{equation}_states.jpg)",
        "### Long runs",
        f"{evaluate.LONG_RUN} steps; the largest excess over the range of the image at the start, and the largest "
        "change of its mean.",
        _long_runs(group),
        *_seeds(results, list(group)),
        "### Error against time",
        f"Mean PSNR over {found['images']} photographs, and the time for one of {width} x {height} pixels: median, "
        "one thread, one run, all compiled. "
        f"The reference takes {found['reference_milliseconds']:.0f} ms on its own grid; doing nothing reaches "
        f"{found['identity']:.2f} dB. `tuned` schemes have the parameters and the stopping time that were best on the "
        "validation photographs with that number of steps.",
        f"![error against time](figures/{equation}_work_precision.svg)",
        _work_precision(found),
        "### Banks",
    ]
    parts += [f"`{name}` ({model['form']}):\n\n![bank](figures/{name}_bank.png)" for name, model in group.items()]
    return parts


def document(results: Results) -> str:
    """results.md."""
    machine = results["machine"]
    native = "native operations" if machine["native"] else "stock TensorFlow operations, without the native library"
    parts = [
        "# Results",
        f"{results['images']} photographs, luma, unclipped floats: the state at the stopping time, ten steps of BLADE, "
        "against the reference solver on a grid four times as fine, averaged over blocks. PSNR in dB and SSIM, means "
        "over the photographs. Written by `blade-results`.",
        f"Measured on: {machine['processor']}, {machine['processors']} processors, TensorFlow {machine['tensorflow']}, "
        f"{native}.",
        readme_table(results),
    ]
    for equation, group in _groups(results).items():
        parts += _equation(equation, group, results)
    parts += _colour(results)
    return "\n\n".join(parts) + "\n"
