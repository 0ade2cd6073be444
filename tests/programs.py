"""Runs the console programs as processes of their own, forked from one that has imported TensorFlow already."""

import dataclasses
import multiprocessing
import os
import pathlib
import runpy
import sys
import time
from collections.abc import Callable

CONFIG = pathlib.Path(__file__).with_name("tiny_config.py")

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["blade_tf.apply", "blade_tf.evaluate", "blade_tf.export", "blade_tf.train", "ml_collections.config_flags"]
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


class Program:
    """blade-NAME, running."""

    def __init__(self, folder: pathlib.Path, name: str, *arguments: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.out, self.err = folder / "out", folder / "err"
        self.out.touch()
        self.err.touch()
        words = [f"blade-{name}", *map(str, arguments)]
        self.process = _context.Process(target=_run, args=(name, words, self.out, self.err))
        self.process.start()

    def wait(self) -> Outcome:
        self.process.join()
        return Outcome(self.process.exitcode, self.out.read_text(), self.err.read_text())

    def signal_when(self, number: int, condition: Callable[[], bool]) -> Outcome:
        """Sends a signal as soon as the condition holds, if the program has not ended by then."""
        while self.process.is_alive() and not condition():
            time.sleep(0.001)
        if self.process.is_alive():
            os.kill(self.process.pid, number)
        return self.wait()


def _run(name: str, words: list[str], out: pathlib.Path, err: pathlib.Path) -> None:
    for path, descriptor in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
    sys.argv = words
    runpy.run_module(f"blade_tf.cli.{name}", run_name="__main__", alter_sys=True)
