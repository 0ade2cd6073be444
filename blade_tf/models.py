"""Models that evolve an image in time, and the trained ones by name."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from blade_tf import files, forms, names, pdes
from blade_tf.evolution import EvolutionModel
from blade_tf.resampling import ResampleModel
from blade_tf.restoration import RestorationModel
from blade_tf.upscaling import UpscaleModel

__all__ = [
    "EvolutionModel",
    "Trained",
    "load",
    "load_pretrained",
    "load_task",
    "load_trained",
    "pretrained_names",
    "version",
]

PRETRAINED = pathlib.Path(__file__).with_name("pretrained")
# The best model of these equations is also the one that is stable by proof.
ALIASES = {"tv_flow_stable": "tv_flow", "perona_malik_stable": "perona_malik", "ced_stable": "ced"}
FORMAT = 2
DOES = {
    "evolution": "evolves images",
    "resampling": "resamples images",
    "restoration": "restores images",
    "upscaling": "upscales images",
}


# The models of other tasks, from a spec without the task and the output, "final" or "trajectory".
OTHERS: dict[str, Callable[[dict[str, Any], str], Any]] = {
    "resampling": lambda spec, _: ResampleModel(**spec),
    "restoration": lambda spec, output: RestorationModel(**spec, output=output),
    "upscaling": lambda spec, _: UpscaleModel(**spec),
}


def build(spec: dict[str, Any], output: str = "final", valid_range: tuple[float, float] | None = None) -> Any:
    """A model with an untrained bank from its spec: what `OTHERS` names by "task", else an `EvolutionModel`.

    The spec of the latter has form, selection, method, dt, steps, and what the form needs.
    """
    if "task" in spec:
        return OTHERS[spec["task"]]({key: value for key, value in spec.items() if key != "task"}, output)
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


def set_bank(owner: Any, bank: dict[str, np.ndarray]) -> None:
    """Assigns the weights of a rate or model by name; ValueError unless names and shapes are those of its `bank`."""
    shapes = {name: tuple(variable.shape) for name, variable in owner.bank.items()}
    got = {name: tuple(value.shape) for name, value in bank.items()}
    if got != shapes:
        raise ValueError(f"weights: expected {shapes} for this spec, got {got}")
    for name, variable in owner.bank.items():
        variable.assign(bank[name])


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model as data: a folder of model.json and weights.npz.

    Attributes:
      name: the model's name.
      spec: what `build` takes.
      config: the config that it was trained with.
      baselines: tuned parameters of the classical schemes that it is compared with.
      weights: "trained/NAME" for each weight of the model's bank, [bins, ...], the same as "least_squares/NAME" but for
        the tasks "restoration" and "upscaling", and, of an `EvolutionModel`, "single_filter/filters" [1, R, S].
    """

    name: str
    spec: dict[str, Any]
    config: dict[str, Any]
    baselines: dict[str, Any]
    weights: dict[str, np.ndarray]

    @property
    def task(self) -> str:
        """What it was trained for: see `blade_tf.tasks`."""
        return self.spec.get("task", "evolution")

    def check_task(self, task: str) -> None:
        """ValueError unless it was trained for this task."""
        if self.task != task:
            raise ValueError(f"model: expected one that {DOES[task]}, got {self.name!r}, trained for {self.task}")

    def model(self, weights: str = "trained", output: str = "final", luma: bool = True) -> Any:
        """The Keras model with the named weights: for the task "evolution" an `EvolutionModel`.

        Args:
          weights: "trained", "least_squares" or, of an `EvolutionModel`, "single_filter".
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
        set_bank(model, self.bank(weights))
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


def pretrained_names(task: str | None = "evolution") -> list[str]:
    """The names that `load_pretrained` takes, of one task or of all; some are second names, see `ALIASES`."""
    shipped = {
        path.parent.name
        for path in PRETRAINED.glob("*/model.json")
        if task in (None, json.loads(path.read_text())["spec"].get("task", "evolution"))
    }
    return sorted(shipped | {alias for alias, name in ALIASES.items() if name in shipped})


def load_trained(model: str | os.PathLike[str]) -> Trained:
    """A trained model from its name, from the folder that training wrote, or from the workdir that holds it.

    Raises:
      ValueError: for an unknown name (with the nearest one), or a folder that is incomplete or damaged.
    """
    path = next((p for p in (pathlib.Path(model), pathlib.Path(model, "model")) if (p / "model.json").exists()), None)
    path = path or PRETRAINED / ALIASES.get(str(model), str(model))
    if not (path / "model.json").exists():
        near = difflib.get_close_matches(str(model), pretrained_names(None), 1)
        hint = (
            f", did you mean {near[0]!r}?"
            if near
            else f", expected one of {pretrained_names(None)} or a folder with a model.json"
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
    """An `EvolutionModel` from a pretrained model's name, a folder that training wrote, or a .keras file.

    Raises:
      ValueError: for an unknown name, or a model that was trained for something else than evolution.
    """
    if str(model).endswith(".keras"):
        loaded = keras.saving.load_model(model)
        if not isinstance(loaded, EvolutionModel):
            raise ValueError(f"model: expected an EvolutionModel in {model}, got {type(loaded).__name__}")
        return loaded
    trained = load_trained(model)
    trained.check_task("evolution")
    return trained.model()


def version(model: str | os.PathLike[str]) -> tuple[tuple[str, int], ...]:
    """What changes when a folder that `load_trained` takes, or a .keras file, is written again; of other names ()."""
    places = ((),) if str(model).endswith(".keras") else (("model.json",), ("model", "model.json"))
    paths = (pathlib.Path(model, *place) for place in places)
    return tuple((str(path.resolve()), path.stat().st_mtime_ns) for path in paths if path.exists())


@functools.lru_cache(maxsize=16)
def _shared(model: str, task: str, _: Any) -> Any:
    with tf.init_scope():  # a graph that is being traced must not own the filters
        trained = load_trained(model)
        trained.check_task(task)
        return trained.model()


def load_task(model: str | os.PathLike[str], task: str) -> Any:
    """The Keras model of a task from what `load_trained` takes; it is built once, in graphs too, and shared by all.

    Raises:
      ValueError: for an unknown name, or a model that was trained for something else.
    """
    return _shared(str(model), task, version(model))


def load_pretrained(name: str) -> Any:
    """The pretrained Keras model of this name; ValueError for an unknown name (with the nearest one)."""
    if name not in pretrained_names(None):
        raise ValueError(f"name: unknown model {name!r}{names.hint(name, pretrained_names(None))}")
    return load_trained(PRETRAINED / ALIASES.get(name, name)).model()
