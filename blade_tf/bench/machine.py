"""What times are measured on, and with what."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import platform
from typing import Any

import tensorflow as tf

from blade_tf import native
from blade_tf.bench.settings import processors, simd_levels

__all__ = ["machine", "versions"]

CPU = pathlib.Path("/sys/devices/system/cpu/cpu0")
DISTRIBUTIONS = ("blade-tf", "numpy", "keras", "opencv-python-headless", "opencv-python", "numba", "llvmlite", "halide")


def _read(path: pathlib.Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def _model() -> str:
    lines = (_read(pathlib.Path("/proc/cpuinfo")) or "").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _caches() -> dict[str, str]:
    found = {}
    for index in sorted(CPU.glob("cache/index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        if level and kind and size:
            found[f"L{level} {kind.lower()}"] = size
    return found


def machine() -> dict[str, Any]:
    """Processor, caches, SIMD levels, frequency governor (None where it cannot be read), memory and load.

    The load is that of the last 1, 5 and 15 minutes: what else was at work, if asked before a measurement.
    """
    memory = (_read(pathlib.Path("/proc/meminfo")) or "").splitlines()
    kibibytes = [int(line.split()[1]) for line in memory if line.startswith("MemTotal")]
    return {
        "processor": _model(),
        "architecture": platform.machine(),
        "processors": os.cpu_count(),
        "usable": len(processors()),
        "caches": _caches(),
        "simd": simd_levels(),
        "governor": _read(CPU / "cpufreq" / "scaling_governor"),
        "memory_gib": round(kibibytes[0] / 2**20, 1) if kibibytes else None,
        "system": f"{platform.system()} {platform.release()}",
        "load": list(os.getloadavg()),
    }


def versions() -> dict[str, str]:
    """Of everything that was measured, and of the compiler that built the native library where that is known."""
    found = {"python": platform.python_version(), "tensorflow": tf.__version__}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if native.BUILD_INFO.exists():
        info = json.loads(native.BUILD_INFO.read_text())
        found |= {name: str(info[name]) for name in ("cxx", "flags") if name in info}
    return found
