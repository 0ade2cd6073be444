import json
import pathlib
import shutil
import signal

import keras
import numpy as np
import pytest
import skimage.metrics
import tensorflow as tf

import programs
from blade_tf import config as config_lib
from blade_tf import files, models, train
from blade_tf.data import batches
from blade_tf.start import step_length


class Numbered(list):
    """Sequences [3, 5, 7, 1] of which each pixel of each frame has a number of its own; what a reader offers."""

    def __init__(self, count):
        frames = np.arange(3 * 5 * 7, dtype=np.float32).reshape(3, 5, 7, 1)
        super().__init__(1000 * i + frames for i in range(count))


@pytest.fixture
def windows(config):
    config.train.batch = 3
    config.train.crop = 4
    return config


def test_a_batch_is_a_function_of_seed_and_step(windows):
    data = Numbered(7)
    forward = [batches.training_batch(data, k, windows) for k in range(8)]
    backward = [batches.training_batch(data, k, windows) for k in reversed(range(8))][::-1]
    np.testing.assert_array_equal(forward, backward)
    assert len({batch.tobytes() for batch in forward}) == 8
    windows.seed = 1
    assert not np.array_equal(batches.training_batch(data, 0, windows), forward[0])


def test_read_ahead_gives_the_batches_of_the_steps(windows):
    windows.train.steps = 13
    data = Numbered(7)
    found = list(batches.read_ahead(data, 4, windows))
    np.testing.assert_array_equal(found, [batches.training_batch(data, k, windows) for k in range(4, 13)])


