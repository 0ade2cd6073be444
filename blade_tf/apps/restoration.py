"""Restoration of f = A u + noise by any regulariser (eq 4.2), the choice of its lambda, and a start to inpaint."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import arguments, convolution, integrate, operators

__all__ = ["STEPS", "balance", "estimated_squared_norm", "fill", "restore"]

Rate = Callable[[tf.Tensor], tf.Tensor]

STEPS = 20
HALVINGS = 8  # of a range of 10^4: lambda to 4 %


def fill(f: Any, known: Any) -> tf.Tensor:
    """Fills unknown pixels with Gaussian means of known ones, a start to inpaint.

    The standard deviation is the least of 0.7, 2, 8 and 32 px for which known pixels have 3 % of the Gaussian's mass;
    beyond, the mean of all is taken.

    Args:
      f: float [N, H, W, C]; what is unknown may be NaN.
      known: 1 or True where a pixel is known, what broadcasts to f.
    """
    f = arguments.images("f", f)
    there = tf.broadcast_to(tf.cast(known, f.dtype), tf.shape(f))
    seen = tf.where(there > 0, f, tf.zeros_like(f))
    u = tf.math.divide_no_nan(*(tf.reduce_sum(t, [1, 2], keepdims=True) for t in (seen, there))) + tf.zeros_like(f)
    for sigma in (32.0, 8.0, 2.0, 0.7):
        share = convolution.gaussian(there, sigma)
        mean = tf.math.divide_no_nan(convolution.gaussian(seen, sigma), share)
        u = tf.where(share > 0.03, mean, u)
    return tf.where(there > 0, f, u)


def estimated_squared_norm(operator: operators.Operator, u: Any, iterations: int = 50) -> float:
    """||A||^2 from above where the operator knows it; else by power iteration on images of u's shape, with a margin."""
    if operator.bound is not None:
        return operator.bound
    u = arguments.images("u", u)
    v = 1 + tf.random.stateless_normal(tf.shape(u), (0, 0), dtype=u.dtype)
    found = 0.0
    for _ in range(iterations):
        v = tf.math.divide_no_nan(v, tf.norm(v))
        blurred = operator(v)
        found, v = float(tf.reduce_sum(tf.square(blurred))), operator.adjoint(blurred)
    return 1.05 * found


def _check_stable(operator: operators.Operator, u: tf.Tensor, dt: Any, weight: Any) -> None:
    """ValueError where a data term diverges; in graphs, only numbers and what A knows of itself are looked at."""
    graph = not tf.executing_eagerly()
    if graph and (tf.is_tensor(dt) or tf.is_tensor(weight) or operator.bound is None):
        return
    dts, weights = np.broadcast_arrays(*(np.asarray(value, np.float64) for value in (dt, weight)))
    if not dts.size:
        return
    worst = np.argmax(dts * weights)
    dt, weight = dts.flat[worst], weights.flat[worst]
    limit = 2 / max(dt * estimated_squared_norm(operator, u), 1e-30)
    if not weight < limit:
        raise ValueError(
            f"weight: expected less than 2 / (dt ||A||^2) = {limit:.4g}, where explicit Euler diverges, got {weight:g}"
        )


def restore(
    f: Any,
    operator: operators.Operator,
    rate: Rate,
    dt: Any,
    weight: Any,
    steps: Any = STEPS,
    start: Any = None,
    method: str = "euler",
) -> tf.Tensor:
    """Eq 4.2: `u' = u + dt (R(u) + lambda A^T (f - A u))`, u(0) = f.

    Either part alone is stable: the data term where dt lambda ||A||^2 < 2, the rate up to a time step of its own, such
    as `EvolutionModel.dt`. Together, `dt / own + dt lambda ||A||^2 / 2 <= 1` suffices: a step is then a mean of a step
    of the rate, one of the data term and u itself. More may work, and both bounds at once may not. dt lambda of 1
    removes in one step what A lets through of the residual.

    Args:
      f: what was observed, float [N, H, W, C].
      operator: A; it must keep an image's shape unless `start` is given.
      rate: R, u -> du/dt: `EvolutionModel.rate` or `colour.Evolution.rate` of a trained model, or any other.
      dt: length of a step in the rate's unit, a number or a tensor [N, 1, 1, 1].
      weight: lambda, likewise.
      steps: number of steps.
      start: u(0); f by default.
      method: one of `blade_tf.integrate.INTEGRATORS`.

    Returns:
      u after these steps; values are not clipped.

    Raises:
      ValueError: f or start is not float [N, H, W, C], or has no pixel; a dt or weight that is not positive; dt weight
        ||A||^2 of 2 or more (in graphs of numbers alone, and where A knows its bound); a kernel larger than the image.
    """
    f = arguments.images("f", f)
    u = f if start is None else arguments.images("start", start)
    dt = dt if tf.is_tensor(dt) else arguments.positive("dt", dt)
    weight = weight if tf.is_tensor(weight) else arguments.positive("weight", weight)
    if method not in integrate.INTEGRATORS:
        raise ValueError(f"method: expected one of {sorted(integrate.INTEGRATORS)}, got {method!r}")
    steps = steps if tf.is_tensor(steps) else arguments.count("steps", steps)
    _check_stable(operator, u, dt, weight)
    return _evolved(f, operator, rate, dt, weight, steps, u, method)


