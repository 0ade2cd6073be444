"""All results of some models, from one folder of photographs: numbers, charts, pictures, and a text to read."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pathlib
import platform
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections
import tensorflow as tf

from blade_tf import evaluate, files, image_io, models, native, pdes, references, report
from blade_tf.results import colour, figures, text, work_precision

__all__ = ["collect"]

FORMS = ("", "_stable", "_paper")
SEED_ROWS = ("least_squares", "blade")


class _Memory:
    """Results of earlier runs in files, by everything that they depend on."""

    def __init__(self, folder: pathlib.Path, *common: Any) -> None:
        self.folder, self.common = folder, common
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, kind: str, parts: Sequence[Any], compute: Callable[[], Any]) -> Any:
        key = hashlib.sha256(json.dumps([kind, *self.common, *parts]).encode()).hexdigest()[:16]
        path = self.folder / f"{kind}-{key}.json"
        if not path.exists():
            files.write_json(path, compute())
        return json.loads(path.read_text())


def _digest(folder: pathlib.Path, paths: Sequence[pathlib.Path]) -> str:
    contents = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def _program() -> str:
    folder = pathlib.Path(models.__file__).parent
    return _digest(folder, sorted([*folder.rglob("*.py"), *folder.glob("*.so")]))


def _identity(trained: models.Trained) -> str:
    weights = {name: hashlib.sha256(value.tobytes()).hexdigest() for name, value in trained.weights.items()}
    record = [trained.name, trained.spec, trained.config, trained.baselines, weights]
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def machine() -> dict[str, Any]:
    """What the times were measured on."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "tensorflow": tf.__version__,
        "native": native.library is not None,
    }


def _load(names: Sequence[str | os.PathLike[str]]) -> dict[str, tuple[str, models.Trained]]:
    """Where each model is and the model itself, by its own name: equations in their order, in each the best first."""
    found: dict[str, tuple[str, models.Trained]] = {}
    for name in names:
        trained = models.load_trained(name)
        if trained.name in found:
            raise ValueError(f"models: {found[trained.name][0]} and {name} both have the name {trained.name!r}")
        found[trained.name] = str(name), trained

    def place(name: str) -> tuple[int, int, str]:
        equation = found[name][1].config["pde"]["name"]
        form = name.removeprefix(equation)
        return list(pdes.PDES).index(equation), FORMS.index(form) if form in FORMS else len(FORMS), name

    return {name: found[name] for name in sorted(found, key=place)}


def _seeds(
    trained: models.Trained, images: str | os.PathLike[str], cache: pathlib.Path, workers: int | None
) -> dict[str, Any]:
    config = ml_collections.ConfigDict(trained.config)
    sequences = references.reference_sequences(config, images, cache, workers)
    rows = evaluate.rows(config, trained.model(), trained)
    scores = evaluate.compare({name: rows[name] for name in SEED_ROWS}, sequences)
    return {"seed": trained.config["seed"]} | {name: evaluate.statistics(scores[name]) for name in SEED_ROWS}


def _named(sequences: references.References, wanted: Sequence[str]) -> list[str]:
    """The photographs whose file names, without the suffix, are wanted; without any of them, the first two."""
    return [name for name in sequences if pathlib.Path(name).stem in wanted] or list(sequences)[:2]


