"""A training step of the plain form: ten unrolled steps forward and backward, the kernels' share of it, its memory."""

from __future__ import annotations

import gc
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from blade_tf import config, integrate, losses, models
from blade_tf.bench import timing
from blade_tf.bench.inputs import MODEL

__all__ = ["growth", "kernel_seconds", "training"]

PROFILES, PROFILED = 5, 10  # and calls in each
UNROLLED = (8, 24)  # steps between which memory grows
SIDE = 1024
OWN_OPERATIONS = "Blade"


def _batch(picture: np.ndarray, count: int, crop: int, frames: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Windows of a photograph, and states to come near to: the windows, smoothed as often as the frame's number."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, np.array(picture.shape[:2]) - crop + 1, (count, 2))
    start = np.stack([picture[y : y + crop, x : x + crop] for y, x in corners])[..., np.newaxis]
    states = [start]
    for _ in range(frames):
        padded = np.pad(states[-1], [(0, 0), (1, 1), (0, 0), (0, 0)], mode="edge")
        states.append((padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4)
    return tf.constant(start), tf.constant(np.stack(states[1:], 1))


def kernel_seconds(run: Callable[[], Any], calls: int) -> tuple[float, dict[str, float]]:
    """Seconds of a call as a whole, and within it of each operation of this package, by TensorFlow's profiler.

    With one thread, an operation's time is its share of the call's.

    Raises:
      RuntimeError: the profiler recorded nothing.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        try:
            start = time.perf_counter()
            for _ in range(calls):
                run()
            whole = time.perf_counter() - start
        finally:
            tf.profiler.experimental.stop()
        space = xplane_pb2.XSpace()
        for path in pathlib.Path(folder).rglob("*.xplane.pb"):
            space.MergeFromString(path.read_bytes())
    found: dict[str, float] = {}
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                kind = plane.event_metadata[event.metadata_id].name.rpartition(":")[2]
                if kind.startswith(OWN_OPERATIONS):
                    found[kind] = found.get(kind, 0.0) + 1e-12 * event.duration_ps / calls
    if not found:
        raise RuntimeError("TensorFlow's profiler recorded none of this package's operations")
    return whole / calls, found


def training(picture: np.ndarray, repeats: int, seconds: float) -> dict[str, Any]:
    """Times a step of end-to-end training with the batch, crop and loss of the TV-flow config's plain form.

    The model, the loss, the gradient with respect to the filters, and Adam, in one graph. The kernels' share is that
    of the operations in profiles of further calls of the same graph, the median one; run it with one thread.

    Args:
      picture: float32 [H, W].
      repeats, seconds: of `timing.interleaved`.

    Returns:
      "batch", "crop", "steps", "milliseconds" (`timing.summary` of a training step), "nanoseconds_per_pixel" (and
      unrolled step; the median), "share" (of the operations), and "operations": milliseconds of each in a training
      step.
    """
    settings = config.default().train
    trained = models.load_trained(MODEL)
    model = trained.model(output="trajectory")
    crop = min(settings.crop, *picture.shape)
    image, states = _batch(picture, settings.batch, crop, model.steps)
    loss = losses.build(settings)
    variables = [variable.value for variable in model.trainable_variables]
    optimizer = keras.optimizers.Adam(0.0)  # at rate 0 the filters stay, and each call does the same
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def update(image: tf.Tensor, states: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(model(image), states)
        optimizer.apply(tape.gradient(value, variables), model.trainable_variables)
        return value

    traced = update.get_concrete_function(image, states)  # as the trainer calls it

    def run() -> tf.Tensor:
        return traced(image, states)

    if not np.isfinite(float(run())):
        raise ValueError("training: the loss is not finite")
    samples = timing.interleaved([run], repeats, seconds, description="training")[0]
    profiles = [kernel_seconds(run, PROFILED) for _ in range(PROFILES)]
    share, operations = sorted(
        ((sum(found.values()) / whole, found) for whole, found in profiles), key=lambda profile: profile[0]
    )[PROFILES // 2]
    summary = timing.summary(1e3 * samples)
    assert summary
    return {
        "batch": settings.batch,
        "crop": crop,
        "steps": model.steps,
        "milliseconds": summary,
        "nanoseconds_per_pixel": 1e6 * summary["median"] / (model.steps * settings.batch * crop**2),
        "share": share,
        "operations": {name: 1e3 * value for name, value in sorted(operations.items())},
    }


def _peak() -> int:
    """The most bytes that this process has held so far."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _peak_after(image: tf.Tensor, steps: int, trajectory: bool) -> int:
    model = models.load_trained(MODEL).model()
    variables = [variable.value for variable in model.trainable_variables]

    @tf.function(autograph=False)
    def gradient(image: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            states = integrate.trajectory(model.rates[0].euler(model.dt), image, steps)
            value = tf.add_n([tf.nn.l2_loss(state) for state in (states if trajectory else states[-1:])])
        return tape.gradient(value, variables)

    for _ in range(2):
        gradient(image)
    gc.collect()
    return _peak()


def growth(trajectory: bool, side: int = SIDE) -> float:
    """Bytes a pixel by which the peak memory of forward and backward grows with each unrolled step.

    The process's peak after 24 steps less that after 8; nothing else may have been large in this process before.

    Args:
      trajectory: whether the loss is one of all states, as in training, which keeps more of each; otherwise it is one
        of the last state, and what grows is what the steps themselves keep.
      side: of the square image.
    """
    image = tf.constant(np.random.default_rng(0).random((1, side, side, 1), np.float32))
    before, after = (_peak_after(image, steps, trajectory) for steps in UNROLLED)
    return (after - before) / ((UNROLLED[1] - UNROLLED[0]) * side**2)
