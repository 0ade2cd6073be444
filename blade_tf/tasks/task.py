"""What the trainer has to know of a task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import ml_collections
import tensorflow as tf

from blade_tf import config as config_lib
from blade_tf.data import batches, examples, records
from blade_tf.start import Start

__all__ = ["Task", "check"]


def check(config: ml_collections.ConfigDict, border: int = 0) -> None:
    """ValueError, naming the key, for a config that makes no sense for filters chosen at pixels, whatever the task.

    `border` is what does not count at a window's.
    """
    examples.of(config).check(config)
    if config.model.selection.soft:
        raise ValueError(
            f"model.selection.soft: expected none for {config_lib.task(config)}, got {config.model.selection.soft!r}"
        )
    if config.model.get("stages", 1) < 1:
        raise ValueError(f"model.stages: expected at least 1, got {config.model.stages}")
    if config.train.crop <= 2 * border:
        raise ValueError(f"train.crop: expected more than {2 * border}, got {config.train.crop}")


def _no_rivals(_data: batches.Data, _config: ml_collections.ConfigDict) -> dict[str, Any]:
    return {}


def _first_frame(_model: Any, batch: tf.Tensor) -> tf.Tensor:
    """What most models are given: [B, F, H, W, C] -> [B, H, W, C]."""
    return batch[:, 0]


@dataclasses.dataclass(frozen=True)
class Task:
    """A task: its model is what `blade_tf.models.build` makes of the start's spec, with output "trajectory".

    Such a model has `bank`, the trainable weights by name; `select(inputs)`, its selections of what it is given; and
    `mosaic()`, some of its filters and the number of orientations.

    Attributes:
      check: ValueError, naming the key, for a config that makes no sense.
      start: the spec and the least-squares bank, from the training examples.
      pair: from a model and a batch of examples [B, F, H, W, C] to its predictions and what they should be, both
        [B, P, H, W, 1 or 3], possibly without the windows' borders; the last of P is the one that counts.
      inputs: from a model and a batch of examples to what the model's selections are about.
      last_alone: the loss is about the last of the P predictions, not about all.
      keeps_start: a trained model keeps its least-squares weights too, which `blade-evaluate` shows beside the others.
      rivals: what else has been tuned on the validation examples, for the record.
    """

    check: Callable[[ml_collections.ConfigDict], Any]
    start: Callable[[records.RecordReader, ml_collections.ConfigDict], Start]
    pair: Callable[[Any, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    inputs: Callable[[Any, tf.Tensor], Any] = _first_frame
    last_alone: bool = False
    keeps_start: bool = True
    rivals: Callable[[batches.Data, ml_collections.ConfigDict], dict[str, Any]] = _no_rivals
