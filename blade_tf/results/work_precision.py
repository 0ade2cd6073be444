"""Error against time for each equation: BLADE's forms and classical schemes, compiled, one thread, one run."""

from __future__ import annotations

import json
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf
import tqdm

from blade_tf import evaluate, image_io, models, parallel, pdes, references, report
from blade_tf.data import reference

__all__ = ["STEPS", "chart", "work_precision"]

STEPS = (2, 5, 10, 20, 50, 100, 200, 400)
REFINEMENTS = (1, 2, 4)
LEAST_REPEATS, MOST_REPEATS, SECONDS = 3, 25, 1.0

Solver = Callable[[tf.Tensor], tf.Tensor]


def _solvers(
    trained: Sequence[models.Trained], config: ml_collections.ConfigDict, steps: Sequence[int]
) -> dict[tuple[str, int], Solver]:
    """For each curve and number of steps, the state at the stopping time from the input [N, H, W, C]."""
    found: dict[tuple[str, int], Solver] = {}

    def blade(model: models.EvolutionModel, factor: int) -> Solver:
        return lambda u: model.evolve(u, model.steps * factor, model.dt / factor)

    def coarse(scheme: str, count: int, time_scale: float = 1.0, **parameters: float) -> Solver:
        return lambda u: reference.coarse_sequence(u, config, count, scheme=scheme, time_scale=time_scale, **parameters)

    for entry in trained:
        model = entry.model()
        for factor in REFINEMENTS:
            found[f"BLADE {entry.name}", model.steps * factor] = blade(model, factor)
    baselines = {json.dumps(tuned, sort_keys=True): tuned for tuned in trained[0].baselines.values()}.values()
    for scheme in pdes.schemes(config.pde.name):
        for count in steps:
            found[scheme, count] = coarse(scheme, count)
        for tuned in baselines:
            if tuned.get("scheme", config.pde.name) == scheme:
                curve = f"{scheme}, tuned for {tuned['steps']} steps"
                for count in steps:
                    found[curve, count] = coarse(scheme, count, tuned["time_scale"], **tuned["parameters"])
    return found


def _timed(solvers: dict[tuple[str, int], Solver], u: tf.Tensor) -> dict[tuple[str, int], float]:
    """Median seconds of each solver; in turns, so that what else the machine does meets all alike."""
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in solvers}
    for turn in tqdm.tqdm(range(MOST_REPEATS + 1), desc="time", unit="turn"):
        for key, found in seconds.items():
            # The first turn warms up, and so does a call in each turn, after others have filled the caches.
            if turn <= LEAST_REPEATS or sum(found[1:]) < SECONDS:
                solvers[key](u).numpy()
                start = time.perf_counter()
                solvers[key](u).numpy()
                found.append(time.perf_counter() - start)
    return {key: float(np.median(found[1:])) for key, found in seconds.items()}


def _reference_seconds(config: ml_collections.ConfigDict, path: pathlib.Path) -> float:
    image = image_io.luma(image_io.read_image(path).pixels)
    short = config.copy_and_resolve_references()
    short.reference.steps_per_frame = short.reference.frames = 1
    reference.reference_sequence(image, short)
    start = time.perf_counter()
    reference.reference_sequence(image, config)
    return time.perf_counter() - start


def _measure(folders: list[str], images: str, cache: str, steps: tuple[int, ...]) -> dict[str, Any]:
    tf.get_logger().setLevel("ERROR")  # it warns of many functions that are traced once each
    trained = [models.load_trained(folder) for folder in folders]
    config = ml_collections.ConfigDict(trained[0].config)
    sequences = references.reference_sequences(config, images, cache, 1)
    solvers = {key: tf.function(solver, autograph=False) for key, solver in _solvers(trained, config, steps).items()}
    psnr: dict[tuple[str, int], list[float]] = {key: [] for key in solvers}
    identity = []
    for name in tqdm.tqdm(sequences, desc="precision", unit="image"):
        frames = sequences[name]
        identity.append(evaluate.score(frames[0], frames[-1])[0])
        for key, solver in solvers.items():
            psnr[key].append(evaluate.score(solver(tf.constant(frames[:1])).numpy()[0], frames[-1])[0])
    first = next(iter(sequences))
    u = tf.constant(sequences[first][:1])
    seconds = _timed({key: solvers[key] for key, found in psnr.items() if np.isfinite(found).all()}, u)
    return {
        "size": [int(u.shape[2]), int(u.shape[1])],
        "images": len(sequences),
        "identity": float(np.mean(identity)),
        "reference_milliseconds": 1e3 * _reference_seconds(config, pathlib.Path(images, first)),
        "points": [
            {
                "curve": curve,
                "steps": count,
                "psnr": float(np.mean(psnr[curve, count])),
                "milliseconds": 1e3 * seconds[curve, count] if (curve, count) in seconds else None,
            }
            for curve, count in solvers
        ],
    }


def work_precision(
    trained: Sequence[str | os.PathLike[str]],
    images: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    steps: Sequence[int] = STEPS,
) -> dict[str, Any]:
    """Measures the precision and the time of all ways to an equation's stopping time, in a process of one thread.

    BLADE with its own step and smaller ones; each classical scheme with the equation's parameters and with those of the
    first model's baselines, with each number of steps. All are compiled, checked against the reference on all
    photographs, and then timed in turns on the first of them, on the operating grid: the median after a warm-up.

    Args:
      trained: models of one equation, as `blade_tf.models.load_trained` takes them.
      images: a folder of photographs.
      cache: of `references.reference_sequences`.
      steps: the numbers of steps of the classical schemes.

    Returns:
      "size" ([width, height] of the timed image), "images" (their number), "identity" (PSNR of doing nothing, dB),
      "reference_milliseconds" (the reference itself, on its own grid), and "points": each with "curve", "steps",
      "psnr" (mean over the photographs; NaN where a state was not finite) and "milliseconds" (None there).
    """
    job = [str(folder) for folder in trained], str(images), str(cache), tuple(steps)
    (found,) = parallel.run(_measure, [job], description="work-precision", unit="equation", isolate=True)
    return found


def chart(found: dict[str, Any], title: str) -> str:
    """The measurement as a chart; what is worse than doing nothing is left out."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for point in found["points"]:
        if point["milliseconds"] is not None and point["psnr"] > found["identity"]:
            curves.setdefault(point["curve"], []).append((point["milliseconds"], point["psnr"]))
    return report.curve_chart(
        curves, title=title, x_label="milliseconds, one thread", y_label="PSNR against the reference, dB"
    )
