import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import skimage.data
import tensorflow as tf

import blade_tf
from blade_tf import config as config_lib
from blade_tf import image as image_lib
from blade_tf import metrics, models, tasks, train
from blade_tf.apps import stages
from blade_tf.data import batches, examples, prepare
from blade_tf.restoration import RestorationModel

SELECTION = {"strength_thresholds": [0.05], "coherence_thresholds": [0.5], "orientations": 4}


@pytest.fixture
def tiny():
    c = config_lib.restoration()
    c.data.crop = 96
    c.data.min_side = 128
    c.data.crops_per_image = 2
    c.data.validation_every = 4
    c.model.stages = 2
    c.model.footprint = (3, 3)
    c.model.residual_footprint = (3, 5)
    c.model.selection.orientations = 4
    c.train.steps = 12
    c.train.batch = 2
    c.train.crop = 32
    c.train.warmup_steps = 2
    c.train.checkpoint_every = 5
    c.train.validate_every = 6
    return c


@pytest.fixture(scope="module")
def prepared(photographs, tmp_path_factory):
    """The photographs, prepared with a config; the same folder for equal configs."""
    folders = {}

    def made(config):
        key = json.dumps(prepare.relevant(config))
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("restoration")
            prepare.prepare(config, photographs, folders[key], 1, lambda _: None)
        return folders[key]

    return made


def random_model(stages=3, **kwargs):
    model = RestorationModel([SELECTION] * stages, (3, 3), (5, 3), **kwargs)
    rng = np.random.default_rng(0)
    for variable in model.bank.values():
        variable.assign(0.05 * rng.standard_normal(variable.shape))
    return model


def test_stages_are_those_of_the_formula():
    model, f = random_model(output="trajectory"), tf.random.stateless_uniform([2, 13, 17, 3], [1, 2])
    states = model(f)
    u = f
    for k in range(3):
        chosen = blade_tf.Selection(**SELECTION)(u)
        change = blade_tf.blade_filter(u, model.bank[f"state_{k}"].value, chosen)
        if k:
            change += blade_tf.blade_filter(f - u, model.bank[f"residual_{k}"].value, chosen)
        u = u + change
        np.testing.assert_allclose(states[:, k], u, atol=1e-6)
    np.testing.assert_array_equal(random_model()(f), states[:, -1])
    assert "residual_0" not in model.bank


def test_without_filters_nothing_changes():
    f = tf.random.stateless_uniform([1, 9, 8, 1], [1, 2])
    np.testing.assert_array_equal(RestorationModel([SELECTION] * 2)(f), f)


def test_a_saved_model_is_the_same(tmp_path):
    model, f = random_model(output="trajectory"), tf.random.stateless_uniform([1, 16, 15, 3], [1, 2])
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(f), model(f))
    with pytest.raises(ValueError, match="expected an EvolutionModel"):
        blade_tf.load(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "selections: expected at least one stage, got none"),
        (([SELECTION], (3, 3), (3, 3), "all"), "output: expected 'final' or 'trajectory', got 'all'"),
        (([SELECTION], (3, 4)), "footprint: expected two odd sizes"),
    ],
)
def test_a_model_without_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RestorationModel(*arguments)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("degradation.blur", (2.0, 1.0), r"degradation.blur: expected \(lowest, highest\), not negative, got \(2.0"),
        ("degradation.noise", (-0.1, 0.1), r"degradation.noise: expected \(lowest, highest\)"),
        ("degradation.noise", (0.1, float("nan")), r"degradation.noise: expected \(lowest, highest\)"),
        ("model.stages", 0, "model.stages: expected at least 1, got 0"),
        ("model.selection.soft", "strength", "model.selection.soft: expected none for restoration"),
        ("train.batch", 0, "train.batch: expected a positive number, got 0"),
    ],
)
def test_a_config_without_sense_is_refused(key, value, message, tiny):
    tiny.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=message):
        tasks.of(tiny).check(tiny)


def test_nothing_to_restore_is_refused(tiny):
    tiny.degradation.blur = tiny.degradation.noise = (0.0, 0.0)
    with pytest.raises(ValueError, match=r"degradation.noise: expected more than 0"):
        tasks.of(tiny).check(tiny)


