"""Resampling at displaced positions (section 5)."""

from __future__ import annotations

from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf
import tqdm

from blade_tf import least_squares
from blade_tf.data import records, resampling
from blade_tf.resampling import ResampleModel, spline_coefficients
from blade_tf.start import Start, selection_spec
from blade_tf.tasks.task import Task, check

__all__ = ["RESAMPLING"]

SAMPLE = 100  # examples that thresholds are taken from
BORDER = 8  # pixels at a window's border that do not count: the photograph goes on beyond it


def _check(config: ml_collections.ConfigDict) -> None:
    check(config, BORDER)
    if config.camera.shifts <= config.model.order:
        raise ValueError(
            f"camera.shifts: expected more than model.order = {config.model.order}, got {config.camera.shifts}"
        )
    # What else it refuses, with numbers in place of the data's quantiles.
    _model(config, {"orientations": 1})


def _model(config: ml_collections.ConfigDict, selection: dict[str, Any]) -> ResampleModel:
    model = config.model
    return ResampleModel(selection, model.order, model.constant, model.footprint, model.degree)


def _start(data: records.RecordReader, config: ml_collections.ConfigDict) -> Start:
    """All banks by least squares, which part into one problem a bank.

    At each pixel the values at all shifts, as a polynomial of the shift, have coefficients y_ij; because the shifts are
    the same everywhere, the filters with the least error over pixels and shifts are those nearest to the y_ij.
    """
    rng = np.random.default_rng([config.seed, 3])
    points, weights = resampling.shifts(config.camera.shifts)
    grid = np.array([(x, y) for y in points for x in points])
    given = []
    for k in range(len(data)):
        frames = data[k]
        noise = rng.uniform(*config.camera.noise) * rng.standard_normal(frames[:1].shape)
        given.append(frames[len(frames) // 2][np.newaxis] + noise.astype(frames.dtype))
    selection = selection_spec(np.concatenate(given[:: -(-len(given) // SAMPLE)]), config.model.selection, "pixel")
    model = _model(config, selection)
    monomials = np.stack([grid[:, 0] ** i * grid[:, 1] ** j for i, j in model.powers.values()], axis=1)
    root = np.sqrt(np.outer(weights, weights)).reshape(-1, 1)
    fit = np.linalg.pinv(root * monomials) * root.T

    basis = least_squares.difference_basis(model.footprint)
    equations = least_squares.NormalEquations.zeros(model.selection.num_bins, basis.shape[1], (len(fit),))
    inside = slice(BORDER, -BORDER)
    energy = np.zeros(len(fit))
    for k in tqdm.trange(len(data), desc="least squares", unit="example"):
        # The opposite shift of an image turned by half a turn is the same problem, in the same bins.
        for turn in (1, -1):
            u = given[k][:, ::turn, ::turn]
            frames = data[k][::turn, ::turn, ::turn, :]
            seen = least_squares.patches(spline_coefficients(u, model.degree).numpy()[..., 0], model.footprint)
            targets = np.tensordot(frames[..., 0] - u[..., 0], fit, (0, 1))[inside, inside].reshape(-1, len(fit))
            chosen = model.select(tf.constant(u))[0].numpy()[0, inside, inside].ravel()
            seen = (seen @ basis.astype(u.dtype))[0, inside, inside].reshape(len(chosen), -1)
            equations.add(seen, targets, chosen)
            energy += np.square(targets).sum(0)

    fitted = equations.solve(config.train.ridge)
    pixels = equations.count.sum()
    arrays: dict[str, np.ndarray] = {}
    for m, name in enumerate(model.powers):
        arrays[f"least_squares/{name}"] = (fitted[..., m] @ basis.T).reshape(-1, *model.footprint)
        arrays[f"whitening/{name}"] = basis @ equations.scaled_whitening(
            config.train.whitening_ridge, energy[m], pixels
        )
    spec = {
        "task": "resampling",
        "selection": selection,
        "order": model.order,
        "constant": model.constant,
        "footprint": list(model.footprint),
        "degree": model.degree,
    }
    return Start(spec, {key: np.asarray(value, np.float32) for key, value in arrays.items()})


def _pair(model: ResampleModel, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The image after one displacement and after two."""
    states = [batch[:, 0, ..., :1]]
    for k in (1, 2):
        states.append(model([states[-1], batch[:, k, ..., 1:]]))
    inside = slice(BORDER, -BORDER)
    return tf.stack(states[1:], axis=1)[:, :, inside, inside], batch[:, 1:, inside, inside, :1]


def _inputs(_model: ResampleModel, batch: tf.Tensor) -> tf.Tensor:
    return batch[:, 0, ..., :1]


RESAMPLING = Task(_check, _start, _pair, _inputs)
