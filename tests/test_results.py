"""blade-results on two small photographs: its numbers, its pictures, what it keeps, and what it refuses."""

import copy
import dataclasses
import functools
import json
import re

import numpy as np
import pytest
import skimage.data
from skimage.metrics import peak_signal_noise_ratio

from blade_tf import evaluate, files, image_io, models, references
from blade_tf.data import reference
from blade_tf.results import collection, colour, memory, text, work_precision

COLOUR, GRAY = "colour.png", "gray.png"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A photograph in colour, a gray one, and a file that is none."""
    folder = tmp_path_factory.mktemp("images")
    image_io.write_image(folder / COLOUR, image_io.Image(skimage.data.astronaut()[20:96, 150:234] / np.float32(255)))
    gray = skimage.data.camera()[100:176, 200:284, np.newaxis] / np.float32(255)
    image_io.write_image(folder / GRAY, image_io.Image(gray))
    (folder / "broken.png").write_bytes((folder / GRAY).read_bytes()[:500])
    return folder


@pytest.fixture(scope="module")
def tiny(workdir):
    """The trained tiny model."""
    return models.load_trained(workdir / "model")


def saved(trained, folder, *, seed=0, weights=None, baselines=None, **changes):
    """The folder of a model like `trained`, of another name, seed, or weights: a factor of the trained ones."""
    config = copy.deepcopy(trained.config) | {"seed": seed, "name": "shared"}
    scaled = {
        key: value * np.float32(weights) if key.startswith("trained/") and weights is not None else value
        for key, value in trained.weights.items()
    }
    changed = dataclasses.replace(
        trained, config=config, weights=scaled, baselines=baselines or trained.baselines, **changes
    )
    changed.save(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tiny, tmp_path_factory):
    """A best form, the paper's form, which has weaker rivals, and two further runs of the best form."""
    folder = tmp_path_factory.mktemp("models")
    weaker = {name: tuned | {"time_scale": 0.5, "psnr": tuned["psnr"] - 1} for name, tuned in tiny.baselines.items()}
    return {
        "best": saved(tiny, folder / "best", name="tv_flow"),
        "paper": saved(tiny, folder / "paper", name="tv_flow_paper", weights=0.8, baselines=weaker),
        "runs": [saved(tiny, folder / f"run{k}", name="tv_flow", seed=k, weights=1 - k / 20) for k in (1, 2)],
    }


@pytest.fixture(scope="module")
def run(images, folders):
    """run(output, cache, ...) runs the whole with few step counts for the curves."""

    def collect(output, cache, *, steps=(10,), **options):
        with pytest.MonkeyPatch.context() as patch:
            few = functools.partial(work_precision.work_precision, steps=steps)
            patch.setattr(collection.work_precision, "work_precision", few)
            # Sources may be edited while tests run.
            patch.setattr(collection.memory, "digest_of_program", lambda: "this one")
            arguments = {"names": [folders["paper"], folders["best"]], "runs": folders["runs"], "workers": 1}
            return collection.collect(images, output, cache, **arguments | options)

    return collect