def _draw(
    folder: pathlib.Path,
    equations: dict[str, list[models.Trained]],
    results: dict[str, Any],
    images: str | os.PathLike[str],
    cache: pathlib.Path,
    wanted: Sequence[str],
    workers: int | None,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    in_colour = []
    for equation, group in equations.items():
        config = ml_collections.ConfigDict(group[0].config)
        sequences = references.reference_sequences(config, images, cache, workers)
        picture = figures.states_picture(group[0], sequences, _named(sequences, wanted))
        figures.write_picture(folder / f"{equation}_states.jpg", picture)
        title = text.title(equation)
        chart = work_precision.chart(results["work_precision"][equation], title)
        files.write_text(folder / f"{equation}_work_precision.svg", report.svg_file(chart))
        for trained in group:
            figures.write_picture(folder / f"{trained.name}_bank.png", figures.bank_picture(trained))
        found = results["models"][group[0].name]["colour"]
        if found:
            config = references.colour_config(config)
            frames = references.reference_sequences(config, images, cache, workers, colour=True)
            model = group[0].model(luma=found["better"] == "luma")
            in_colour.append((title, model, frames[_named(frames, wanted)[0]]))
    if in_colour:
        figures.write_picture(folder / "colour.jpg", figures.colour_picture(in_colour))


def collect(
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    *,
    names: Sequence[str | os.PathLike[str]] | None = None,
    seeds: Sequence[str | os.PathLike[str]] = (),
    photographs: Sequence[str] = ("kodim05", "kodim07"),
    workers: int | None = None,
) -> dict[str, Any]:
    """Evaluates models, in gray and in colour, measures error against time, and writes all of it down.

    Interrupted, it continues: references and results stay in `cache`, by the photographs, models and program that they
    are of.

    Args:
      images: a folder of photographs, at the resolution of the reference.
      output: receives results.md, results.json and figures/; other files there are left alone.
      cache: keeps what later runs reuse.
      names: of pretrained models, or folders of trained ones; by default all pretrained models. Those named like an
        equation, with nothing, _stable or _paper behind it, are its best form, the one that is stable by proof, and the
        paper's.
      seeds: folders of trained models, to be summarised under their names: the same config trained with several seeds.
      photographs: names of those to show, without suffix; where the folder holds none of them, the first two.
      workers: number of processes for the references.

    Returns:
      What results.json holds: "machine", "images" (their number), "models" (by name: "equation", "form", "evaluation",
      which is `blade_tf.evaluate.evaluate`'s without its "per_image", and "colour"), "work_precision" (by equation) and
      "seeds" (by name, a list).

    Raises:
      ValueError: for an unknown model, two models of one name, or a folder without usable photographs.
      OSError: if `output` or `cache` cannot be written.
    """
    loaded = _load(models.pretrained_names() if names is None else names)
    again = [models.load_trained(folder) for folder in seeds]
    out, kept = pathlib.Path(output), pathlib.Path(cache)
    out.mkdir(parents=True, exist_ok=True)
    stored = kept / "reference"
    remember = _Memory(kept / "results", _program(), _digest(pathlib.Path(images), image_io.find_images(images)))

    found: dict[str, Any] = {}
    equations: dict[str, list[models.Trained]] = {}
    for name, (_, trained) in loaded.items():
        config = ml_collections.ConfigDict(trained.config)
        parts = [_identity(trained)]
        equations.setdefault(config.pde.name, []).append(trained)
        assess = functools.partial(evaluate.assess, trained.model(), trained, config, images, stored, workers)
        evaluation = remember("evaluation", parts, assess)
        del evaluation["per_image"]
        found[name] = {
            "equation": config.pde.name,
            "form": trained.spec["form"],
            "evaluation": evaluation,
            "colour": remember("colour", parts, functools.partial(colour.colour, trained, images, stored, workers)),
        }
    by_name: dict[str, list[Any]] = {}
    for trained in again:
        entry = remember("seed", [_identity(trained)], functools.partial(_seeds, trained, images, stored, workers))
        by_name.setdefault(trained.name, []).append(entry)
    timed = {}
    for equation, group in equations.items():
        sources = [loaded[trained.name][0] for trained in group]
        measure = functools.partial(work_precision.work_precision, sources, images, stored)
        timed[equation] = remember("work_precision", [machine(), *map(_identity, group)], measure)
    results: dict[str, Any] = {
        "machine": machine(),
        "images": max(entry["evaluation"]["images"] for entry in found.values()),
        "models": found,
        "work_precision": timed,
        "seeds": by_name,
    }
    _draw(out / "figures", equations, results, images, stored, photographs, workers)
    files.write_json(out / "results.json", results)
    files.write_text(out / "results.md", text.document(results))
    return results
