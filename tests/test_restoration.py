import json
import os
import pathlib
import re
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
from blade_tf.apps.noise import estimate_noise
from blade_tf.data import batches, examples, prepare
from blade_tf.restoration import RestorationModel, knot_weights

SELECTION = {"strength_thresholds": np.array([0.05]), "coherence_thresholds": [0.5], "orientations": 4}
RELATIVE = SELECTION | {"strength_thresholds": [1.5]}  # to the noise
KNOTS, NOISE = (0.5, 1.0, 2.0), (0.01, 0.1)


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


@pytest.fixture
def told(tiny):
    """A range of degradations, and a model that is told which."""
    tiny.degradation.blur = (0.0, 1.5)
    tiny.degradation.noise = (0.01, 0.04)
    tiny.model.knots = (0.0, 0.6, 1.5)
    return tiny


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


def told_model(**kwargs):
    model = RestorationModel([RELATIVE] * 2, (3, 3), (5, 3), knots=KNOTS, noise=NOISE, **kwargs)
    rng = np.random.default_rng(0)
    for variable in model.bank.values():
        variable.assign(0.05 * rng.standard_normal(variable.shape))
    return model


def one_bank(model, weights):
    """A model that is told nothing, with a mixture of the knots' banks."""
    found = RestorationModel([RELATIVE] * 2, (3, 3), (5, 3))
    for name, variable in found.bank.items():
        variable.assign(np.tensordot(weights, model.bank[name].numpy(), 1))
    return found


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


@pytest.mark.parametrize("factor", [0.25, 8.0])
def test_scaling_image_and_noise_scales_what_is_restored(factor):
    """Powers of two: without any rounding."""
    model, f = told_model(output="trajectory"), tf.random.stateless_uniform([2, 13, 17, 3], [1, 2])
    blur = tf.constant([0.7, 1.3])
    expected = factor * model([f, tf.stack([blur, [0.02, 0.05]], 1)])
    np.testing.assert_array_equal(model([factor * f, tf.stack([blur, [factor * 0.02, factor * 0.05]], 1)]), expected)


@pytest.mark.parametrize(
    ("blur", "weights"),
    [(0.5, [1, 0, 0]), (1.0, [0, 1, 0]), (2.0, [0, 0, 1]), (1.25, [0, 0.75, 0.25]), (0.1, [1, 0, 0]), (9.0, [0, 0, 1])],
)
def test_the_bank_is_that_of_the_knots_beside_the_blur(blur, weights):
    model, f = told_model(), tf.random.stateless_uniform([1, 13, 17, 1], [1, 2])
    expected = 0.125 * one_bank(model, weights)(f / 0.125)
    np.testing.assert_allclose(model([f, tf.constant([[blur, 0.125]])]), expected, atol=1e-6)


def test_each_image_of_a_batch_has_its_own_degradation():
    model, f = told_model(), tf.random.stateless_uniform([3, 13, 17, 3], [1, 2])
    degradation = tf.constant([[0.6, 0.02], [1.7, 0.1], [1.0, 0.05]])
    alone = [model([f[n : n + 1], degradation[n : n + 1]]) for n in range(3)]
    np.testing.assert_allclose(model([f, degradation]), tf.concat(alone, 0), atol=1e-6)
    np.testing.assert_allclose(model.predict([f, degradation], verbose=0), tf.concat(alone, 0), atol=1e-6)


def test_weights_of_knots_interpolate_linearly():
    at = np.linspace(-0.5, 2.5, 31)
    weights = knot_weights(at, KNOTS).numpy()
    for k, weight in enumerate(weights.T):
        np.testing.assert_allclose(weight, np.interp(at, KNOTS, np.eye(3)[k]), atol=1e-12)
    np.testing.assert_array_equal(knot_weights(at, KNOTS[:1]), np.ones([31, 1]))


