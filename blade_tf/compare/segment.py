"""Segmentation beside scikit-image's `chan_vese`: which pixels they put together, and how long they take."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import skimage.segmentation
import tensorflow as tf

from blade_tf import models, report
from blade_tf.apps import segment
from blade_tf.compare.findings import Findings, Table
from blade_tf.compare.restored import in_turns, photographs

__all__ = ["agreement", "compare"]

ITERATIONS = 300
SETTINGS = segment.Settings(iterations=ITERATIONS, tolerance=0.0)
TURNS = 5
METHODS = {
    "reference solver": None,
    "BLADE, `tv_flow_paper`": "tv_flow_paper",
    "BLADE, `tv_flow`": "tv_flow",
}


def agreement(mask: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of the phase for which it is worse, after the better matching of the two phases."""

    def worse(a: np.ndarray, b: np.ndarray) -> float:
        return min(np.sum(p & q) / max(np.sum(p | q), 1) for p, q in ((a, b), (~a, ~b)))

    return float(max(worse(mask, other), worse(mask, ~other)))


def _stretched(name: str, pixels: np.ndarray) -> np.ndarray:
    """To [0, 1], as scikit-image does by itself."""
    if not np.ptp(pixels):
        raise ValueError(f"images: expected more than one value in each, got {pixels.flat[0]:g} everywhere in {name}")
    return (pixels - pixels.min()) / (pixels.max() - pixels.min())


def _peer(f: np.ndarray) -> np.ndarray:
    return skimage.segmentation.chan_vese(f[..., 0], mu=0.2, dt=0.5, tol=0, max_num_iter=ITERATIONS)


def _segmented(image: tf.Tensor, model: models.EvolutionModel | None) -> np.ndarray:
    return segment.segment(image, model=model, settings=SETTINGS).mask.numpy()


def _times(grays: dict[str, np.ndarray], loaded: dict[str, models.EvolutionModel | None]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for name, f in grays.items():
        image = tf.constant(f[np.newaxis])
        runs: dict[str, Callable[[], Any]] = {
            f"scikit-image, {kind}": functools.partial(_peer, f.astype(kind)) for kind in ("float64", "float32")
        }
        for method, model in loaded.items():
            runs[method] = functools.partial(_segmented, image, model)
        # The first turn traces.
        seconds = {method: taken[1:, 0] for method, taken in in_turns(runs, 1 + TURNS).items()}
        for method, taken in seconds.items():
            ratios = [float(np.median(seconds[peer] / taken)) for peer in list(runs)[:2]]
            rows.append([f"{name}, {f.shape[1]}x{f.shape[0]}", method, float(np.median(taken)), *ratios])
    return rows


def _picture(f: np.ndarray, masks: dict[str, np.ndarray]) -> np.ndarray:
    titles = [method.replace("`", "") for method in masks]
    return report.side_by_side([report.outlined(f, mask) for mask in masks.values()], titles, columns=2)


def compare(images: str | os.PathLike[str]) -> Findings:
    """Segments each image of a folder; the gray ones by scikit-image too.

    Args:
      images: a folder; scikit-image's example images, with coins.png and camera.png among them, for the page that is
        committed.
    """
    loaded = {method: models.load(name) if name else None for method, name in METHODS.items()}
    agreeing, colourful, pictures = [], [], {}
    grays: dict[str, np.ndarray] = {}
    for name, pixels in photographs(images, gray=False).items():
        f = _stretched(name, pixels if np.ptp(pixels, axis=-1).any() else pixels[..., :1])
        found = {
            method: segment.segment(tf.constant(f[np.newaxis]), model=model, settings=SETTINGS)
            for method, model in loaded.items()
        }
        masks = {method: result.mask[0, ..., 0].numpy() for method, result in found.items()}
        reference, *others = masks.values()
        if f.shape[2] == 1:
            grays[name] = f
            peer = _peer(f.astype(np.float64))
            agreeing.append([name, *(agreement(mask, peer) for mask in masks.values())])
            masks = {"scikit-image": peer} | masks
        else:
            means = next(iter(found.values())).means[0].numpy()
            colours = [" ".join(f"{255 * value:.0f}" for value in mean) for mean in means]
            colourful.append([name, *colours, *(agreement(mask, reference) for mask in others)])
        pictures[name] = _picture(f, masks)
    timed = {name: f for name, f in grays.items() if name in ("coins", "camera")} or grays
    _, *models_of = METHODS
    tables = [
        Table(
            "Agreement with scikit-image",
            "Intersection over union with regions of `skimage.segmentation.chan_vese` (mu = 0.2, dt = 0.5, float64), "
            f"of the phase for which it is worse, after {ITERATIONS} iterations from the same checkerboard. The "
            "reference solver is the same scheme in float32; BLADE takes the paper's mu = 0.04. Where the two "
            "populations of gray are clear, all agree. cell has none: with BLADE it ends in other regions altogether, "
            "still moving, and no method finds the right regions.",
            ["image", *METHODS],
            agreeing,
        ),
        Table(
            "Time",
            f"{ITERATIONS} iterations with the energy of each, medians of {TURNS} turns of all methods; and how many "
            "times as long scikit-image took, turn by turn, in float64, as it computes with an 8-bit image, and in "
            "float32. Compilation, once for each size of image, is not in it.",
            ["image", "method", "seconds", "float64 takes", "float32 takes"],
            _times(timed, loaded),
        ),
    ]
    if colourful:
        tables.append(
            Table(
                "Colour",
                "Chan-Vese-Sandberg: means of the two regions found by the reference solver (R G B of 255, intensities "
                "stretched to the whole range) and agreement of BLADE with it. scikit-image has no colour form.",
                ["image", "inside", "outside", *models_of],
                colourful,
            )
        )
    return Findings("segment", "Segmentation", tables, pictures=pictures)
