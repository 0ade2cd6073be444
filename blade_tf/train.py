"""Training: from prepared sequences to a bank of filters, by least squares and then end to end (section 2.3)."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pathlib
import signal
import threading
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf
import tqdm

from blade_tf import baselines, files, least_squares, losses, metrics, models, report, selection
from blade_tf import config as config_lib
from blade_tf.data import batches, records

__all__ = ["DivergedError", "TrainingInterruptedError", "least_squares_start", "train"]

log = logging.getLogger("blade_tf")


class DivergedError(RuntimeError):
    """The loss is no longer finite; the last good checkpoint is kept."""


class TrainingInterruptedError(RuntimeError):
    """A signal asked for a stop; the state is saved, and the same call continues from it.

    Attributes:
      signal: its number.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


def step_length(config: ml_collections.ConfigDict) -> float:
    """dt = M dt_HR: the time between two kept frames of the reference."""
    return config.reference.steps_per_frame * config.reference.dt


@dataclasses.dataclass(frozen=True)
class Start:
    """What precedes the end-to-end training: the model's spec, closed-form filters, and the whitened coordinates p.

    filters = least_squares + whitening p.
    """

    spec: dict[str, Any]
    arrays: dict[str, np.ndarray]


def least_squares_start(data: records.RecordReader, config: ml_collections.ConfigDict) -> Start:
    """Thresholds at the data's quantiles, then for each bin the filter nearest to (u^(k+1) - u^(k)) / dt."""
    choice, dt = config.model.selection, step_length(config)
    footprint = tuple(config.model.footprint)
    sample = np.concatenate([data[i][:-1:3] for i in np.linspace(0, len(data) - 1, min(len(data), 100)).astype(int)])
    strength, coherence = selection.quantile_thresholds(
        sample, choice.rho, choice.strength_quantiles, choice.coherence_quantiles
    )
    spec = {
        "form": config.model.form,
        "footprint": list(footprint),
        "method": config.model.method,
        "dt": dt,
        "steps": config.reference.frames,
        "selection": {
            "orientations": choice.orientations,
            "rho": choice.rho,
            "strength_thresholds": strength,
            "coherence_thresholds": coherence,
        },
    }
    select = models.build(spec).rates[0].selection
    basis = least_squares.difference_basis(footprint)
    equations = least_squares.NormalEquations.zeros(select.num_bins, basis.shape[1])
    for i in tqdm.trange(len(data), desc="least squares", unit="sequence"):
        u = data[i]
        x = least_squares.patch_differences(u[:-1, ..., 0], footprint)
        y = (u[1:] - u[:-1]).ravel()
        equations.add(x, y, select(u[:-1]).numpy().ravel())
    single = equations.total().solve(config.train.ridge)
    fitted = equations.solve(config.train.ridge, prior=single[0])
    # One unit of p changes the rate of its bin by the typical size of the target.
    scale = np.sqrt(equations.energy / equations.count.sum())
    whitening = scale * basis @ equations.whitening(config.train.whitening_ridge)
    arrays = {
        "least_squares": (fitted @ basis.T / dt).reshape(-1, *footprint),
        "single_filter": (single @ basis.T / dt).reshape(-1, *footprint),
        "whitening": whitening / dt,
        "count": equations.count,
    }
    return Start(
        spec, {key: value.astype(np.float32) if value.dtype == np.float64 else value for key, value in arrays.items()}
    )


class _Trainer:
    """The state of the end-to-end training: the coordinates p, the optimiser, and the model whose filters follow p."""

    def __init__(self, start: Start, config: ml_collections.ConfigDict) -> None:
        self.model = models.build(start.spec, output="trajectory")
        self.filters = self.model.rates[0].blade.filters
        self.origin = tf.constant(start.arrays["least_squares"])
        self.whitening = tf.constant(start.arrays["whitening"])
        self.loss = losses.build(config.train)
        self.p = keras.Variable(tf.zeros([self.whitening.shape[0], self.whitening.shape[2]]), name="p")
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0,
            max(config.train.steps - config.train.warmup_steps, 1),
            warmup_target=config.train.learning_rate,
            warmup_steps=config.train.warmup_steps,
        )
        beta_1, beta_2 = config.train.betas
        self.optimizer = keras.optimizers.Adam(schedule, beta_1, beta_2)
        self.optimizer.build([self.p])
        self.step = tf.Variable(0, dtype=tf.int64)
        self.checkpoint = tf.train.Checkpoint(step=self.step, p=self.p.value, optimizer=self.optimizer)
        self.follow()

    def follow(self) -> None:
        """Sets the model's filters to least_squares + whitening p."""
        change = tf.linalg.matvec(self.whitening, self.p.value)
        self.filters.assign(self.origin + tf.reshape(change, self.filters.shape))

    @tf.function
    def update(self, batch: tf.Tensor) -> tf.Tensor:
        """One Adam step on a batch [B, F, H, W, C]; returns the loss before it."""
        with tf.GradientTape() as tape:
            value = self.loss(self.model(batch[:, 0]), batch[:, 1:])
        (gradient,) = tape.gradient(value, [self.filters.value])
        gradient = tf.reshape(gradient, self.whitening.shape[:2])
        self.optimizer.apply([tf.linalg.matvec(self.whitening, gradient, transpose_a=True)], [self.p])
        self.follow()
        self.step.assign_add(1)
        return value


