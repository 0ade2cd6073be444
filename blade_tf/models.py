"""Models that evolve an image in time, and the trained ones by name."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import io
import json
import os
import pathlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from blade_tf import arguments, files, forms, integrate, names, ops, pdes, rates

__all__ = ["EvolutionModel", "Trained", "load", "load_pretrained", "load_trained", "pretrained_names"]

PRETRAINED = pathlib.Path(__file__).with_name("pretrained")
# The best model of these equations is also the one that is stable by proof.
ALIASES = {"tv_flow_stable": "tv_flow", "perona_malik_stable": "perona_malik", "ced_stable": "ced"}
FORMAT = 2


@keras.saving.register_keras_serializable("blade_tf")
class EvolutionModel(keras.Model):
    """Unrolls du/dt = sum of rates over any number of time steps (eqs 2.6, 2.7, 2.10).

    Input: the initial state, float [N, H, W, C]. Output: the state after `steps` steps, [N, H, W, C], or all states
    after the initial one, [N, steps, H, W, C].

    Args:
      rates: a rate or a sequence of them: layers, or functions registered with keras.saving, from u to du/dt.
      dt: length of a time step; a smaller one than in training is fine.
      steps: number of time steps.
      method: "euler" (eq 2.6) or "midpoint" (eq 2.7).
      output: "final" or "trajectory".
      valid_range: the states (lowest, highest) that the rates are meant for; None for all. An image with others is
        computed too, with a warning outside of graphs.
      **kwargs: of keras.Model.

    Raises:
      ValueError: for no rates, a step that is not positive or beyond the bound of a rate that is stable by proof, a
        negative number of steps, an unknown method or output, or a valid_range that does not ascend.

    Attributes:
      stable_dt: the longest step at which the model's only rate obeys a maximum principle by proof; None without one.
    """

    def __init__(
        self,
        rates: Callable[[tf.Tensor], tf.Tensor] | Sequence[Callable[[tf.Tensor], tf.Tensor]],
        dt: float,
        steps: int = 10,
        method: str = "euler",
        output: str = "final",
        valid_range: tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False} | kwargs)
        if method not in integrate.INTEGRATORS:
            raise ValueError(f"method: expected one of {sorted(integrate.INTEGRATORS)}, got {method!r}")
        if output not in ("final", "trajectory"):
            raise ValueError(f"output: expected 'final' or 'trajectory', got {output!r}")
        self.rates: list[Any] = [rates] if callable(rates) else list(rates)
        if not self.rates:
            raise ValueError("rates: expected at least one, got none")
        if valid_range is not None and not valid_range[0] < valid_range[1]:
            raise ValueError(f"valid_range: expected (lowest, highest), got {valid_range!r}")
        bounds = [getattr(rate, "stable_dt", None) for rate in self.rates]
        # Each rate's bound is about that rate alone: a sum of several has none.
        self.stable_dt: float | None = bounds[0] if len(bounds) == 1 and method == "euler" else None
        self.dt = self._provable(arguments.positive("dt", dt))
        self.steps = arguments.count("steps", steps)
        self.method = method
        self.output_form = output
        self.valid_range = None if valid_range is None else (float(valid_range[0]), float(valid_range[1]))
        # Chosen here, not at the first call: it decides whether `compile` may ask for XLA.
        self.supports_jit = ops.compiles_with_xla()
        self.built = True

    def _provable(self, dt: float) -> float:
        """dt, or ValueError if it is beyond the bound of a model that is stable by proof."""
        if self.stable_dt is not None and dt > self.stable_dt * (1 + 1e-6):
            raise ValueError(f"dt: expected at most {self.stable_dt:g}, where this model's proof ends, got {dt:g}")
        return dt

    def _length(self, dt: Any, proved: bool) -> Any:
        """The length of a step that is asked for, None for the model's own; refused if its proof, if any, is lost."""
        if dt is None:
            return self.dt
        if not tf.is_tensor(dt):
            dt = arguments.positive("dt", dt)
            return self._provable(dt) if proved else dt
        if self.stable_dt is None or not proved:
            return dt
        bound = tf.constant(self.stable_dt * (1 + 1e-6), dt.dtype)
        message = ["dt: expected at most", self.stable_dt, "where this model's proof ends, got", dt]
        with tf.control_dependencies([tf.debugging.Assert(dt <= bound, message)]):
            return tf.identity(dt)

    def _warn_beyond_range(self, image: tf.Tensor) -> None:
        if self.valid_range is None or not tf.executing_eagerly():
            return
        low, high = self.valid_range
        slack = 1e-3 * (high - low)  # float16 rounds by half of this
        if tf.reduce_min(image) < low - slack or tf.reduce_max(image) > high + slack:
            # The same text for all images: Python shows a warning once a place.
            warnings.warn(
                f"image: expected values in [{low:g}, {high:g}], which this model's equation is meant for; beyond them "
                "the result may be far from its solution",
                stacklevel=3,
            )

    def rate(self, u: tf.Tensor, extra: Sequence[Callable[[tf.Tensor], tf.Tensor]] = ()) -> tf.Tensor:
        """du/dt: the sum of the model's rates and further ones."""
        return integrate.sum_rates(*self.rates, *extra)(u)

    def step(self, u: tf.Tensor, dt: Any = None, extra: Sequence[Callable[[tf.Tensor], tf.Tensor]] = ()) -> tf.Tensor:
        """The next state after a time dt (default: the model's own); refuses the same dt as `evolve`."""
        return self._step(self._length(dt, not extra), extra)(u)

    def _step(self, dt: Any, extra: Sequence[Callable[[tf.Tensor], tf.Tensor]]) -> Callable[[tf.Tensor], tf.Tensor]:
        fused = self.method == "euler" and not extra and len(self.rates) == 1
        if fused and hasattr(self.rates[0], "euler"):
            return self.rates[0].euler(dt)
        return integrate.INTEGRATORS[self.method](lambda v: self.rate(v, extra), dt)

    def evolve(
        self, image: Any, steps: Any = None, dt: Any = None, extra: Sequence[Callable[[tf.Tensor], tf.Tensor]] = ()
    ) -> tf.Tensor:
        """The state after `steps` steps of length dt, in a loop that holds one state.

        Args:
          image: float [N, H, W, C].
          steps: number of steps, an integer or an integer tensor (default: the model's).
          dt: length of a step, a number or a scalar tensor (default: the model's).
          extra: further rates, such as the data term of a restoration (eq 4.2).

        Raises:
          TypeError: for an image that is not of a float type.
          ValueError: for a wrong rank, steps or dt that make no sense, or a dt beyond the bound of a model that is
            stable by proof (tf.errors.InvalidArgumentError where dt is a tensor).
        """
        image = ops.image_tensor(image)
        self._warn_beyond_range(image)
        steps = self.steps if steps is None else steps
        if not tf.is_tensor(steps):
            steps = arguments.count("steps", steps)
        return integrate.evolve(self._step(self._length(dt, not extra), extra), image, steps)

    def call(self, image: tf.Tensor) -> tf.Tensor:
        if self.output_form == "final":
            return self.evolve(image)
        self._warn_beyond_range(image)
        return tf.stack(integrate.trajectory(self._step(self.dt, ()), image, self.steps), axis=1)

    def compute_output_spec(self, image: Any) -> keras.KerasTensor:
        shape = tuple(image.shape)
        final = self.output_form == "final"
        return keras.KerasTensor(shape if final else (shape[0], self.steps, *shape[1:]), image.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "rates": [keras.saving.serialize_keras_object(rate) for rate in self.rates],
            "dt": self.dt,
            "steps": self.steps,
            "method": self.method,
            "output": self.output_form,
            "valid_range": list(self.valid_range) if self.valid_range else None,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> EvolutionModel:
        rates = [keras.saving.deserialize_keras_object(rate) for rate in config["rates"]]
        return cls(**config | {"rates": rates})


def build(
    spec: dict[str, Any], output: str = "final", valid_range: tuple[float, float] | None = None
) -> EvolutionModel:
    """A model with an untrained bank from its spec: form, selection, method, dt, steps, and what the form needs."""
    rate = forms.rate(spec)
    if rate.stable_dt is not None and spec["method"] != "euler":
        raise ValueError(
            f"model.method: expected 'euler' for the form {spec['form']!r}, whose proof is about it, got "
            f"{spec['method']!r}"
        )
    return EvolutionModel(rate, spec["dt"], spec["steps"], spec["method"], output, valid_range)


SINGLE_FILTER: dict[str, Any] = {
    "form": "plain",
    "footprint": [5, 5],
    "method": "euler",
    "selection": {"orientations": 1, "strength_thresholds": [], "coherence_thresholds": [], "rho": 0.0},
}


def set_bank(rate: rates.Rate, bank: dict[str, np.ndarray]) -> None:
    """Assigns a rate's weights by name; ValueError unless names and shapes are the rate's."""
    shapes = {name: tuple(variable.shape) for name, variable in rate.bank.items()}
    got = {name: tuple(value.shape) for name, value in bank.items()}
    if got != shapes:
        raise ValueError(f"weights: expected {shapes} for this spec, got {got}")
    for name, variable in rate.bank.items():
        variable.assign(bank[name])


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model as data: a folder of model.json and weights.npz.

    Attributes:
      name: the model's name.
      spec: what `build` takes.
      config: the config that it was trained with.
      baselines: tuned parameters of the classical schemes that it is compared with.
      weights: "trained/NAME" for each weight of the rate's bank, [bins, ...], the same as "least_squares/NAME", and
        "single_filter/filters" [1, R, S].
    """

    name: str
    spec: dict[str, Any]
    config: dict[str, Any]
    baselines: dict[str, Any]
    weights: dict[str, np.ndarray]

    def model(self, weights: str = "trained", output: str = "final", luma: bool = True) -> EvolutionModel:
        """The Keras model with the named weights.

        Args:
          weights: "trained", "least_squares" or "single_filter".
          output: as of `EvolutionModel`.
          luma: select by the luma of colour images instead of the tensor summed over their channels (section 3.4).
        """
        spec = (
            SINGLE_FILTER | {key: self.spec[key] for key in ("dt", "steps")}
            if weights == "single_filter"
            else self.spec
        )
        spec = {key: value | {"luma": luma} if key.endswith("selection") else value for key, value in spec.items()}
        pde = self.config.get("pde")
        model = build(spec, output, pdes.build(pde["name"], **pde["parameters"]).range if pde else None)
        set_bank(model.rates[0], self.bank(weights))
        return model

    def bank(self, weights: str = "trained") -> dict[str, np.ndarray]:
        """The named weights by the names of the rate's bank."""
        prefix = weights + "/"
        return {key.removeprefix(prefix): value for key, value in self.weights.items() if key.startswith(prefix)}

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the folder; model.json comes last, with the checksum of weights.npz."""
        path = pathlib.Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        written = files.write_npz(path / "weights.npz", self.weights)
        record = {key: value for key, value in dataclasses.asdict(self).items() if key != "weights"}
        checksum = hashlib.sha256(written).hexdigest()
        files.write_json(path / "model.json", {"format": FORMAT, **record, "weights_sha256": checksum})


def pretrained_names() -> list[str]:
    """The names that `load_pretrained` takes; some are second names, see `ALIASES`."""
    shipped = {path.parent.name for path in PRETRAINED.glob("*/model.json")}
    return sorted(shipped | {alias for alias, name in ALIASES.items() if name in shipped})


def load_trained(model: str | os.PathLike[str]) -> Trained:
    """A trained model from its name, from the folder that training wrote, or from the workdir that holds it.

    Raises:
      ValueError: for an unknown name (with the nearest one), or a folder that is incomplete or damaged.
    """
    path = next((p for p in (pathlib.Path(model), pathlib.Path(model, "model")) if (p / "model.json").exists()), None)
    path = path or PRETRAINED / ALIASES.get(str(model), str(model))
    if not (path / "model.json").exists():
        near = difflib.get_close_matches(str(model), pretrained_names(), 1)
        hint = (
            f", did you mean {near[0]!r}?"
            if near
            else f", expected one of {pretrained_names()} or a folder with a model.json"
        )
        raise ValueError(f"model: unknown name or path {str(model)!r}{hint}")
    try:
        record = json.loads((path / "model.json").read_text())
        data = (path / "weights.npz").read_bytes()
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']}, this version reads format {FORMAT}")
        if hashlib.sha256(data).hexdigest() != record["weights_sha256"]:
            raise ValueError("weights.npz does not have the checksum that model.json states")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            weights = {key: archive[key] for key in archive.files}
        return Trained(record["name"], record["spec"], record["config"], record["baselines"], weights)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"model: {path} is damaged: {error}") from error


def load(model: str | os.PathLike[str]) -> EvolutionModel:
    """An `EvolutionModel` from a pretrained model's name, a folder that training wrote, or a .keras file."""
    if str(model).endswith(".keras"):
        loaded = keras.saving.load_model(model)
        if not isinstance(loaded, EvolutionModel):
            raise ValueError(f"model: expected an EvolutionModel in {model}, got {type(loaded).__name__}")
        return loaded
    return load_trained(model).model()


def load_pretrained(name: str) -> EvolutionModel:
    """The pretrained model of this name, an `EvolutionModel`; ValueError for an unknown name (with the nearest one)."""
    if name not in pretrained_names():
        raise ValueError(f"name: unknown model {name!r}{names.hint(name, pretrained_names())}")
    return load_trained(PRETRAINED / ALIASES.get(name, name)).model()
