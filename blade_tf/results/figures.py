"""Pictures as in the paper's Figs 9 to 14: states, colour, and trained banks."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from blade_tf import evaluate, models, report

__all__ = ["bank_picture", "colour_picture", "states_picture"]

ENLARGED = 2


def _state(predict: evaluate.Predictor, frames: np.ndarray) -> tuple[np.ndarray, str]:
    """The state at the stopping time [H, W, C], and its PSNR as text."""
    state = predict(tf.constant(frames[:1])).numpy()[0]
    return state, f"{evaluate.score(state, frames[-1])[0]:.2f} dB"


def states_picture(
    trained: Sequence[models.Trained], sequences: Mapping[str, np.ndarray], names: Sequence[str]
) -> np.ndarray:
    """For each named photograph the reference and BLADE's models, and below the input and ten times their differences
    from the reference (Fig 9).
    """
    pictures, labels = [], []
    evolve = {entry.name: entry.model().evolve for entry in trained}
    for name in names:
        frames = sequences[name]
        found = {model: _state(predict, frames) for model, predict in evolve.items()}
        pictures += [frames[-1], *(state for state, _ in found.values())]
        labels += [f"{pathlib.Path(name).stem}, reference", *(f"{model}, {psnr}" for model, (_, psnr) in found.items())]
        pictures += [frames[0], *(report.error_image(state, frames[-1], 10.0) for state, _ in found.values())]
        labels += ["input", *(f"10 x difference, {model}" for model in found)]
    return report.side_by_side(pictures, labels, columns=1 + len(trained), scale=ENLARGED)


def colour_picture(cases: Sequence[tuple[str, evaluate.Predictor, np.ndarray]]) -> np.ndarray:
    """For each equation, by its title: a colour photograph, the reference, and BLADE (Fig 10).

    Args:
      cases: title, what computes the state at the stopping time, and the reference's sequence [F, H, W, 3].
    """
    pictures, labels = [], []
    for title, predict, frames in cases:
        state, psnr = _state(predict, frames)
        pictures += [frames[0], frames[-1], state]
        labels += ["input", f"{title}, reference", f"BLADE, {psnr}"]
    return report.side_by_side(pictures, labels, columns=3, scale=ENLARGED)


def bank_picture(trained: models.Trained) -> np.ndarray:
    """A trained bank (Figs 11 to 14): orientations along columns, or along rows where there are fewer of them than of
    the other features' bins.
    """
    bank, orientations = trained.model().rates[0].mosaic()
    draw = report.pair_mosaic if trained.spec["form"] == "pairs" else report.filter_mosaic
    return draw(bank, orientations, transposed=len(bank) > orientations**2)
