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
        "source": text(source.encode()),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def decode(record: bytes) -> np.ndarray:
    """The frames of an encoded sequence, float32 [F, H, W, C]."""
    feature = tf.train.Example.FromString(record).features.feature
    frames = np.frombuffer(feature["frames"].bytes_list.value[0], "<f4")
    return frames.reshape(list(feature["shape"].int64_list.value))


def write_shard(path: pathlib.Path, records: Iterable[bytes]) -> int:
    """Writes a TFRecord file under its final name only when complete; returns the number of records."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    count = 0
    try:
        with tf.io.TFRecordWriter(str(partial)) as writer:
            for record in records:
                writer.write(record)
                count += 1
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return count


class RecordReader:
    """Random access to the records of TFRecord files, so that a training run can name any position and continue there.

    A TFRecord is its length (uint64, little-endian), a checksum of that, the data, a checksum of the data.
    """

    def __init__(self, paths: Iterable[pathlib.Path]) -> None:
        self._spans: list[tuple[pathlib.Path, int, int]] = []
        for path in paths:
            end = path.stat().st_size
            with path.open("rb") as file:
                position = 0
                while position < end:
                    header = file.read(12)
                    length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else end
                    if position + 16 + length > end:
                        raise ValueError(
                            f"data: {path} is truncated at byte {position}; delete it and prepare the data again"
                        )
                    self._spans.append((path, position + 12, length))
                    position += 16 + length
                    file.seek(position)

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
            raise ValueError(
                f"data: {path} holds a damaged record at byte {offset}; delete it and prepare the data again"
            ) from error

    def batch(self, indices: Any) -> np.ndarray:
        """Sequences of one shape, stacked: float32 [B, F, H, W, C]."""
        return np.stack([self[int(i)] for i in np.asarray(indices).ravel()])
