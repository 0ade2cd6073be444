"""All results of some models, from one folder of photographs: numbers, charts, pictures, and a text to read."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np

from blade_tf import config as config_lib
from blade_tf import evaluate, files, models, pdes, references, report
from blade_tf.data import prepare
from blade_tf.results import card, colour, figures, limit, memory, text, work_precision

__all__ = ["collect"]

log = logging.getLogger("blade_tf")

# Suffixes of the names of an equation's models, in their order: the best form, convex filters, the paper's form.
FORMS = ("", "_convex", "_paper")
SEED_ROWS = ("least_squares", "blade")
LIMITED = ("ced",)  # where the best form seems to be limited by what the operating grid has lost

Group = dict[str, models.Trained]


@dataclasses.dataclass(frozen=True)
class _Photographs:
    """A folder of photographs, where what was computed of them is kept, and the number of processes for more."""

    images: str | os.PathLike[str]
    cache: pathlib.Path
    workers: int | None

    def sequences(self, trained: models.Trained) -> references.References:
        config = ml_collections.ConfigDict(trained.config)
        return references.reference_sequences(config, self.images, self.cache, self.workers)

    def in_colour(self, trained: models.Trained) -> references.References:
        return colour.sequences(trained, self.images, self.cache, self.workers)


def _reference(trained: models.Trained) -> dict[str, Any]:
    known = prepare.relevant(ml_collections.ConfigDict(trained.config))
    return {key: known[key] for key in ("pde", "reference")}


def _groups(names: Sequence[str | os.PathLike[str]]) -> dict[str, Group]:
    """The models of each equation by name: equations in their order, in each the best form first."""
    if not names:
        raise ValueError("models: expected at least one, got none")
    found: Group = {}
    for name in names:
        trained = models.load_trained(name)
        trained.check_task("evolution")
        if trained.name in found:
            raise ValueError(f"models: {name} has the name of another one, {trained.name!r}")
        found[trained.name] = trained
    groups: dict[str, Group] = {}
    for equation in pdes.PDES:
        members = {name: trained for name, trained in found.items() if trained.config["pde"]["name"] == equation}
        places = {equation + suffix: place for place, suffix in enumerate(FORMS)}
        for name in sorted(members, key=lambda name: (places.get(name, len(FORMS)), name)):
            group = groups.setdefault(equation, {})
            first = next(iter(group.values()), members[name])
            different = config_lib.differences(_reference(first), _reference(members[name]))
            if different:
                raise ValueError(f"models: {first.name} and {name} have other references: {'; '.join(different)}")
            group[name] = members[name]
    return groups


def _strongest_rivals(group: Group) -> Group:
    """The same models, all of them with the same classical rivals: by the validation photographs the best of each."""
    rivals: dict[str, Any] = {}
    for trained in group.values():
        for name, tuned in trained.baselines.items():
            if name not in rivals or tuned["psnr"] > rivals[name]["psnr"]:
                rivals[name] = tuned
    return {name: dataclasses.replace(trained, baselines=rivals) for name, trained in group.items()}


def _same_weights(a: models.Trained, b: models.Trained) -> bool:
    return a.weights.keys() == b.weights.keys() and all(
        np.array_equal(a.weights[key], b.weights[key]) for key in a.weights
    )


def _runs(folders: Sequence[str | os.PathLike[str]], groups: dict[str, Group]) -> dict[str, list[models.Trained]]:
    """By name, runs of the models' configs with further seeds."""
    shipped = {name: trained for group in groups.values() for name, trained in group.items()}
    found: dict[str, list[models.Trained]] = {}
    for folder in folders:
        run = models.load_trained(folder)
        if run.name not in shipped:
            raise ValueError(f"runs: {folder} is a run of {run.name!r}, expected one of {sorted(shipped)}")
        different = config_lib.differences(shipped[run.name].config | {"seed": 0}, run.config | {"seed": 0})
        if different:
            raise ValueError(f"runs: {folder} has another config than {run.name!r}: {'; '.join(different)}")
        others = [shipped[run.name], *found.get(run.name, [])]
        if any(_same_weights(run, other) for other in others):
            continue
        if any(run.config["seed"] == other.config["seed"] for other in others):
            raise ValueError(f"runs: {folder} has the seed {run.config['seed']} of another one, but other weights")
        found.setdefault(run.name, []).append(run)
    return found


