"""Models that evolve an image in time, and the trained ones by name."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import io
import json
import math
import numbers
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from blade_tf import files, integrate, names, ops
from blade_tf.layers import Blade
from blade_tf.selection import Selection

__all__ = ["BladeRate", "EvolutionModel", "Trained", "load", "load_pretrained", "load_trained", "pretrained_names"]

PRETRAINED = pathlib.Path(__file__).with_name("pretrained")
FORMAT = 1


@keras.saving.register_keras_serializable("blade_tf")
class BladeRate(keras.layers.Layer):
    """BLADE(u) (eqs 2.1-2.5) as a rate: at each pixel the filter that the selection layer chooses for u.

    Args:
      selection: a `Selection`.
      blade: a `Blade` with at least `selection.num_bins` filters.
      **kwargs: of keras.layers.Layer.
    """

    def __init__(self, selection: Selection, blade: Blade, **kwargs: Any) -> None:
        # Without autocasting: the state and the selection keep the image's precision, the bank alone has the policy's.
        super().__init__(**{"autocast": False} | kwargs)
        if blade.num_filters < selection.num_bins:
            raise ValueError(f"blade: expected at least {selection.num_bins} filters, got {blade.num_filters}")
        self.selection = selection
        self.blade = blade
        self.supports_jit = not ops.uses_native()
        self.built = True

    def call(self, image: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.blade(image, self.selection(image)), image.dtype)

    def compute_output_spec(self, image: Any) -> keras.KerasTensor:
        return keras.KerasTensor(image.shape, image.dtype)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return super().get_config() | {"selection": serialize(self.selection), "blade": serialize(self.blade)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BladeRate:
        parts = {key: keras.saving.deserialize_keras_object(config[key]) for key in ("selection", "blade")}
        return cls(**config | parts)


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
      **kwargs: of keras.Model.

    Raises:
      ValueError: for no rates, a step that is not positive, a negative number of steps, or an unknown method or output.
    """

    def __init__(
        self,
        rates: Callable[[tf.Tensor], tf.Tensor] | Sequence[Callable[[tf.Tensor], tf.Tensor]],
        dt: float,
        steps: int = 10,
        method: str = "euler",
        output: str = "final",
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
        self.dt = _positive("dt", dt)
        self.steps = _count("steps", steps)
        self.method = method
        self.output_form = output
        # Chosen here, not at the first call: it decides whether `compile` may ask for XLA.
        self.supports_jit = not ops.uses_native()
        self.built = True

    def rate(self, u: tf.Tensor, extra: Sequence[Callable[[tf.Tensor], tf.Tensor]] = ()) -> tf.Tensor:
        """du/dt: the sum of the model's rates and further ones."""
        return integrate.sum_rates(*self.rates, *extra)(u)

    def step(self, u: tf.Tensor, dt: Any = None, extra: Sequence[Callable[[tf.Tensor], tf.Tensor]] = ()) -> tf.Tensor:
        """The next state after a time dt (default: the model's own)."""
        dt = self.dt if dt is None else dt
        return integrate.INTEGRATORS[self.method](lambda v: self.rate(v, extra), dt)(u)

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
          ValueError: for a wrong rank, or steps or dt that make no sense.
        """
        image = ops.image_tensor(image)
        steps = self.steps if steps is None else steps
        if not tf.is_tensor(steps):
            steps = _count("steps", steps)
        if dt is not None and not tf.is_tensor(dt):
            dt = _positive("dt", dt)
        return integrate.evolve(lambda u: self.step(u, dt, extra), image, steps)

    def call(self, image: tf.Tensor) -> tf.Tensor:
        if self.output_form == "final":
            return self.evolve(image)
        return tf.stack(integrate.trajectory(self.step, image, self.steps), axis=1)

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
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> EvolutionModel:
        rates = [keras.saving.deserialize_keras_object(rate) for rate in config["rates"]]
        return cls(**config | {"rates": rates})


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < math.inf:
        raise ValueError(f"{name}: expected a positive number, got {value!r}")
    return float(value)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(f"{name}: expected a non-negative integer, got {value!r}")
    return int(value)


def _plain(spec: dict[str, Any]) -> BladeRate:
    selection = Selection(**spec["selection"])
    return BladeRate(selection, Blade(selection.num_bins, spec["footprint"]))


FORMS: dict[str, Callable[[dict[str, Any]], keras.layers.Layer]] = {"plain": _plain}


def build(spec: dict[str, Any], output: str = "final") -> EvolutionModel:
    """A model with zero filters from its spec: form, footprint, selection, method, dt, steps."""
    if spec["form"] not in FORMS:
        raise ValueError(f"model.form: expected one of {sorted(FORMS)}, got {spec['form']!r}")
    return EvolutionModel(FORMS[spec["form"]](spec), spec["dt"], spec["steps"], spec["method"], output)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model as data: a folder of model.json and weights.npz.

    Attributes:
      name: the model's name.
      spec: what `build` takes.
      config: the config that it was trained with.
      baselines: tuned parameters of the classical schemes that it is compared with.
      weights: "filters" [K, R, S], and for comparison "least_squares" [K, R, S] and "single_filter" [1, R, S].
    """

    name: str
    spec: dict[str, Any]
    config: dict[str, Any]
    baselines: dict[str, Any]
    weights: dict[str, np.ndarray]

    def model(self, weights: str = "filters", output: str = "final") -> EvolutionModel:
        """The Keras model with the named bank."""
        bank = self.weights[weights]
        spec = self.spec
        if weights == "single_filter":
            spec = spec | {
                "selection": {"orientations": 1, "strength_thresholds": [], "coherence_thresholds": [], "rho": 0.0}
            }
        model = build(spec, output)
        model.rates[0].blade.filters.assign(bank)
        return model

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the folder; model.json comes last, with the checksum of weights.npz."""
        path = pathlib.Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        written = files.write_npz(path / "weights.npz", self.weights)
        record = {key: value for key, value in dataclasses.asdict(self).items() if key != "weights"}
        checksum = hashlib.sha256(written).hexdigest()
        files.write_json(path / "model.json", {"format": FORMAT, **record, "weights_sha256": checksum})


def pretrained_names() -> list[str]:
    """The names that `load_pretrained` takes."""
    return sorted(path.parent.name for path in PRETRAINED.glob("*/model.json"))


def load_trained(model: str | os.PathLike[str]) -> Trained:
    """A trained model from its name, from the folder that training wrote, or from the workdir that holds it.

    Raises:
      ValueError: for an unknown name (with the nearest one), or a folder that is incomplete or damaged.
    """
    path = next((p for p in (pathlib.Path(model), pathlib.Path(model, "model")) if (p / "model.json").exists()), None)
    path = path or PRETRAINED / str(model)
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
    return load_trained(PRETRAINED / name).model()
