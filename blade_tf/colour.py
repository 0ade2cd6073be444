"""Colour images (section 3.4): three ways to choose the filters of their channels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from blade_tf import models, names

__all__ = ["CHANNELS", "JOINT", "WAYS", "Evolution", "best_way"]

CHANNELS = 3
JOINT = "ced"  # the equation whose channels do not evolve independently: they share one diffusion tensor
WAYS = {
    "luma": "by luma",
    "joint": "by the mean of the channels' structure tensors",
    "separate": "each channel by itself",
}


def best_way(trained: models.Trained) -> str:
    """The one of `WAYS` that comes nearest to the equation on colour images: "joint" for `JOINT`, else "separate"."""
    return "joint" if trained.config["pde"]["name"] == JOINT else "separate"


def _with_mean_tensor(trained: models.Trained) -> models.EvolutionModel:
    """Selects by the mean of the channels' structure tensors: a gray photograph in colour is treated as in gray.

    `Selection` takes their sum, whose strength is sqrt(3) times that of a gray photograph, which thresholds are for.
    """

    def scaled(selection: dict[str, Any]) -> dict[str, Any]:
        keys = ["strength_thresholds", *(["centers"] if selection.get("soft") == "strength" else [])]
        return selection | {key: [math.sqrt(CHANNELS) * value for value in selection[key]] for key in keys}

    spec = {key: scaled(value) if key.endswith("selection") else value for key, value in trained.spec.items()}
    return dataclasses.replace(trained, spec=spec).model(luma=False)


def _rate(model: models.EvolutionModel, u: tf.Tensor) -> tf.Tensor:
    precise = u.dtype in (tf.float32, tf.float64)
    return (model.step(u) - u) / model.dt if precise and model.method == "euler" else model.rate(u)


class Evolution:
    """A trained model for gray and colour images [N, H, W, 1 or 3].

    Args:
      trained: the model.
      way: one of `WAYS`, for colour images; by default `best_way(trained)`.

    Raises:
      ValueError: for an unknown way, or a model of another task; when applied, for other numbers of channels.
    """

    def __init__(self, trained: models.Trained, way: str | None = None) -> None:
        trained.check_task("evolution")
        self.way = best_way(trained) if way is None else way
        if self.way not in WAYS:
            raise ValueError(f"way: unknown way {way!r}{names.hint(self.way, WAYS)}")
        self.gray = trained.model()
        self.colour = _with_mean_tensor(trained) if self.way == "joint" else self.gray

    def evolve(self, image: tf.Tensor, steps: int | None = None, dt: float | None = None) -> tf.Tensor:
        """The state after `steps` steps of length dt, by default the model's: see `EvolutionModel.evolve`."""
        return self._by_channels(image, lambda model, u: model.evolve(u, steps, dt))

    def rate(self, image: tf.Tensor) -> tf.Tensor:
        """du/dt of the model's equation, to which further rates can be added (eq 2.10).

        Where the model's step is one operation, several times as fast as its rate, (step(u) - u) / dt.
        """
        return self._by_channels(image, _rate)

    def _by_channels(
        self, image: tf.Tensor, function: Callable[[models.EvolutionModel, tf.Tensor], tf.Tensor]
    ) -> tf.Tensor:
        channels = image.shape[-1]
        if channels not in (1, CHANNELS):
            raise ValueError(f"image: expected 1 or {CHANNELS} channels, known beforehand, got {channels}")
        if channels == 1 or self.way != "separate":
            return function(self.gray if channels == 1 else self.colour, image)
        as_batch = tf.concat(tf.split(image, channels, axis=-1), axis=0)
        return tf.concat(tf.split(function(self.gray, as_batch), channels, axis=0), axis=-1)
