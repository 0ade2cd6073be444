"""From samples to figures: ratios to the unit, other sizes, threads and step counts, and how they meet the targets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from blade_tf.bench import cases, evolution, timing
from blade_tf.bench.settings import MAIN

__all__ = ["TARGETS", "UNIT", "Target", "figures", "rows", "targets", "verdicts"]

UNIT = "filter2D"
Group = dict[str, Any]
ENOUGH = 20  # samples that the targets ask for; of what takes long, `timing.LEAST`

OPERATIONS = {
    "filter": (1.15, 1.0),
    "filter, 3 channels": (1.05, 0.95),
    "selection 24x3x3": (1.3, 1.1),
    "both gradients": (3.0, 2.3),
    "step": (2.6, 2.2),
}
SMALL, LARGE = (192, 128), (8192, 8192)


@dataclasses.dataclass(frozen=True)
class Target:
    """A bound on a figure.

    Attributes:
      figure: its name.
      title: what it says.
      limit: what it has to be at most, or at least.
      aim: what would be better, or None.
      at_least: whether larger is better.
      samples: fewer are not enough for a verdict.
    """

    figure: str
    title: str
    limit: float
    aim: float | None = None
    at_least: bool = False
    samples: int = ENOUGH


def _size(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"


def _ratio_name(simd: str, what: str) -> str:
    return f"{simd}, {_size(MAIN)}: {what}"


def _scaled_name(size: Sequence[int], what: str) -> str:
    return f"{_size(size)} over {_size(MAIN)}, a pixel: {what}"


TARGETS: tuple[Target, ...] = (
    *(
        Target(_ratio_name("avx512", what), f"{what}, times filter2D", limit, aim)
        for what, (limit, aim) in OPERATIONS.items()
    ),
    *(
        Target(_ratio_name("avx2", what), f"{what}, AVX2 only, times filter2D", 2 * limit, 2 * aim)
        for what, (limit, aim) in OPERATIONS.items()
    ),
    *(
        Target(_scaled_name(SMALL, what), f"{what}, a pixel at {_size(SMALL)} over {_size(MAIN)}", 1.3)
        for what in OPERATIONS
    ),
    *(
        Target(_scaled_name(LARGE, what), f"{what}, a pixel at {_size(LARGE)} over {_size(MAIN)}", 1.5, samples=5)
        for what in OPERATIONS
        if what != "filter, 3 channels"
    ),
    *(Target(f"2 threads: {what}", f"{what}, two threads over one", 1.8, at_least=True) for what in OPERATIONS),
    Target("100 steps over 10, a step", "a step of 100 over one of 10", 1.1, samples=timing.LEAST),
    Target("training: share", "training, share of the time in kernels", 0.8, at_least=True, samples=1),
    Target("training: bytes", "training, bytes a pixel and unrolled step (image 4, selection 1)", 5.5, samples=1),
)
MODEL_LIMIT = 2.5


def _unit(group: Group, case: dict[str, Any]) -> dict[str, Any] | None:
    """OpenCV's filter on as many channels and pixels, or, for peers at another size, on one channel."""
    units = [other for other in group["cases"] if other["what"].startswith(UNIT)]
    same = [u for u in units if u["channels"] == case["channels"] and u["size"] == case["size"]]
    return (same or [u for u in units if u["size"] == case["size"]] or [None])[0]


def rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Each case with its times and how often the unit's they are.

    Returns:
      Records with "group", "threads", "simd", "what", "by", "how", "size", "channels", "nanoseconds" (a pixel and
      operation) and "ratio" (to OpenCV's filter2D on as many channels, turn by turn), the latter two as
      `timing.summary`; "ratio" is None where the group has no unit of that size.
    """
    found = []
    for group in groups:
        for case in group["cases"]:
            unit = _unit(group, case)
            ratio = timing.summary(timing.ratios(case["nanoseconds"], unit["nanoseconds"])) if unit else None
            found.append(
                {"group": group["name"], "threads": group["threads"], "simd": group["simd"]}
                | {key: case[key] for key in ("what", "by", "how", "size", "channels")}
                | {"nanoseconds": timing.summary(case["nanoseconds"]), "ratio": ratio}
            )
    return found


def _figure(samples: Any) -> dict[str, Any] | None:
    found = timing.summary(samples)
    return {"value": found["median"], "samples": found["samples"]} if found else None


def _own(group: Group, size: Sequence[int], how: str = "call") -> dict[str, dict[str, Any]]:
    return {
        case["what"]: case
        for case in group["cases"]
        if (case["by"], tuple(case["size"]), case["how"]) == (cases.OWN, tuple(size), how)
    }


def _to_unit(group: Group, size: Sequence[int]) -> dict[str, Any]:
    """By operation, the ratios to the unit in each turn."""
    own = _own(group, size)
    units = {what: _unit(group, case) for what, case in own.items()}
    return {
        what: timing.ratios(case["nanoseconds"], unit["nanoseconds"])
        for what, case in own.items()
        if (unit := units[what])
    }


def _operations(groups: Sequence[Group], main: Sequence[int], threads: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    plain = [group for group in groups if group["name"] == f"operations at {_size(main)}"]
    for group in plain:
        if group["threads"] == threads == 1:
            for what, samples in _to_unit(group, main).items():
                found[f"{group['simd']}, {_size(main)}: {what}"] = _figure(samples)
    base = next((group for group in plain if group["threads"] == 1), None)
    for group in plain:
        if base and group["threads"] > 1 and group["simd"] == base["simd"]:
            one = _to_unit(base, main)
            for what, many in _to_unit(group, main).items():
                # Each against the unit on one thread in its own run: the machine may not be equally quick in both.
                single, several = timing.summary(one[what]), timing.summary(many)
                if single and several:
                    found[f"{group['threads']} threads: {what}"] = {
                        "value": single["median"] / several["median"],
                        "samples": int(min(single["samples"], several["samples"])),
                    }
    return found


def _scaling(groups: Sequence[Group], main: Sequence[int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for group in (group for group in groups if " beside " in group["name"]):
        own = _own(group, main)
        for size in {tuple(case["size"]) for case in group["cases"]} - {tuple(main)}:
            for how in ("call", "graph"):
                for what, case in _own(group, size, how).items():
                    ratios = timing.ratios(case["nanoseconds"], own[what]["nanoseconds"])
                    name = f"{_size(size)} over {_size(main)}, a pixel: {what}"
                    found[name + (", in a graph" if how == "graph" else "")] = _figure(ratios)
    return found


def _models(groups: Sequence[Group]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for group in groups:
        times = {case["what"]: case["nanoseconds"] for case in group["cases"]}
        if group["name"] == "models":
            for name in (name for name in times if not name.startswith(UNIT)):
                plain = evolution.plain_of(name)
                if plain in times and plain != name:
                    found[f"ten steps: {name} over {plain}"] = _figure(timing.ratios(times[name], times[plain]))
        if group["name"] == "numbers of steps":
            few, ten, many = (times[evolution.steps_name(count)] for count in evolution.STEPS)
            found["100 steps over 10, a step"] = _figure(timing.ratios(many, ten))
            found["10 steps over 1, a step"] = _figure(timing.ratios(ten, few))
    return found


def figures(
    groups: Sequence[Group],
    main: Sequence[int],
    threads: int,
    training: dict[str, Any] | None = None,
    memory: dict[str, float] | None = None,
) -> dict[str, dict[str, Any]]:
    """The figures that targets are about, and some more, by name: "value" and "samples", the number of turns.

    Args:
      groups: what `suite.run` measured in each process.
      main: the size that others are compared with.
      threads: of the processes that are not about threads. Where it is not 1, ratios to the unit and the kernels' share
        of training are no figures.
      training: of `training.training`.
      memory: of `training.growth`.
    """
    found = _operations(groups, main, threads) | _scaling(groups, main) | _models(groups)
    if training and threads == 1:
        found["training: share"] = {"value": training["share"], "samples": training["milliseconds"]["samples"]}
    for name, value in (memory or {}).items():
        found["training: bytes" + (", loss of all states" if name == "trajectory" else "")] = {
            "value": value,
            "samples": 1,
        }
    return {name: figure for name, figure in found.items() if figure is not None}


def targets(measured: dict[str, dict[str, Any]]) -> list[Target]:
    """`TARGETS`, and one for each model that is compared with its plain form."""
    models = [name for name in measured if name.startswith("ten steps: ")]
    return [*TARGETS, *(Target(name, name, MODEL_LIMIT, samples=timing.LEAST) for name in models)]


def verdicts(measured: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Each target with its figure.

    Returns:
      Records with "title", "value" (None where it was not measured), "samples", "sense" ("at most" or "at least"),
      "limit", "aim", and "met" and "aim_met": booleans, or None for no value, no aim, or too few samples.
    """
    return [_verdict(target, measured.get(target.figure)) for target in targets(measured)]


def _verdict(target: Target, figure: dict[str, Any] | None) -> dict[str, Any]:
    value, samples = (figure["value"], figure["samples"]) if figure else (None, 0)
    judged = value is not None and math.isfinite(value) and samples >= target.samples

    def meets(bound: float | None) -> bool | None:
        if bound is None or value is None or not judged:
            return None
        return bool(value >= bound if target.at_least else value <= bound)

    return {
        "title": target.title,
        "value": value,
        "samples": samples,
        "sense": "at least" if target.at_least else "at most",
        "limit": target.limit,
        "aim": target.aim,
        "met": meets(target.limit),
        "aim_met": meets(target.aim),
    }
