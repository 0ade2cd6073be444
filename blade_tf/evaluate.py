"""The evaluation of a model against the reference solver, beside classical schemes and simpler filters."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf
import tqdm

from blade_tf import baselines, files, image_io, metrics, models, references, report
from blade_tf.data import reference

__all__ = [
    "Row",
    "assess",
    "cells",
    "compare",
    "evaluate",
    "long_run",
    "rows",
    "score",
    "statistics",
    "stress_images",
    "summary",
    "table",
]

WHAT = {
    "identity": "doing nothing",
    "coarse_10": "classical scheme on the operating grid, as many steps as BLADE",
    "coarse_10_tuned": "classical scheme, as many steps as BLADE, tuned on the validation photographs",
    "coarse_converged": "classical scheme on the operating grid, converged in time",
    "coarse_tuned": "classical scheme, any number of steps, tuned on the validation photographs",
    "single_filter": "one fixed filter, least squares",
    "least_squares": "BLADE, least squares",
    "blade": "BLADE, trained end to end",
}
TUNED = "classical scheme, tuned on the validation photographs"
LONG_RUN = 300
_OWN_CONFIG = "a trained model comes with its own; give one for a .keras file alone"

Predictor = Callable[[tf.Tensor], tf.Tensor]
Scores = dict[str, dict[str, tuple[float, float]]]
Observer = Callable[[str, np.ndarray, dict[str, np.ndarray], Scores], None]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table: what it is, and what computes the state at the stopping time from the input [N, H, W, C]."""

    what: str
    predict: Predictor


def rows(
    config: ml_collections.ConfigDict, model: models.EvolutionModel, trained: models.Trained | None
) -> dict[str, Row]:
    """The rows of the table by name, in its order; without a trained model those that need no more than the other two.

    Each of `trained.baselines` makes a row of its name.
    """

    def coarse(
        what: str, steps: int, scheme: str | None = None, time_scale: float = 1.0, parameters: Mapping[str, float] = {}
    ) -> Row:
        def predict(u: tf.Tensor) -> tf.Tensor:
            return reference.coarse_sequence(u, config, steps, scheme=scheme, time_scale=time_scale, **parameters)

        return Row(f"{what} ({scheme or config.pde.name}, {steps} steps)", predict)

    found = {
        "identity": Row(WHAT["identity"], tf.identity),
        "coarse_10": coarse(WHAT["coarse_10"], config.reference.frames),
        "coarse_converged": coarse(WHAT["coarse_converged"], baselines.converged_steps(config)),
        "blade": Row(WHAT["blade"], model.evolve),
    }
    if trained:
        found["blade"] = Row(f"{WHAT['blade']} ({trained.spec['form']})", model.evolve)
        for name, tuned in trained.baselines.items():
            what = WHAT.get(name, TUNED)
            found[name] = coarse(what, tuned["steps"], tuned.get("scheme"), tuned["time_scale"], tuned["parameters"])
        for name in ("single_filter", "least_squares"):
            found[name] = Row(WHAT[name], trained.model(name).evolve)
    places = {name: place for place, name in enumerate(WHAT)}
    return {name: found[name] for name in sorted(found, key=lambda name: places.get(name, places["coarse_tuned"]))}


