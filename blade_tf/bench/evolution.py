"""Whole models: ten steps of each that ships, and how the time grows with the number of steps."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from blade_tf import models
from blade_tf.bench import cases
from blade_tf.bench.inputs import MODEL, Inputs

__all__ = ["STEPS", "model_cases", "plain_of", "step_counts", "steps_name"]

STEPS = (1, 10, 100)


def plain_of(name: str) -> str:
    """The name of the model in the paper's form of the same equation."""
    return f"{name.removesuffix('_convex').removesuffix('_paper')}_paper"


def _run(model: models.EvolutionModel, u: tf.Tensor, steps: int) -> Any:
    graph = tf.function(lambda u: model.evolve(u, steps), autograph=False)
    return lambda: graph(u)


def model_cases(inputs: Inputs, names: list[str] | None = None) -> list[cases.Case]:
    """Ten steps of each shipped model, or of the named ones, as a graph that `evolve` was traced into."""
    shipped = sorted(set(models.pretrained_names()) - set(models.ALIASES))
    return [
        cases.Case(name, cases.OWN, _run(models.load_pretrained(name), inputs.u, 10), inputs.size, "graph", work=10)
        for name in (shipped if names is None else names)
    ]


def steps_name(count: int) -> str:
    """What a case of `step_counts` is called."""
    return f"{count} step{'s' if count > 1 else ''} of {MODEL}"


def step_counts(inputs: Inputs) -> list[cases.Case]:
    """The plain form's model with each number of steps."""
    model = models.load_pretrained(MODEL)
    return [
        cases.Case(steps_name(count), cases.OWN, _run(model, inputs.u, count), inputs.size, "graph", work=count)
        for count in STEPS
    ]