def test_an_unknown_task_is_refused(tiny):
    with tiny.unlocked():
        tiny.task = "restoraton"
    for of in (tasks.of, examples.of):
        with pytest.raises(ValueError, match="task: unknown task 'restoraton', did you mean 'restoration'"):
            of(tiny)


def test_examples_are_a_blurred_crop_and_the_crop(tiny):
    """A plane wave, which the blur multiplies by the Fourier transform of the Gaussian."""
    x = np.arange(200.0)
    wave = (0.5 + 0.25 * np.cos(2 * np.pi * x / 16)) * np.ones((130, 1))
    tiny.degradation.blur = (1.0, 2.0)
    image, rng = wave[..., np.newaxis].astype(np.float32), np.random.default_rng(0)
    sigmas = set()
    for blurred, crop in examples.of(tiny).make(image, tiny, rng):
        inside = slice(12, -12)
        attenuation = np.std(blurred[inside, inside], axis=1) / np.std(crop[inside, inside], axis=1)
        sigma = np.sqrt(-2 * np.log(attenuation)) * 16 / (2 * np.pi)
        assert np.ptp(sigma) < 0.01
        assert 0.99 < sigma.mean() < 2.01
        sigmas.add(round(float(sigma.mean()), 3))
    assert len(sigmas) == 2


def test_noise_has_the_stated_strength_and_spares_the_truth(tiny):
    tiny.degradation.noise = (0.02, 0.06)
    frames, rng = np.full((2, 200, 200, 1), 0.5, np.float32), np.random.default_rng(0)
    found = [examples.of(tiny).finish(frames, tiny, rng) for _ in range(60)]
    levels = np.array([(pair[0] - 0.5).std() for pair in found])
    assert 0.0195 < levels.min() < 0.024
    assert 0.056 < levels.max() < 0.0605
    assert all((pair[1] == 0.5).all() and pair.dtype == np.float32 for pair in found)


