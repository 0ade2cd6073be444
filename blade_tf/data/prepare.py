"""From a plain folder of photographs to TFRecord shards of training examples, in parallel and restartable."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pathlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import ml_collections
import numpy as np
import tqdm

from blade_tf import config as config_lib
from blade_tf import files, image_io, parallel
from blade_tf.data import examples, records

__all__ = ["INDEX", "load_index", "prepare"]

INDEX = "dataset.json"


def _examples(path: pathlib.Path, name: str, config: ml_collections.ConfigDict) -> list[np.ndarray]:
    rng = np.random.default_rng([config.seed, zlib.crc32(os.fsencode(name))])
    return examples.of(config).make(image_io.read_image(path).pixels, config, rng)


def _prepare_shard(config_json: str, folder: str, output: str, shard: str, names: list[str]) -> dict[str, Any]:
    config = ml_collections.ConfigDict(json.loads(config_json))
    unreadable: dict[str, str] = {}

    def encoded() -> Iterator[bytes]:
        for name in names:
            try:
                sequences = _examples(pathlib.Path(folder, name), name, config)
            except ValueError as error:
                unreadable[name] = str(error)
                continue
            for frames in sequences:
                yield records.encode(frames, name)

    count = records.write_shard(pathlib.Path(output, shard + ".tfrecord"), encoded())
    report = {"shard": shard, "images": len(names), "sequences": count, "unreadable": unreadable}
    files.write_json(pathlib.Path(output, shard + ".json"), report)
    return report


def _plan(names: list[str], data: ml_collections.ConfigDict) -> dict[str, list[str]]:
    every = data.validation_every
    parts = {"validation": names[every // 2 :: every]}
    parts["train"] = [name for name in names if name not in set(parts["validation"])]
    plan = {}
    for part, members in parts.items():
        groups = [members[i : i + data.images_per_shard] for i in range(0, len(members), data.images_per_shard)]
        plan.update({f"{part}-{i:05d}-of-{len(groups):05d}": group for i, group in enumerate(groups)})
    return plan


def relevant(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The part of a config that prepared data depend on, as plain JSON."""
    sections = {key: config[key].to_dict() for key in (*examples.of(config).sections, "data")}
    task = {} if config_lib.task(config) == "evolution" else {"task": config.task}
    return json.loads(json.dumps(task | sections | {"seed": config.seed}))


def prepare(
    config: ml_collections.ConfigDict,
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    workers: int | None = None,
    log: Callable[[str], None] = tqdm.tqdm.write,
) -> dict[str, Any]:
    """Writes the examples of a folder of photographs, such as reference sequences, as TFRecord shards for training and
    validation.

    Each shard is written whole or not at all; a run that was interrupted continues with the shards that are missing.
    The split and the crops depend on the photographs' names and config.seed alone, not on the number of workers.

    Args:
      config: see `blade_tf.config`.
      images: the folder; JPEG, PNG and TIFF files in it and below are used, unreadable ones are named and left out.
      output: a new folder, or one that an earlier run of the same config and photographs began.
      workers: number of processes; by default one for each processor.
      log: receives a line for each photograph that is left out.

    Returns:
      What dataset.json then holds: the counts, the photographs left out with the reasons, and the config.

    Raises:
      ValueError: for a config that makes no sense, too few or no usable photographs, or if `output` holds data of
        another config or other photographs.
      OSError: if `output` cannot be written, or another process is writing there.
    """
    examples.of(config).check(config)
    folder, out = pathlib.Path(images), pathlib.Path(output)
    names = [path.relative_to(folder).as_posix() for path in image_io.find_images(folder)]
    least = config.data.validation_every // 2 + 1
    if len(names) < max(least, 2):
        raise ValueError(f"images: expected at least {max(least, 2)} photographs, for validation too, got {len(names)}")
    with files.lock(out):
        return _prepare(config, folder, out, names, workers, log)


def _digest(path: pathlib.Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _prepare(
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    out: pathlib.Path,
    names: list[str],
    workers: int | None,
    log: Callable[[str], None],
) -> dict[str, Any]:
    shards = _plan(names, config.data)
    digests = {name: _digest(folder / name) for name in names}
    plan = {"config": relevant(config), "shards": shards, "sha256": digests}
    if (out / INDEX).exists():
        earlier = json.loads((out / INDEX).read_text())
        different = config_lib.differences(earlier.get("config", {}), relevant(config))
        if different:
            raise ValueError(f"output: {out} holds data of another config ({'; '.join(different)}); choose a new one")
        if earlier.get("sha256") != digests:
            raise ValueError(f"output: {out} holds data of other photographs; choose a new folder")
    else:
        files.write_json(out / INDEX, plan)

    reports, missing = [], {}
    for shard, members in shards.items():
        if (out / (shard + ".json")).exists() and (out / (shard + ".tfrecord")).exists():
            reports.append(json.loads((out / (shard + ".json")).read_text()))
        else:
            missing[shard] = members
    job = functools.partial(_prepare_shard, json.dumps(relevant(config)), str(folder), str(out))
    for report in parallel.run(job, list(missing.items()), workers=workers, description="prepare", unit="shard"):
        reports.append(report)
        for name, reason in report["unreadable"].items():
            log(f"left out {name}: {reason}")

    unreadable = {name: reason for report in reports for name, reason in report["unreadable"].items()}
    summary: dict[str, Any] = plan | {
        "images": len(names) - len(unreadable),
        "sequences": {
            part: sum(r["sequences"] for r in reports if r["shard"].startswith(part))
            for part in ("train", "validation")
        },
        "unreadable": dict(sorted(unreadable.items())),
    }
    if not summary["sequences"]["train"]:
        raise ValueError(f"images: no usable photograph among the {len(names)} in {folder}; {json.dumps(unreadable)}")
    for left_behind in (*out.glob(".*.partial"), *out.glob(".blade-*.tmp")):  # by a run that was killed
        left_behind.unlink()
    files.write_json(out / INDEX, summary)
    return summary


def load_index(data: str | os.PathLike[str]) -> dict[str, Any]:
    """The dataset.json of a prepared folder; ValueError if the folder was not prepared, or not to its end."""
    path = pathlib.Path(data) / INDEX
    if not path.exists():
        raise ValueError(f"data: {data} holds no {INDEX}; prepare it with blade-prepare")
    index = json.loads(path.read_text())
    if "sequences" not in index:
        raise ValueError(f"data: {data} is not complete; run the same blade-prepare command again to continue it")
    if "sha256" not in index:
        raise ValueError(f"data: {data} was prepared by an earlier version of blade_tf; prepare the data again")
    return index