def test_a_saved_model_that_is_told_is_the_same(tmp_path):
    model, f = told_model(output="trajectory"), tf.random.stateless_uniform([1, 16, 15, 3], [1, 2])
    degradation = tf.constant([[0.8, 0.03]])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again([f, degradation]), model([f, degradation]))
    spec = model.compute_output_spec([keras.KerasTensor([None, 16, 15, 3]), keras.KerasTensor([None, 2])])
    assert spec.shape == (None, 2, 16, 15, 3)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros([2, 8, 8, 1], np.float32), r"inputs: expected \[image, degradation\], as the model has knots"),
        (
            [np.zeros([2, 8, 8, 1], np.float32), np.ones([2, 3])],
            r"degradation: expected \[N, 2\] = \[2, 2\], got \(2, 3\)",
        ),
        (
            [np.zeros([2, 8, 8, 1], np.float32), np.ones([1, 2])],
            r"degradation: expected \[N, 2\] = \[2, 2\], got \(1, 2\)",
        ),
    ],
)
def test_a_degradation_of_another_form_is_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        told_model()(inputs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([SELECTION], (3, 3), (3, 3), "final", (1.0, 0.5)), r"knots: expected ascending blurs, got \(1.0, 0.5\)"),
        (
            ([SELECTION], (3, 3), (3, 3), "final", (0.5, 1.0)),
            r"noise: expected two levels above 0 with knots, .*, got \(\)",
        ),
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
        ("model.knots", (0.5, 1.0), r"model.knots: expected to ascend from 1 to 1, as the blur, got \(0.5, 1.0\)"),
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


def test_a_model_with_knots_needs_noise(told):
    tasks.of(told).check(told)
    told.degradation.noise = (0.0, 0.04)
    with pytest.raises(ValueError, match=r"degradation.noise: expected more than 0 for a model with knots, got 0"):
        tasks.of(told).check(told)


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
    for blurred, crop, stated in examples.of(tiny).make(image, tiny, rng):
        inside = slice(12, -12)
        attenuation = np.std(blurred[inside, inside], axis=1) / np.std(crop[inside, inside], axis=1)
        sigma = np.sqrt(-2 * np.log(attenuation)) * 16 / (2 * np.pi)
        assert np.ptp(sigma) < 0.01
        assert 1 < stated[0, 0, 0] < 2
        np.testing.assert_allclose(stated, sigma.mean(), atol=0.01)
        sigmas.add(round(float(sigma.mean()), 3))
    assert len(sigmas) == 2


def test_noise_has_the_stated_strength_and_spares_the_truth(tiny):
    tiny.degradation.noise = (0.02, 0.06)
    frames, rng = np.full((3, 200, 200, 1), 0.5, np.float32), np.random.default_rng(0)
    found = [examples.of(tiny).finish(frames, tiny, rng) for _ in range(60)]
    levels = np.array([(noisy[0] - 0.5).std() for noisy in found])
    assert 0.0195 < levels.min() < 0.024
    assert 0.056 < levels.max() < 0.0605
    assert 0.028 < np.median(levels) < 0.033  # a quarter of the range, 0.03
    np.testing.assert_allclose([noisy[3].mean() for noisy in found], levels, rtol=0.02)
    assert all((noisy[1:3] == 0.5).all() and noisy.dtype == np.float32 for noisy in found)
    assert all(np.ptp(noisy[3]) == 0 for noisy in found)


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


def test_the_start_with_knots_is_least_squares_of_what_the_knots_make(told, prepared):
    """One bin, one stage: a regression on the patches times the weights of the knots, in units of the noise."""
    told.data.validation_every = 2
    told.train.ridge = 1e-12
    told.model.stages = 1
    told.model.selection.orientations = 1
    told.model.selection.strength_quantiles = told.model.selection.coherence_quantiles = ()
    data = batches.load_data(prepared(told), told).train
    start = tasks.of(told).start(data, told)
    assert (start.spec["knots"], start.spec["noise"]) == ([0.0, 0.6, 1.5], [0.01, 0.04])
    rng = np.random.default_rng([told.seed, 3])
    seen, wanted = [], []
    for k in range(len(data)):
        f, x, blur, _ = examples.of(told).finish(data[k], told, rng)[..., 0].astype(np.float64)
        padded = np.pad(f, 1, mode="edge")
        near = [padded[r : r + f.shape[0], s : s + f.shape[1]] - f for r in range(3) for s in range(3)]
        weights = [np.interp(blur[0, 0], told.model.knots, unit) for unit in np.eye(3)]
        unit = np.sqrt(np.mean((x - f) ** 2))  # the noise cancels: errors count relative to the example's own
        seen.append(np.stack([w * d.ravel() / unit for w in weights for d in near[:4] + near[5:]], 1))
        wanted.append((x - f).ravel() / unit)
    h = np.linalg.lstsq(np.concatenate(seen), np.concatenate(wanted), rcond=None)[0]
    found = start.arrays["least_squares/state_0"].reshape(3, 9)
    np.testing.assert_allclose(np.delete(found, 4, axis=1).ravel(), h, atol=1e-3 * np.abs(h).max())
    np.testing.assert_allclose(found.sum(1), 0, atol=1e-5)


