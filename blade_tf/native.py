"""Loads the native library and checks that it fits the TensorFlow that is installed."""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import warnings
from typing import Any

import tensorflow as tf

__all__ = ["BUILD_INFO", "GPU_LIBRARY", "LIBRARY", "XLA_LIBRARY", "check_tensorflow", "library", "xla"]

LIBRARY = pathlib.Path(__file__).with_name("_blade_ops.so")
GPU_LIBRARY = LIBRARY.with_name("_blade_ops_gpu.so")
XLA_LIBRARY = LIBRARY.with_name("_blade_ops_xla.so")
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
        loaded = tf.load_op_library(str(LIBRARY))
    except tf.errors.NotFoundError as error:
        raise ImportError(
            f"blade_tf: {LIBRARY.name} does not load with TensorFlow {tf.__version__}; it was built against "
            f"{info.get('tensorflow', 'an unknown version')}. Reinstall blade_tf. ({error})"
        ) from error
    _load_gpu()
    return loaded


def _load_beside(path: pathlib.Path, consequence: str) -> bool:
    """Adds further kernels where they were built; whether it did."""
    if not path.exists():
        return False
    try:
        tf.load_library(str(path))
    except tf.errors.NotFoundError as error:
        warnings.warn(
            f"blade_tf: {path.name} does not load, so that {consequence}. Reinstall blade_tf. ({error})",
            stacklevel=4,
        )
        return False
    return True


def _load_gpu() -> None:
    """Adds the kernels for GPUs; they need no GPU to be loaded."""
    _load_beside(GPU_LIBRARY, "operations run on the CPU")


def _load_xla() -> bool:
    """Adds the kernels for programs that XLA compiles for the CPU."""
    return _load_beside(XLA_LIBRARY, "XLA does not compile its operations")


library = _load()
xla = library is not None and _load_xla()
