"""The evaluation of a model against the reference solver, beside the classical scheme and simpler filters."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import zipfile
from collections.abc import Callable, Collection
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf
import tqdm

from blade_tf import baselines, files, image_io, metrics, models, parallel, report
from blade_tf.data import prepare, reference

__all__ = ["ROWS", "evaluate", "predictors", "reference_sequences", "score", "table"]

ROWS = {
    "identity": "doing nothing",
    "coarse_10": "classical scheme on the operating grid, as many steps as BLADE",
    "coarse_10_tuned": "the same, tuned on the validation photographs",
    "coarse_converged": "classical scheme, converged in time",
    "coarse_tuned": "classical scheme, any number of steps, tuned on the validation photographs",
    "single_filter": "one fixed filter, least squares",
    "least_squares": "BLADE, least squares",
    "blade": "BLADE, trained end to end",
}
LONG_RUN = 300
_OWN_CONFIG = "a trained model comes with its own; give one for a .keras file alone"

Predictor = Callable[[tf.Tensor], tf.Tensor]


def predictors(
    config: ml_collections.ConfigDict, model: models.EvolutionModel, trained: models.Trained | None
) -> dict[str, Predictor]:
    """For each row of the table, what computes the state at the stopping time from the input [N, H, W, C]."""

    def coarse(steps: int, time_scale: float = 1.0, **parameters: float) -> Predictor:
        return lambda u: reference.coarse_sequence(u, config, steps, time_scale=time_scale, **parameters)

    rows: dict[str, Predictor] = {
        "identity": tf.identity,
        "coarse_10": coarse(config.reference.frames),
        "coarse_converged": coarse(baselines.converged_steps(config)),
    }
    if trained:
        for row in ("coarse_10_tuned", "coarse_tuned"):
            tuned = trained.baselines[row]
            rows[row] = coarse(tuned["steps"], tuned["time_scale"], **tuned["parameters"])
        rows["single_filter"] = trained.model("single_filter").evolve
        rows["least_squares"] = trained.model("least_squares").evolve
    rows["blade"] = model.evolve
    return {row: rows[row] for row in ROWS if row in rows}


def _reference(config_json: str, folder: str, name: str, target: str, refine: int) -> str:
    config = ml_collections.ConfigDict(json.loads(config_json))
    image = image_io.luma(image_io.read_image(pathlib.Path(folder, name)).pixels)
    if min(image.shape[:2]) < 11 * config.reference.scale:
        raise image_io.ImageError(
            f"{name}: expected at least {11 * config.reference.scale} pixels a side, got {image.shape[1]} x "
            f"{image.shape[0]}"
        )
    files.write_npz(target, {"frames": reference.reference_sequence(image, config, refine)})
    return name


def _reference_or_reason(*job: Any) -> tuple[str, str | None]:
    try:
        return _reference(*job), None
    except image_io.ImageError as error:
        return job[2], str(error)


def reference_sequences(
    config: ml_collections.ConfigDict,
    images: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    workers: int | None = None,
    refine: int = 1,
    only: Collection[str] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reference sequences of a folder of photographs, solved in parallel or read from `cache`.

    Returns:
      The sequences [frames + 1, H, W, 1] by the photographs' names, and the reasons for those left out.
    """
    folder, cache = pathlib.Path(images), pathlib.Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    relevant = {key: value for key, value in prepare.relevant(config).items() if key in ("pde", "reference")}
    targets = {}
    for path in image_io.find_images(folder):
        name = path.relative_to(folder).as_posix()
        if only is not None and name not in only:
            continue
        key = json.dumps([relevant, refine, hashlib.sha256(path.read_bytes()).hexdigest()])
        targets[name] = cache / f"{path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    missing = [
        (json.dumps(relevant), str(folder), name, str(target), refine)
        for name, target in targets.items()
        if not target.exists()
    ]
    done = parallel.run(_reference_or_reason, missing, workers=workers, description="reference", unit="image")
    left_out = {name: reason for name, reason in done if reason}
    sequences = {}
    for name, target in targets.items():
        if name not in left_out:
            try:
                with np.load(target, allow_pickle=False) as archive:
                    sequences[name] = archive["frames"]
            except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
                raise ValueError(f"output: {target} is damaged, delete it: {error}") from error
    return sequences, left_out