def _seed(photographs: _Photographs, run: models.Trained) -> dict[str, Any]:
    rows = evaluate.rows(ml_collections.ConfigDict(run.config), run.model(), run)
    scores = evaluate.compare({name: rows[name] for name in SEED_ROWS}, photographs.sequences(run))
    return {"seed": run.config["seed"]} | {name: evaluate.statistics(scores[name]) for name in SEED_ROWS}


def _seeds(
    photographs: _Photographs,
    trained: models.Trained,
    rows: Sequence[dict[str, Any]],
    runs: Sequence[models.Trained],
    remember: memory.Memory,
) -> list[dict[str, Any]]:
    """The model itself, by its rows, and its further runs."""
    keys = ("psnr", "psnr_std", "psnr_worst", "ssim", "diverged")
    own = {row["name"]: {key: row[key] for key in keys} for row in rows if row["name"] in SEED_ROWS}
    others = [
        remember("seed", run.name, [memory.digest_of_model(run)], functools.partial(_seed, photographs, run))
        for run in runs
    ]
    return [{"seed": trained.config["seed"]} | own, *others]


def _model(photographs: _Photographs, trained: models.Trained, remember: memory.Memory) -> dict[str, Any]:
    folders = photographs.images, photographs.cache, photographs.workers
    key, config = [memory.digest_of_model(trained)], ml_collections.ConfigDict(trained.config)
    assess = functools.partial(evaluate.assess, trained.model(), trained, config, *folders)
    return {
        "equation": config.pde.name,
        "form": trained.spec["form"],
        "evaluation": remember("evaluation", trained.name, key, assess),
        "colour": remember("colour", trained.name, key, functools.partial(colour.colour, trained, *folders)),
    }


def _work_precision(photographs: _Photographs, group: Group, remember: memory.Memory) -> dict[str, Any]:
    trained = list(group.values())
    measure = functools.partial(work_precision.work_precision, trained, photographs.images, photographs.cache)
    key = [memory.machine(), *map(memory.digest_of_model, trained)]
    return remember("work_precision", trained[0].config["pde"]["name"], key, measure)


def _limit(photographs: _Photographs, group: Group, remember: memory.Memory) -> dict[str, float]:
    config = ml_collections.ConfigDict(next(iter(group.values())).config)
    compute = functools.partial(limit.limit, config, photographs.images, photographs.workers)
    return remember("limit", config.pde.name, [prepare.relevant(config)], compute)


def _measure(
    photographs: _Photographs,
    groups: dict[str, Group],
    runs: dict[str, list[models.Trained]],
    remember: memory.Memory,
) -> dict[str, Any]:
    """What `collect` returns; quick things first, so that what is wrong shows early."""
    flat = {name: trained for group in groups.values() for name, trained in group.items()}
    found = {name: _model(photographs, trained, remember) for name, trained in flat.items()}
    any_evaluation = next(iter(found.values()))["evaluation"]
    seeds = {
        name: _seeds(photographs, flat[name], found[name]["evaluation"]["rows"], of_model, remember)
        for name, of_model in runs.items()
    }
    return {
        "machine": memory.machine(),
        "images": any_evaluation["images"],
        "left_out": any_evaluation["left_out"],
        "models": found,
        "seeds": seeds,
        "rivals": {equation: next(iter(group.values())).baselines for equation, group in groups.items()},
        "work_precision": {
            equation: _work_precision(photographs, group, remember) for equation, group in groups.items()
        },
        "limits": {
            equation: _limit(photographs, group, remember) for equation, group in groups.items() if equation in LIMITED
        },
    }


def _shown(sequences: references.References, wanted: Sequence[str]) -> list[str]:
    """The photographs whose file names, without the suffix, are wanted; without any of them, the first two."""
    return [name for name in sequences if pathlib.Path(name).stem in wanted] or list(sequences)[:2]


