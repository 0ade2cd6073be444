"""What the programs share: help, flags for a config, and errors without a traceback."""

from __future__ import annotations

import difflib
import logging
import os
import pathlib
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

import ml_collections
import tensorflow as tf
import tqdm
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from blade_tf import colour, train
from blade_tf import config as config_lib

__all__ = ["Files", "check_files", "define_config", "define_files", "main", "only_with", "refuse", "report"]

MENDABLE = (
    ValueError,
    TypeError,
    OSError,
    MemoryError,
    tf.errors.OpError,
    train.DivergedError,
)


def define_config(use: str = "default: tv_flow_paper's") -> flags.FlagHolder:
    """The flag --config: a file with get_config(), and overrides such as --config.train.steps=1000."""
    return config_flags.DEFINE_config_file(
        "config",
        None,  # with a default, absl would read the file, and fail, while this module is imported
        f"Path of a config file; {use}. Any key can be replaced, as in --config.train.steps=1000.",
        lock_config=True,
    )


class Files(NamedTuple):
    """The flags that `define_files` defines."""

    input: flags.FlagHolder
    output: flags.FlagHolder
    beside: flags.FlagHolder
    export: flags.FlagHolder
    portable: flags.FlagHolder
    channels: flags.FlagHolder


def define_files() -> Files:
    """The flags of a program that converts image files, exports a SavedModel that does, or both."""
    return Files(
        flags.DEFINE_string("input", None, "Image file, or folder of images."),
        flags.DEFINE_string("output", None, "Image file, or folder where the input is one."),
        flags.DEFINE_bool("beside", False, "Also write a picture of the result beside the input, NAME_beside.png."),
        flags.DEFINE_string("export", None, "New folder for a SavedModel of the same computation."),
        flags.DEFINE_bool("portable", False, "With --export: loads with TensorFlow alone, but is slower."),
        flags.DEFINE_integer("channels", 1, "With --export: 1, gray, or 3; default: 1."),
    )


def check_files(*further: str) -> None:
    """ValueError for flags of `define_files` that do not go together, and for further ones given without --input."""
    given = flags.FLAGS
    if bool(given.input) != bool(given.output) or not (given.input or given.export):
        raise ValueError("expected --input and --output, or --export, or all three")
    only_with("export", "portable", "channels")
    only_with("input", "beside", *further)
    if given.channels not in (1, colour.CHANNELS):
        raise ValueError(f"channels: expected 1 or {colour.CHANNELS}, got {given.channels}")


def _default_config() -> pathlib.Path:
    package = pathlib.Path(config_lib.__file__).parent
    installed, source = (folder / "configs" / "tv_flow_paper.py" for folder in (package, package.parent))
    return installed if installed.exists() else source


def _keys(config: ml_collections.ConfigDict, prefix: str = "") -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for key, value in config.items():
        name = prefix + key
        keys |= _keys(value, f"{name}.") if isinstance(value, ml_collections.ConfigDict) else {name: value}
    return keys


def _known_keys() -> dict[str, Any]:
    """Those of evolution's configs, then those that only other tasks' have."""
    known: dict[str, Any] = {}
    for default in config_lib.TASKS.values():
        known |= {name: value for name, value in _keys(default()).items() if name not in known}
    return known


def _key_lines() -> list[str]:
    """Each key under the first task whose configs have it; other tasks say which of those above they have not."""
    lines: list[str] = []
    known: set[str] = set()
    for task, default in config_lib.TASKS.items():
        keys = _keys(default())
        missing = sorted(known - keys.keys())
        whole = [section for section in {name.partition(".")[0] for name in missing} if section not in default()]
        lacks = sorted(whole) + [name for name in missing if name.partition(".")[0] not in whole]
        text = f'Task "{task}"' + (f", as above but for {', '.join(lacks)}, and" if known else "")
        lines.append(textwrap.fill(f"{text}:", 120, break_on_hyphens=False))
        lines += [f"  --config.{name}={value!r}" for name, value in keys.items() if name not in known]
        known |= keys.keys()
    return lines


def _help(module: Any) -> str:
    lines = [module.__doc__, "Flags:"]
    for flag in flags.FLAGS.get_flags_for_module(__name__) + flags.FLAGS.get_flags_for_module(module.__name__):
        name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
        lines.append(textwrap.fill(f"{name}: {flag.help}", 120, initial_indent="  ", subsequent_indent="      "))
    if "config" in flags.FLAGS:
        lines += [
            "\nKeys of a config and their defaults. Files under configs/ have values of their own.",
            *_key_lines(),
        ]
    return "\n".join([*lines, "\nWith BLADE_TF_DEBUG=1 in the environment, errors show where they were raised."])


def _unknown_key(arguments: list[str]) -> str | None:
    known = _known_keys()
    for argument in arguments:
        found = re.match(r"--?config\.([^=]+)", argument)
        if found and found[1] not in known:
            near = difflib.get_close_matches(found[1], known, 1)
            hint = f"did you mean --config.{near[0]}?" if near else "--help lists the keys"
            return f"unknown key --config.{found[1]}, {hint}"
    return None


