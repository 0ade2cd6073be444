"""What precedes the end-to-end training: the selection's thresholds and the least-squares bank (section 2.3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import ml_collections
import numpy as np
import scipy.optimize
import tensorflow as tf
import tqdm

from blade_tf import forms, least_squares, rates, selection
from blade_tf.data import records
from blade_tf.flux import FUNCTIONS

__all__ = ["Start", "least_squares_start", "selection_spec", "step_length"]

FEATURES = ("strength", "coherence", "intensity")


def step_length(config: ml_collections.ConfigDict) -> float:
    """dt = M dt_HR: the time between two kept frames of the reference."""
    return config.reference.steps_per_frame * config.reference.dt


@dataclasses.dataclass(frozen=True)
class Start:
    """What precedes the end-to-end training, which works in whitened coordinates p of each weight of the bank.

    weight = least_squares/NAME + whitening/NAME p.

    Attributes:
      spec: of the model.
      arrays: "least_squares/NAME" [K, ...] and "whitening/NAME" [K, size, D] of each weight, and
        "single_filter/filters" [1, 5, 5].
    """

    spec: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def part(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose names start with prefix/, without it."""
        return {k.removeprefix(prefix + "/"): v for k, v in self.arrays.items() if k.startswith(prefix + "/")}


def selection_spec(sample: np.ndarray, choice: ml_collections.ConfigDict, center: str) -> dict[str, Any]:
    """The arguments of a `Selection`: thresholds as given, or at quantiles of the sample's features at `center`."""
    levels = {}
    for feature in FEATURES:
        given, quantiles = choice[f"{feature}_thresholds"], choice[f"{feature}_quantiles"]
        levels[feature] = list(map(float, given)) or selection.feature_quantiles(
            sample, choice.rho, center, feature, quantiles
        )
    soft = choice.soft or None
    centers = levels[soft] if soft in FEATURES else []
    if soft in FEATURES:
        levels[soft] = []
    return {
        "orientations": choice.orientations,
        "rho": choice.rho,
        **{f"{feature}_thresholds": levels[feature] for feature in FEATURES},
        "soft": soft,
        "centers": centers,
        "center": center,
    }


def _spec(sample: np.ndarray, config: ml_collections.ConfigDict) -> dict[str, Any]:
    model = config.model
    common = {
        "form": model.form,
        "method": model.method,
        "dt": step_length(config),
        "steps": config.reference.frames,
    }
    if model.form == "pairs":
        return common | {
            "neighbours": model.neighbours,
            "selection": selection_spec(sample, model.selection, "face_x"),
            "node_selection": selection_spec(sample, model.selection, "pixel"),
        }
    common |= {"footprint": list(model.footprint)}
    if model.form != "flux":
        return common | {"selection": selection_spec(sample, model.selection, "pixel")}
    return common | {
        "tied": model.tied,
        "antisymmetric": model.antisymmetric,
        "functions": list(model.functions),
        "limits": list(model.limits) or None,
        "selection": selection_spec(sample, model.selection, "face_x"),
    }


def _bins(chosen: Any) -> Iterator[tuple[np.ndarray, np.ndarray | float]]:
    """The bins that a selection chooses, and with which weights."""
    if isinstance(chosen, list | tuple):
        lower, upper, weight = (part.numpy() for part in chosen)
        yield lower, 1 - weight
        yield upper, weight
    else:
        yield chosen.numpy(), 1.0


@dataclasses.dataclass(frozen=True)
class _Linear:
    """A weight in which a rate is linear: weight = basis a, and the statistics of what multiplies a in each bin."""

    basis: np.ndarray
    equations: least_squares.NormalEquations

    def add(self, x: np.ndarray, chosen: Any, inside: tuple[slice, slice, slice]) -> None:
        """Adds x [N, H, W, D] where a selection chose its bins; `inside` leaves out what is no face."""
        for bins, weight in _bins(chosen):
            part = (x * np.asarray(weight)[..., np.newaxis] if np.ndim(weight) else x)[inside]
            flat = part.reshape(-1, x.shape[-1])
            self.equations.add(flat, np.zeros(len(flat), flat.dtype), bins[inside].ravel())


def _projected(image: np.ndarray, footprint: tuple[int, int], basis: np.ndarray) -> np.ndarray:
    """What multiplies the coefficients of a filter h = basis a: [N, H, W] -> [N, H, W, D]."""
    return least_squares.patches(image, footprint) @ basis.astype(image.dtype)


