"""Photographs, the PSNR and SSIM of what methods make of them, and how long they take."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import tqdm

from blade_tf import image_io, metrics

__all__ = ["in_turns", "mean_scores", "photographs"]

Problem = TypeVar("Problem")


def photographs(folder: str | os.PathLike[str], gray: bool = True) -> dict[str, np.ndarray]:
    """The photographs of a folder, float32 [H, W, 1 or 3]: their luma, or as they are.

    By name: the path below the folder without its suffix, of subfolders joined by "_".

    Raises:
      ValueError: two files of one name.
    """
    paths: dict[str, pathlib.Path] = {}
    for path in image_io.find_images(pathlib.Path(folder)):
        name = "_".join(path.relative_to(folder).with_suffix("").parts)
        if name in paths:
            raise ValueError(f"images: expected one file of each name, got {paths[name]} and {path}")
        paths[name] = path

    def read(path: pathlib.Path) -> np.ndarray:
        pixels = image_io.read_image(path).pixels
        return image_io.luma(pixels) if gray else pixels

    return {name: read(path) for name, path in paths.items()}


def mean_scores(
    methods: Mapping[str, Callable[[Problem], np.ndarray]],
    problems: Iterable[tuple[Problem, np.ndarray]],
    crop: int = 0,
    what: str = "compare",
) -> dict[str, np.ndarray]:
    """PSNR (dB, unclipped, range 1) and SSIM of each method on each problem: by name, [problems, 2].

    Args:
      methods: from a problem to the result [H, W, C].
      problems: with their truths [H, W, C].
      crop: pixels at each border that do not count.
      what: stands before the progress bar.
    """
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    inside = slice(crop, -crop or None)
    for problem, truth in tqdm.tqdm(problems, desc=what, unit="image"):
        for name, method in methods.items():
            pair = (truth[np.newaxis, inside, inside], np.asarray(method(problem))[np.newaxis, inside, inside])
            scores[name].append((float(metrics.psnr(*pair)[0]), float(metrics.ssim(*pair)[0])))
    return {name: np.array(found) for name, found in scores.items()}


def in_turns(runs: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, np.ndarray]:
    """Seconds of each turn by the clock and of the processor, of functions called in turns: by name, [turns, 2]."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            start = time.perf_counter(), time.process_time()
            run()
            found[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return {name: np.array(seconds) for name, seconds in found.items()}
