"""What TensorBoard shows of a training run."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import metrics, report

__all__ = ["Summaries", "psnr_by_step"]


Pair = Callable[[Any, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def psnr_by_step(model: Any, pair: Pair, examples: np.ndarray) -> np.ndarray:
    """PSNR of each of a model's predictions: [N, P]; `pair` as of `blade_tf.tasks.Task`."""
    found = []
    for part in np.array_split(examples, max(len(examples) // 16, 1)):
        predicted, wanted = (tensor.numpy() for tensor in pair(model, tf.constant(part)))
        found.append(np.stack([metrics.psnr(wanted[:, k], predicted[:, k]) for k in range(wanted.shape[1])], axis=1))
    return np.concatenate(found)


class Summaries:
    """TensorBoard: loss, learning rate, PSNR by step, filter mosaics, the selection's histogram, images."""

    def __init__(
        self,
        folder: pathlib.Path,
        model: Any,
        pair: Pair,
        inputs: Callable[[Any, tf.Tensor], Any],
        validation: np.ndarray,
    ) -> None:
        self.writer = tf.summary.create_file_writer(str(folder))
        self.model, self.pair, self.inputs, self.validation = model, pair, inputs, validation

    def scalars(self, step: int, loss: float, learning_rate: float) -> None:
        """Writes the loss and the learning rate of a step."""
        with self.writer.as_default(step):
            tf.summary.scalar("loss", loss)
            tf.summary.scalar("learning_rate", learning_rate)

    def validate(self, step: int) -> float:
        """Writes what the model does on the validation photographs; returns the mean PSNR of the final step."""
        model, first = self.model, self.validation[:4]
        psnr = psnr_by_step(model, self.pair, self.validation).mean(0)
        batch = tf.constant(first)
        predicted, wanted = (tensor.numpy()[:, -1] for tensor in self.pair(model, batch))
        _, height, width, channels = wanted.shape
        top, left = (first.shape[2] - height) // 2, (first.shape[3] - width) // 2
        given = first[:, 0, top : top + height, left : left + width, :channels]
        chosen_by = model.select(self.inputs(model, batch))
        selections = [part[0] if isinstance(part, list | tuple) else part for part in chosen_by]
        with self.writer.as_default(step):
            for k, value in enumerate(psnr):
                tf.summary.scalar(f"validation_psnr/step_{k + 1:02d}", value)
            for i, chosen in enumerate(selections):
                tf.summary.histogram(f"selection/{i}", chosen)
            tf.summary.image("filters", report.filter_mosaic(*model.mosaic())[np.newaxis])
            panels = np.concatenate([given, wanted, predicted, 0.5 + 10 * (predicted - wanted)], axis=2)
            tf.summary.image("input, reference, model, 10 x difference", np.clip(panels, 0, 1), max_outputs=4)
        self.writer.flush()
        return float(psnr[-1])
