"""Results of earlier runs, kept in files by everything that they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pathlib
import platform
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from blade_tf import files, image_io, models, native

__all__ = ["Memory", "digest_of_images", "digest_of_model", "digest_of_program", "machine"]

log = logging.getLogger("blade_tf")

# Parts of the program that show results and do not make them.
SHOWING = {"bench", "card.py", "cli", "demo.py", "figures.py", "report", "text.py", "verdicts.py"}


class Memory:
    """Computes each result once; a later run with the same key reads it.

    Args:
      folder: receives a JSON file for each result; unlike results.json, these hold NaN and infinities.
      common: what all results depend on, as JSON.
    """

    def __init__(self, folder: pathlib.Path, common: Sequence[Any]) -> None:
        self.folder, self.common = folder, list(common)
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, kind: str, name: str, key: Sequence[Any], compute: Callable[[], Any]) -> Any:
        """The result of `compute`, plain JSON, or that of the run which computed it.

        Args:
          kind, name: of what the result is; they begin the file's name.
          key: what else it depends on, as JSON.
          compute: is called without arguments.

        Raises:
          ValueError: for a damaged file.
          OSError: if the file cannot be written.
        """
        digest = _sha256(json.dumps([kind, *self.common, *key]).encode())
        path = self.folder / f"{kind}-{name}-{digest[:16]}.json"
        known = path.exists()
        log.info("%s: %s%s", name, kind.replace("_", " "), ", kept from an earlier run" if known else "")
        if not known:
            files.write_text(path, json.dumps(compute(), default=lambda value: value.tolist()))
        try:
            return json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"cache: {path} is damaged, delete it: {error}") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of_files(folder: pathlib.Path, paths: Sequence[pathlib.Path]) -> str:
    contents = {os.fspath(path.relative_to(folder)): _sha256(path.read_bytes()) for path in paths}
    return _sha256(json.dumps(contents, sort_keys=True).encode())


def digest_of_images(folder: str | os.PathLike[str]) -> str:
    """Changes with the name or the content of any image of a folder."""
    return _digest_of_files(pathlib.Path(folder), image_io.find_images(folder))


def digest_of_program() -> str:
    """Changes with the package, but for what only shows results."""
    folder = pathlib.Path(models.__file__).parent
    sources = [path for path in folder.rglob("*.py") if not SHOWING.intersection(path.relative_to(folder).parts)]
    return _digest_of_files(folder, sorted([*sources, *folder.glob("*.so")]))


def digest_of_model(trained: models.Trained) -> str:
    """Changes with the weights, the spec, the config or the rivals of a model."""
    weights = {name: _sha256(value.tobytes()) for name, value in trained.weights.items()}
    record = [trained.name, trained.spec, trained.config, trained.baselines, weights]
    return _sha256(json.dumps(record, sort_keys=True).encode())


def machine() -> dict[str, Any]:
    """What times are measured on."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "tensorflow": tf.__version__,
        "native": native.library is not None,
    }