def test_every_epoch_visits_all_sequences_in_another_order(windows):
    windows.train.crop = 1
    found = [batches.training_batch(Numbered(7), k, windows)[:, 0, 0, 0, 0] // 1000 for k in range(3 * 7)]
    epochs = np.concatenate(found).astype(int).reshape(9, 7)
    for epoch in epochs:
        assert sorted(epoch) == list(range(7))
    assert len({tuple(epoch) for epoch in epochs}) > 6


def test_windows_are_crops_in_all_eight_symmetries(windows):
    (sequence,) = data = Numbered(1)
    seen = set()
    for k in range(200):
        for window in batches.training_batch(data, k, windows):
            matches = {
                (y, x, turns, mirrored)
                for y in range(2)
                for x in range(4)
                for turns in range(4)
                for mirrored in (False, True)
                if np.array_equal(window, symmetry(sequence[:, y : y + 4, x : x + 4], turns, mirrored))
            }
            assert len(matches) == 1
            seen |= matches
    assert len(seen) == 2 * 4 * 8


def symmetry(frames, turns, mirrored):
    turned = np.stack([np.rot90(frame, turns) for frame in frames])
    return turned[:, :, ::-1] if mirrored else turned


def test_training_beats_least_squares_beats_one_filter(workdir):
    psnr = json.loads((workdir / "validation.json").read_text())["psnr"]
    assert psnr["trained"] > psnr["least_squares"] + 0.1
    assert psnr["least_squares"] > psnr["single_filter"] + 1


def test_validation_is_what_the_saved_model_does(workdir, data, config):
    recorded = json.loads((workdir / "validation.json").read_text())
    sequences = batches.load_data(data, config).validation
    assert recorded["images"] == len(sequences) == 6
    trained = models.load_trained(workdir / "model")
    for name in ("trained", "least_squares", "single_filter"):
        found = trained.model(name).evolve(sequences[:, 0]).numpy()
        psnr = [
            skimage.metrics.peak_signal_noise_ratio(a.astype(float), b.astype(float), data_range=1.0)
            for a, b in zip(sequences[:, -1], found, strict=True)
        ]
        assert recorded["psnr"][name] == pytest.approx(np.mean(psnr), abs=1e-3)
    assert recorded["psnr"]["coarse_tuned"] == trained.baselines["coarse_tuned"]["psnr"]


def test_the_run_leaves_what_it_promises(workdir, config):
    trained = models.load_trained(workdir / "model")
    assert trained.name == "tiny"
    assert trained.config == json.loads(json.dumps(config.to_dict()))
    assert trained.spec["dt"] == step_length(config)
    assert trained.weights["trained/filters"].shape == (48, 3, 3)
    np.testing.assert_allclose(
        trained.weights["trained/filters"].sum((1, 2)), 0, atol=1e-4 * np.abs(trained.weights["trained/filters"]).max()
    )
    kept = models.load(workdir / "model.keras")
    np.testing.assert_array_equal(kept.rates[0].blade.filters, trained.weights["trained/filters"])
    assert sorted(path.name for path in workdir.iterdir()) == [
        "checkpoints",
        "events",
        "model",
        "model.keras",
        "run.json",
        "start.json",
        "start.npz",
        "validation.json",
    ]


def summaries(workdir):
    found = {}
    for path in sorted((workdir / "events").iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor)
    return found


def test_tensorboard_shows_the_run(workdir, config):
    found = summaries(workdir)
    assert list(found["loss"]) == list(found["learning_rate"]) == [10, 20, 30, 40, 50, 60]
    assert found["loss"][60] < found["loss"][10]
    rates = [float(found["learning_rate"][k]) for k in (10, 30, 60)]
    np.testing.assert_allclose(rates, [2e-3, 1e-3 * (1 + np.cos(0.4 * np.pi)), 0], atol=1e-8)
    psnr = np.array([[found[f"validation_psnr/step_{k:02d}"][step] for step in (0, 30, 60)] for k in range(1, 11)])
    recorded = json.loads((workdir / "validation.json").read_text())["psnr"]
    np.testing.assert_allclose(psnr[-1, [0, 2]], [recorded["least_squares"], recorded["trained"]], atol=1e-3)
    assert (np.diff(psnr[:, 2]) < 0).all()
    assert found["selection/0"][60][:, 2].sum() == 4 * 32 * 32
    for tag in ("filters", "input, reference, model, 10 x difference"):
        assert list(found[tag]) == [0, 30, 60]
        width, height, *pictures = found[tag][60]
        assert tf.io.decode_png(pictures[0]).shape[:2] == (int(height), int(width))


def test_a_finished_run_ends_as_it_did(workdir, data, config, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    before = {name: (copy / name).read_bytes() for name in ("model/model.json", "model/weights.npz", "validation.json")}
    again = train.train(config, data, copy)
    np.testing.assert_array_equal(
        again.weights["trained/filters"], models.load_trained(copy / "model").weights["trained/filters"]
    )
    assert {name: (copy / name).read_bytes() for name in before} == before


def test_no_steps_leave_the_least_squares_filters(data, config, tmp_path):
    config.train.steps = 0
    trained = train.train(config, data, tmp_path / "run")
    np.testing.assert_array_equal(trained.weights["trained/filters"], trained.weights["least_squares/filters"])


def test_training_by_features_of_a_saved_model(data, config, tmp_path):
    inputs = keras.Input((None, None, 3))
    weights = np.random.default_rng(0).normal(size=(3, 3, 3, 4))
    layer = keras.layers.Conv2D(4, 3, kernel_initializer=keras.initializers.Constant(0.1), activation="relu")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([weights, np.full(4, 0.1)])
    model.save(tmp_path / "features.keras")
    config.train.loss = "features"
    config.train.feature_model = str(tmp_path / "features.keras")
    config.train.steps = 3
    config.train.warmup_steps = 0
    trained = train.train(config, data, tmp_path / "run")
    change = np.abs(trained.weights["trained/filters"] - trained.weights["least_squares/filters"]).max()
    assert 0 < change < np.inf


def test_midpoint_steps_train_too(data, config, tmp_path):
    config.model.method = "midpoint"
    config.train.steps = 20
    config.train.warmup_steps = 0
    trained = train.train(config, data, tmp_path / "run")
    assert trained.model().method == "midpoint"
    psnr = json.loads((tmp_path / "run" / "validation.json").read_text())["psnr"]
    assert psnr["trained"] > psnr["least_squares"] > psnr["single_filter"]


def run_arguments(data, folder, *more):
    return f"--config={programs.CONFIG}", f"--data={data}", f"--workdir={folder}", *more


def final_names(folder):
    return {name for name in ("model", "model.keras", "validation.json") if (folder / name).exists()}


@pytest.mark.parametrize("rate", ["1e8", "1e38"])  # the loss overflows first, the filters do
def test_divergence_keeps_the_last_good_checkpoint_and_no_model(rate, program, data, tmp_path):
    folder = tmp_path / "run"
    more = f"--config.train.learning_rate={rate}", "--config.train.checkpoint_every=1"
    outcome = program("train", *run_arguments(data, folder, *more))
    assert outcome.status == 1
    last = outcome.err.splitlines()[-1]
    assert last.startswith("blade-train: the ")
    assert last.endswith("A smaller train.learning_rate may help.")
    checkpoint = tf.train.latest_checkpoint(folder / "checkpoints")
    assert f"the last good checkpoint is {checkpoint}." in last
    p = tf.train.load_variable(checkpoint, "p/filters/.ATTRIBUTES/VARIABLE_VALUE")
    with np.load(folder / "start.npz") as start:
        assert np.isfinite(start["whitening/filters"] @ p[..., np.newaxis]).all()
    assert final_names(folder) == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_continues(number, start, program, workdir, data, tmp_path):
    folder = tmp_path / "run"
    arguments = run_arguments(data, folder)
    stopped = start("train", *arguments).signal_when(number, (folder / "checkpoints" / "ckpt-10.index").exists)
    assert stopped.status == 128 + number
    last = stopped.err.splitlines()[-1]
    assert last.startswith(f"blade-train: stopped by {number.name} at step ")
    assert last.endswith(f"state saved in {folder}")
    step = int(last.split("at step ")[1].split(";")[0])
    assert 10 <= step < 60
    assert (folder / "checkpoints" / f"ckpt-{step}.index").exists()
    assert final_names(folder) == set()
    continued = program("train", *arguments)
    assert continued.status == 0
    assert f"| {step}/60" in continued.err
    for name in ("model.json", "weights.npz"):
        assert (folder / "model" / name).read_bytes() == (workdir / "model" / name).read_bytes()


def test_the_folder_of_another_config_is_refused_by_its_keys(workdir, data, config):
    config.train.learning_rate = 5e-3
    config.model.selection.rho = 2.0
    message = r"another config \(model.selection.rho: 1.0 there, 2.0 in the config; train.learning_rate: 0.002 there"
    with pytest.raises(ValueError, match=message):
        train.train(config, data, workdir)


def test_the_folder_of_other_photographs_is_refused(workdir, data, config, tmp_path):
    other = tmp_path / "data"
    shutil.copytree(data, other)
    index = json.loads((other / "dataset.json").read_text())
    index["sha256"]["coffee.png"] = "another"
    (other / "dataset.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="holds a run on other photographs; choose a new folder"):
        train.train(config, other, workdir)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.batch", 0, r"train.batch: expected a positive number, got 0"),
        ("train.learning_rate", float("inf"), r"train.learning_rate: expected a positive number, got inf"),
        ("train.steps", -1, r"train.steps: expected a non-negative number, got -1"),
        ("train.betas", (0.9, 1.0), r"train.betas: expected two numbers in \[0, 1\), got \(0.9, 1.0\)"),
        ("train.loss", "log_msee", r"train.loss: unknown loss 'log_msee', did you mean 'log_mse'"),
        ("train.ridge", 0.0, r"train.ridge: expected a positive number, got 0.0"),
        ("train.fit_sequences", 0, r"train.fit_sequences: expected a positive number, got 0"),
        ("train.fit_iterations", -5, r"train.fit_iterations: expected a positive number, got -5"),
        ("train.whitening_ridge", 0.0, r"train.whitening_ridge: expected a positive number, got 0.0"),
        ("train.patience", -1, r"train.patience: expected a non-negative number, got -1"),
        (
            "pde.name",
            "cahn_hilliard",
            r"data: .* was prepared with another config \(pde.name: 'tv_flow' there, 'cahn_h",
        ),
        ("pde.parameters.epsilon", 0.02, r"data: .* was prepared with another config \(pde.parameters.epsilon: 0.01"),
        ("model.form", "plane", r"model.form: unknown form 'plane', did you mean 'plain'"),
    ],
)
def test_a_config_without_sense_does_not_claim_the_folder(key, value, message, data, config, tmp_path):
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=message):
        train.train(config, data, tmp_path / "run")
    folder = tmp_path / "run"
    assert not folder.exists() or list(folder.iterdir()) == []


