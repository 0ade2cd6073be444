"""Restoration of a degradation by stages of BLADE."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf
import tqdm

from blade_tf import least_squares, models
from blade_tf.data import examples, records
from blade_tf.least_squares import NormalEquations
from blade_tf.restoration import RestorationModel, knot_weights
from blade_tf.start import Start, selection_spec
from blade_tf.tasks.task import Task, check

__all__ = ["RESTORATION"]

SAMPLE = 100  # examples that thresholds are taken from


def _check(config: ml_collections.ConfigDict) -> None:
    check(config)
    knots, blur = tuple(config.model.knots), tuple(config.degradation.blur)
    if knots and (knots[:1] + knots[-1:] != blur or any(a >= b for a, b in itertools.pairwise(knots))):
        raise ValueError(f"model.knots: expected to ascend from {blur[0]:g} to {blur[1]:g}, as the blur, got {knots}")
    if knots and not config.degradation.noise[0]:
        raise ValueError("degradation.noise: expected more than 0 for a model with knots, got 0")


@dataclasses.dataclass
class _Example:
    """What is given and the truth, [1, H, W, 1], as the stages see them; the state so far.

    `weights` [1, knots] as of `RestorationModel.filters`, None without knots.
    """

    given: np.ndarray
    truth: np.ndarray
    state: np.ndarray
    weights: np.ndarray | None

    @classmethod
    def of(cls, frames: np.ndarray, knots: tuple[float, ...]) -> _Example:
        given, truth, blur, sigma = frames[:, np.newaxis]
        if not knots:
            return cls(given, truth, given, None)
        weights = knot_weights(blur[0, 0, 0, :1], knots).numpy()
        return cls(given / sigma, truth / sigma, given / sigma, weights)

    @property
    def share(self) -> float:
        """What its errors weigh: with knots, all examples alike whatever their degradation, as in the loss log_mse."""
        return 1.0 if self.weights is None else 1 / float(np.mean(np.square(self.truth - self.state)))


def _features(example: _Example, bases: list[np.ndarray], footprints: list[Any]) -> np.ndarray:
    """What multiplies the coefficients of a stage's filters: [1, H, W, D]."""
    images = [example.state, example.given - example.state][: len(bases)]
    parts = [
        least_squares.patches(image[..., 0], footprint) @ basis.astype(image.dtype)
        for image, basis, footprint in zip(images, bases, footprints, strict=True)
    ]
    return np.concatenate(parts, axis=-1)


class _Equations:
    """The normal equations of a stage: of one filter a bin, or of one for each knot, which an example's are made of.

    An example's filter is sum_k w_k h_k, so that what multiplies the h_k is the Kronecker product of w and its patches.
    """

    def __init__(self, bins: int, size: int, knots: int) -> None:
        self.size = size
        self.joint = NormalEquations.zeros(bins, size * knots)
        self.counts = np.zeros((knots, bins))
        self.energy = 0.0
        self.pixels = 0

    def add(self, example: _Example, seen: np.ndarray, chosen: np.ndarray) -> None:
        """Adds an example's pixels: seen [P, size], chosen [P]."""
        target = (example.truth - example.state).ravel()
        own = NormalEquations.zeros(len(self.joint.count), self.size)
        own.add(seen, target, chosen)
        weights = np.ones(1) if example.weights is None else example.weights[0]
        share = example.share
        near = np.flatnonzero(weights).tolist()
        for i in near:
            self.joint.moment[:, self.at(i)] += share * weights[i] * own.moment
            self.counts[i] += weights[i] ** 2 * own.count
            for j in near:
                self.joint.gram[:, self.at(i), self.at(j)] += share * weights[i] * weights[j] * own.gram
        self.joint.count += own.count
        self.energy += share * float(np.square(target).sum())
        self.pixels += target.size

    def at(self, knot: int) -> slice:
        """The coefficients of a knot's filters."""
        return slice(knot * self.size, (knot + 1) * self.size)

    def solve(self, ridge: float) -> np.ndarray:
        """The coefficients of the filters, bin by bin within each knot: [knots * bins, size]."""
        fitted = self.joint.solve(ridge).reshape(len(self.joint.count), -1, self.size)
        return fitted.transpose(1, 0, 2).reshape(-1, self.size)

    def whitening(self, ridge: float) -> np.ndarray:
        """Of each filter's coordinates, `NormalEquations.scaled_whitening`: [knots * bins, size, size]."""
        roots = []
        for knot, count in enumerate(self.counts):
            part = NormalEquations(
                self.joint.gram[:, self.at(knot), self.at(knot)], self.joint.moment[:, self.at(knot)], count
            )
            roots.append(part.scaled_whitening(ridge, self.energy, self.pixels))
        return np.concatenate(roots)


