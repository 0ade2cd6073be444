import json
import math

import numpy as np
import pytest
import skimage.data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from blade_tf import baselines, evaluate, image_io, models, references
from blade_tf.data import reference

ROWS = [
    "identity",
    "coarse_10",
    "coarse_10_tuned",
    "coarse_converged",
    "coarse_tuned",
    "single_filter",
    "least_squares",
    "blade",
]
PORTRAIT, GRAY = "people/portrait.png", "gray.jpg"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A portrait in colour and a gray landscape, neither divisible by 4, and two files that cannot be used."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "people").mkdir()
    colour = skimage.data.astronaut()[20:121, 150:235].astype(np.float32) / 255
    image_io.write_image(folder / PORTRAIT, image_io.Image(colour))
    gray = skimage.data.camera()[100:178, 200:302, np.newaxis].astype(np.float32) / 255
    image_io.write_image(folder / GRAY, image_io.Image(gray))
    (folder / "broken.png").write_bytes((folder / PORTRAIT).read_bytes()[:2000])
    image_io.write_image(folder / "small.png", image_io.Image(gray[:43]))
    return folder


@pytest.fixture(scope="module")
def evaluation(workdir, pictures, tmp_path_factory):
    """The results of evaluating the tiny model, and their folder."""
    folder = tmp_path_factory.mktemp("evaluation")
    return evaluate.evaluate(workdir / "model", pictures, folder, workers=1), folder


@pytest.fixture(scope="module")
def frames(workdir, pictures):
    """The reference sequences of the two photographs."""
    config = evaluate.ml_collections.ConfigDict(models.load_trained(workdir / "model").config)
    found = {}
    for name in (GRAY, PORTRAIT):
        pixels = image_io.read_image(pictures / name).pixels
        luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)[:, None] if pixels.shape[-1] == 3 else pixels
        found[name] = reference.reference_sequence(luma, config)
    return found


def scores(predicted, expected):
    a, b = predicted[..., 0].astype(np.float64), expected[..., 0].astype(np.float64)
    ssim = structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0)
    return peak_signal_noise_ratio(b, a, data_range=1.0), ssim


def row(results, name):
    (found,) = (row for row in results["rows"] if row["name"] == name)
    return found


def assert_row(found, psnr, ssim):
    assert found["psnr"] == pytest.approx(np.mean(psnr), abs=2e-4)
    assert found["psnr_std"] == pytest.approx(np.std(psnr), abs=2e-4)
    assert found["psnr_worst"] == pytest.approx(np.min(psnr), abs=2e-4)
    assert found["ssim"] == pytest.approx(np.mean(ssim), abs=1e-5)


def test_metrics_json_has_the_documented_form(evaluation):
    results, folder = evaluation
    stored = json.loads((folder / "metrics.json").read_text())
    assert list(stored) == [
        "model",
        "images",
        "rows",
        "long_run",
        "stable_dt",
        "reference_convergence",
        "per_image",
        "left_out",
    ]
    assert stored["model"] == "tiny"
    assert stored["images"] == 2
    assert [row["name"] for row in stored["rows"]] == ROWS
    blade = row(stored, "blade")
    for found in stored["rows"]:
        assert found["diverged"] == 0
        if found is not blade:
            assert found["blade_gain"] == pytest.approx(blade["psnr"] - found["psnr"])
            nearer = [
                stored["per_image"]["blade"][name][0] > psnr
                for name, (psnr, _) in stored["per_image"][found["name"]].items()
            ]
            assert found["blade_nearer"] == sum(nearer)
    assert stored == json.loads(json.dumps(results))


def test_each_row_is_its_images_and_they_are_scored_as_scikit_image_does(evaluation, frames):
    results, _ = evaluation
    expected = [scores(x[0], x[-1]) for x in frames.values()]
    assert_row(row(results, "identity"), *zip(*expected, strict=True))
    for found in results["rows"]:
        per_image = results["per_image"][found["name"]]
        assert list(per_image) == [GRAY, PORTRAIT]
        assert_row(found, *zip(*per_image.values(), strict=True))


@pytest.mark.parametrize(("name", "weights"), [("blade", "trained"), ("least_squares", "least_squares")])
def test_the_rows_of_the_model(name, weights, evaluation, frames, workdir):
    model = models.load_trained(workdir / "model").model(weights)
    expected = [scores(model.evolve(x[:1]).numpy()[0], x[-1]) for x in frames.values()]
    assert_row(row(evaluation[0], name), *zip(*expected, strict=True))


def test_the_row_of_a_single_filter(evaluation, frames, workdir):
    trained = models.load_trained(workdir / "model")
    (taps,) = trained.weights["single_filter/filters"]
    expected = []
    for x in frames.values():
        u = x[0, ..., 0].astype(np.float64)
        for _ in range(10):
            padded = np.pad(u, 2, mode="edge")
            rate = sum(taps[r, s] * padded[r : r + u.shape[0], s : s + u.shape[1]] for r in range(5) for s in range(5))
            u = u + trained.spec["dt"] * rate
        expected.append(scores(u[..., np.newaxis], x[-1]))
    assert_row(row(evaluation[0], "single_filter"), *zip(*expected, strict=True))


