"""What can be trained: evolution by an equation, resampling, restoration of a degradation, upscaling."""

from __future__ import annotations

import ml_collections

from blade_tf import config as config_lib
from blade_tf import names
from blade_tf.tasks.evolution import EVOLUTION
from blade_tf.tasks.resampling import RESAMPLING
from blade_tf.tasks.restoration import RESTORATION
from blade_tf.tasks.task import Task
from blade_tf.tasks.upscaling import UPSCALING

__all__ = ["EVOLUTION", "TASKS", "Task", "of"]

TASKS = {"evolution": EVOLUTION, "resampling": RESAMPLING, "restoration": RESTORATION, "upscaling": UPSCALING}


def of(config: ml_collections.ConfigDict) -> Task:
    """The task that a config names; ValueError for an unknown one."""
    task = config_lib.task(config)
    if task not in TASKS:
        raise ValueError(f"task: unknown task {task!r}{names.hint(task, TASKS)}")
    return TASKS[task]
