"""Reference sequences of a folder of photographs, solved in parallel, kept in files and read one at a time."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import zipfile
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import ml_collections
import numpy as np

from blade_tf import files, image_io, parallel, pdes
from blade_tf.colour import CHANNELS, JOINT
from blade_tf.data import prepare, reference

__all__ = ["References", "colour_config", "reference_sequences"]

SMALLEST = 11  # pixels of the operating grid: the window of SSIM


class References(Mapping[str, np.ndarray]):
    """Sequences float32 [frames + 1, H, W, C] by the photographs' names; each is read from its file when asked for.

    Attributes:
      left_out: the names of the photographs that cannot be used, and why.
    """

    def __init__(self, paths: dict[str, pathlib.Path], left_out: dict[str, str]) -> None:
        self._paths = paths
        self.left_out = left_out

    def __getitem__(self, name: str) -> np.ndarray:
        path = self._paths[name]
        try:
            with np.load(path, allow_pickle=False) as archive:
                return archive["frames"]
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"output: {path} is damaged, delete it: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def colour_config(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The config of an equation's reference on colour photographs; only the first and the last state are kept.

    Channels evolve independently, but for coherence-enhancing diffusion, whose channels share one diffusion tensor:
    that of the mean of their structure tensors, so that a gray photograph evolves alike in one channel and in three.
    """
    changed = config.copy_and_resolve_references()
    ref = changed.reference
    ref.steps_per_frame, ref.frames = ref.steps_per_frame * ref.frames, 1
    if changed.pde.name == JOINT:
        # The scheme takes the sum of the channels' tensors, and compares it with the square root of its contrast.
        pde: Any = pdes.build(JOINT, **changed.pde.parameters)
        with changed.unlocked():
            changed.pde.parameters.contrast = CHANNELS**2 * pde.contrast
    return changed


def _solve(config_json: str, folder: str, name: str, target: str, refine: int, colour: bool) -> None:
    config = ml_collections.ConfigDict(json.loads(config_json))
    image, smallest = image_io.read_image(pathlib.Path(folder, name)).pixels, SMALLEST * config.reference.scale
    if min(image.shape[:2]) < smallest:
        raise image_io.ImageError(
            f"{name}: expected at least {smallest} pixels a side, got {image.shape[1]} x {image.shape[0]}"
        )
    if colour and image.shape[2] != CHANNELS:
        raise image_io.ImageError(f"{name}: expected a colour photograph, got a gray one")
    image = image if colour else image_io.luma(image)
    # Independent channels are solved one after the other: compiled for several, a step takes many times as long.
    parts = [image] if config.pde.name == JOINT else np.split(image, image.shape[2], axis=2)
    sequences = [reference.reference_sequence(part, config, refine) for part in parts]
    files.write_npz(target, {"frames": np.concatenate(sequences, axis=-1)})


def _solve_or_reason(*job: Any) -> tuple[str, str | None]:
    name = job[2]
    try:
        _solve(*job)
    except image_io.ImageError as error:
        return name, str(error)
    return name, None


def reference_sequences(
    config: ml_collections.ConfigDict,
    images: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    workers: int | None = None,
    *,
    refine: int = 1,
    only: Collection[str] | None = None,
    colour: bool = False,
) -> References:
    """Solves config.pde on each photograph of a folder, or finds the result of an earlier call.

    Args:
      config: see `blade_tf.config`; for colour that of `colour_config`.
      images: the folder; photographs are used as they are, at the resolution of the reference.
      cache: receives a file for each photograph, equation and reference.
      workers: number of processes.
      refine: divides the reference's time step, for a check of its convergence.
      only: the names of the photographs to use; by default all.
      colour: the photographs themselves instead of their luma; gray ones are left out.
    """
    folder, cache = pathlib.Path(images), pathlib.Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    relevant = {key: value for key, value in prepare.relevant(config).items() if key in ("pde", "reference")}
    targets = {}
    for path in image_io.find_images(folder):
        name = path.relative_to(folder).as_posix()
        if only is not None and name not in only:
            continue
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        key = json.dumps([relevant, refine, content, *(["colour"] if colour else [])])
        targets[name] = cache / f"{path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    missing = [
        (json.dumps(relevant), str(folder), name, str(target), refine, colour)
        for name, target in targets.items()
        if not target.exists()
    ]
    done = parallel.run(_solve_or_reason, missing, workers=workers, description="reference", unit="image")
    left_out = {name: reason for name, reason in done if reason}
    return References({name: target for name, target in targets.items() if name not in left_out}, left_out)
