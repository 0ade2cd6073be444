"""TFRecord shards of reference sequences: written whole or not at all, read in any order."""

from __future__ import annotations

import os
import pathlib
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["RecordReader", "decode", "encode", "write_shard"]


def encode(frames: np.ndarray, source: str) -> bytes:
    """A tf.train.Example of one sequence, float32 [F, H, W, C], and the name of its photograph."""

    def integers(values: Iterable[int]) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def text(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    feature = {
        "frames": text(np.ascontiguousarray(frames, "<f4").tobytes()),
        "shape": integers(frames.shape),
        "source": text(os.fsencode(source)),
    }
    # Otherwise the order of the features, a map, varies from process to process.
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def decode(record: bytes) -> np.ndarray:
    """The frames of an encoded sequence, float32 [F, H, W, C]."""
    feature = tf.train.Example.FromString(record).features.feature
    frames = np.frombuffer(feature["frames"].bytes_list.value[0], "<f4")
    return frames.reshape(list(feature["shape"].int64_list.value))


def write_shard(path: pathlib.Path, records: Iterable[bytes]) -> int:
    """Writes a TFRecord file, under its final name only when complete, or raises OSError; returns how many records."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    count = 0
    try:
        with tf.io.TFRecordWriter(str(partial)) as writer:
            for record in records:
                writer.write(record)
                count += 1
        os.replace(partial, path)
    except tf.errors.OpError as error:
        raise OSError(f"cannot write {path}: {error.message}") from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _damaged(path: pathlib.Path, what: str) -> ValueError:
    return ValueError(f"data: {path} is damaged: {what}; delete it and prepare the data again")


class RecordReader:
    """Random access to the records of TFRecord files, so that a training run can name any position and continue there.

    A TFRecord is its length (uint64, little-endian), a checksum of that, the data, a checksum of the data.
    All files are read once to check them.

    Raises:
      ValueError: for a damaged file, named.
      OSError: for one that is missing.
    """

    def __init__(self, paths: Iterable[pathlib.Path]) -> None:
        self._spans: list[tuple[pathlib.Path, int, int]] = []
        for path in paths:
            with path.open("rb") as file:
                try:
                    count = sum(1 for _ in tf.data.TFRecordDataset(str(path), buffer_size=2**20))
                except tf.errors.DataLossError as error:
                    raise _damaged(path, error.message) from error
                for _ in range(count):
                    (length,) = struct.unpack("<Q", file.read(8))
                    self._spans.append((path, file.tell() + 4, length))
                    file.seek(length + 8, os.SEEK_CUR)
                if file.read(1):
                    raise _damaged(path, "truncated")  # within a length, where TensorFlow sees the end

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int) -> np.ndarray:
        path, offset, length = self._spans[index]
        with path.open("rb") as file:
            file.seek(offset)
            record = file.read(length)
        try:
            return decode(record)
        except Exception as error:
            raise _damaged(path, f"no record at byte {offset}") from error

    def batch(self, indices: Any) -> np.ndarray:
        """Sequences of one shape, stacked: float32 [B, F, H, W, C]."""
        return np.stack([self[int(i)] for i in np.asarray(indices).ravel()])