def _start(data: records.RecordReader, config: ml_collections.ConfigDict) -> Start:
    """Stage by stage, the filters whose outcome is nearest to the truth; thresholds at quantiles of the states."""
    rng, finish = np.random.default_rng([config.seed, 3]), examples.of(config).finish
    knots = tuple(config.model.knots)
    found = [_Example.of(finish(data[i], config, rng), knots) for i in range(len(data))]
    spec: dict[str, Any] = {
        "task": "restoration",
        "selections": [],
        "footprint": list(config.model.footprint),
        "residual_footprint": list(config.model.residual_footprint),
    }
    if knots:
        spec |= {"knots": list(knots), "noise": list(config.degradation.noise)}
    arrays: dict[str, np.ndarray] = {}
    for k in range(config.model.stages):
        sample = np.concatenate([example.state for example in found[:: -(-len(found) // SAMPLE)]])
        spec["selections"].append(selection_spec(sample, config.model.selection, "pixel"))
        names = [f"state_{k}", f"residual_{k}"][: 1 + bool(k)]
        footprints = [tuple(spec["footprint"]), tuple(spec["residual_footprint"])][: len(names)]
        state, residual = least_squares.difference_basis(footprints[0]), np.eye(int(np.prod(footprints[-1])))
        bases = [state, residual][: len(names)]
        model = models.build(spec)
        sizes = [basis.shape[1] for basis in bases]
        equations = _Equations(model.selections[k].num_bins, sum(sizes), len(knots) or 1)
        for example in tqdm.tqdm(found, desc=f"least squares, stage {k + 1}"):
            chosen = model.selections[k](tf.constant(example.state)).numpy().ravel()
            equations.add(example, _features(example, bases, footprints).reshape(len(chosen), -1), chosen)
        for knot, counts in zip(knots, equations.counts, strict=False):
            if not counts.any():
                raise ValueError(f"model.knots: expected examples of blurs near each knot, got none near {knot:g} px")
        fitted, whitening = equations.solve(config.train.ridge), equations.whitening(config.train.whitening_ridge)
        start = 0
        for name, basis in zip(names, bases, strict=True):
            inside = slice(start, start + basis.shape[1])
            start = inside.stop
            arrays[f"least_squares/{name}"] = (fitted[:, inside] @ basis.T).reshape(model.bank[name].shape)
            arrays[f"whitening/{name}"] = basis @ whitening[:, inside, inside]
        models.set_bank(model, {key: arrays[f"least_squares/{key}"] for key in model.bank})
        for example in found:
            u, f = tf.constant(example.state), tf.constant(example.given)
            weights = None if example.weights is None else tf.constant(example.weights)
            example.state = model.stage(k, u, f, weights).numpy()
    return Start(spec, {key: np.asarray(value, np.float32) for key, value in arrays.items()})


def _inputs(model: RestorationModel, batch: tf.Tensor) -> Any:
    return [batch[:, 0], batch[:, 2:, 0, 0, 0]] if model.knots else batch[:, 0]


def _pair(model: RestorationModel, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    found = model(_inputs(model, batch))
    return found, tf.repeat(batch[:, 1:2], found.shape[1], axis=1)


RESTORATION = Task(_check, _start, _pair, _inputs, last_alone=True, keeps_start=False)