def score(predicted: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """PSNR and SSIM of one state [H, W, C], unclipped, for intensities of range 1; NaN for one that is not finite."""
    if not np.isfinite(predicted).all():
        return np.nan, np.nan
    pair = expected[np.newaxis], predicted[np.newaxis]
    return float(metrics.psnr(*pair)[0]), float(metrics.ssim(*pair)[0])


def compare(
    table_rows: Mapping[str, Row],
    sequences: Mapping[str, np.ndarray],
    observe: Observer | None = None,
) -> Scores:
    """PSNR and SSIM of each row on each photograph, with one photograph at a time in memory.

    Args:
      table_rows: what `rows` returns, or some of it.
      sequences: reference sequences, such as `References`.
      observe: called for each photograph with its name, its sequence, the rows' states and the scores so far.
    """
    scores: Scores = {row: {} for row in table_rows}
    for name in tqdm.tqdm(sequences, desc="evaluate", unit="image"):
        frames = sequences[name]
        states = {row: entry.predict(tf.constant(frames[:1])).numpy()[0] for row, entry in table_rows.items()}
        for row, state in states.items():
            scores[row][name] = score(state, frames[-1])
        if observe:
            observe(name, frames, states, scores)
    return scores


def statistics(scores: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """Mean, standard deviation and worst PSNR and mean SSIM over photographs, NaN if a state was not finite on some."""
    psnr, ssim = np.array(list(scores.values())).T
    return {
        "psnr": psnr.mean(),
        "psnr_std": psnr.std(),
        "psnr_worst": psnr.min(),
        "ssim": ssim.mean(),
        "diverged": int(np.isnan(psnr).sum()),
    }


def summary(table_rows: Mapping[str, Row], scores: Scores) -> list[dict[str, Any]]:
    """What metrics.json says of each row: see `evaluate`."""
    found = []
    blade = np.array([psnr for psnr, _ in scores["blade"].values()])
    for name, row in table_rows.items():
        psnr = np.array([psnr for psnr, _ in scores[name].values()])
        entry = {"name": name, "what": row.what, **statistics(scores[name])}
        if name != "blade":
            # NaN is never the nearer one.
            nearer = (blade > psnr) | (np.isnan(psnr) & ~np.isnan(blade))
            entry |= {"blade_gain": blade.mean() - psnr.mean(), "blade_nearer": int(nearer.sum())}
        found.append(entry)
    return found


def stress_images() -> dict[str, list[np.ndarray]]:
    """Images unlike photographs, [H, W, 1] in [0, 1]: noise, gray and black-and-white, and step edges in some
    directions.
    """
    rng = np.random.default_rng(0)
    shape = 96, 96, 1
    y, x, _ = np.mgrid[: shape[0], : shape[1], :1]
    noise = [rng.random(shape), rng.integers(0, 2, shape)]
    edges = [x < 48, y < 48, x + 2 * y < 144, (x // 12 + y // 12) % 2]
    return {
        "noise": [image.astype(np.float32) for image in noise],
        "edges": [image.astype(np.float32) for image in edges],
    }


def long_run(model: models.EvolutionModel, images: Iterable[np.ndarray]) -> dict[str, Any]:
    """300 steps from each of some images [H, W, C]: whether all states are finite, the largest excess over the range of
    the image that a state came from, and the largest change of its mean.
    """
    overshoots, drifts = [0.0], [0.0]
    for u in images:
        final = model.evolve(tf.constant(u[np.newaxis]), LONG_RUN).numpy()[0].astype(np.float64)
        overshoots += [final.max() - u.max(), u.min() - final.min()]
        drifts.append(abs(final.mean() - u.mean(dtype=np.float64)))
    # Unlike Python's, numpy's maximum of NaN is NaN.
    overshoot, drift = np.max(overshoots), np.max(drifts)
    finite = bool(np.isfinite(overshoot) and np.isfinite(drift))
    return {"finite": finite, "overshoot": overshoot, "mean_drift": drift}


def assess(
    model: models.EvolutionModel,
    trained: models.Trained | None,
    config: ml_collections.ConfigDict,
    images: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    workers: int | None = None,
    observe: Observer | None = None,
) -> dict[str, Any]:
    """What `evaluate` returns but for the model's name, of arguments as of `rows`, `evaluate` and `compare`."""
    ref = config.reference
    reached, wanted = model.steps * model.dt, ref.frames * ref.steps_per_frame * ref.dt
    if not np.isclose(reached, wanted, rtol=1e-6, atol=0):
        raise ValueError(f"model: its {model.steps} steps end at {reached:g}, the config's reference at {wanted:g}")
    sequences = references.reference_sequences(config, images, cache, workers)
    if not sequences:
        raise ValueError(f"images: no usable photograph in {images}: {json.dumps(sequences.left_out)}")
    first = next(iter(sequences))
    refined = references.reference_sequences(config, images, cache, workers, refine=2, only=[first])
    table_rows = rows(config, model, trained)
    scores = compare(table_rows, sequences, observe)
    inputs = {"photographs": (sequences[name][0] for name in sequences), **stress_images()}
    return {
        "images": len(sequences),
        "rows": summary(table_rows, scores),
        "long_run": {"steps": LONG_RUN} | {kind: long_run(model, found) for kind, found in inputs.items()},
        "stable_dt": model.stable_dt,
        "reference_convergence": {first: score(sequences[first][-1], refined[first][-1])[0]},
        "per_image": scores,
        "left_out": sequences.left_out,
    }


def evaluate(
    model: str | os.PathLike[str],
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    config: ml_collections.ConfigDict | None = None,
    workers: int | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Evaluates a model on photographs against the reference, at the stopping time.

    Luma; the reference at full resolution; its states averaged over blocks; the model from the first of them.

    Args:
      model: what `blade_tf.load` takes. A .keras file holds no config and no simpler filters: `config` is used then,
        and the rows that need them are left out.
      images: a folder of photographs, used as they are. One at a time is in memory, and one for each process while the
        references are solved.
      output: receives metrics.json and pictures/.
      config: for a .keras file alone; see `blade_tf.config`.
      workers: number of processes for the reference.
      cache: keeps the reference sequences for later runs; by default output/reference.

    Returns:
      What metrics.json holds: "model", "images" (their number), "rows" (mean, standard deviation and worst PSNR in dB,
      mean SSIM, on how many photographs the state was not finite; but for BLADE's own row, by how much BLADE's mean
      PSNR is higher, and on how many photographs), "long_run" (300 steps: the largest excess over the input's range and
      the largest change of a mean, for the photographs, noise and step edges), "stable_dt" (of the model),
      "reference_convergence" (PSNR in dB of the reference against itself with half the time step, first photograph),
      "per_image", "left_out".

    Raises:
      ValueError: for an unknown model, a config that is missing, superfluous or of another stopping time, or a folder
        without usable photographs.
      OSError: if `output` cannot be written.
    """
    trained = None if str(model).endswith(".keras") else models.load_trained(model)
    if trained:
        trained.check_task("evolution")
    loaded = trained.model() if trained else models.load(model)
    if (config is None) != bool(trained):
        raise ValueError(f"config: {'expected one, as a .keras file holds none' if config is None else _OWN_CONFIG}")
    if config is None:
        config = ml_collections.ConfigDict(trained.config)  # type: ignore[union-attr]
    out = pathlib.Path(output)
    out.mkdir(parents=True, exist_ok=True)

    def picture(name: str, frames: np.ndarray, states: dict[str, np.ndarray], scores: Scores) -> None:
        sheet = report.side_by_side(
            [frames[0], frames[-1], states["blade"], report.error_image(states["blade"], frames[-1], 10.0)],
            ["input", "reference", f"BLADE, {scores['blade'][name][0]:.2f} dB", "10 x difference"],
        )
        path = out / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image_io.write_image(path, image_io.Image(sheet.astype(np.float32) / 255))

    found = assess(loaded, trained, config, images, cache or out / "reference", workers, picture)
    results = {"model": trained.name if trained else str(model), **found}
    files.write_json(out / "metrics.json", results)
    return results


def _against(results: dict[str, Any]) -> str:
    """Which rows BLADE is nearer to the reference than, by the mean PSNR."""
    others = [row for row in results["rows"] if row["name"] != "blade"]
    if results["rows"][-1]["diverged"]:
        return "BLADE diverges"
    ahead = [row["name"] for row in others if row["diverged"] or row["blade_gain"] > 0]
    behind = [f"{row['name']} ({-row['blade_gain']:.2f} dB nearer)" for row in others if row["name"] not in ahead]
    text = f"BLADE is nearer to the reference than {', '.join(ahead) or 'no other row'}"
    return f"{text}; not nearer than {', '.join(behind)}" if behind else text


def cells(row: dict[str, Any]) -> list[str]:
    """PSNR, its standard deviation and worst, and SSIM as text."""
    if row["diverged"]:
        return ["diverged", "-", "-", "-"]
    return [f"{row['psnr']:.2f}", f"{row['psnr_std']:.2f}", f"{row['psnr_worst']:.2f}", f"{row['ssim']:.4f}"]


def table(results: dict[str, Any]) -> str:
    """The rows of `evaluate`'s results as text."""
    lines = []
    for row in results["rows"]:
        ahead = "-" if row["name"] == "blade" else f"{row['blade_nearer']}"
        what = row["what"] + (f"; diverged on {row['diverged']}" if row["diverged"] else "")
        lines.append([row["name"], *cells(row), ahead, what])
    text = [
        f"{results['model']} on {results['images']} photographs, PSNR in dB against the reference at the stopping time",
        report.text_table(["row", "PSNR", "std", "worst", "SSIM", "BLADE nearer on", "what it is"], lines),
        _against(results),
    ]
    for kind, run in results["long_run"].items():
        if kind != "steps":
            text.append(
                f"{results['long_run']['steps']} steps, {kind}: {'finite' if run['finite'] else 'NOT FINITE'}, "
                f"range exceeded by {run['overshoot']:.2g}, mean changed by {run['mean_drift']:.2g}"
            )
    if results["stable_dt"]:
        text.append(f"maximum principle proved for steps up to {results['stable_dt']:g}")
    text += [
        f"reference against itself with half its time step: {psnr:.1f} dB ({name})"
        for name, psnr in results["reference_convergence"].items()
    ]
    text += [f"left out {name}: {reason}" for name, reason in results["left_out"].items()]
    return "\n".join(text)
