"""What the programs share: help, flags for a config, and errors without a traceback."""

from __future__ import annotations

import logging
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import ml_collections
from absl import app, flags
from ml_collections import config_flags

from blade_tf import config as config_lib
from blade_tf import train

__all__ = ["define_config", "main"]


def define_config() -> flags.FlagHolder:
    """The flag --config: a file with get_config(), and overrides such as --config.train.steps=1000."""
    default = pathlib.Path(config_lib.__file__).with_name("configs") / "tv_flow_paper.py"
    return config_flags.DEFINE_config_file(
        "config",
        str(default) if default.exists() else None,
        "Path of a config file. Any key can be replaced: --config.train.steps=1000.",
        lock_config=True,
    )


def _keys(config: ml_collections.ConfigDict, prefix: str = "config") -> list[str]:
    lines = []
    for key, value in config.items():
        nested = isinstance(value, ml_collections.ConfigDict)
        lines += _keys(value, f"{prefix}.{key}") if nested else [f"  --{prefix}.{key}={value!r}"]
    return lines


def _help(module: Any, with_config: bool) -> str:
    text = f"{module.__doc__}\nFlags:\n{flags.FLAGS.module_help(module.__name__)}"
    if with_config:
        text += "\n\nKeys of a config and their defaults:\n" + "\n".join(_keys(config_lib.default()))
    return text


def main(function: Callable[[], None], module_name: str) -> None:
    """Runs a program: its module's docstring is the help, and errors that a user can mend are one line and status 1."""
    module = sys.modules[module_name]
    if any(argument in ("--help", "-h", "-help", "-?") for argument in sys.argv[1:]):
        print(_help(module, "config" in flags.FLAGS))
        sys.exit(0)

    def run(arguments: list[str]) -> None:
        logging.getLogger("absl").setLevel(logging.WARNING)
        logging.getLogger("blade_tf").setLevel(logging.INFO)
        try:
            if len(arguments) > 1:
                raise ValueError(f"unexpected argument {arguments[1]!r}; every option is a --flag=value")
            function()
        except train.TrainingInterruptedError as error:
            _stop(error, 143)
        except (ValueError, TypeError, KeyError, AttributeError, OSError, train.DivergedError) as error:
            if os.environ.get("BLADE_TF_DEBUG"):
                raise
            _stop(error, 1)

    app.run(run)


def _stop(error: Exception, status: int) -> None:
    print(f"{pathlib.Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
    sys.exit(status)