def _foreign_key(text: str, arguments: list[str]) -> str | None:
    """The override that an error is about, which names no more than the part of it that the config lacks."""
    lacking = re.fullmatch(r"[\"']*(\w+)[\"']*", text)
    for argument in arguments if lacking else ():
        found = re.match(r"--?config\.([^=]+)", argument)
        if found and lacking and lacking[1] in found[1].split("."):
            return found[1]
    return None


def _config_path(arguments: list[str]) -> str:
    paths = [
        value or following
        for argument, following in zip(arguments, [*arguments[1:], ""], strict=True)
        for value in re.findall(r"^--?config(?:$|=(.*))", argument)
    ]
    return paths[-1]


def _config_error(error: Exception, arguments: list[str]) -> str:
    """What is wrong with a config file, a program that may fail in any way, or with the overrides of its keys."""
    unknown = _unknown_key(arguments)
    if unknown:
        return unknown
    path = _config_path(arguments)
    text = str(error)
    foreign = _foreign_key(text, arguments)
    if foreign:
        return f"--config={path}: this config has no key {foreign}"
    near = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', text)
    if near:
        return f"--config={path}: unknown key {near[2]!r}, did you mean {near[1]!r}?"
    if isinstance(error, SyntaxError):
        return f"--config={path}: line {error.lineno}: {error.msg}"
    if isinstance(error, AttributeError) and error.name == "get_config":
        return f"--config={path}: expected a file with a function get_config()"
    return f"--config={path}: {type(error).__name__}: {text}"


def _parse(arguments: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(arguments)
    except flags.Error as error:
        text = re.sub(r"flag --(\w+)=None: Flag --\1 must have a value.*", r"--\1 is required.", str(error))
        _stop(re.sub(r"Traceback.*?\n(?=\w)", "", text, flags=re.DOTALL))
    except Exception as error:
        _debug()
        _stop(_config_error(error, arguments))
    if "config" in flags.FLAGS and not isinstance(flags.FLAGS.config, ml_collections.ConfigDict | None):
        path = _config_path(arguments)
        found = "get_config() did not return a ConfigDict" if os.path.isfile(path) else "no such file"
        _stop(f"--config={path}: {found}")
    if len(rest) > 1:
        _stop(f"unexpected argument {rest[1]!r}; every option is a --flag=value")
    return rest


class _Log(logging.Handler):
    """Lines above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.tqdm.write(self.format(record), file=sys.stderr)


def main(function: Callable[[], None], module_name: str, default_config: bool = True) -> None:
    """Runs a program: its module's docstring is the help, and errors that a user can mend are one line and status 1."""
    if any(argument in ("--help", "-h", "-help", "-?") for argument in sys.argv[1:]):
        print(_help(sys.modules[module_name]))
        sys.exit(0)
    if (
        default_config
        and "config" in flags.FLAGS
        and not any(re.match(r"--?config(=|$)", argument) for argument in sys.argv[1:])
    ):
        sys.argv.insert(1, f"--config={_default_config()}")

    if sys.stdout is not None:  # it is where the shell closed it
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names that are not UTF-8

    def run(_: list[str]) -> None:
        absl_logging.set_verbosity(absl_logging.WARNING)
        log = logging.getLogger("blade_tf")
        log.setLevel(logging.INFO)
        log.addHandler(_Log())
        log.propagate = False
        # As an exception, so that no partial file stays behind. Training, once it runs, saves its state instead.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            function()
        except train.TrainingInterruptedError as error:
            _stop(str(error), 128 + error.signal)
        except KeyboardInterrupt:
            _stop("interrupted", 128 + signal.SIGINT)
        except MENDABLE as error:
            _debug()
            _stop(getattr(error, "message", "") or str(error) or type(error).__name__)

    app.run(run, flags_parser=_parse)


def refuse(where: str, *names: str) -> None:
    """ValueError that names the first of the flags that is given, and says where it is not expected."""
    for name in names:
        flag = flags.FLAGS[name]
        if flag.present and not (flag.boolean and flag.value == flag.default):  # --nobeside asks for nothing
            raise ValueError(f"{name}: expected none {where}, got {flag.value!r}")


def only_with(needed: str, *names: str) -> None:
    """`refuse` where --needed is not given."""
    if not flags.FLAGS[needed].value:
        refuse(f"without --{needed}", *names)


def report(failed: Mapping[str, str]) -> None:
    """Says why files failed, a line each, and exits with status 1 if any did."""
    for reason in failed.values():
        print(f"{_name()}: {reason}", file=sys.stderr)
    if failed:
        sys.exit(1)


def _debug() -> None:
    if os.environ.get("BLADE_TF_DEBUG"):
        raise


def _stop(text: str, status: int = 1) -> NoReturn:
    print(f"{_name()}: {' '.join(text.split())}", file=sys.stderr)
    sys.exit(status)


def _name() -> str:
    return f"blade-{pathlib.Path(sys.argv[0]).stem.removeprefix('blade-')}"
