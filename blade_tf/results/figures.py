"""Pictures as in the paper's Figs 9 to 14: states, colour, and trained banks."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from blade_tf import evaluate, image_io, models, report

__all__ = ["bank_picture", "colour_picture", "states_picture", "write_picture"]

ENLARGED = 2


def states_picture(trained: models.Trained, sequences: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """For each named photograph: the input, the reference, BLADE, and ten times their difference (Fig 9)."""
    pictures, labels = [], []
    model = trained.model()
    for name in names:
        first, last = sequences[name][[0, -1]]
        blade = model.evolve(tf.constant(first[np.newaxis])).numpy()[0]
        pictures += [first, last, blade, report.error_image(blade, last, 10.0)]
        labels += [
            pathlib.Path(name).stem,
            "reference",
            f"BLADE, {evaluate.score(blade, last)[0]:.2f} dB",
            "10 x difference",
        ]
    return report.side_by_side(pictures, labels, columns=4, scale=ENLARGED)


def colour_picture(cases: Sequence[tuple[str, models.EvolutionModel, np.ndarray]]) -> np.ndarray:
    """For each equation, by its title: a colour photograph, the reference, and BLADE (Fig 10).

    Args:
      cases: title, model, and the reference's sequence [F, H, W, 3].
    """
    pictures, labels = [], []
    for title, model, frames in cases:
        blade = model.evolve(tf.constant(frames[:1])).numpy()[0]
        pictures += [frames[0], frames[-1], blade]
        labels += ["input", f"{title}, reference", f"BLADE, {evaluate.score(blade, frames[-1])[0]:.2f} dB"]
    return report.side_by_side(pictures, labels, columns=3, scale=ENLARGED)


def bank_picture(trained: models.Trained) -> np.ndarray:
    """A trained bank (Figs 11 to 14): orientations along columns, or along rows where there are fewer of them than of
    the other features' bins.
    """
    bank, orientations = trained.model().rates[0].mosaic()
    draw = report.pair_mosaic if trained.spec["form"] == "pairs" else report.filter_mosaic
    return draw(bank, orientations, transposed=len(bank) > orientations**2)


def write_picture(path: pathlib.Path, picture: np.ndarray) -> None:
    """Writes a picture, uint8 [H, W, 3], as PNG or JPEG."""
    image_io.write_image(path, image_io.Image(picture.astype(np.float32) / 255))