def _draw(
    folder: pathlib.Path,
    photographs: _Photographs,
    groups: dict[str, Group],
    results: dict[str, Any],
    show: Sequence[str],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    in_colour = []
    for equation, group in groups.items():
        log.info("%s: pictures", equation)
        best = next(iter(group.values()))
        sequences = photographs.sequences(best)
        paper = [trained for name, trained in group.items() if name.endswith(FORMS[-1]) and trained is not best]
        picture = figures.states_picture([best, *paper], sequences, _shown(sequences, show))
        report.write_jpeg(folder / f"{equation}_states.jpg", picture)
        timed = results["work_precision"][equation]
        if work_precision.curves(timed):
            chart = work_precision.chart(timed, text.title(equation))
            files.write_text(folder / f"{equation}_work_precision.svg", report.svg_file(chart))
        for trained in group.values():
            report.write_png(folder / f"{trained.name}_bank.png", figures.bank_picture(trained))
        ways = results["models"][best.name]["colour"]
        if ways and ways["best"]:
            sequences = photographs.in_colour(best)
            frames = sequences[_shown(sequences, show)[0]]
            in_colour.append((text.title(equation), colour.ways(best)[ways["best"]], frames))
    if in_colour:
        report.write_jpeg(folder / "colour.jpg", figures.colour_picture(in_colour))


def collect(
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    *,
    names: Sequence[str | os.PathLike[str]] | None = None,
    runs: Sequence[str | os.PathLike[str]] = (),
    show: Sequence[str] = ("kodim05", "kodim07"),
    workers: int | None = None,
) -> dict[str, Any]:
    """Evaluates models, in gray and in colour, measures error against time, and writes all of it down.

    Interrupted, it continues: references and results stay in `cache`, by the photographs, models and program that they
    are of. Nothing is tuned here: the classical rivals come with the models.

    Args:
      images: a folder of photographs, at the resolution of the reference.
      output: receives README.md, results.json, figures/, and cards/, a text about each model; other files there are
        left alone.
      cache: keeps what later runs reuse.
      names: of pretrained models, or folders of trained ones; by default all pretrained models. Those named like an
        equation, with nothing, _convex or _paper behind it, are its best form, convex filters, and the paper's form.
      runs: folders of further runs of these models, the same configs with other seeds.
      show: names of photographs to show, without suffix; where the folder holds none of them, the first two.
      workers: number of processes for the references.

    Returns:
      What results.json holds: "machine", "images" (their number), "left_out" (photographs, and why); by a model's name
      "models": its "equation", "form", "evaluation" (of `blade_tf.evaluate.evaluate`, without the name) and "colour"
      (of `colour.colour`), and "seeds", where there are runs: the model and each of them, with "seed" and the
      statistics of "least_squares" and "blade"; by equation "rivals" (the tuned classical schemes), "work_precision"
      (of `work_precision.work_precision`) and, for `LIMITED`, "limits" (of `limit.limit`).

    Raises:
      ValueError: for an unknown model, two models of one name, models of one equation with other references, a run that
        is none of a model's, a folder without usable photographs, or a damaged file in `cache`.
      OSError: if `output` or `cache` cannot be written, or another process is writing there.
    """
    shipped = [name for name in models.pretrained_names() if name not in models.ALIASES]
    groups = {key: _strongest_rivals(group) for key, group in _groups(shipped if names is None else names).items()}
    further = _runs(runs, groups)
    common = [memory.digest_of_program(), memory.digest_of_images(images)]
    out, kept = pathlib.Path(output), pathlib.Path(cache)
    (out / "cards").mkdir(parents=True, exist_ok=True)
    with files.lock(kept):
        photographs = _Photographs(images, kept / "reference", workers)
        remember = memory.Memory(kept / "results", common)
        results = _measure(photographs, groups, further, remember)
        _draw(out / "figures", photographs, groups, results, show)
    files.write_json(out / "results.json", results)
    files.write_text(out / "README.md", text.document(results))
    for group in groups.values():
        for name, trained in group.items():
            files.write_text(out / "cards" / f"{name}.md", card.card(trained, results))
    return results
