"""What the numbers say, in sentences: also where BLADE is behind, a proof is contradicted, or a state explodes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from blade_tf import evaluate

__all__ = ["CONSERVATIVE", "OWN_ROWS", "against_classical", "against_limit", "error_and_time", "long_runs"]

OWN_ROWS = ("least_squares", "blade")
NOT_CLASSICAL = ("identity", "single_filter", *OWN_ROWS)
CONSERVATIVE = ("flux", "pairs")  # forms that conserve mass by construction
ROUNDING_OF_RANGE, ROUNDING_OF_MASS = 1e-5, 1e-6
EXPLODED = 1.0  # how far a state is outside of the range of an image in [0, 1]

Models = dict[str, Any]


def _rows(model: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in model["evaluation"]["rows"]}


def _trained(model: dict[str, Any]) -> float:
    """The PSNR of a model, -inf if it diverges."""
    row = _rows(model)["blade"]
    return -math.inf if row["diverged"] else row["psnr"]


def _against_classical(name: str, model: dict[str, Any]) -> Iterator[str]:
    rows, psnr, images = _rows(model), _trained(model), model["evaluation"]["images"]
    if rows["blade"]["diverged"]:
        yield f"**`{name}` diverges** on {rows['blade']['diverged']} of {images} photographs."
        return
    classical = [row for key, row in rows.items() if key not in NOT_CLASSICAL and not row["diverged"]]
    ahead = sorted((row for row in classical if row["psnr"] > psnr), key=lambda row: -row["psnr"])
    strongest = max(classical, key=lambda row: row["psnr"], default=None)
    count = f"nearer on {strongest['blade_nearer']} of {images} photographs" if strongest else ""
    if ahead:
        gap = ahead[0]["psnr"] - psnr
        yield f"**`{name}` is {gap:.2f} dB behind the best classical row**, `{ahead[0]['name']}`, and {count}."
        others = ", ".join(f"`{row['name']}`" for row in ahead[1:])
        if others:
            yield f"It is behind {others} too."
    elif strongest:
        gap = psnr - strongest["psnr"] if psnr > strongest["psnr"] else 0.0
        yield (
            f"`{name}` is {gap:.2f} dB nearer to the reference than the best classical row, `{strongest['name']}`, and "
            f"{count}."
        )
    start = rows.get("least_squares")
    if start and not start["diverged"] and start["psnr"] > psnr:
        yield f"**Training end to end lost {start['psnr'] - psnr:.2f} dB** of what least squares had reached."


def against_classical(group: Models) -> str:
    """How each model of an equation, the supposedly best one first, compares with the best classical row."""
    lines = [" ".join(_against_classical(name, model)) for name, model in group.items()]
    (first, model), *others = group.items()
    for name, other in others:
        gap = _trained(other) - _trained(model)
        if gap > 0:
            lines.append(f"**`{name}` is {f'{gap:.2f} dB ' if math.isfinite(gap) else ''}nearer than `{first}`**.")
    return "\n".join(f"- {line}" for line in lines if line)


def long_runs(group: Models) -> str:
    """Which models leave the range, and which contradict what is proved of them."""
    lines = []
    for name, model in group.items():
        runs = {kind: run for kind, run in model["evaluation"]["long_run"].items() if kind != "steps"}
        out = [kind for kind, run in runs.items() if not run["overshoot"] <= ROUNDING_OF_RANGE]
        far = [kind for kind in out if not runs[kind]["overshoot"] <= EXPLODED]
        drifting = [kind for kind, run in runs.items() if run["finite"] and run["mean_drift"] > ROUNDING_OF_MASS]
        if far:
            lines.append(f"**`{name}` explodes** within {evaluate.LONG_RUN} steps, from {', '.join(far)}.")
        if out and model["evaluation"]["stable_dt"]:
            lines.append(f"**`{name}` contradicts its proof**: it leaves the range, from {', '.join(out)}.")
        if drifting and model["form"] in CONSERVATIVE:
            lines.append(f"**`{name}` does not conserve the mean**, from {', '.join(drifting)}.")
    return "\n".join(f"- {line}" for line in lines)


def _point(point: dict[str, Any]) -> str:
    return f"`{point['curve']}` with {point['steps']} steps ({point['psnr']:.2f} dB in {point['milliseconds']:.3g} ms)"


def _error_and_time(own: dict[str, Any], classical: list[dict[str, Any]], reference: float) -> Iterator[str]:
    yield (
        f"{own['curve']} reaches {own['psnr']:.2f} dB in {own['milliseconds']:.3g} ms, "
        f"{reference / own['milliseconds']:.0f} times as fast as the reference."
    )
    as_fast = [point for point in classical if point["milliseconds"] <= own["milliseconds"]]
    as_near = [point for point in classical if point["psnr"] >= own["psnr"]]
    best = max(as_fast, key=lambda point: point["psnr"], default=None)
    if best and best["psnr"] >= own["psnr"]:
        yield f"**A classical scheme is both nearer and faster**: {_point(best)}."
        return
    if best:
        gap = own["psnr"] - best["psnr"]
        yield f"The best classical result that takes no longer is {gap:.2f} dB behind: {_point(best)}."
    else:
        yield "No classical result takes less time."
    quickest = min(as_near, key=lambda point: point["milliseconds"], default=None)
    yield f"The first that comes as near is slower: {_point(quickest)}." if quickest else "None at all comes as near."


def error_and_time(found: dict[str, Any]) -> str:
    """What `work_precision` found of each model at its own step, against all classical schemes and step counts."""
    timed = [point for point in found["points"] if point["milliseconds"] is not None]
    classical = [point for point in timed if not point["blade"]]
    own: dict[str, dict[str, Any]] = {}
    for point in timed:
        if point["blade"]:
            own.setdefault(point["curve"], point)  # its own step comes first
    lines = [" ".join(_error_and_time(point, classical, found["reference_milliseconds"])) for point in own.values()]
    useless = sorted({point["curve"] for point in found["points"] if point["blade"]} - own.keys())
    lines += [f"**{curve} is no better than doing nothing.**" for curve in useless]
    return "\n".join(f"- {line}" for line in lines)


def against_limit(found: dict[str, float], group: Models) -> str:
    """How near the best model of an equation comes to what the operating grid allows."""
    name, model = max(group.items(), key=lambda item: _trained(item[1]))
    gap = _trained(model) - found["interpolated"]
    return (
        f"`{name}` is {abs(gap):.2f} dB {'nearer to the reference than' if gap > 0 else 'behind'} the reference solver "
        f"itself on its own grid, started from a smooth interpolation of the coarse image ({found['interpolated']:.2f} "
        f"dB). No model that sees the coarse image alone can exceed {found['twins']:.2f} dB on the photographs and "
        "their twins, the images with the opposite detail inside each pixel, taken together."
    )
