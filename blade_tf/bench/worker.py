"""One process of a benchmark, which `blade_tf.bench.benchmark` starts as python -m blade_tf.bench.worker JOB RESULT."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pathlib
import signal
import sys
from typing import Any

from blade_tf.bench.settings import Settings, processors

__all__ = ["decoded", "encoded", "main"]


def encoded(job: Any) -> str:
    """A `suite.Job` as JSON."""
    return json.dumps(dataclasses.asdict(job))


def decoded(text: str) -> dict[str, Any]:
    """The fields of the `suite.Job` that `encoded` wrote."""
    fields = json.loads(text)
    lists = {name: tuple(value) for name, value in fields["settings"].items() if isinstance(value, list)}
    lists["sizes"] = tuple((width, height) for width, height in lists["sizes"])
    return fields | {"settings": Settings(**fields["settings"] | lists)}


def main(arguments: list[str]) -> None:
    """Measures the job of the first file and writes the result, or "error", to the second."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent as well, which then ends its processes
    job, result = (pathlib.Path(argument) for argument in arguments)
    fields = decoded(job.read_text())
    # The last processors: the first one usually serves the machine's interrupts.
    os.sched_setaffinity(0, processors()[-fields["threads"] :])
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(fields["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.get_logger().setLevel("ERROR")  # it warns of functions that are traced for each size
    logging.basicConfig(format="%(message)s")
    logging.getLogger("blade_tf").setLevel(logging.INFO)
    from blade_tf.bench import suite

    try:
        found = suite.run(suite.Job(**fields))
    except (ValueError, OSError, MemoryError, tf.errors.OpError) as error:
        if os.environ.get("BLADE_TF_DEBUG"):
            raise
        found = {"error": getattr(error, "message", "") or str(error) or type(error).__name__}
    result.write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
