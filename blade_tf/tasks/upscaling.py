"""Upscaling by stages of BLADE."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf
import tqdm

from blade_tf import least_squares, models
from blade_tf.data import examples, records, upscaling
from blade_tf.interpolation import interpolate
from blade_tf.sampling import MARGIN
from blade_tf.start import Start, selection_spec
from blade_tf.tasks.task import Task, check
from blade_tf.upscaling import UpscaleModel

__all__ = ["UPSCALING"]

SAMPLE = 30  # examples that thresholds are taken from
BORDER = 8  # pixels at a window's border that do not count: the photograph goes on beyond it


def _given(data: records.RecordReader, config: ml_collections.ConfigDict) -> list[tuple[tf.Tensor, np.ndarray]]:
    """f, extended by reflection, and u of all examples in the square's eight symmetries."""
    kind, factor = examples.of(config), config.sampling.factor
    rng = np.random.default_rng([config.seed, 3])
    around = [(0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)]
    found = []
    for k in range(len(data)):
        for quarters, mirrored in itertools.product(range(4), (False, True)):
            f, u = kind.finish(kind.turn(data[k], quarters, mirrored), config, rng)[:, np.newaxis]
            found.append((tf.constant(np.pad(f[:, ::factor, ::factor], around, "symmetric")), u))
    return found


def _start(data: records.RecordReader, config: ml_collections.ConfigDict) -> Start:
    """Stage by stage, the filters whose outcome is nearest to the truth; thresholds at quantiles of the states."""
    factor, footprint = config.sampling.factor, tuple(config.model.footprint)
    sampling = config.sampling
    spec: dict[str, Any] = {
        "task": "upscaling",
        "factor": factor,
        "sigma": factor * sampling.blur,
        "position": sampling.position * (factor - 1),
        "selections": [],
        "footprint": list(footprint),
    }
    basis = least_squares.difference_basis(footprint)
    border = factor * MARGIN + BORDER
    inside = (0, slice(border, -border), slice(border, -border))
    given = _given(data, config)
    position = upscaling.sampling(config).position
    states = [interpolate(f, factor, position).numpy() for f, _ in given]
    arrays: dict[str, np.ndarray] = {}
    for k in range(config.model.stages):
        sample = np.concatenate(states[:: -(-len(states) // SAMPLE)])
        spec["selections"].append(selection_spec(sample, config.model.selection, "pixel"))
        model = models.build(spec)
        equations = least_squares.NormalEquations.zeros(model.stages[k].num_filters, basis.shape[1])
        energy = 0.0
        for u, (_, x) in zip(tqdm.tqdm(states, desc=f"least squares, stage {k + 1}"), given, strict=True):
            chosen = model.choose(k, tf.constant(u)).numpy()[inside].ravel()
            seen = least_squares.patches(u[..., 0], footprint)[inside] @ basis.astype(u.dtype)
            target = x[0, BORDER:-BORDER, BORDER:-BORDER, 0] - u[inside][..., 0]
            equations.add(seen.reshape(len(chosen), -1), target.ravel(), chosen)
            energy += float(np.square(target).sum())
        root = equations.scaled_whitening(config.train.whitening_ridge, energy, equations.count.sum())
        arrays[f"least_squares/stage_{k}"] = (equations.solve(config.train.ridge) @ basis.T).reshape(-1, *footprint)
        arrays[f"whitening/stage_{k}"] = basis @ root
        if k + 1 < config.model.stages:
            models.set_bank(model, {key: arrays[f"least_squares/{key}"] for key in model.bank})
            stage = tf.function(functools.partial(model.stage, k))
            states = [stage(tf.constant(u), f).numpy() for u, (f, _) in zip(states, given, strict=True)]
    return Start(spec, {key: np.asarray(value, np.float32) for key, value in arrays.items()})


def _inputs(model: UpscaleModel, batch: tf.Tensor) -> tf.Tensor:
    return batch[:, 0, :: model.factor, :: model.factor]


def _pair(model: UpscaleModel, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    inside = slice(BORDER, -BORDER)
    found = model(_inputs(model, batch))
    return found[:, tf.newaxis, inside, inside], batch[:, 1:, inside, inside]


UPSCALING = Task(functools.partial(check, border=BORDER), _start, _pair, _inputs, keeps_start=False)
