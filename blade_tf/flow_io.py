"""Optical flow in Middlebury's .flo files."""

from __future__ import annotations

import pathlib

import numpy as np
from numpy.typing import ArrayLike

from blade_tf.files import PathLike, atomic_write

__all__ = ["UNKNOWN", "known", "read_flow", "write_flow"]

UNKNOWN = 1e9  # beyond it a displacement marks a pixel without one
TAG = b"PIEH"  # 202021.25 as a little-endian float32


def known(flow: np.ndarray) -> np.ndarray:
    """Where a flow [..., 2] is known, bool [...]: both displacements are at most `UNKNOWN`."""
    return (np.abs(flow) <= UNKNOWN).all(-1)


def read_flow(path: PathLike) -> np.ndarray:
    """The displacements of a .flo file, float32 [H, W, 2], along x first; those of unknown pixels are beyond 1e9.

    Raises:
      ValueError: the file is not a .flo file, or not whole.
      OSError: it cannot be read.
    """
    data = pathlib.Path(path).read_bytes()
    if len(data) < 12 or data[:4] != TAG:
        raise ValueError(f"{path}: expected a .flo file, which starts with {TAG.decode()} and its size")
    width, height = (int(size) for size in np.frombuffer(data, "<i4", 2, 4))
    if width < 1 or height < 1 or len(data) != 12 + 8 * width * height:
        raise ValueError(
            f"{path}: expected {width} x {height} displacements in 8 bytes each, got {len(data) - 12} bytes"
        )
    return np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)


def write_flow(path: PathLike, flow: ArrayLike) -> None:
    """Writes displacements [H, W, 2] as a .flo file, in float32, atomically.

    Raises:
      ValueError: another shape, or no pixel.
      OSError: see `blade_tf.files.atomic_write`.
    """
    flow = np.asarray(flow)
    if flow.ndim != 3 or flow.shape[2] != 2 or not flow.size:
        raise ValueError(f"flow: expected [H, W, 2] of at least one pixel, got {list(flow.shape)}")
    size = np.array(flow.shape[1::-1], "<i4").tobytes()
    atomic_write(path, TAG + size + np.ascontiguousarray(flow, "<f4").tobytes())