def _plain_parts(rate: rates.BladeRate, inputs: list[tf.Tensor]) -> dict[str, _Linear]:
    footprint = rate.blade.footprint
    basis = least_squares.difference_basis(footprint)
    part = _Linear(basis, least_squares.NormalEquations.zeros(rate.selection.num_bins, basis.shape[1]))
    for u in inputs:
        part.add(_projected(u.numpy()[..., 0], footprint, basis), rate.selection(u), (slice(None),) * 3)
    return {"filters": part}


def _flux_parts(rate: rates.FluxRate, inputs: list[tf.Tensor]) -> dict[str, _Linear]:
    flux, whole = rate.flux, slice(None)
    face = least_squares.face_basis(flux.footprint, flux.antisymmetric)
    # The weights of an antisymmetric bank are the coefficients themselves.
    basis = np.kron(np.eye(flux.banks), np.eye(face.shape[1]) if flux.antisymmetric else face)
    size = basis.shape[1]
    parts = {name: _Linear(basis, least_squares.NormalEquations.zeros(flux.num_filters, size)) for name in rate.bank}
    x, *_, y = [*parts, *parts]
    for u in inputs:
        banks = [FUNCTIONS[name](u).numpy()[..., 0] for name in rate.functions]
        turned = [bank.transpose(0, 2, 1) for bank in banks]
        seen_x, seen_y = (
            np.concatenate([_projected(image, flux.footprint, face) for image in images], axis=-1)
            for images in (banks, turned)
        )
        chosen_x, chosen_y = rate.select(u)
        parts[x].add(seen_x, chosen_x, (whole, whole, slice(None, -1)))
        parts[y].add(seen_y.transpose(0, 2, 1, 3), chosen_y, (whole, slice(None, -1), whole))
    return parts


class _OneStep:
    """The squared error of a rate over pairs of states, relative to that of standing still.

    A function of coordinates q of all weights together: weight = origin + W q.
    """

    def __init__(self, rate: rates.Rate, frames: list[tuple[tf.Tensor, tf.Tensor]]) -> None:
        self.rate, self.frames = rate, frames
        self.energy = sum(float(tf.reduce_sum(y * y)) for _, y in frames)
        self.pixels = sum(int(tf.size(y)) for _, y in frames)
        variables = [variable.value for variable in rate.bank.values()]

        @tf.function
        def gradients(u: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.math.squared_difference(rate(u), y))
            return loss, tape.gradient(loss, variables)

        self.gradients = gradients

    def fit(
        self, origin: dict[str, np.ndarray], whitening: dict[str, np.ndarray], ridge: np.ndarray, iterations: int
    ) -> dict[str, np.ndarray]:
        """The weights of the smallest error + ridge q^2, by L-BFGS from q = 0."""
        sizes = [w.shape[0] * w.shape[2] for w in whitening.values()]

        def weights(q: np.ndarray) -> dict[str, np.ndarray]:
            parts = np.split(q, np.cumsum(sizes)[:-1])
            return {
                name: origin[name] + (w @ part.reshape(len(w), -1, 1)).reshape(origin[name].shape)
                for (name, w), part in zip(whitening.items(), parts, strict=True)
            }

        def error(q: np.ndarray) -> tuple[float, np.ndarray]:
            for name, value in weights(q).items():
                self.rate.bank[name].assign(value)
            loss, sums = 0.0, [np.zeros(w.shape[:2]) for w in whitening.values()]
            for u, y in self.frames:
                value, found = self.gradients(u, y)
                loss += float(value)
                for total, gradient in zip(sums, found, strict=True):
                    total += gradient.numpy().reshape(total.shape)
            slopes = [
                (w.transpose(0, 2, 1) @ total[..., np.newaxis]).ravel()
                for w, total in zip(whitening.values(), sums, strict=True)
            ]
            loss = loss / self.energy + float(ridge @ (q * q))
            progress.set_postfix(error=f"{loss:.4f}")
            progress.update()
            return loss, np.concatenate(slopes) / self.energy + 2 * ridge * q

        with tqdm.tqdm(desc="least squares", unit="pass") as progress:
            found = scipy.optimize.minimize(
                error,
                np.zeros(sum(sizes)),
                jac=True,
                method="L-BFGS-B",
                # The default tolerances are about problems of few coordinates: these would stop early.
                options={"maxiter": iterations, "ftol": 1e-12, "gtol": 1e-8},
            )
        return weights(found.x)