def test_the_start_is_least_squares(tiny, prepared):
    """One bin: each stage is an ordinary regression, which numpy solves."""
    tiny.degradation.noise = (0.02, 0.02)
    tiny.data.validation_every = 2
    tiny.train.ridge = 1e-12
    tiny.model.selection.orientations = 1
    tiny.model.selection.strength_quantiles = tiny.model.selection.coherence_quantiles = ()
    data = batches.load_data(prepared(tiny), tiny).train
    start = tasks.of(tiny).start(data, tiny)
    rng = np.random.default_rng([tiny.seed, 3])
    pairs = np.stack([examples.of(tiny).finish(data[i], tiny, rng) for i in range(len(data))]).astype(np.float64)
    f, x = pairs[:, 0, ..., 0], pairs[:, 1, ..., 0]

    def patches(image, rows, columns):
        padded = np.pad(image, [(0, 0), (rows // 2,) * 2, (columns // 2,) * 2], mode="edge")
        return np.stack(
            [padded[:, r : r + f.shape[1], s : s + f.shape[2]].ravel() for r in range(rows) for s in range(columns)], 1
        )

    seen = patches(f, 3, 3)
    h = np.linalg.lstsq(np.delete(seen - seen[:, 4:5], 4, 1), (x - f).ravel(), rcond=None)[0]
    first = start.arrays["least_squares/state_0"].ravel()
    np.testing.assert_allclose(np.delete(first, 4), h, atol=1e-4)
    assert abs(first.sum()) < 1e-5
    u = f + (seen @ first.astype(np.float64)).reshape(f.shape)
    state = patches(u, 3, 3)
    seen = np.concatenate([np.delete(state - state[:, 4:5], 4, 1), patches(f - u, 3, 5)], 1)
    # Nearly collinear, as f - u is a convolution of f: many filters do as well.
    h = np.linalg.lstsq(seen, (x - u).ravel(), rcond=None)[0]
    second = np.delete(start.arrays["least_squares/state_1"].ravel(), 4)
    found = np.concatenate([second, start.arrays["least_squares/residual_1"].ravel()]).astype(np.float64)
    before, after, least = (np.square((x - u).ravel() - seen @ g).sum() for g in (0 * h, found, h))
    assert least <= after < least + 0.02 * (before - least)


def test_a_killed_run_ends_as_one_that_is_not_and_restores(tiny, prepared, tmp_path, monkeypatch):
    data = prepared(tiny)
    trained = train.train(tiny, data, tmp_path / "through")
    with monkeypatch.context() as patched:
        update = train._Trainer.update

        def dying(self, batch):
            if int(self.step) == 7:
                raise KeyboardInterrupt
            return update(self, batch)

        patched.setattr(train._Trainer, "update", dying)
        with pytest.raises(KeyboardInterrupt):
            train.train(tiny, data, tmp_path / "killed")
    train.train(tiny, data, tmp_path / "killed")
    for name in ("model/model.json", "model/weights.npz", "validation.json", "start.npz"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "through" / name).read_bytes()
    f, x = batches.load_data(data, tiny).validation.transpose(1, 0, 2, 3, 4)
    model = trained.model()
    gain = (metrics.psnr(model(tf.constant(f)), x) - metrics.psnr(f, x)).numpy()
    assert gain.mean() > 1
    reported = json.loads((tmp_path / "through" / "validation.json").read_text())["psnr"]
    assert set(reported) == {"trained", "least_squares"}
    np.testing.assert_allclose(reported["trained"], metrics.psnr(model(tf.constant(f)), x).numpy().mean(), atol=1e-4)
    np.testing.assert_array_equal(
        keras.saving.load_model(tmp_path / "through" / "model.keras")(f[:1]), model(tf.constant(f[:1]))
    )
    with pytest.raises(ValueError, match=r"model: expected one that evolves images, got .* trained for restoration"):
        models.load(tmp_path / "through" / "model")


@pytest.mark.parametrize("portable", [False, True])
def test_a_fresh_process_computes_the_same(portable, tmp_path):
    """With TensorFlow alone where the SavedModel is portable."""
    image = np.random.default_rng(0).random((2, 19, 23, 3)).astype(np.float32)
    np.save(tmp_path / "image.npy", image)
    stages.export(tmp_path / "saved", random_model(), portable=portable, channels=3)
    script = (
        f"{'' if portable else 'import blade_tf'}\n"
        "import numpy as np, sys, tensorflow as tf\n"
        "loaded = tf.saved_model.load('saved').signatures['serving_default']\n"
        "np.save('found.npy', loaded(image=tf.constant(np.load('image.npy')))['output'])\n"
        f"assert ('blade_tf' in sys.modules) is {not portable}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(blade_tf.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), random_model()(image), atol=1e-5)


@pytest.mark.parametrize("name", ["restoration", "restoration_range"])
def test_the_shipped_models_restore_a_photograph(name):
    """In colour too, and any state of it stays finite."""
    truth = skimage.data.astronaut()[100:228, 150:278].astype(np.float32)[np.newaxis] / 255
    sharp = image_lib.gaussian_smooth(truth, 1.0).numpy()
    noisy = sharp + np.random.default_rng(0).normal(0, 5 / 255, sharp.shape).astype(np.float32)
    gain = float(metrics.psnr(stages.restore(noisy, name), truth)[0] - metrics.psnr(noisy, truth)[0])
    assert gain > 2.5
    assert name in blade_tf.pretrained_names("restoration")
    assert name not in blade_tf.pretrained_names()
    np.testing.assert_array_equal(blade_tf.load_pretrained(name)(noisy), stages.restore(noisy, stages.load(name)))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"model: expected one that restores images, got 'ced', trained for evolution"):
        stages.restore(np.zeros([1, 8, 8, 1], np.float32), "ced")
    with pytest.raises(ValueError, match=r"did you mean 'restoration'"):
        stages.load("restoratio")
    with pytest.raises(TypeError, match="image"):
        stages.restore(np.zeros([1, 8, 8, 1], np.int32), random_model())
    with pytest.raises(ValueError, match="image"):
        stages.restore(np.zeros([8, 8, 1], np.float32), random_model())
    with pytest.raises(ValueError, match="channels: expected an integer of at least 1, got 0"):
        stages.export("nowhere", random_model(), channels=0)
