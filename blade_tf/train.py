"""Training: from prepared sequences to a bank of filters, by least squares and then end to end (section 2.3)."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pathlib
import signal
import threading
from collections.abc import Callable
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf
import tqdm

from blade_tf import config as config_lib
from blade_tf import files, losses, models, tasks
from blade_tf.data import batches
from blade_tf.start import Start
from blade_tf.summaries import Summaries, psnr_by_step

__all__ = ["DivergedError", "TrainingInterruptedError", "train"]

log = logging.getLogger("blade_tf")

DIVERGED_BY = 6.0  # dB on the validation photographs, far beyond what a training that converges fluctuates
AVERAGES = (0.25, 0.5, 0.75, 1.0)


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


class _Trainer:
    """The state of the end-to-end training: coordinates p of each weight, the optimiser, and the best state so far."""

    def __init__(self, start: Start, config: ml_collections.ConfigDict, loss: losses.Loss) -> None:
        self.model = models.build(start.spec, output="trajectory")
        self.task = tasks.of(config)
        self.bank = self.model.bank
        self.origin = {name: tf.constant(value) for name, value in start.part("least_squares").items()}
        self.whitening = {name: tf.constant(value) for name, value in start.part("whitening").items()}
        self.loss = loss
        self.p = {
            name: keras.Variable(tf.zeros([w.shape[0], w.shape[2]]), name=f"p_{name}")
            for name, w in self.whitening.items()
        }
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0,
            max(config.train.steps - config.train.warmup_steps, 1),
            warmup_target=config.train.learning_rate,
            warmup_steps=config.train.warmup_steps,
        )
        beta_1, beta_2 = config.train.betas
        self.optimizer = keras.optimizers.Adam(schedule, beta_1, beta_2)
        self.optimizer.build(list(self.p.values()))
        self.step = tf.Variable(0, dtype=tf.int64)
        self.best = {name: tf.Variable(p.value) for name, p in self.p.items()}
        self.best_psnr = tf.Variable(-np.inf, dtype=tf.float64)
        self.waited = tf.Variable(0, dtype=tf.int64)
        self.checkpoint = tf.train.Checkpoint(
            step=self.step,
            p={name: p.value for name, p in self.p.items()},
            optimizer=self.optimizer,
            best=self.best,
            best_psnr=self.best_psnr,
            waited=self.waited,
        )
        self._traced: Callable[[tf.Tensor], tf.Tensor] | None = None
        self.follow()

    def weights(self, name: str, p: tf.Tensor) -> tf.Tensor:
        """least_squares + whitening p."""
        origin = self.origin[name]
        return origin + tf.reshape(tf.linalg.matvec(self.whitening[name], p), origin.shape)

    def follow(self) -> None:
        """Sets the model's weights to those of p."""
        for name, variable in self.bank.items():
            variable.assign(self.weights(name, self.p[name].value))

    def note(self, psnr: float) -> None:
        """Keeps the state if it is the best so far by the validation photographs."""
        better = psnr > float(self.best_psnr)
        self.waited.assign(0 if better else self.waited + 1)
        if better:
            self.best_psnr.assign(psnr)
            for name, best in self.best.items():
                best.assign(self.p[name].value)

    def update(self, batch: tf.Tensor) -> tf.Tensor:
        """One Adam step on a batch [B, F, H, W, C], always of the same shape; returns the loss before it."""
        # Without the look at its arguments that a tf.function takes at each call.
        self._traced = self._traced or tf.function(self._update).get_concrete_function(batch)
        return self._traced(batch)

    def _update(self, batch: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            predicted, wanted = self.task.pair(self.model, batch)
            if self.task.last_alone:
                predicted, wanted = predicted[:, -1:], wanted[:, -1:]
            value = self.loss(predicted, wanted)
        gradients = tape.gradient(value, [variable.value for variable in self.bank.values()])
        found = []
        for name, gradient in zip(self.bank, gradients, strict=True):
            flat = tf.reshape(gradient, self.whitening[name].shape[:2])
            found.append(tf.linalg.matvec(self.whitening[name], flat, transpose_a=True))
        self.optimizer.apply(found, [self.p[name] for name in self.bank])
        self.follow()
        self.step.assign_add(1)
        return value


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
    start = tasks.of(config).start(data.train, config)
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
    """Trains a model: least squares, then config.train.steps Adam steps end to end, as `blade_tf.tasks` says.

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
    tasks.of(config).check(config)
    loss = losses.build(config.train)
    path, opened = pathlib.Path(workdir), batches.load_data(data, config)
    with files.lock(path):
        return _train(config, opened, path, loss)


def _train(
    config: ml_collections.ConfigDict, opened: batches.Data, path: pathlib.Path, objective: losses.Loss
) -> models.Trained:
    start = _start(path, opened, config)
    trainer = _Trainer(start, config, objective)
    manager = tf.train.CheckpointManager(trainer.checkpoint, str(path / "checkpoints"), max_to_keep=3)
    if manager.latest_checkpoint:
        trainer.checkpoint.restore(manager.latest_checkpoint).assert_consumed()
        trainer.follow()
    first = int(trainer.step.numpy())
    task = trainer.task
    summaries = Summaries(path / "events", trainer.model, task.pair, task.inputs, opened.validation)

    def diverged(what: str, step: int) -> DivergedError:
        kept = (
            f"the last good checkpoint is {manager.latest_checkpoint}"
            if manager.latest_checkpoint
            else "there is no checkpoint yet"
        )
        return DivergedError(f"{what} at step {step}; {kept}. A smaller train.learning_rate may help.")

    def validate(step: int) -> None:
        psnr = summaries.validate(step)
        log.info("step %d: validation PSNR %.2f dB", step, psnr)
        if step == 0 and not np.isfinite(psnr):
            raise DivergedError(
                "the least-squares start is unstable: its states on the validation photographs are not finite. A "
                "larger train.ridge or a smaller time step may help."
            )
        if not psnr > float(trainer.best_psnr) - DIVERGED_BY:
            raise diverged(f"the validation PSNR fell from {float(trainer.best_psnr):.2f} to {psnr:.2f} dB", step)
        trainer.note(psnr)

    def save(step: int) -> None:
        # The loss of a step is that of the weights before it.
        if not all(np.isfinite(variable.numpy()).all() for variable in trainer.bank.values()):
            raise diverged("the weights are not finite", step)
        if manager.latest_checkpoint is None or not manager.latest_checkpoint.endswith(f"-{step}"):
            manager.save(checkpoint_number=step)

    def patient() -> bool:
        return not 0 < config.train.patience <= int(trainer.waited)

    if first == 0:
        validate(0)
    progress = tqdm.tqdm(total=config.train.steps, initial=first, unit="step", desc="train")
    with progress, _StopRequest() as stop:
        for step, batch in enumerate(batches.read_ahead(opened.train, first, config), first + 1):
            if not patient():
                log.info("stopped at step %d: no better state in %d validations", step - 1, config.train.patience)
                break
            loss = float(trainer.update(tf.constant(batch)))
            if not np.isfinite(loss):
                raise diverged(f"the loss is {loss}", step)
            progress.update()
            if step % config.train.summary_every == 0:
                summaries.scalars(step, loss, float(trainer.optimizer.learning_rate))
                progress.set_postfix(loss=f"{loss:.4f}")
            if step % config.train.validate_every == 0 or step == config.train.steps:
                validate(step)
            if step % config.train.checkpoint_every == 0 or step == config.train.steps or stop.signal:
                save(step)
            if stop.signal:
                raise TrainingInterruptedError(
                    f"stopped by {signal.Signals(stop.signal).name} at step {step}; state saved in {path}",
                    stop.signal,
                )
    return _finish(path, opened, start, trainer, config)


def _best_weights(trainer: _Trainer, data: batches.Data, average: bool) -> dict[str, np.ndarray]:
    """Those of the best state, or of the best average of it with the least-squares weights."""

    def weights(part: float) -> dict[str, np.ndarray]:
        return {name: trainer.weights(name, part * best).numpy() for name, best in trainer.best.items()}

    def score(part: float) -> float:
        models.set_bank(trainer.model, weights(part))
        return float(psnr_by_step(trainer.model, trainer.task.pair, data.validation)[:, -1].mean())

    return weights(max(AVERAGES, key=score) if average else 1.0)


def _finish(
    path: pathlib.Path, data: batches.Data, start: Start, trainer: _Trainer, config: ml_collections.ConfigDict
) -> models.Trained:
    rivals = trainer.task.rivals(data, config)
    bank = _best_weights(trainer, data, config.train.average)
    weights = {f"trained/{name}": value for name, value in bank.items()}
    before = {name: value for name, value in start.arrays.items() if not name.startswith("whitening/")}
    plain = json.loads(json.dumps(config.to_dict()))
    both = models.Trained(config.name, start.spec, plain, rivals, weights | before)
    trained = both if trainer.task.keeps_start else dataclasses.replace(both, weights=weights)
    trained.save(path / "model")
    # Keras writes in place, and wants this suffix.
    partial = path / ".model.partial.keras"
    trained.model().save(partial)
    partial.rename(path / "model.keras")
    scores = {
        name: float(psnr_by_step(both.model(name, "trajectory"), trainer.task.pair, data.validation)[:, -1].mean())
        for name in dict.fromkeys(key.partition("/")[0] for key in both.weights)
    }
    files.write_json(
        path / "validation.json",
        {
            "psnr": scores | {name: rival["psnr"] for name, rival in rivals.items()},
            "images": len(data.validation),
        },
    )
    log.info("validation PSNR: %s", ", ".join(f"{name} {value:.2f} dB" for name, value in scores.items()))
    return trained