def _single_filter(frames: list[tuple[tf.Tensor, tf.Tensor]], ridge: float) -> np.ndarray:
    basis = least_squares.difference_basis((5, 5))
    equations = least_squares.NormalEquations.zeros(1, basis.shape[1])
    for u, y in frames:
        x = _projected(u.numpy()[..., 0], (5, 5), basis).reshape(-1, basis.shape[1])
        equations.add(x, y.numpy().ravel(), np.zeros(len(x), np.int32))
    return (equations.solve(ridge) @ basis.T).reshape(1, 5, 5)


def _fit_linear(rate: Any, problem: _OneStep, train: ml_collections.ConfigDict) -> dict[str, np.ndarray]:
    """Least squares of a bank in which the rate is linear, and the whitening of its coordinates for training."""
    inputs = [u for u, _ in problem.frames]
    parts = _flux_parts(rate, inputs) if isinstance(rate, rates.FluxRate) else _plain_parts(rate, inputs)
    scale = np.sqrt(problem.energy)
    origin = {name: np.zeros(variable.shape) for name, variable in rate.bank.items()}
    # Were pixels or faces independent, the error would have the same curvature along all of these coordinates.
    roots = {name: part.equations.inverse_root(train.ridge) for name, part in parts.items()}
    ridge = np.concatenate([damping.ravel() for _, damping in roots.values()])
    whitening = {name: scale * part.basis @ roots[name][0] for name, part in parts.items()}
    fitted = problem.fit(origin, whitening, ridge, train.fit_iterations)
    arrays = {}
    for name, part in parts.items():
        count = part.equations.count
        mean = np.tensordot(count / count.sum(), fitted[name], 1)
        # A bin that the data never select gets what the others have on average.
        arrays[f"least_squares/{name}"] = np.where(count.reshape(-1, *[1] * mean.ndim) > 0, fitted[name], mean)
        root = part.equations.scaled_whitening(train.whitening_ridge, problem.energy, problem.pixels)
        arrays[f"whitening/{name}"] = part.basis @ root
    return arrays


def _fit_nonlinear(rate: rates.Rate, problem: _OneStep, train: ml_collections.ConfigDict) -> dict[str, np.ndarray]:
    """The same for weights that are logarithms, which are their own coordinates."""
    origin = {name: keras.ops.convert_to_numpy(variable) for name, variable in rate.bank.items()}
    whitening = {}
    for name, value in origin.items():
        size = int(np.prod(value.shape[1:]))
        whitening[name] = np.broadcast_to(np.eye(size), (len(value), size, size))
    ridge = np.full(sum(value.size for value in origin.values()), train.ridge / problem.pixels)
    fitted = problem.fit(origin, whitening, ridge, train.fit_iterations)
    return {f"least_squares/{k}": v for k, v in fitted.items()} | {f"whitening/{k}": v for k, v in whitening.items()}


def least_squares_start(data: records.RecordReader, config: ml_collections.ConfigDict) -> Start:
    """Thresholds at the data's quantiles, then the bank whose rate is nearest to (u^(k+1) - u^(k)) / dt."""
    dt = step_length(config)
    sample = np.concatenate([data[i][:-1:3] for i in np.linspace(0, len(data) - 1, min(len(data), 100)).astype(int)])
    spec = _spec(sample, config)
    rate = forms.rate(spec | {"limits": None})  # which are no part of a linear problem
    indices = np.linspace(0, len(data) - 1, min(len(data), config.train.fit_sequences)).astype(int)
    frames = []
    for u in map(data.__getitem__, indices):
        frames.append((tf.constant(u[:-1]), tf.constant((u[1:] - u[:-1]) / np.float32(dt))))
    problem = _OneStep(rate, frames)
    if spec["form"] == "convex":
        plain = forms.rate(spec | {"form": "plain"})
        free = _fit_linear(plain, _OneStep(plain, frames), config.train)["least_squares/filters"]
        rate.blade.assign_filters(free)
    fit = _fit_linear if spec["form"] in ("plain", "flux") else _fit_nonlinear
    arrays = fit(rate, problem, config.train) | {"single_filter/filters": _single_filter(frames, config.train.ridge)}
    return Start(spec, {key: np.asarray(value, np.float32) for key, value in arrays.items()})
