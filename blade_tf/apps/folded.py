"""Deconvolution with the data term's linear part folded into the filters (eqs 4.4-4.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.signal
import tensorflow as tf

from blade_tf import arguments, layers, models, operators, rates

__all__ = ["fold", "observed"]

Rate = Callable[[tf.Tensor], tf.Tensor]


def observed(kernel: Any, f: Any, weight: float) -> Rate:
    """The rate `u -> lambda A^T f`, what is left of the data term beside a model from `fold` (eq 4.5)."""
    pull = arguments.positive("weight", weight) * operators.blur(kernel).adjoint(f)
    return lambda u: pull


def fold(model: models.EvolutionModel, kernel: Any, weight: float) -> models.EvolutionModel:
    """A model with the filters `h_deconv[k] = h[k] - lambda (phi~ * phi)` (eq 4.4), phi the kernel.

    `fold(model, kernel, weight).evolve(f, steps, dt, extra=[observed(kernel, f, weight)])` is eq 4.5. It equals
    `restoration.restore(f, operators.blur(kernel), model.rate, dt, weight, steps)` up to rounding, at the borders too:
    there the blur's border pixels make A^T A another map than one convolution, and the difference, which is 0 further
    inside than the kernel is long, is a second rate of the model.

    Args:
      model: of one `BladeRate`, as the pretrained `*_paper` and `*_convex` models are.
      kernel: phi [R, S]. The footprint grows to [2 R - 1, 2 S - 1] where that is larger; images
        must be at least of that size.
      weight: lambda as in eq 4.2.

    Returns:
      A model with the same selection, dt, steps and method, to be saved by `blade_tf.export` but not as .keras.

    Raises:
      ValueError: a model of another form, or a weight or kernel that makes no sense.
    """
    rate = model.rates[0]
    if len(model.rates) != 1 or type(rate) is not rates.BladeRate:
        raise ValueError(
            f"model: expected one BladeRate, such as tv_flow_paper's, got {[type(r).__name__ for r in model.rates]}"
        )
    weight = arguments.positive("weight", weight)
    operator = operators.blur(kernel)
    phi = np.asarray(kernel, np.float64)
    correlation = weight * scipy.signal.correlate2d(phi, phi)
    filters = np.asarray(rate.blade.filters, np.float64)
    size = np.maximum(filters.shape[1:], correlation.shape)
    bank = _centred(filters, size) - _centred(correlation[np.newaxis], size)
    blade = layers.Blade(len(bank), tuple(size), dtype=rate.blade.dtype_policy)
    blade.filters.assign(bank)
    folded = rates.BladeRate(rate.selection, blade, dtype=rate.dtype_policy)
    autocorrelation = operators.blur(correlation)

    def beside_convolution(u: tf.Tensor) -> tf.Tensor:
        return autocorrelation(u) - weight * operator.adjoint(operator(u))

    def at_borders(u: tf.Tensor) -> tf.Tensor:
        return _frame(beside_convolution, u, phi.shape[0] - 1, phi.shape[1] - 1)

    return models.EvolutionModel(
        [folded, at_borders], model.dt, model.steps, model.method, valid_range=model.valid_range
    )


def _centred(filters: np.ndarray, size: np.ndarray) -> np.ndarray:
    rows, columns = ((wanted - have) // 2 for wanted, have in zip(size, filters.shape[1:], strict=True))
    return np.pad(filters, ((0, 0), (rows, rows), (columns, columns)))


def _frame(function: Rate, u: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """function(u) of a map that sees `rows` and `columns` in two turns and is 0 but in as many next to the borders."""
    height, width = tf.shape(u)[1], tf.shape(u)[2]
    rest = u[:, rows : height - rows]
    if columns:
        strip = tf.minimum(3 * columns, width)
        left = function(u[:, :, :strip])[:, rows : height - rows, :columns]
        right = function(u[:, :, width - strip :])[:, rows : height - rows, -columns:]
        rest = tf.concat([left, tf.zeros_like(rest[:, :, columns : width - columns]), right], axis=2)
    else:
        rest = tf.zeros_like(rest)
    if rows:
        strip = tf.minimum(3 * rows, height)
        rest = tf.concat([function(u[:, :strip])[:, :rows], rest, function(u[:, height - strip :])[:, -rows:]], axis=1)
    return rest