def psnr_by_step(model: models.EvolutionModel, sequences: np.ndarray) -> np.ndarray:
    """PSNR of each step's state against the reference: [N, frames]."""
    states = [model(part[:, 0]).numpy() for part in np.array_split(sequences, max(len(sequences) // 16, 1))]
    predicted = np.concatenate(states)
    frames = predicted.shape[1]
    return np.stack([metrics.psnr(sequences[:, k + 1], predicted[:, k]) for k in range(frames)], axis=1)


class _Summaries:
    """TensorBoard: loss, learning rate, PSNR by step, filter mosaics, the selection's histogram, images."""

    def __init__(self, folder: pathlib.Path, trainer: _Trainer, validation: np.ndarray) -> None:
        self.writer = tf.summary.create_file_writer(str(folder))
        self.trainer, self.validation = trainer, validation

    def scalars(self, step: int, loss: float) -> None:
        with self.writer.as_default(step):
            tf.summary.scalar("loss", loss)
            tf.summary.scalar("learning_rate", self.trainer.optimizer.learning_rate)

    def validate(self, step: int) -> float:
        """Writes what the model does on the validation photographs; returns the mean PSNR of the final step."""
        trainer, first = self.trainer, self.validation[:4]
        psnr = psnr_by_step(trainer.model, self.validation).mean(0)
        select = trainer.model.rates[0].selection
        chosen = select(self.validation[:, 0]).numpy().ravel()
        used = np.bincount(chosen, minlength=select.num_bins)
        with self.writer.as_default(step):
            for k, value in enumerate(psnr):
                tf.summary.scalar(f"validation_psnr/step_{k + 1:02d}", value)
            tf.summary.histogram("selection", chosen, buckets=select.num_bins)
            tf.summary.scalar("selection/empty_bins", int((used == 0).sum()))
            mosaic = report.filter_mosaic(trainer.filters.numpy(), select.orientations)
            tf.summary.image("filters", mosaic[np.newaxis])
            predicted = trainer.model(first[:, 0]).numpy()[:, -1]
            panels = np.concatenate(
                [first[:, 0], first[:, -1], predicted, 0.5 + 10 * (predicted - first[:, -1])], axis=2
            )
            tf.summary.image("input, reference, model, 10 x difference", np.clip(panels, 0, 1), max_outputs=4)
        self.writer.flush()
        return float(psnr[-1])


def _start(path: pathlib.Path, data: batches.Data, config: ml_collections.ConfigDict) -> Start:
    plain = json.loads(json.dumps(config.to_dict()))
    if (path / "start.json").exists():
        earlier = json.loads((path / "run.json").read_text())
        different = config_lib.differences(earlier["config"], plain)
        if different:
            raise ValueError(
                f"workdir: {path} holds a run of another config ({'; '.join(different)}); choose a new folder"
            )
        if earlier["photographs"] != data.photographs:
            raise ValueError(f"workdir: {path} holds a run on other photographs; choose a new folder")
        with np.load(path / "start.npz", allow_pickle=False) as archive:
            return Start(json.loads((path / "start.json").read_text()), dict(archive))
    start = least_squares_start(data.train, config)
    files.write_json(path / "run.json", {"config": plain, "photographs": data.photographs})
    files.write_npz(path / "start.npz", start.arrays)
    files.write_json(path / "start.json", start.spec)
    return start


class _StopRequest:
    """Turns SIGTERM and SIGINT into a flag while a training loop runs; outside of the main thread it does nothing."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> _StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._earlier = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _note(self, number: int, _: Any) -> None:
        self.signal = number

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)


def train(
    config: ml_collections.ConfigDict, data: str | os.PathLike[str], workdir: str | os.PathLike[str]
) -> models.Trained:
    """Trains a model: least squares, then config.train.steps Adam steps on ten unrolled steps.

    Every batch is a function of config.seed and its step, and on the CPU the operations are deterministic (elsewhere,
    after tf.config.experimental.enable_op_determinism()): a run that was killed and started again ends with the same
    filters, bit for bit, as one that ran through.

    Args:
      config: see `blade_tf.config`.
      data: a folder that `blade-prepare` wrote with the same config.
      workdir: a new folder, or one that a run of the same config began; receives checkpoints, TensorBoard's events
        and, at the end, model/ (a `blade_tf.models.Trained`), model.keras and validation.json.

    Returns:
      The trained model.

    Raises:
      ValueError: if data or workdir belong to another config, or the config makes no sense.
      TrainingInterruptedError: after SIGTERM or SIGINT, the state being saved.
      DivergedError: if the loss is not finite any more.
      BlockingIOError: if another process is training in workdir.
    """
    config_lib.check(config)
    losses.build(config.train)
    path, opened = pathlib.Path(workdir), batches.load_data(data, config)
    with files.lock(path):
        return _train(config, opened, path)


def _train(config: ml_collections.ConfigDict, opened: batches.Data, path: pathlib.Path) -> models.Trained:
    start = _start(path, opened, config)
    trainer = _Trainer(start, config)
    manager = tf.train.CheckpointManager(trainer.checkpoint, str(path / "checkpoints"), max_to_keep=3)
    if manager.latest_checkpoint:
        trainer.checkpoint.restore(manager.latest_checkpoint).assert_consumed()
        trainer.follow()
    first = int(trainer.step.numpy())
    summaries = _Summaries(path / "events", trainer, opened.validation)
    if first == 0:
        log.info("validation PSNR of the least-squares filters: %.2f dB", summaries.validate(0))

    def diverged(what: str, step: int) -> DivergedError:
        kept = (
            f"the last good checkpoint is {manager.latest_checkpoint}"
            if manager.latest_checkpoint
            else "there is no checkpoint yet"
        )
        return DivergedError(f"{what} at step {step}; {kept}. A smaller train.learning_rate may help.")

    def save(step: int) -> None:
        # The loss of a step is that of the filters before it.
        if not np.isfinite(trainer.filters.numpy()).all():
            raise diverged("the filters are not finite", step)
        if manager.latest_checkpoint is None or not manager.latest_checkpoint.endswith(f"-{step}"):
            manager.save(checkpoint_number=step)

    progress = tqdm.tqdm(total=config.train.steps, initial=first, unit="step", desc="train")
    with progress, _StopRequest() as stop:
        for step, batch in enumerate(batches.read_ahead(opened.train, first, config), first + 1):
            loss = float(trainer.update(tf.constant(batch)))
            if not np.isfinite(loss):
                raise diverged(f"the loss is {loss}", step)
            progress.update()
            if step % config.train.summary_every == 0:
                summaries.scalars(step, loss)
                progress.set_postfix(loss=f"{loss:.4f}")
            if step % config.train.validate_every == 0 and step < config.train.steps:
                log.info("step %d: validation PSNR %.2f dB", step, summaries.validate(step))
            if step % config.train.checkpoint_every == 0 or stop.signal:
                save(step)
            if stop.signal:
                raise TrainingInterruptedError(
                    f"stopped by {signal.Signals(stop.signal).name} at step {step}; state saved in {path}",
                    stop.signal,
                )
    save(config.train.steps)
    return _finish(path, opened, start, trainer, summaries, config)


def _finish(
    path: pathlib.Path,
    data: batches.Data,
    start: Start,
    trainer: _Trainer,
    summaries: _Summaries,
    config: ml_collections.ConfigDict,
) -> models.Trained:
    coarse = baselines.tune_coarse(data.validation, config)
    quick = baselines.tune_coarse(data.validation, config, (config.reference.frames,))
    weights = {
        "filters": trainer.filters.numpy(),
        "least_squares": start.arrays["least_squares"],
        "single_filter": start.arrays["single_filter"],
    }
    plain = json.loads(json.dumps(config.to_dict()))
    trained = models.Trained(
        config.name, start.spec, plain, {"coarse_tuned": coarse, "coarse_10_tuned": quick}, weights
    )
    trained.save(path / "model")
    # Keras writes in place, and wants this suffix.
    partial = path / ".model.partial.keras"
    trained.model().save(partial)
    partial.rename(path / "model.keras")
    scores = {
        name: float(psnr_by_step(trained.model(name, "trajectory"), data.validation)[:, -1].mean()) for name in weights
    }
    files.write_json(
        path / "validation.json", {"psnr": scores | {"coarse_tuned": coarse["psnr"]}, "images": len(data.validation)}
    )
    summaries.validate(config.train.steps)
    log.info("validation PSNR: %s", ", ".join(f"{name} {value:.2f} dB" for name, value in scores.items()))
    return trained
