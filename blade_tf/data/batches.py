"""Prepared sequences in batches, each a function of the seed and its step alone."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator

import ml_collections
import numpy as np

from blade_tf import config as config_lib
from blade_tf.data import examples, prepare, records

__all__ = ["Data", "load_data", "read_ahead", "training_batch"]


@dataclasses.dataclass(frozen=True)
class Data:
    """Prepared sequences: a reader of those for training, those for validation [N, F, H, W, C], and their origin.

    `photographs` has the SHA-256 of each photograph.
    """

    train: records.RecordReader
    validation: np.ndarray
    photographs: dict[str, str]
    folder: pathlib.Path


def load_data(folder: str | os.PathLike[str], config: ml_collections.ConfigDict) -> Data:
    """Opens a folder that `blade-prepare` wrote; ValueError if it is incomplete or was prepared with another config."""
    index = prepare.load_index(folder)
    different = config_lib.differences(index["config"], prepare.relevant(config))
    if different:
        raise ValueError(f"data: {folder} was prepared with another config ({'; '.join(different)})")

    def reader(part: str) -> records.RecordReader:
        return records.RecordReader(
            pathlib.Path(folder, shard + ".tfrecord") for shard in index["shards"] if shard.startswith(part)
        )

    train, validation = reader("train"), reader("validation")
    counts = {"train": len(train), "validation": len(validation)}
    if counts != index["sequences"]:
        raise ValueError(
            f"data: expected {index['sequences']} sequences in {folder}, got {counts}; prepare the data again"
        )
    if not len(validation):
        raise ValueError(f"data: {folder} holds no validation photographs: all of them were left out")
    if train[0].shape[1] < config.train.crop:
        raise ValueError(
            f"train.crop: expected at most the prepared crops' {train[0].shape[1]}, got {config.train.crop}"
        )
    rng, finish = np.random.default_rng([config.seed, 2]), examples.of(config).finish
    finished = np.stack([finish(validation[i], config, rng) for i in range(len(validation))])
    return Data(train, finished, index["sha256"], pathlib.Path(folder))


def training_batch(data: records.RecordReader, step: int, config: ml_collections.ConfigDict) -> np.ndarray:
    """The batch of one step, a function of config.seed and the step alone: [B, F, crop, crop, C].

    Each epoch visits all sequences in a random order; each takes a random crop in one of the square's eight symmetries.
    """
    count, size, kind = config.train.batch, config.train.crop, examples.of(config)
    rng = np.random.default_rng([config.seed, 1, step])
    windows = []
    for position in range(step * count, (step + 1) * count):
        epoch, offset = divmod(position, len(data))
        sequence = data[_epoch_order(len(data), config.seed, epoch)[offset]]
        y, x = rng.integers(sequence.shape[1] - size + 1), rng.integers(sequence.shape[2] - size + 1)
        window = kind.turn(sequence[:, y : y + size, x : x + size], int(rng.integers(4)), bool(rng.integers(2)))
        windows.append(kind.finish(window, config, rng))
    return np.stack(windows)


@functools.lru_cache(maxsize=4)
def _epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, 0, epoch]).permutation(count)


def read_ahead(data: records.RecordReader, first: int, config: ml_collections.ConfigDict) -> Iterator[np.ndarray]:
    """The training batches of the steps from `first` to config.train.steps, read ahead while the model trains."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pending: collections.deque[concurrent.futures.Future[np.ndarray]] = collections.deque()
        for step in range(first, config.train.steps):
            pending.append(pool.submit(training_batch, data, step, config))
            if len(pending) > 4:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