def _evolved(
    f: tf.Tensor,
    operator: operators.Operator,
    rate: Rate,
    dt: Any,
    weight: Any,
    steps: Any,
    u: tf.Tensor,
    method: str = "euler",
) -> tf.Tensor:
    total = integrate.sum_rates(rate, operators.data_term(operator, f, weight))
    return integrate.evolve(integrate.INTEGRATORS[method](total, dt), u, steps)


def balance(
    f: Any,
    operator: operators.Operator,
    rate: Rate,
    noise: Any,
    dt: Any,
    dt_weight: Any = 1.0,
    steps: Any = STEPS,
    start: Any = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Eq 4.2 with lambda by the discrepancy principle (Morozov): ||A u - f||^2 = N sigma^2, for each image.

    The residual falls as lambda grows, so bisection of log lambda finds it, to 4 %, in [1e-2, 1e2] dt_weight / dt;
    beyond, the nearer end is the result. A lambda above dt_weight / dt shortens the time step to dt_weight / lambda,
    which keeps it stable.

    Args:
      f: float [N, H, W, C].
      operator: A.
      rate: R.
      noise: sigma, a number or a tensor [N]: the root of the mean square over all pixels of f.
      dt: the longest time step.
      dt_weight: the largest dt lambda, below 2 / ||A||^2.
      steps: number of steps.
      start: u(0); f by default.

    Returns:
      u, and lambda [N].

    Raises:
      ValueError: a noise level that is not positive (of tensors found eagerly alone), and as `restore`.
    """
    f = arguments.images("f", f)
    begin = f if start is None else arguments.images("start", start)
    noise = noise if tf.is_tensor(noise) else arguments.positive("noise", noise)
    if tf.is_tensor(noise) and tf.executing_eagerly() and not bool(tf.reduce_all(noise > 0)):
        raise ValueError(f"noise: expected positive levels, got {noise.numpy().tolist()}")
    steps = steps if tf.is_tensor(steps) else arguments.count("steps", steps)
    dt = dt if tf.is_tensor(dt) else arguments.positive("dt", dt)
    dt_weight = dt_weight if tf.is_tensor(dt_weight) else arguments.positive("dt_weight", dt_weight)
    sigma = tf.broadcast_to(tf.cast(noise, f.dtype), tf.shape(f)[:1])
    most = tf.cast(dt_weight, f.dtype) / tf.cast(dt, f.dtype) * tf.ones_like(sigma)[:, None, None, None]
    _check_stable(operator, begin, dt, most if tf.is_tensor(dt) or tf.is_tensor(dt_weight) else dt_weight / dt)

    def halve(low: tf.Tensor, high: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, ...]:
        weight = most * tf.exp((low + high) / 2)
        shortened = tf.cast(dt, f.dtype) * tf.minimum(most / weight, 1)
        u = _evolved(f, operator, rate, shortened, weight, steps, begin)
        residual = tf.reduce_mean(tf.square(operator(u) - f), [1, 2, 3], keepdims=True)
        too_smooth = residual > tf.square(sigma)[:, None, None, None]
        middle = (low + high) / 2
        return tf.where(too_smooth, middle, low), tf.where(too_smooth, high, middle), weight, u

    edge = tf.constant(math.log(100), f.dtype) * tf.ones_like(most)
    loop = (-edge, edge, most, begin)
    _, _, weight, u = tf.while_loop(lambda *_: tf.constant(True), halve, loop, maximum_iterations=HALVINGS)
    return u, weight[:, 0, 0, 0]
