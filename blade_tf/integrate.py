"""Time stepping: an integrator makes a step out of a rate, and steps follow one another.

A rate is a function u -> du/dt; rates add. A step is a function u -> next u. Reference solvers, training and
applications share these integrators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = ["INTEGRATORS", "euler", "evolve", "midpoint", "sum_rates", "trajectory"]

Rate = Callable[[tf.Tensor], tf.Tensor]
Step = Callable[[tf.Tensor], tf.Tensor]


def sum_rates(*rates: Rate) -> Rate:
    """The rate u -> sum_i rates[i](u): further terms on the right-hand side (eq 2.10)."""
    if not rates:
        raise ValueError("rates: expected at least one, got none")

    def total(u: tf.Tensor) -> tf.Tensor:
        value = rates[0](u)
        for rate in rates[1:]:
            value += rate(u)
        return value

    return total


def _number(value: Any, u: tf.Tensor) -> tf.Tensor:
    # tf.cast would take a Python number through float32.
    return tf.cast(value, u.dtype) if tf.is_tensor(value) else tf.constant(value, u.dtype)


def euler(rate: Rate, dt: Any) -> Step:
    """Explicit Euler (eq 2.6): `u' = u + dt rate(u)`."""
    return lambda u: u + _number(dt, u) * rate(u)


def midpoint(rate: Rate, dt: Any) -> Step:
    """Explicit midpoint (eq 2.7): `u' = u + dt rate(u + dt / 2 rate(u))`; twice the evaluations of `euler`."""

    def step(u: tf.Tensor) -> tf.Tensor:
        length = _number(dt, u)
        return u + length * rate(u + 0.5 * length * rate(u))

    return step


INTEGRATORS: dict[str, Callable[[Rate, Any], Step]] = {"euler": euler, "midpoint": midpoint}


def trajectory(step: Step, u: tf.Tensor, steps: int) -> list[tf.Tensor]:
    """The states after 1, ..., `steps` steps, unrolled."""
    states = []
    for _ in range(steps):
        u = step(u)
        states.append(u)
    return states


def evolve(step: Step, u: tf.Tensor, steps: Any) -> tf.Tensor:
    """The state after `steps` steps, an integer or an integer tensor, in a loop that holds one state."""
    u = tf.convert_to_tensor(u)
    if not tf.convert_to_tensor(steps).dtype.is_integer:
        raise TypeError(f"steps: expected an integer, got {tf.convert_to_tensor(steps).dtype.name}")
    # A number of steps that is known beforehand is what XLA needs to differentiate the loop.
    return tf.while_loop(
        lambda _: tf.constant(True),
        lambda v: (tf.ensure_shape(step(v), u.shape),),
        (u,),
        shape_invariants=(u.shape,),
        maximum_iterations=steps,
    )[0]
