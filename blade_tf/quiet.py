"""TensorFlow without its start-up messages, for programs that a person watches."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys

__all__ = ["import_tensorflow"]

# What oneDNN announces, and abseil before it, whatever TF_CPP_MIN_LOG_LEVEL says.
NOTICES = (b"oneDNN custom operations are on", b"All log messages before absl::InitializeLog")


def _pass_on(end: int, stderr: int) -> None:
    with open(end, "rb") as lines, open(stderr, "wb", buffering=0) as shown:
        for line in lines:
            if not any(notice in line for notice in NOTICES):
                # Where nothing can be written, reading goes on: the import must not notice.
                with contextlib.suppress(OSError):
                    shown.write(line)


def import_tensorflow() -> None:
    """Imports TensorFlow; what that writes to stderr appears at once, without oneDNN's notice.

    A process between the two reads along, so that nothing is lost where the import ends this one. Where there is no
    such process to be had (no fork, no more processes, or stderr is closed), nothing is left out.
    """
    if "tensorflow" in sys.modules or not hasattr(os, "fork"):
        return
    opened: list[int] = []
    try:
        opened.append(os.dup(2))
        opened.extend(os.pipe())
        reader = os.fork()
    except OSError:
        for descriptor in opened:
            os.close(descriptor)
        return
    stderr, end, start = opened
    if reader == 0:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.close(start)
            os.close(2)
            _pass_on(end, stderr)
        finally:
            os._exit(0)
    os.close(end)
    os.dup2(start, 2)
    os.close(start)
    try:
        importlib.import_module("tensorflow")
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        with contextlib.suppress(ChildProcessError):  # where SIGCHLD is ignored nobody is left to wait for
            os.waitpid(reader, 0)
