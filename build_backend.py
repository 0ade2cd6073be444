"""setuptools' build backend with one rule more: TensorFlow is a build requirement of the native library alone.

Environment variables of a build:
  BLADE_TF_TENSORFLOW  `tensorflow` (default) or `tensorflow-cpu`: the distribution that the package requires.
  BLADE_TF_NATIVE      `1` (default), or `0` for a package without the native library, which needs no compiler.
  CXX, CXXFLAGS        the compiler, `g++` by default, and flags added to those of setup.py.
"""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import shutil
import sys
import sysconfig
from typing import Any

from setuptools.build_meta import *  # noqa: F403

VERSION = "2.21"
DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu")


def _switch(name: str, choices: tuple[str, ...]) -> str:
    value = os.environ.get(name) or choices[0]
    if value not in choices:
        sys.exit(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
    return value


def native() -> bool:
    return _switch("BLADE_TF_NATIVE", ("1", "0")) == "1"


def tensorflow() -> str:
    return _switch("BLADE_TF_TENSORFLOW", DISTRIBUTIONS)


def requirement() -> str:
    return f"{tensorflow()}=={VERSION}.*"


def compiler() -> list[str]:
    """The C++ compiler's command; ends the build with one message where there is none."""
    command = shlex.split(os.environ.get("CXX") or "g++")
    if shutil.which(command[0]) is None:
        sys.exit(
            f"blade_tf: no C++ compiler: `{command[0]}` was not found. Either install one (`apt-get install g++`), or "
            "name one in CXX, or set BLADE_TF_NATIVE=0 to install without the native library, on slower stock ops."
        )
    return command


def check() -> None:
    """Ends, before anything is downloaded, a build without a compiler or one that would bring both TensorFlows."""
    if native():
        compiler()
    # An isolated build hides the packages of the environment it installs into from sys.path.
    found = importlib.metadata.distributions(path=[sysconfig.get_path("purelib"), *sys.path])
    installed = sorted({d.name.lower().replace("_", "-") for d in found if d.name} & set(DISTRIBUTIONS))
    if len(installed) == 2:
        sys.exit(
            "blade_tf: both `tensorflow` and `tensorflow-cpu` are installed, in the same folder. "
            "Run `pip uninstall tensorflow tensorflow-cpu`, then install one of them."
        )
    if installed and installed != [tensorflow()]:
        sys.exit(
            f"blade_tf: `{installed[0]}` is installed, but this build requires `{tensorflow()}`, which owns the same "
            f"folder. Either set BLADE_TF_TENSORFLOW={installed[0]}, or run `pip uninstall {installed[0]}`."
        )


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    check()
    return [requirement()] if native() else []


get_requires_for_build_editable = get_requires_for_build_wheel
