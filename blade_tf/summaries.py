"""What TensorBoard shows of a training run."""

from __future__ import annotations

import pathlib

import numpy as np
import tensorflow as tf

from blade_tf import metrics, models, report

__all__ = ["Summaries", "psnr_by_step"]


def psnr_by_step(model: models.EvolutionModel, sequences: np.ndarray) -> np.ndarray:
    """PSNR of each step's state against the reference: [N, frames]."""
    states = [model(part[:, 0]).numpy() for part in np.array_split(sequences, max(len(sequences) // 16, 1))]
    predicted = np.concatenate(states)
    frames = predicted.shape[1]
    return np.stack([metrics.psnr(sequences[:, k + 1], predicted[:, k]) for k in range(frames)], axis=1)


class Summaries:
    """TensorBoard: loss, learning rate, PSNR by step, filter mosaics, the selection's histogram, images."""

    def __init__(self, folder: pathlib.Path, model: models.EvolutionModel, validation: np.ndarray) -> None:
        self.writer = tf.summary.create_file_writer(str(folder))
        self.model, self.validation = model, validation

    def scalars(self, step: int, loss: float, learning_rate: float) -> None:
        """Writes the loss and the learning rate of a step."""
        with self.writer.as_default(step):
            tf.summary.scalar("loss", loss)
            tf.summary.scalar("learning_rate", learning_rate)

    def validate(self, step: int) -> float:
        """Writes what the model does on the validation photographs; returns the mean PSNR of the final step."""
        model, first = self.model, self.validation[:4]
        psnr = psnr_by_step(model, self.validation).mean(0)
        rate = model.rates[0]
        selections = [part[0] if isinstance(part, list | tuple) else part for part in rate.select(first[:, 0])]
        with self.writer.as_default(step):
            for k, value in enumerate(psnr):
                tf.summary.scalar(f"validation_psnr/step_{k + 1:02d}", value)
            for i, chosen in enumerate(selections):
                tf.summary.histogram(f"selection/{i}", chosen)
            tf.summary.image("filters", report.filter_mosaic(*rate.mosaic())[np.newaxis])
            predicted = model(first[:, 0]).numpy()[:, -1]
            panels = np.concatenate(
                [first[:, 0], first[:, -1], predicted, 0.5 + 10 * (predicted - first[:, -1])], axis=2
            )
            tf.summary.image("input, reference, model, 10 x difference", np.clip(panels, 0, 1), max_outputs=4)
        self.writer.flush()
        return float(psnr[-1])