def test_a_knot_without_examples_is_named(told, prepared):
    data = batches.load_data(prepared(told), told).train
    told.model.knots = (0.0, 0.6, 1.5, 3.0)
    with pytest.raises(ValueError, match=r"model.knots: expected examples of blurs near each knot, got none near 3 px"):
        tasks.of(told).start(data, told)


def test_training_tells_the_model_its_degradation(told, prepared, tmp_path):
    told.model.selection.orientations = 1  # few photographs make few filters
    told.model.selection.strength_quantiles = (0.5,)
    told.model.selection.coherence_quantiles = ()
    trained = train.train(told, prepared(told), tmp_path)
    validation = batches.load_data(prepared(told), told).validation
    f, x = (tf.constant(frame) for frame in validation.transpose(1, 0, 2, 3, 4)[:2])
    blur, sigma = validation[:, 2, 0, 0, 0], validation[:, 3, 0, 0, 0]
    assert np.array_equal(np.clip(blur, 0, 1.5), blur)
    assert np.array_equal(np.clip(sigma, np.float32(0.01), np.float32(0.04)), sigma)
    found = metrics.psnr(trained.model()([f, tf.stack([blur, sigma], 1)]), x).numpy()
    reported = json.loads((tmp_path / "validation.json").read_text())["psnr"]
    assert reported["trained"] >= reported["least_squares"] > metrics.psnr(f, x).numpy().mean() + 0.5
    np.testing.assert_allclose(reported["trained"], found.mean(), atol=1e-4)
    assert {key.partition("/")[0] for key in models.load_trained(tmp_path).weights} == {"trained"}
    np.testing.assert_array_equal(
        stages.restore(f, tmp_path, blur, sigma), trained.model()([f, tf.stack([blur, sigma], 1)])
    )


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
    f, x = batches.load_data(data, tiny).validation.transpose(1, 0, 2, 3, 4)[:2]
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


