"""Frames brought onto one another: the paper's burst test (Figs 21 and 22), and frames whose true flow is known."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tqdm

from blade_tf import flow_io, image_io, metrics, report
from blade_tf.apps import align
from blade_tf.compare.findings import Table
from blade_tf.compare.resample import BICUBIC, QUINTIC, Method, classical, learned

__all__ = ["burst", "true_flow"]

BORDER = 16  # pixels that do not count, as what they show may have been outside of the other frame
MODELS = ("resample", "resample_noisy", "resample_paper")
SHOWN = (BICUBIC, QUINTIC, "resample")
CROP = slice(120, 312), slice(160, 448)
AGAIN = {"resample_noisy": "resample"}  # one pass removes the noise


def _methods() -> dict[str, Method]:
    return classical() | {name: learned(name) for name in MODELS}


def _flow(reference: np.ndarray, moving: np.ndarray) -> np.ndarray:
    return align.align(reference[np.newaxis], moving[np.newaxis])[0].numpy()


def _psnr(found: np.ndarray, truth: np.ndarray) -> float:
    inside = slice(BORDER, -BORDER)
    return float(metrics.psnr(found[np.newaxis, inside, inside], truth[np.newaxis, inside, inside])[0])


def burst(folder: pathlib.Path) -> tuple[Table, np.ndarray] | None:
    """Frame 0 resampled onto frame 1, that onto frame 2, along flows by `align`; None for fewer than three frames.

    Returns:
      The mean PSNR after one hop and after two, and the errors after two of the first triple as a picture.
    """
    paths = sorted(folder.glob("frame*.png"))
    if len(paths) < 3:
        return None
    frames = [image_io.luma(image_io.read_image(path).pixels) for path in paths]
    backward = [_flow(after, before) for before, after in itertools.pairwise(frames)]
    methods = _methods()
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    errors: dict[str, np.ndarray] = {}
    for k in tqdm.tqdm(range(len(frames) - 2), desc="burst"):
        for name, method in methods.items():
            once = method(frames[k], backward[k])
            twice = methods[AGAIN.get(name, name)](once, backward[k + 1])
            scores[name].append((_psnr(once, frames[k + 1]), _psnr(twice, frames[k + 2])))
            if k == 0 and name in SHOWN:
                errors[name] = report.error_image(twice[CROP].astype(np.float32), frames[2][CROP], 10.0)
    table = Table(
        f"A burst, {folder.name}",
        f"{len(frames)} frames, luma: each is resampled onto the next, and the result onto the one "
        "after, along the flow that `align` finds; mean PSNR in dB against these frames, without "
        f"{BORDER} pixels at the borders. The frames have noise of their own, and things hide one another, so "
        "differences between methods are small, and what smooths is rewarded.",
        ["method", "one hop", "two hops"],
        [[name, *(f"{value:.2f}" for value in np.mean(found, axis=0))] for name, found in scores.items()],
    )
    return table, report.side_by_side(list(errors.values()), [f"10 x error, {name}" for name in errors], scale=2)


def true_flow(folders: Sequence[pathlib.Path]) -> Table:
    """Frame 11 resampled onto frame 10 along the true flow, where that is known."""
    methods = _methods()
    rows: Mapping[str, list[str]] = {name: [] for name in methods}
    for folder in tqdm.tqdm(folders, desc="true flow"):
        first, second = (image_io.luma(image_io.read_image(folder / f"frame{n}.png").pixels) for n in (10, 11))
        flow = flow_io.read_flow(folder / "flow10.flo")
        known = flow_io.known(flow)
        moved = np.where(known[..., np.newaxis], flow, 0)
        for name, method in methods.items():
            squared = np.square(method(second, moved)[..., 0].astype(np.float64) - first[..., 0])[known]
            # The median: a mean would be that of what is hidden in one of the frames.
            rows[name].append(f"{-10 * np.log10(np.median(squared)):.2f}")
    return Table(
        "Frames along the true flow",
        "Frame 11 resampled onto frame 10: -10 log10 of the median squared error, in dB, where the flow is known.",
        ["method", *(folder.name for folder in folders)],
        [[name, *values] for name, values in rows.items()],
    )
