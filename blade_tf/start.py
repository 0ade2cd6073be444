"""What precedes the end-to-end training: the selection's thresholds and the closed-form filters (section 2.3)."""

from __future__ import annotations

import dataclasses
from typing import Any

import ml_collections
import numpy as np
import tqdm

from blade_tf import least_squares, models, selection
from blade_tf.data import records

__all__ = ["Start", "least_squares_start", "step_length"]


def step_length(config: ml_collections.ConfigDict) -> float:
    """dt = M dt_HR: the time between two kept frames of the reference."""
    return config.reference.steps_per_frame * config.reference.dt


@dataclasses.dataclass(frozen=True)
class Start:
    """What precedes the end-to-end training: the model's spec, closed-form filters, and the whitened coordinates p.

    filters = least_squares + whitening p.
    """

    spec: dict[str, Any]
    arrays: dict[str, np.ndarray]


def least_squares_start(data: records.RecordReader, config: ml_collections.ConfigDict) -> Start:
    """Thresholds at the data's quantiles, then for each bin the filter nearest to (u^(k+1) - u^(k)) / dt."""
    choice, dt = config.model.selection, step_length(config)
    footprint = tuple(config.model.footprint)
    sample = np.concatenate([data[i][:-1:3] for i in np.linspace(0, len(data) - 1, min(len(data), 100)).astype(int)])
    strength, coherence = selection.quantile_thresholds(
        sample, choice.rho, choice.strength_quantiles, choice.coherence_quantiles
    )
    spec = {
        "form": config.model.form,
        "footprint": list(footprint),
        "method": config.model.method,
        "dt": dt,
        "steps": config.reference.frames,
        "selection": {
            "orientations": choice.orientations,
            "rho": choice.rho,
            "strength_thresholds": strength,
            "coherence_thresholds": coherence,
        },
    }
    select = models.build(spec).rates[0].selection
    basis = least_squares.difference_basis(footprint)
    equations = least_squares.NormalEquations.zeros(select.num_bins, basis.shape[1])
    for i in tqdm.trange(len(data), desc="least squares", unit="sequence"):
        u = data[i]
        x = least_squares.patch_differences(u[:-1, ..., 0], footprint)
        y = (u[1:] - u[:-1]).ravel()
        equations.add(x, y, select(u[:-1]).numpy().ravel())
    single = equations.total().solve(config.train.ridge)
    fitted = equations.solve(config.train.ridge, prior=single[0])
    # One unit of p changes the rate of its bin by the typical size of the target.
    scale = np.sqrt(equations.energy / equations.count.sum())
    whitening = scale * basis @ equations.whitening(config.train.whitening_ridge)
    arrays = {
        "least_squares": (fitted @ basis.T / dt).reshape(-1, *footprint),
        "single_filter": (single @ basis.T / dt).reshape(-1, *footprint),
        "whitening": whitening / dt,
        "count": equations.count,
    }
    return Start(
        spec, {key: value.astype(np.float32) if value.dtype == np.float64 else value for key, value in arrays.items()}
    )
