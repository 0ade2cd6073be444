"""What one process measures: groups of cases, each with the unit among them, checked and then timed in turns."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import tqdm

from blade_tf.bench import cases, evolution, inputs, peers, timing, training
from blade_tf.bench.settings import Settings, Size

__all__ = ["Job", "jobs", "run"]

log = logging.getLogger("blade_tf")


@dataclasses.dataclass(frozen=True)
class Job:
    """A process's part of a benchmark.

    Attributes:
      settings: of the whole.
      threads: the process's number of threads.
      simd: the process's SIMD level.
      kind: "all" (every group), "main" (the operations at the main size), "memory" or
        "memory of a trajectory" (how training's peak memory grows).
    """

    settings: Settings
    threads: int
    simd: str
    kind: str

    @property
    def label(self) -> str:
        """Of progress bars."""
        return f"{self.simd}, {self.threads} thread{'s' if self.threads > 1 else ''}"


def jobs(settings: Settings) -> list[Job]:
    """The processes of a benchmark, in order."""
    (first, *more), (best, *lower) = settings.threads, settings.simd
    found = [Job(settings, first, best, "all")]
    found += [Job(settings, threads, best, "main") for threads in more]
    found += [Job(settings, first, simd, "main") for simd in lower]
    if settings.models:
        found += [Job(settings, first, best, kind) for kind in ("memory", "memory of a trajectory")]
    return found


class _Recorder:
    """Checks and times groups of cases.

    Attributes:
      groups: name, and for each case what it is and nanoseconds a pixel and operation in each turn, NaN for none.
      checks: records of `check.compare`.
      failed: peers' cases that could not be timed, with the reason.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.groups: list[dict[str, Any]] = []
        self.checks: list[dict[str, Any]] = []
        self.failed: dict[str, str] = {}
        self._passed: set[str] = set()  # names: cases hold images

    def _passes(self, case: cases.Case) -> bool:
        if case.name in self._passed:
            return True
        try:
            if case.check is None:
                case.run()
            else:
                self.checks.append(case.check())
        except Exception as error:
            # A peer that is wrong or does not compile is no reason to measure nothing; we are.
            if case.by == cases.OWN or case.what.startswith("filter2D"):
                raise
            self.failed[case.name] = " ".join(str(error).split())[:300] or type(error).__name__
            log.warning("%s is left out: %s", case.name, self.failed[case.name])
            return False
        self._passed.add(case.name)
        return True

    def group(self, name: str, members: list[cases.Case]) -> None:
        """Measures cases in turns with each other."""
        label = f"{self.job.label}: {name}"
        progress = tqdm.tqdm(members, desc=f"{label}, checks", unit="case", leave=False)
        members = [case for case in progress if self._passes(case)]
        samples = timing.interleaved(
            [case.run for case in members],
            self.job.settings.repeats,
            self.job.settings.seconds,
            description=label,
        )
        records = []
        for case, seconds in zip(members, samples, strict=True):
            record = {key: getattr(case, key) for key in ("what", "by", "how", "channels", "work")}
            pixels = case.size[0] * case.size[1]
            records.append(
                record | {"size": list(case.size), "nanoseconds": (1e9 * seconds / (pixels * case.work)).tolist()}
            )
        self.groups.append({"name": name, "threads": self.job.threads, "simd": self.job.simd, "cases": records})

    def peer(self, name: str, main: inputs.Inputs) -> None:
        """Measures the cases of a peer, which is left out if they cannot be made."""
        try:
            members = peers.peers(name, main)
        except Exception as error:
            self.failed[name] = " ".join(str(error).split())[:300] or type(error).__name__
            log.warning("%s is left out: %s", name, self.failed[name])
            return
        self.group(f"{members[0].by} at {_name(main.size)}", cases.units(main)[:1] + members)


def _name(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _all(job: Job, record: _Recorder, picture: np.ndarray, names: list[str] | None) -> dict[str, Any]:
    settings = job.settings
    main = inputs.make(picture, settings.main)
    own = cases.units(main) + cases.operations(main)
    record.group(f"operations at {_name(settings.main)}", own + cases.copies(main))
    for size in sorted(set(settings.sizes) - {settings.main}):
        other = inputs.make(picture, size)
        # The main size again, turn by turn beside the other.
        members = [*own, *cases.units(other), *cases.operations(other), *cases.copies(other)]
        if size[0] * size[1] < settings.main[0] * settings.main[1]:
            members += cases.graphs(other)
        record.group(f"operations at {_name(size)} beside {_name(settings.main)}", members)
    absent = peers.missing(settings.peers)
    for name in settings.peers:
        if name not in absent:
            record.peer(name, main)
    found: dict[str, Any] = {"missing": absent}
    if settings.models:
        record.group("models", cases.units(main)[:1] + evolution.model_cases(main, names))
        record.group("numbers of steps", cases.units(main)[:1] + evolution.step_counts(main))
        found["training"] = training.training(main.gray, settings.repeats, settings.seconds)
    return found


def run(job: Job, names: list[str] | None = None) -> dict[str, Any]:
    """Measures a process's part; the process has its number of threads and its SIMD level already.

    Args:
      job: the part.
      names: the models to measure instead of all.

    Returns:
      "groups", "checks" and "failed", see `_Recorder`, and of the kind "all" "missing" (peers) and "training", of the
      others "memory".

    Raises:
      ValueError: OpenCV or the native library is not installed.
      MismatchError: an operation of this package computes something wrong.
    """
    cases.library()
    found: dict[str, Any] = {}
    record = _Recorder(job)
    if job.kind.startswith("memory"):
        trajectory = job.kind == "memory of a trajectory"
        log.info("%s: %s", job.label, job.kind)
        found["memory"] = {"trajectory" if trajectory else "final": training.growth(trajectory)}
    else:
        picture = inputs.photograph(job.settings.image)
        if job.kind == "all":
            found |= _all(job, record, picture, names)
        else:
            main = inputs.make(picture, job.settings.main)
            members = cases.units(main) + cases.operations(main)
            if job.threads > 1:
                members.append(cases.at_once(main, job.threads))
            record.group(f"operations at {_name(job.settings.main)}", members)
    return found | {"groups": record.groups, "checks": record.checks, "failed": record.failed}
