"""Loads the native library and checks that it fits the TensorFlow that is installed."""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import warnings
from typing import Any

import tensorflow as tf

__all__ = ["BUILD_INFO", "LIBRARY", "check_tensorflow", "library"]

LIBRARY = pathlib.Path(__file__).with_name("_blade_ops.so")
BUILD_INFO = pathlib.Path(__file__).with_name("_build_info.json")


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def check_tensorflow(built: str, running: str) -> None:
    """Raises ImportError unless two TensorFlow versions share their minor release: within it the C++ ABI is stable."""
    if _minor(built) != _minor(running):
        raise ImportError(
            f"blade_tf: its native library was built against TensorFlow {built}, but TensorFlow {running} is "
            "installed. "
            f"Either `pip install 'tensorflow=={_minor(built)}.*'`, or rebuild: "
            "`pip install --force-reinstall --no-deps --no-build-isolation .` in blade_tf's sources."
        )


def _check_distributions() -> None:
    names = {d.name.lower().replace("_", "-") for d in importlib.metadata.distributions() if d.name}
    if {"tensorflow", "tensorflow-cpu"} <= names:
        warnings.warn(
            "blade_tf: both `tensorflow` and `tensorflow-cpu` are installed, in the same folder; uninstalling one "
            "breaks "
            "the other. Run `pip uninstall tensorflow tensorflow-cpu`, then install one of them.",
            stacklevel=2,
        )


def _load() -> Any:
    _check_distributions()
    info = json.loads(BUILD_INFO.read_text()) if BUILD_INFO.exists() else {}
    if not LIBRARY.exists():
        reason = (
            "installed without its native library (BLADE_TF_NATIVE=0)"
            if info.get("native") is False
            else f"not built: {LIBRARY.name} is missing"
        )
        warnings.warn(
            f"blade_tf: {reason}; falling back to stock TensorFlow operations, which give the same numbers tens of "
            "times "
            "slower. With a C++ compiler, `pip install .` in blade_tf's sources builds the library.",
            stacklevel=2,
        )
        return None
    if "tensorflow" in info:
        check_tensorflow(info["tensorflow"], tf.__version__)
    try:
        return tf.load_op_library(str(LIBRARY))
    except tf.errors.NotFoundError as error:
        raise ImportError(
            f"blade_tf: {LIBRARY.name} does not load with TensorFlow {tf.__version__}; it was built against "
            f"{info.get('tensorflow', 'an unknown version')}. Reinstall blade_tf. ({error})"
        ) from error


library = _load()