def test_ssim_needs_windows_of_its_size(data, config, tmp_path):
    config.train.loss = "ssim"
    config.train.crop = 10
    with pytest.raises(ValueError, match=r"train.crop: expected at least 11 for the loss 'ssim', got 10"):
        train.train(config, data, tmp_path / "run")


def test_a_workdir_that_cannot_be_written(data, config, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        train.train(config, data, tmp_path / "file" / "run")


def test_differences_are_named_by_their_keys():
    a = {"x": {"y": 1, "z": [1, 2]}, "w": "s"}
    assert config_lib.differences(a, a) == []
    b = {"x": {"y": 2, "z": [1, 2]}, "v": None, "u": 3}
    assert config_lib.differences(a, b) == [
        "u: None there, 3 in the config",
        "w: 's' there, None in the config",
        "x.y: 1 there, 2 in the config",
    ]


def test_a_keras_file_is_there_whole_or_not_at_all(data, config, tmp_path, monkeypatch):
    config.train.steps = 0

    def interrupted(self, path):
        pathlib.Path(path).write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models.EvolutionModel, "save", interrupted)
    with pytest.raises(OSError, match="No space left on device"):
        train.train(config, data, tmp_path / "run")
    assert not (tmp_path / "run" / "model.keras").exists()
    monkeypatch.undo()
    train.train(config, data, tmp_path / "run")
    assert models.load(tmp_path / "run" / "model.keras").steps == 10
    assert "partial" not in "".join(path.name for path in (tmp_path / "run").iterdir())


def test_two_processes_cannot_train_in_one_folder(data, config, tmp_path):
    with files.lock(tmp_path / "run"), pytest.raises(BlockingIOError, match=r"another process is writing there.*run"):
        train.train(config, data, tmp_path / "run")