@pytest.mark.parametrize("portable", [False, True])
def test_a_fresh_process_is_told_the_degradation(portable, tmp_path):
    f = np.random.default_rng(0).random((2, 19, 23, 3)).astype(np.float32)
    blur, sigma = np.float32([0.7, 1.5]), np.float32([0.02, 0.05])
    np.savez(tmp_path / "given.npz", image=f, blur=blur, noise=sigma)
    stages.export(tmp_path / "saved", told_model(), portable=portable, channels=3)
    script = (
        f"{'' if portable else 'import blade_tf'}\n"
        "import numpy as np, sys, tensorflow as tf\n"
        "given = {key: tf.constant(value) for key, value in np.load('given.npz').items()}\n"
        "signatures = tf.saved_model.load('saved').signatures\n"
        "told = signatures['restore'](**given)['output']\n"
        "del given['noise']\n"
        "np.savez('found.npz', told=told, **signatures['serving_default'](**given))\n"
        f"assert ('blade_tf' in sys.modules) is {not portable}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(blade_tf.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_allclose(found["told"], stages.restore(f, told_model(), blur, sigma), atol=1e-5)
    np.testing.assert_array_equal(found["noise"], np.float32([0.1, 0.1]))  # estimated at more, trained for no more
    np.testing.assert_allclose(found["output"], stages.restore(f, told_model(), blur), atol=1e-5)


def test_noise_that_is_not_stated_is_estimated():
    model, f = told_model(), 0.5 + 0.03 * np.random.default_rng(0).standard_normal((2, 40, 50, 1)).astype(np.float32)
    level = estimate_noise(f)
    np.testing.assert_allclose(level, 0.03, rtol=0.1)
    np.testing.assert_array_equal(stages.restore(f, model, 1.0), stages.restore(f, model, 1.0, level))
    np.testing.assert_array_equal(stages.restore(0.01 * f, model, 1.0), stages.restore(0.01 * f, model, 1.0, 0.01))


@pytest.mark.parametrize("sigma", [2, 5, 15])
@pytest.mark.parametrize("blur", [0.0, 0.5, 1.1, 1.6])
def test_the_range_gains_everywhere_in_it(blur, sigma):
    truth = skimage.data.camera()[100:228, 180:308].astype(np.float32)[np.newaxis, :, :, np.newaxis] / 255
    noise = np.random.default_rng(0).normal(0, sigma / 255, truth.shape).astype(np.float32)
    f = image_lib.gaussian_smooth(truth, blur).numpy() + noise
    found = stages.restore(f, "restoration_range", blur, sigma / 255)
    assert float(metrics.psnr(found, truth)[0]) > float(metrics.psnr(f, truth)[0]) + 0.5


@pytest.mark.parametrize(("name", "told"), [("restoration", ()), ("restoration_range", (1.0, 5 / 255))])
def test_the_shipped_models_restore_a_photograph(name, told):
    """In colour too, and any state of it stays finite."""
    truth = skimage.data.astronaut()[100:228, 150:278].astype(np.float32)[np.newaxis] / 255
    sharp = image_lib.gaussian_smooth(truth, 1.0).numpy()
    noisy = sharp + np.random.default_rng(0).normal(0, 5 / 255, sharp.shape).astype(np.float32)
    gain = float(metrics.psnr(stages.restore(noisy, name, *told), truth)[0] - metrics.psnr(noisy, truth)[0])
    assert gain > 2.5
    assert name in blade_tf.pretrained_names("restoration")
    assert name not in blade_tf.pretrained_names()
    inputs = [noisy, tf.constant([told])] if told else noisy
    found = stages.restore(noisy, stages.load(name), *told)
    np.testing.assert_array_equal(blade_tf.load_pretrained(name)(inputs), found)


def test_in_a_graph_it_is_the_same_and_refuses():
    image = np.random.default_rng(0).random((1, 16, 18, 1), np.float32)
    specs = [tf.TensorSpec([None, None, None, 1]), tf.TensorSpec([None]), tf.TensorSpec([None])]
    graph = tf.function(lambda f, blur, noise: stages.restore(f, "restoration_range", blur, noise), specs)
    expected = stages.restore(image, "restoration_range", 0.5, 0.02)
    np.testing.assert_allclose(graph(image, [0.5], [0.02]), expected, atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="noise: expected"):
        graph(image, [0.5], [0.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="blur: expected 0 to"):
        graph(image, [9.0], [0.02])


def test_an_image_with_nan_is_refused():
    image = np.full((1, 8, 8, 1), 0.5, np.float32)
    image[0, 2, 3] = np.nan
    with pytest.raises(ValueError, match="image: expected finite values"):
        stages.restore(image)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"model: expected one that restores images, got 'ced', trained for evolution"):
        stages.restore(np.zeros([1, 8, 8, 1], np.float32), "ced")
    with pytest.raises(ValueError, match=r"did you mean 'restoration'"):
        stages.load("restoratio")
    with pytest.raises(ValueError, match="image: expected float"):
        stages.restore(np.zeros([1, 8, 8, 1], np.int32), random_model())
    with pytest.raises(ValueError, match="image"):
        stages.restore(np.zeros([8, 8, 1], np.float32), random_model())
    with pytest.raises(ValueError, match="channels: expected an integer of at least 1, got 0"):
        stages.export("nowhere", random_model(), channels=0)


@pytest.mark.parametrize(
    ("blur", "noise", "message"),
    [
        (None, 0.02, "blur: expected 0.5 px to 2 px, what the model was trained for, got 0 px"),
        (2.1, 0.02, "blur: expected 0.5 px to 2 px, what the model was trained for, got 2.1 px"),
        (float("nan"), 0.02, "blur: expected 0.5 px to 2 px, what the model was trained for, got nan px"),
        (1.0, 0.0, "noise: expected 2.55/255 to 25.5/255, what the model was trained for, got 0/255"),
        (1.0, [0.02, 0.2], "noise: expected 2.55/255 to 25.5/255, what the model was trained for, got 51/255"),
        ([1.0, 1.0, 1.0], 0.02, "blur: expected a number, or one for each image, [2], got (3,)"),
        (1.0, tf.fill([1, 2], 0.02), "noise: expected a number, or one for each image, [2], got (1, 2)"),
    ],
)
def test_a_degradation_beyond_the_trained_one_is_refused(blur, noise, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        stages.restore(np.zeros([2, 8, 8, 1], np.float32), told_model(), blur, noise)


@pytest.mark.parametrize("given", [{"blur": 1.0}, {"noise": 0.1}])
def test_a_model_of_one_degradation_is_told_none(given):
    ((name, value),) = given.items()
    message = f"{name}: expected none, as the model was trained for one degradation, got {value}"
    with pytest.raises(ValueError, match=re.escape(message)):
        stages.restore(np.zeros([1, 8, 8, 1], np.float32), random_model(), **given)