def test_the_rows_of_the_classical_scheme(evaluation, frames, workdir):
    trained = models.load_trained(workdir / "model")
    config = evaluate.ml_collections.ConfigDict(trained.config)
    tuned, quick = trained.baselines["coarse_tuned"], trained.baselines["coarse_10_tuned"]
    assert quick["steps"] == 10
    total = 10 * 20 * 2.4e-4
    choices = {
        "coarse_10": ("tv_flow", 10, total, 4 / 255),
        "coarse_10_tuned": (quick["scheme"], 10, total * quick["time_scale"], quick["parameters"]["epsilon"]),
        "coarse_converged": ("tv_flow", baselines.converged_steps(config), total, 4 / 255),
        "coarse_tuned": (
            tuned["scheme"],
            tuned["steps"],
            total * tuned["time_scale"],
            tuned["parameters"]["epsilon"],
        ),
    }
    for name, (scheme, steps, time, epsilon) in choices.items():
        pde = evaluate.reference.pdes.build(scheme, epsilon=epsilon)
        expected = []
        for x in frames.values():
            final = evaluate.reference.pdes.solve(pde, x[:1], dt=time / steps, steps=steps).numpy()[0, -1]
            expected.append(scores(final, x[-1]))
        assert_row(row(evaluation[0], name), *zip(*expected, strict=True))


def test_what_cannot_be_used_is_named(evaluation):
    left_out = evaluation[0]["left_out"]
    assert sorted(left_out) == ["broken.png", "small.png"]
    assert left_out["broken.png"].endswith("broken.png: image file is truncated")
    assert left_out["small.png"] == "small.png: expected at least 44 pixels a side, got 102 x 43"


def test_pictures_are_written(evaluation):
    _, folder = evaluation
    pictures = sorted(path.relative_to(folder / "pictures").as_posix() for path in (folder / "pictures").rglob("*.png"))
    assert pictures == [f"{GRAY}.png", f"{PORTRAIT}.png"]
    for path in pictures:
        height, width, _ = image_io.read_image(folder / "pictures" / path).pixels.shape
        assert width > 4 * (21 if "portrait" in path else 25)
        assert height > (25 if "portrait" in path else 19)


def test_the_long_run(evaluation, frames, workdir):
    model = models.load_trained(workdir / "model").model()
    overshoot, drift = 0.0, 0.0
    for x in frames.values():
        u = x[:1]
        final = model.evolve(u, 300).numpy()
        overshoot = max(overshoot, float(final.max() - u.max()), float(u.min() - final.min()))
        drift = max(drift, abs(final.mean(dtype=np.float64) - u.mean(dtype=np.float64)))
    assert evaluation[0]["long_run"]["steps"] == 300
    assert list(evaluation[0]["long_run"]) == ["steps", "photographs", "noise", "edges"]
    run = evaluation[0]["long_run"]["photographs"]
    assert run == {
        "finite": True,
        "overshoot": pytest.approx(overshoot, abs=1e-6),
        "mean_drift": pytest.approx(drift, abs=1e-6),
    }
    assert run["mean_drift"] > 0


def test_the_reference_converges(evaluation, frames):
    (name,) = evaluation[0]["reference_convergence"]
    assert name == GRAY
    assert evaluation[0]["reference_convergence"][name] > 60


def test_a_second_run_reuses_the_references_and_gives_the_same(evaluation, workdir, pictures, monkeypatch):
    _, folder = evaluation
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (folder / "reference").iterdir()}
    assert len(before) == 3
    metrics = (folder / "metrics.json").read_bytes()

    def refuse(*_):
        raise AssertionError("solved again")

    monkeypatch.setattr(references.reference, "reference_sequence", refuse)
    evaluate.evaluate(workdir / "model", pictures, folder, workers=1)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (folder / "reference").iterdir()} == before
    assert (folder / "metrics.json").read_bytes() == metrics


def test_a_photograph_that_changed_is_solved_again(evaluation, workdir, pictures, tmp_path, config):
    cache = tmp_path / "cache"
    image = image_io.Image(np.linspace(0, 1, 48 * 44, dtype=np.float32).reshape(48, 44, 1))
    (tmp_path / "images").mkdir()
    image_io.write_image(tmp_path / "images" / "a.png", image)
    first = references.reference_sequences(config, tmp_path / "images", cache, 1)
    image_io.write_image(tmp_path / "images" / "a.png", image_io.Image(1 - image.pixels))
    second = references.reference_sequences(config, tmp_path / "images", cache, 1)
    np.testing.assert_allclose(second["a.png"][0], 1 - first["a.png"][0], atol=1e-6)
    config.reference.dt *= 0.5
    third = references.reference_sequences(config, tmp_path / "images", cache, 1)
    assert not np.array_equal(second["a.png"][-1], third["a.png"][-1])
    assert len(list(cache.iterdir())) == 3