@pytest.fixture(scope="module")
def collected(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return run(folder / "out", folder / "cache"), folder


@pytest.fixture(scope="module")
def frames(tiny, images):
    """The reference sequences of the photographs' luma, and that of the coloured one's channels."""
    config = evaluate.ml_collections.ConfigDict(tiny.config)
    in_colour = image_io.read_image(images / COLOUR).pixels
    found = {
        "channels": np.concatenate([reference.reference_sequence(c, config) for c in np.split(in_colour, 3, 2)], -1)
    }
    luma = in_colour @ np.array([0.299, 0.587, 0.114], np.float32)[:, np.newaxis]
    found[COLOUR] = reference.reference_sequence(luma, config)
    found[GRAY] = reference.reference_sequence(image_io.read_image(images / GRAY).pixels, config)
    return found


def psnr(state, frames):
    return peak_signal_noise_ratio(frames[-1].astype(np.float64), np.asarray(state, np.float64), data_range=1.0)


def mean_psnr(model, frames):
    return np.mean([psnr(model.evolve(frames[name][:1])[0], frames[name]) for name in (COLOUR, GRAY)])


def cells(table, row):
    """A row of a Markdown table by its first cell."""
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def figures_of(cell):
    return [float(number) for number in re.findall(r"[\d.]+", cell)]


def test_the_table_holds_the_psnr_of_each_row(collected, frames, tiny, folders):
    table = text.readme_table(collected[0])
    expected = {
        "doing nothing": np.mean([psnr(frames[name][0], frames[name]) for name in (COLOUR, GRAY)]),
        "one fixed 5x5 filter": mean_psnr(tiny.model("single_filter"), frames),
        "BLADE, the paper's form, least squares": mean_psnr(tiny.model("least_squares"), frames),
        "BLADE, the paper's form": mean_psnr(models.load_trained(folders["paper"]).model(), frames),
        "BLADE, best form, least squares": mean_psnr(tiny.model("least_squares"), frames),
        "BLADE, best form": mean_psnr(tiny.model(), frames),
    }
    for row, value in expected.items():
        assert figures_of(*cells(table, row))[0] == pytest.approx(value, abs=0.0051)
    assert "convex" not in table


def test_rivals_are_the_strongest_of_all_models(collected, tiny):
    results, _ = collected
    assert results["rivals"] == {"tv_flow": tiny.baselines}
    for name in tiny.baselines:
        assert len({json.dumps(row(model, name)["psnr"]) for model in results["models"].values()}) == 1


def row(model, name):
    (found,) = (row for row in model["evaluation"]["rows"] if row["name"] == name)
    return found


def test_the_best_form_comes_first_and_the_nearest_row_is_bold(collected):
    results, _ = collected
    assert list(results["models"]) == ["tv_flow", "tv_flow_paper"]
    names = [name for name in text.ROWS if name != "BLADE, convex filters"]
    column = [cell for name in names for cell in cells(text.readme_table(results), name)]
    psnr = {name: figures_of(cell)[0] for name, cell in zip(names, column, strict=True)}
    assert max(psnr.values()) > min(psnr.values())
    for name, cell in zip(names, column, strict=True):
        assert ("**" in cell) == (psnr[name] == max(psnr.values()))


def test_the_spread_is_that_of_all_seeds(collected, tiny, folders, frames):
    results, _ = collected
    runs = [tiny, *map(models.load_trained, folders["runs"])]
    expected = [mean_psnr(run.model(), frames) for run in runs]
    assert [entry["seed"] for entry in results["seeds"]["tv_flow"]] == [0, 1, 2]
    assert [entry["blade"]["psnr"] for entry in results["seeds"]["tv_flow"]] == pytest.approx(expected, abs=2e-4)
    value, spread, _ = figures_of(*cells(text.readme_table(results), "BLADE, best form"))
    assert (value, spread) == pytest.approx((expected[0], np.std(expected, ddof=1)), abs=0.0051)
    assert len(figures_of(*cells(text.readme_table(results), "BLADE, the paper's form"))) == 2
    table = text.seeds(results, ["tv_flow"])[1]
    assert figures_of(cells(table, "tv_flow: `blade`")[0])[0] == pytest.approx(np.mean(expected), abs=0.0051)


def test_colour_is_compared_with_the_equation_on_each_channel(collected, frames, tiny):
    channels = frames["channels"]
    found = collected[0]["models"]["tv_flow"]["colour"]
    assert found["images"] == 1
    assert found["identity"]["psnr"] == pytest.approx(psnr(channels[0], channels), abs=2e-4)
    separate = np.concatenate([tiny.model().evolve(channels[:1, ..., c : c + 1])[0] for c in range(3)], -1)
    expected = {"luma": psnr(tiny.model().evolve(channels[:1])[0], channels), "separate": psnr(separate, channels)}
    for way, value in expected.items():
        assert found[way]["psnr"] == pytest.approx(value, abs=2e-4)
    assert found[found["best"]]["psnr"] == max(found[way]["psnr"] for way in colour.WAYS)


def test_a_gray_photograph_in_colour_is_treated_as_in_gray(tiny, frames):
    gray = frames[GRAY][:1]
    expected = tiny.model().evolve(gray).numpy()
    for predict in colour.ways(tiny).values():
        # Rounding moves a few pixels to the next bin.
        different = np.abs(predict(np.repeat(gray, 3, axis=-1)).numpy() - expected) > 1e-5
        assert different.mean() < 0.01
    summed = np.abs(tiny.model(luma=False).evolve(np.repeat(gray, 3, axis=-1)).numpy() - expected) > 1e-5
    assert summed.mean() > 0.1


def test_a_folder_of_gray_photographs_has_no_colour(tiny, images, tmp_path):
    (tmp_path / "gray").mkdir()
    (tmp_path / "gray" / GRAY).write_bytes((images / GRAY).read_bytes())
    assert colour.colour(tiny, tmp_path / "gray", tmp_path / "cache", workers=1) is None


def test_the_curves_pass_through_the_rows(collected, tiny):
    results, _ = collected
    found = results["work_precision"]["tv_flow"]
    points = {(point["curve"], point["steps"]): point for point in found["points"]}
    models_ = results["models"]
    assert points["BLADE tv_flow", 10]["psnr"] == pytest.approx(row(models_["tv_flow"], "blade")["psnr"], abs=1e-4)
    assert points["tv_flow", 10]["psnr"] == pytest.approx(row(models_["tv_flow"], "coarse_10")["psnr"], abs=1e-4)
    for name, tuned in tiny.baselines.items():
        point = points[f"{tuned['scheme']}, tuned for {tuned['steps']} steps", tuned["steps"]]
        assert point["psnr"] >= row(models_["tv_flow"], name)["psnr"] - 1e-4
    assert found["size"] == [21, 19]
    assert found["identity"] == pytest.approx(row(models_["tv_flow"], "identity")["psnr"], abs=1e-4)
    for point in points.values():
        assert (point["milliseconds"] is not None) == (point["psnr"] > found["identity"])


def test_what_is_written(collected):
    results, folder = collected
    stored = json.loads((folder / "out" / "results.json").read_text(), parse_constant=lambda _: 1 / 0)
    assert stored == json.loads(json.dumps(results))
    document = (folder / "out" / "README.md").read_text()
    assert document == text.document(results)
    assert text.summary(results) in document
    assert "Left out: broken.png: " in document
    assert sorted(path.name for path in (folder / "out" / "cards").iterdir()) == ["tv_flow.md", "tv_flow_paper.md"]
    linked = sorted(re.findall(r"\(figures/([^)]+)\)", document))
    assert linked == sorted(path.name for path in (folder / "out" / "figures").iterdir())
    assert "tv_flow_states.jpg" in linked
    for name in linked:
        if not name.endswith(".svg"):
            assert image_io.read_image(folder / "out" / "figures" / name).pixels.shape[2] == 3


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_second_run_computes_nothing(run, collected, monkeypatch):
    _, folder = collected
    before = everything(folder)

    def refuse(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr(references.reference, "reference_sequence", refuse)
    monkeypatch.setattr(evaluate, "compare", refuse)
    monkeypatch.setattr(collection.limit, "limit", refuse)
    parallel_run = work_precision.parallel.run

    def run_others(function, *arguments, **options):
        return refuse() if function is work_precision._measure else parallel_run(function, *arguments, **options)

    monkeypatch.setattr(work_precision.parallel, "run", run_others)
    run(folder / "out", folder / "cache")
    assert everything(folder) == before


def test_an_interrupted_run_continues(run, collected, tmp_path, monkeypatch):
    """Only what is missing is computed, and the results are those of one run."""
    results, folder = collected
    for path, data in everything(folder / "cache").items():
        (tmp_path / "cache" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cache" / path).write_bytes(data)
    (missing,) = (tmp_path / "cache" / "results").glob("colour-tv_flow_paper-*.json")
    missing.unlink()
    computed = []
    compare = evaluate.compare
    monkeypatch.setattr(evaluate, "compare", lambda rows, *rest: computed.append(list(rows)) or compare(rows, *rest))
    assert run(tmp_path / "out", tmp_path / "cache") == results
    assert computed == [["identity", *colour.WAYS]]


def test_results_are_kept_by_all_that_they_depend_on(tmp_path, tiny, images, folders):
    count = iter(range(9))
    for common, key in [(["a"], ["b"]), (["a"], ["b"]), (["c"], ["b"]), (["a"], ["c"])]:
        memory.Memory(tmp_path, common)("kind", "name", key, lambda: [next(count), np.float32("nan")])
    assert next(count) == 3
    other = models.load_trained(folders["paper"])
    assert memory.digest_of_model(tiny) != memory.digest_of_model(other)
    same_but = dataclasses.replace(tiny, baselines=other.baselines)
    assert memory.digest_of_model(tiny) != memory.digest_of_model(same_but)
    (tmp_path / "images").mkdir()
    for name in (COLOUR, GRAY):
        (tmp_path / "images" / name).write_bytes((images / name).read_bytes())
    first = memory.digest_of_images(tmp_path / "images")
    assert first != memory.digest_of_images(images)
    (tmp_path / "images" / GRAY).write_bytes((images / COLOUR).read_bytes())
    assert first != memory.digest_of_images(tmp_path / "images")


def test_the_program_is_what_computes(tmp_path, monkeypatch):
    """Results are kept when only the text about them changes."""
    (tmp_path / "results").mkdir()
    for name in ("models.py", "results/text.py"):
        (tmp_path / name).write_text("a")
    monkeypatch.setattr(memory.models, "__file__", str(tmp_path / "models.py"))
    first = memory.digest_of_program()
    (tmp_path / "results/text.py").write_text("b")
    assert memory.digest_of_program() == first
    (tmp_path / "models.py").write_text("b")
    assert memory.digest_of_program() != first


def test_a_damaged_result_is_named(tmp_path):
    remember = memory.Memory(tmp_path, [])
    remember("kind", "name", [], lambda: {})
    (path,) = tmp_path.iterdir()
    path.write_text("{")
    with pytest.raises(ValueError, match=f"cache: {path} is damaged, delete it"):
        remember("kind", "name", [], lambda: {})


@pytest.fixture
def perfect(tiny, tmp_path):
    """A model that stands still, of an equation over no time."""
    config = copy.deepcopy(tiny.config)
    config["reference"]["dt"] = 1e-12
    dt = config["reference"]["steps_per_frame"] * 1e-12
    still = dataclasses.replace(tiny, spec=tiny.spec | {"dt": dt}, config=config)
    return saved(still, tmp_path / "perfect", name="tv_flow", weights=0)


def test_a_perfect_model_has_the_perfect_row(perfect, run, tmp_path):
    results = run(tmp_path / "out", tmp_path / "cache", names=[perfect], runs=[], steps=())
    found = row(results["models"]["tv_flow"], "blade")
    assert (found["psnr"], found["ssim"], found["diverged"]) == (np.inf, 1, 0)
    assert cells(text.readme_table(results), "BLADE, best form") == ["**inf** / 1.000"]
    # So is doing nothing: nothing is timed, and no chart is drawn.
    assert cells(text.readme_table(results), "doing nothing") == ["**inf** / 1.000"]
    assert not list((tmp_path / "out" / "figures").glob("*.svg"))
    # inf - inf is the standard deviation alone.
    assert "nan" not in (tmp_path / "out" / "README.md").read_text().replace("** | nan | inf", "")
    stored = json.loads((tmp_path / "out" / "results.json").read_text(), parse_constant=lambda _: 1 / 0)
    assert row(stored["models"]["tv_flow"], "blade")["psnr"] is None


def test_what_is_refused(tiny, folders, run, images, tmp_path):
    def refused(message, **options):
        with pytest.raises(ValueError, match=message):
            run(tmp_path / "out", tmp_path / "cache", **options)
        assert not (tmp_path / "out").exists()

    def other(folder, **changes):
        return saved(tiny, tmp_path / folder, **changes)

    best = folders["best"]
    refused("model: unknown name or path 'tv_flo', did you mean 'tv_flow'", names=["tv_flo"])
    refused("models: expected at least one, got none", names=[])
    refused(f"models: {best} has the name of another one, 'tv_flow'", names=[best, best])
    slow = copy.deepcopy(tiny.config) | {"reference": tiny.config["reference"] | {"frames": 5}}
    late = saved(dataclasses.replace(tiny, config=slow), tmp_path / "late", name="tv_flow_paper")
    refused("tv_flow and tv_flow_paper have other references: reference.frames: 10 there, 5", names=[best, late])
    refused(r"runs: .* is a run of 'strange', expected one of \['tv_flow'", runs=[other("strange", name="strange")])
    trained = tiny.config["train"] | {"batch": 99}
    batch = dataclasses.replace(tiny, config=tiny.config | {"train": trained})
    changed = saved(batch, tmp_path / "batch", name="tv_flow", seed=1)
    refused("runs: .*batch has another config than 'tv_flow': train.batch: 4 there, 99", runs=[changed])
    twin = other("twin", name="tv_flow", weights=0.5)
    refused("runs: .*twin has the seed 0 of another one, but other weights", runs=[twin])
    with pytest.raises(ValueError, match="missing: no such folder"):
        collection.collect(tmp_path / "missing", tmp_path / "out", tmp_path / "cache", names=[best])
    assert not (tmp_path / "out").exists()
    with files.lock(tmp_path / "cache"), pytest.raises(BlockingIOError):
        run(tmp_path / "out", tmp_path / "cache")


def test_the_same_run_again_counts_once(tiny, folders):
    groups = collection._groups([folders["best"]])
    assert collection._runs([folders["best"]], groups) == {}
    assert len(collection._runs([*folders["runs"], *folders["runs"]], groups)["tv_flow"]) == 2


def test_photographs_are_shown_by_name():
    names = {f"{name}.png": None for name in "abc"}
    assert collection._shown(names, ["c", "z"]) == ["c.png"]
    assert collection._shown(names, ["z"]) == ["a.png", "b.png"]


def test_the_program_names_what_is_wrong(program, tmp_path):
    outcome = program("results", f"--images={tmp_path / 'none'}", f"--output={tmp_path / 'out'}")
    assert outcome.status == 1
    assert outcome.err.splitlines()[-1] == f"blade-results: {tmp_path / 'none'}: no such folder"
