"""Error against time for each equation: BLADE's forms and classical schemes, compiled, one thread, one run."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf
import tqdm

from blade_tf import image_io, metrics, models, parallel, pdes, references, report
from blade_tf.data import reference

__all__ = ["STEPS", "chart", "curves", "work_precision"]

STEPS = (2, 5, 10, 20, 50, 100, 200, 400)
REFINEMENTS = (1, 2, 4)
BLADE = "BLADE "  # begins the names of the models' curves, as an equation, its scheme and a model share theirs
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
            found[f"{BLADE}{entry.name}", model.steps * factor] = blade(model, factor)
    for scheme in pdes.schemes(config.pde.name):
        for count in steps:
            found[scheme, count] = coarse(scheme, count)
    # Two may share a curve, as more steps need not be better: the better one comes last.
    for tuned in sorted(trained[0].baselines.values(), key=lambda tuned: tuned["psnr"]):
        scheme = tuned.get("scheme", config.pde.name)
        for count in sorted({*steps, tuned["steps"]}):
            key = f"{scheme}, tuned for {tuned['steps']} steps", count
            found[key] = coarse(scheme, count, tuned["time_scale"], **tuned["parameters"])
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


def _psnr(state: np.ndarray, expected: np.ndarray) -> float:
    return float(metrics.psnr(expected, state)[0])  # NaN for a state with NaN, -inf for one with infinities


def _measure(trained: list[models.Trained], images: str, cache: str, steps: tuple[int, ...]) -> dict[str, Any]:
    tf.get_logger().setLevel("ERROR")  # it warns of many functions that are traced once each
    config = ml_collections.ConfigDict(trained[0].config)
    sequences = references.reference_sequences(config, images, cache, 1)
    solvers = {key: tf.function(solver, autograph=False) for key, solver in _solvers(trained, config, steps).items()}
    scores: dict[tuple[str, int], list[float]] = {key: [] for key in solvers}
    identity = []
    for name in tqdm.tqdm(sequences, desc="precision", unit="image"):
        frames = sequences[name]
        identity.append(_psnr(frames[:1], frames[-1:]))
        for key, solver in solvers.items():
            scores[key].append(_psnr(solver(tf.constant(frames[:1])).numpy(), frames[-1:]))
    first = next(iter(sequences))
    u = tf.constant(sequences[first][:1])
    mean = {key: float(np.mean(found)) for key, found in scores.items()}
    seconds = _timed({key: solvers[key] for key in mean if np.isfinite(mean[key]) and mean[key] > np.mean(identity)}, u)
    return {
        "size": [int(u.shape[2]), int(u.shape[1])],
        "images": len(sequences),
        "identity": float(np.mean(identity)),
        "reference_milliseconds": 1e3 * _reference_seconds(config, pathlib.Path(images, first)),
        "points": [
            {
                "curve": curve,
                "steps": count,
                "blade": curve.startswith(BLADE),
                "psnr": psnr,
                "milliseconds": 1e3 * seconds[curve, count] if (curve, count) in seconds else None,
            }
            for (curve, count), psnr in mean.items()
        ],
    }


def work_precision(
    trained: Sequence[models.Trained],
    images: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    steps: Sequence[int] = STEPS,
) -> dict[str, Any]:
    """Measures the precision and the time of all ways to an equation's stopping time, in a process of one thread.

    BLADE with its own step and smaller ones; each classical scheme with the equation's parameters, and with those of
    the first model's `baselines`, with each number of steps. All are compiled, checked against the reference on all
    photographs, and then timed in turns on the first of them, on the operating grid: the median after a warm-up.

    Args:
      trained: models of one equation.
      images: a folder of photographs.
      cache: of `references.reference_sequences`.
      steps: the numbers of steps of the classical schemes.

    Returns:
      "size" ([width, height] of the timed image), "images" (their number), "identity" (PSNR of doing nothing, dB),
      "reference_milliseconds" (the reference itself, once, on its own grid), and "points": each with "curve" ("BLADE"
      and a model's name, or a scheme's), "steps", "blade" (whether it is a model's), "psnr" (mean over the photographs,
      dB; not finite where a state was not) and "milliseconds" (None for what is no better than doing nothing).
    """
    job = list(trained), str(images), str(cache), tuple(steps)
    (found,) = parallel.run(_measure, [job], description="work-precision", unit="equation", isolate=True)
    return found


def curves(found: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """By curve, milliseconds and PSNR of what `work_precision` timed."""
    timed: dict[str, list[tuple[float, float]]] = {}
    for point in found["points"]:
        if point["milliseconds"] is not None:
            timed.setdefault(point["curve"], []).append((point["milliseconds"], point["psnr"]))
    return timed


def chart(found: dict[str, Any], title: str) -> str:
    """The measurement as a chart; ValueError where nothing was timed."""
    return report.curve_chart(
        curves(found), title=title, x_label="milliseconds, one thread", y_label="PSNR against the reference, dB"
    )
