"""Evolution by an equation, unrolled over the frames of its reference sequences (section 2.3)."""

from __future__ import annotations

import ml_collections
import tensorflow as tf

from blade_tf import baselines, forms, models
from blade_tf import config as config_lib
from blade_tf.start import least_squares_start
from blade_tf.tasks.task import Task

__all__ = ["EVOLUTION"]


def _check(config: ml_collections.ConfigDict) -> None:
    config_lib.check(config)
    forms.check(config.model)


def _pair(model: models.EvolutionModel, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return model(batch[:, 0]), batch[:, 1:]


EVOLUTION = Task(
    _check,
    least_squares_start,
    _pair,
    rivals=lambda data, config: baselines.tuned(data.folder, data.validation, config),
)
