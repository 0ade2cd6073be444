"""Restoration of a degradation by stages of BLADE."""

from __future__ import annotations

from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf
import tqdm

from blade_tf import least_squares, models
from blade_tf.data import examples, records
from blade_tf.restoration import RestorationModel
from blade_tf.start import Start, selection_spec
from blade_tf.tasks.task import Task

__all__ = ["RESTORATION"]

SAMPLE = 100  # examples that thresholds are taken from


def _check(config: ml_collections.ConfigDict) -> None:
    examples.of(config).check(config)
    if config.model.selection.soft:
        raise ValueError(f"model.selection.soft: expected none for restoration, got {config.model.selection.soft!r}")
    if config.model.stages < 1:
        raise ValueError(f"model.stages: expected at least 1, got {config.model.stages}")


def _features(u: np.ndarray, f: np.ndarray, bases: list[np.ndarray], footprints: list[Any]) -> np.ndarray:
    """What multiplies the coefficients of a stage's filters: [1, H, W, D]."""
    images = [u, f - u][: len(bases)]
    parts = [
        least_squares.patches(image[..., 0], footprint) @ basis.astype(image.dtype)
        for image, basis, footprint in zip(images, bases, footprints, strict=True)
    ]
    return np.concatenate(parts, axis=-1)


def _start(data: records.RecordReader, config: ml_collections.ConfigDict) -> Start:
    """Stage by stage, the filters whose outcome is nearest to the truth; thresholds at quantiles of the states."""
    rng, finish = np.random.default_rng([config.seed, 3]), examples.of(config).finish
    pairs = [finish(data[i], config, rng) for i in range(len(data))]
    given, truth = [pair[:1] for pair in pairs], [pair[1:] for pair in pairs]
    states = list(given)
    spec: dict[str, Any] = {
        "task": "restoration",
        "selections": [],
        "footprint": list(config.model.footprint),
        "residual_footprint": list(config.model.residual_footprint),
    }
    arrays: dict[str, np.ndarray] = {}
    for k in range(config.model.stages):
        sample = np.concatenate(states[:: -(-len(states) // SAMPLE)])
        spec["selections"].append(selection_spec(sample, config.model.selection, "pixel"))
        names = [f"state_{k}", f"residual_{k}"][: 1 + bool(k)]
        footprints = [tuple(spec["footprint"]), tuple(spec["residual_footprint"])][: len(names)]
        state, residual = least_squares.difference_basis(footprints[0]), np.eye(int(np.prod(footprints[-1])))
        bases = [state, residual][: len(names)]
        model = RestorationModel.from_spec(spec, "final")
        sizes = [basis.shape[1] for basis in bases]
        equations = least_squares.NormalEquations.zeros(model.selections[k].num_bins, sum(sizes))
        energy = 0.0
        for u, f, x in zip(tqdm.tqdm(states, desc=f"least squares, stage {k + 1}"), given, truth, strict=True):
            chosen = model.selections[k](tf.constant(u)).numpy().ravel()
            seen = _features(u, f, bases, footprints).reshape(len(chosen), -1)
            equations.add(seen, (x - u).ravel(), chosen)
            energy += float(np.square(x - u).sum())
        fitted = np.split(equations.solve(config.train.ridge), np.cumsum(sizes)[:-1], axis=1)
        whitening = equations.whitening(config.train.whitening_ridge)
        count, pixels = equations.count, sum(u.size for u in states)
        # One unit of p changes what its bin adds by the typical size of the target; less in a bin of few pixels.
        size = np.sqrt(energy / pixels * np.minimum(count / count.mean(), 1))[:, np.newaxis, np.newaxis]
        start = 0
        for name, basis, footprint, value in zip(names, bases, footprints, fitted, strict=True):
            inside = slice(start, start + basis.shape[1])
            start = inside.stop
            arrays[f"least_squares/{name}"] = (value @ basis.T).reshape(-1, *footprint)
            arrays[f"whitening/{name}"] = size * (basis @ whitening[:, inside, inside])
        models.set_bank(model, {key: arrays[f"least_squares/{key}"] for key in model.bank})
        states = [model.stage(k, tf.constant(u), tf.constant(f)).numpy() for u, f in zip(states, given, strict=True)]
    return Start(spec, {key: np.asarray(value, np.float32) for key, value in arrays.items()})


def _pair(model: RestorationModel, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    found = model(batch[:, 0])
    return found, tf.repeat(batch[:, 1:], found.shape[1], axis=1)


RESTORATION = Task(_check, _start, _pair, last_alone=True)
