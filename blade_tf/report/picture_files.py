"""Pictures as files."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from blade_tf import files

__all__ = ["write_jpeg", "write_png"]

_QUALITY = 90


def write_png(path: str | os.PathLike[str], picture: np.ndarray) -> None:
    """Writes a picture, uint8 [H, W, 3]."""
    _write(path, picture, "PNG")


def write_jpeg(path: str | os.PathLike[str], picture: np.ndarray) -> None:
    """Writes a picture, uint8 [H, W, 3], to be looked at, not computed with."""
    _write(path, picture, "JPEG", quality=_QUALITY)


def _write(path: str | os.PathLike[str], picture: np.ndarray, kind: str, **options: int) -> None:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, kind, optimize=True, **options)
    files.atomic_write(Path(path), data.getvalue())
