"""Runs the processes of a benchmark one after the other and gathers what they found."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

from blade_tf.bench import figures, machine, suite, worker
from blade_tf.bench.settings import Settings

__all__ = ["FORMAT", "gather", "run"]

FORMAT = 1
# Keeps freed memory for the next call, as in a program that does one thing only: otherwise whatever ran before a case
# decides whether its output is new memory, whose first use takes as long as the computation.
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(1 << 36), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}
# Without start-up messages; nothing that is measured has a part in oneDNN.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONWARNINGS": "ignore"}


def _in_process(job: suite.Job) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        request, answer = (pathlib.Path(folder, name) for name in ("job.json", "result.json"))
        request.write_text(worker.encoded(job))
        variables = QUIET | os.environ | {"BLADE_TF_SIMD": job.simd}
        if not job.kind.startswith("memory"):
            variables |= ALLOCATOR
        process = subprocess.Popen(
            [sys.executable, "-m", worker.__name__, str(request), str(answer)], env=variables, stdin=subprocess.DEVNULL
        )
        try:
            status = process.wait()
        finally:
            process.kill()
            process.wait()
        if not answer.exists():
            reason = f"was killed by signal {-status}, perhaps for lack of memory: smaller --sizes need less"
            reason = reason if status < 0 else f"ended with status {status}, see above"
            raise ChildProcessError(f"the process for {job.label} {reason}")
        found = json.loads(answer.read_text())
    if "error" in found:
        raise ValueError(found["error"])
    return found


def gather(settings: Settings, parts: list[dict[str, Any]], where: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The results of all processes as one record, plain JSON.

    Args:
      settings: what was to be measured.
      parts: what `suite.run` found in each process.
      where: `machine.machine`, from before.
      seconds: that all of it took.

    Returns:
      "format", "machine", "versions", "settings", "seconds", "rows" (`figures.rows`), "training", "memory", "figures"
      (name to value and number of samples), "verdicts" (`figures.verdicts`), "checks", "missing" and "failed" (peers,
      with the reason).
    """
    groups = [group for part in parts for group in part["groups"]]
    common: dict[str, Any] = {
        "training": next((part["training"] for part in parts if "training" in part), None),
        "memory": {name: value for part in parts for name, value in part.get("memory", {}).items()},
    }
    measured = figures.figures(groups, settings.main, settings.threads[0], **common)
    return {
        "format": FORMAT,
        "machine": where,
        "versions": machine.versions(),
        "settings": json.loads(worker.encoded(settings)) | {"main": list(settings.main)},
        "seconds": seconds,
        "rows": figures.rows(groups),
        **common,
        "figures": measured,
        "verdicts": figures.verdicts(measured),
        "checks": [check for part in parts for check in part["checks"]],
        "missing": {name: reason for part in parts for name, reason in part.get("missing", {}).items()},
        "failed": {name: reason for part in parts for name, reason in part["failed"].items()},
    }


def run(settings: Settings) -> dict[str, Any]:
    """Measures everything, each number of threads and each SIMD level in a process of its own; see `gather`.

    Raises:
      ValueError: something is not installed, or computes something wrong.
      ChildProcessError: a process died.
    """
    start, where = time.monotonic(), machine.machine()
    parts = [_in_process(job) for job in suite.jobs(settings)]
    return gather(settings, parts, where, time.monotonic() - start)
