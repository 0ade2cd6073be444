"""setuptools' build backend with one rule more: TensorFlow is a build requirement of the native library alone.

Environment variables of a build:
  BLADE_TF_TENSORFLOW  `tensorflow` (default) or `tensorflow-cpu`: the distribution that the package requires.
  BLADE_TF_NATIVE      `1` (default), or `0` for a package without the native library, which needs no compiler.
  BLADE_TF_CUDA        `auto` (default): the library for GPUs too, where nvcc is found in CUDA_HOME, on the PATH or in
                       /usr/local/cuda, and goes on without it if it does not build; `1` insists; `0` does without.
  BLADE_TF_XLA         `auto` (default): the library for XLA too, and goes on without it if it does not build; `1`
                       insists; `0` does without.
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


def cuda() -> str:
    return _switch("BLADE_TF_CUDA", ("auto", "1", "0"))


def xla() -> str:
    switch = _switch("BLADE_TF_XLA", ("auto", "1", "0"))
    if native():
        return switch
    if switch == "1":
        sys.exit("BLADE_TF_XLA: expected 0 or auto where BLADE_TF_NATIVE is 0, got '1'")
    return "0"


def nvcc() -> str | None:
    """CUDA's compiler, or None where there is to be no library for GPUs; ends the build where one is wanted in vain."""
    if cuda() == "0" or not native():
        if cuda() == "1":
            sys.exit("BLADE_TF_CUDA: expected 0 or auto where BLADE_TF_NATIVE is 0, got '1'")
        return None
    home = os.environ.get("CUDA_HOME")
    places = [os.path.join(home, "bin")] if home else [os.environ.get("PATH", ""), "/usr/local/cuda/bin"]
    found = shutil.which("nvcc", path=os.pathsep.join(places))
    if found is None and cuda() == "1":
        sys.exit(
            f"blade_tf: BLADE_TF_CUDA=1, but CUDA's compiler, nvcc, was not found in {os.pathsep.join(places)}. Either "
            "install the CUDA toolkit, or name its folder in CUDA_HOME, or unset BLADE_TF_CUDA."
        )
    return found


def check() -> None:
    """Ends, before anything is downloaded, a build without a compiler or one that would bring both TensorFlows."""
    if native():
        compiler()
    nvcc()
    xla()
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