def test_a_damaged_reference_is_named(tmp_path, config, pictures):
    config.reference.frames = 1
    config.reference.steps_per_frame = 1
    references.reference_sequences(config, pictures, tmp_path, 1)
    damaged = sorted(tmp_path.iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(ValueError, match=f"output: {damaged} is damaged, delete it"):
        dict(references.reference_sequences(config, pictures, tmp_path, 1))


def test_a_keras_file_has_the_rows_that_need_no_more(evaluation, workdir, pictures, config):
    # In the same folder: its references are reused.
    results, folder = evaluation
    metrics = (folder / "metrics.json").read_bytes()
    found = evaluate.evaluate(workdir / "model.keras", pictures, folder, config=config, workers=1)
    (folder / "metrics.json").write_bytes(metrics)
    assert len(list((folder / "reference").iterdir())) == 3
    assert found["model"] == str(workdir / "model.keras")
    assert [row["name"] for row in found["rows"]] == ["identity", "coarse_10", "coarse_converged", "blade"]
    for name in ("identity", "coarse_10", "coarse_converged", "blade"):
        assert row(found, name) | {"what": ""} == row(results, name) | {"what": ""}
    with pytest.raises(ValueError, match=r"config: expected one, as a \.keras file holds none"):
        evaluate.evaluate(workdir / "model.keras", pictures, folder)
    with pytest.raises(ValueError, match="config: a trained model comes with its own"):
        evaluate.evaluate(workdir / "model", pictures, folder, config=config)
    config.reference.frames += 1
    with pytest.raises(ValueError, match=r"model: its 10 steps end at 0.048, the config's reference at 0.0528"):
        evaluate.evaluate(workdir / "model.keras", pictures, folder, config=config)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    pixels = skimage.data.camera()[100:148, 200:248, np.newaxis].astype(np.float32) / 255
    image_io.write_image(folder / "a.png", image_io.Image(pixels))
    return folder


def keras_model(workdir, path, filters):
    model = models.load_trained(workdir / "model").model()
    model.rates[0].blade.filters.assign(filters)
    model.save(path)
    return path


def test_the_same_scheme_on_the_same_grid_is_perfect(workdir, one, config, tmp_path):
    config.reference.scale = 1
    config.reference.dt *= config.reference.steps_per_frame
    config.reference.steps_per_frame = 1
    path = keras_model(workdir, tmp_path / "still.keras", np.zeros([48, 3, 3]))
    results = evaluate.evaluate(path, one, tmp_path / "out", config=config, workers=1)
    assert row(results, "coarse_10")["psnr"] > 120
    assert row(results, "coarse_10")["ssim"] == pytest.approx(1)
    # A model that stands still does nothing.
    for key in ("psnr", "psnr_std", "psnr_worst", "ssim"):
        assert row(results, "blade")[key] == row(results, "identity")[key]
    still = {"finite": True, "overshoot": 0, "mean_drift": 0}
    assert results["long_run"] == {"steps": 300, "photographs": still, "noise": still, "edges": still}


def test_a_model_that_blows_up_is_reported(workdir, one, config, tmp_path):
    filters = np.zeros([48, 3, 3])
    filters[:, 1, 1] = 100 / (20 * 2.4e-4)
    path = keras_model(workdir, tmp_path / "unstable.keras", filters)
    results = evaluate.evaluate(path, one, tmp_path / "out", config=config, workers=1)
    assert results["long_run"]["photographs"]["finite"] is False
    assert "NOT FINITE" in evaluate.table(results)
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text(), parse_constant=lambda _: 1 / 0)
    assert stored["long_run"]["photographs"]["finite"] is False


def test_scores_of_equal_states(frames):
    state = frames[GRAY][-1]
    assert evaluate.score(state, state) == (math.inf, 1.0)


def test_the_table_says_it_all(evaluation):
    results, _ = evaluation
    text = evaluate.table(results)
    assert "tiny on 2 photographs" in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    for name in ROWS:
        found = row(results, name)
        assert lines[name][1:5] == [
            f"{found['psnr']:.2f}",
            f"{found['psnr_std']:.2f}",
            f"{found['psnr_worst']:.2f}",
            f"{found['ssim']:.4f}",
        ]
    for name, reason in results["left_out"].items():
        assert f"left out {name}: {reason}" in text


def test_nothing_to_evaluate(workdir, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="none: no image found"):
        evaluate.evaluate(workdir / "model", tmp_path / "none", tmp_path / "out")
    (tmp_path / "none" / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"images: no usable photograph in .*broken\.png"):
        evaluate.evaluate(workdir / "model", tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_an_output_that_cannot_be_written(workdir, one, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        evaluate.evaluate(workdir / "model", one, tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        evaluate.evaluate(workdir / "model", one, tmp_path / "file" / "out")
