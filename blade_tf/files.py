"""Files that appear under their final name complete or not at all."""

import contextlib
import fcntl
import io
import json
import math
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["atomic_write", "lock", "write_json", "write_npz", "write_text"]

PathLike = str | os.PathLike[str]


def atomic_write(path: PathLike, data: bytes) -> None:
    """Writes a temporary file in the same folder, then renames it to `path`: readers see the old file or the new one.

    Raises:
      OSError: the folder is missing, read-only or full; the subclass that fits, naming `path`. The temporary file is
        removed, and a file already under this name is left as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".blade-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"cannot write: {error.strerror}", str(path)) from error
    finally:
        _remove(temporary)


def write_text(path: PathLike, text: str) -> None:
    """Writes UTF-8 text atomically; see `atomic_write`."""
    atomic_write(path, text.encode())


def write_json(path: PathLike, data: Any) -> None:
    """Writes strict JSON atomically: NaN and infinities become null, numpy scalars and arrays plain numbers and lists.

    Raises:
      OSError: see `atomic_write`.
      TypeError: data holds an object that JSON does not know.
    """
    text = json.dumps(_strict(data), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    # The lone surrogates of a file name that is not UTF-8 become JSON's own escapes.
    atomic_write(path, text.encode(errors="backslashreplace"))


def write_npz(path: PathLike, arrays: dict[str, np.ndarray]) -> bytes:
    """Writes arrays atomically as an uncompressed .npz, the same bytes for the same arrays; returns those bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    atomic_write(path, buffer.getvalue())
    return buffer.getvalue()


@contextlib.contextmanager
def lock(folder: PathLike) -> Iterator[None]:
    """Holds a folder, which it makes if need be, for one writing process; released however the process ends.

    Raises:
      BlockingIOError: another process holds it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(error.errno, "another process is writing there", str(folder)) from error
        yield
    finally:
        os.close(descriptor)


def _strict(data: Any) -> Any:
    if hasattr(data, "tolist"):
        data = data.tolist()
    if isinstance(data, dict):
        return {key: _strict(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_strict(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def _remove(path: Path) -> None:
    # The error that matters is the one on its way, not this clean-up's.
    with contextlib.suppress(OSError):
        path.unlink()