def score(predicted: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """PSNR and SSIM of one state [H, W, C], unclipped, for intensities of range 1."""
    pair = expected[np.newaxis], predicted[np.newaxis]
    return float(metrics.psnr(*pair)[0]), float(metrics.ssim(*pair)[0])


def _summary(name: str, scores: list[tuple[float, float]]) -> dict[str, Any]:
    psnr, ssim = np.array(scores).T
    return {"name": name, "psnr": psnr.mean(), "psnr_std": psnr.std(), "psnr_worst": psnr.min(), "ssim": ssim.mean()}


def _long_run(model: models.EvolutionModel, inputs: list[np.ndarray]) -> dict[str, Any]:
    overshoots, drifts = [0.0], [0.0]
    for u in inputs:
        final = model.evolve(tf.constant(u[np.newaxis]), LONG_RUN).numpy()[0].astype(np.float64)
        overshoots += [final.max() - u.max(), u.min() - final.min()]
        drifts.append(abs(final.mean() - u.mean(dtype=np.float64)))
    # Unlike Python's, numpy's maximum of NaN is NaN.
    overshoot, drift = np.max(overshoots), np.max(drifts)
    finite = bool(np.isfinite(overshoot) and np.isfinite(drift))
    return {"steps": LONG_RUN, "finite": finite, "overshoot": overshoot, "mean_drift": drift}


def evaluate(
    model: str | os.PathLike[str],
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    config: ml_collections.ConfigDict | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Evaluates a model on photographs against the reference, at the stopping time.

    Luma; the reference at full resolution; its states averaged over blocks; the model from the first of them.

    Args:
      model: what `blade_tf.load` takes. A .keras file holds no config and no simpler filters: `config` is used then,
        and the rows that need them are left out.
      images: a folder of photographs, used as they are.
      output: receives metrics.json, pictures/ and reference/, which later runs reuse.
      config: for a .keras file alone; see `blade_tf.config`.
      workers: number of processes for the reference.

    Returns:
      What metrics.json holds: "model", "images" (their number), "rows" (mean, standard deviation and worst PSNR in dB,
      mean SSIM), "long_run" (300 steps: the largest excess over the input's range, and the largest change of a mean),
      "reference_convergence" (PSNR in dB of the reference against itself with half the time step, first photograph),
      "per_image", "left_out".

    Raises:
      ValueError: for an unknown model, a config that is missing, superfluous or of another stopping time, or a folder
        without usable photographs.
      OSError: if `output` cannot be written.
    """
    trained = None if str(model).endswith(".keras") else models.load_trained(model)
    loaded = trained.model() if trained else models.load(model)
    if (config is None) != bool(trained):
        raise ValueError(f"config: {'expected one, as a .keras file holds none' if config is None else _OWN_CONFIG}")
    if config is None:
        config = ml_collections.ConfigDict(trained.config)  # type: ignore[union-attr]
    ref = config.reference
    reached, wanted = loaded.steps * loaded.dt, ref.frames * ref.steps_per_frame * ref.dt
    if not np.isclose(reached, wanted, rtol=1e-6, atol=0):
        raise ValueError(f"model: its {loaded.steps} steps end at {reached:g}, the config's reference at {wanted:g}")
    out = pathlib.Path(output)
    sequences, left_out = reference_sequences(config, images, out / "reference", workers)
    if not sequences:
        raise ValueError(f"images: no usable photograph in {images}: {json.dumps(left_out)}")
    first = next(iter(sequences))
    refined, _ = reference_sequences(config, images, out / "reference", workers, refine=2, only=[first])

    rows = predictors(config, loaded, trained)
    scores: dict[str, dict[str, tuple[float, float]]] = {row: {} for row in rows}
    for name, frames in tqdm.tqdm(sequences.items(), desc="evaluate", unit="image"):
        states = {row: predict(tf.constant(frames[:1])).numpy()[0] for row, predict in rows.items()}
        for row, state in states.items():
            scores[row][name] = score(state, frames[-1])
        picture = report.side_by_side(
            [frames[0], frames[-1], states["blade"], report.error_image(states["blade"], frames[-1], 10.0)],
            ["input", "reference", f"BLADE, {scores['blade'][name][0]:.2f} dB", "10 x difference"],
        )
        path = out / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image_io.write_image(path, image_io.Image(picture.astype(np.float32) / 255))
    results = {
        "model": trained.name if trained else str(model),
        "images": len(sequences),
        "rows": [_summary(row, list(values.values())) for row, values in scores.items()],
        "long_run": _long_run(loaded, [frames[0] for frames in sequences.values()]),
        "reference_convergence": {first: score(sequences[first][-1], refined[first][-1])[0]},
        "per_image": scores,
        "left_out": left_out,
    }
    files.write_json(out / "metrics.json", results)
    return results


def table(results: dict[str, Any]) -> str:
    """The rows of `evaluate`'s results as text."""
    rows = [
        [
            row["name"],
            f"{row['psnr']:.2f}",
            f"{row['psnr_std']:.2f}",
            f"{row['psnr_worst']:.2f}",
            f"{row['ssim']:.4f}",
            ROWS[row["name"]],
        ]
        for row in results["rows"]
    ]
    text = report.text_table(["row", "PSNR", "std", "worst", "SSIM", "what it is"], rows)
    run = results["long_run"]
    lines = [
        f"{results['model']} on {results['images']} photographs, PSNR in dB against the reference at the stopping time",
        text,
        f"{run['steps']} steps: {'finite' if run['finite'] else 'NOT FINITE'}, "
        f"range exceeded by {run['overshoot']:.2g}, mean changed by {run['mean_drift']:.2g}",
    ]
    lines += [
        f"reference against itself with half its time step: {psnr:.1f} dB ({name})"
        for name, psnr in results["reference_convergence"].items()
    ]
    lines += [f"left out {name}: {reason}" for name, reason in results["left_out"].items()]
    return "\n".join(lines)
