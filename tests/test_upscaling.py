"""The model of upscaling and its training."""

import json

import keras
import numpy as np
import pytest
import skimage.data
import tensorflow as tf

import blade_tf
from blade_tf import config as config_lib
from blade_tf import metrics, models, tasks, train
from blade_tf.data import batches, examples, prepare
from blade_tf.interpolation import interpolate
from blade_tf.sampling import gaussian
from blade_tf.upscaling import UpscaleModel

SELECTION = {"strength_thresholds": np.array([0.05]), "coherence_thresholds": [0.5], "orientations": 4}


@pytest.fixture
def tiny():
    c = config_lib.upscaling()
    c.data.crop = 96
    c.data.min_side = 128
    c.data.crops_per_image = 2
    c.data.validation_every = 4
    c.model.footprint = (3, 3)
    c.model.selection.orientations = 4
    c.train.steps = 12
    c.train.batch = 2
    c.train.crop = 48
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
            folders[key] = tmp_path_factory.mktemp("upscaling")
            prepare.prepare(config, photographs, folders[key], 1, lambda _: None)
        return folders[key]

    return made


def random_model(factor=2, position=None, stages=2, **kwargs):
    position = (factor - 1) / 2 if position is None else position
    model = UpscaleModel(factor, 0.4 * factor, position, [SELECTION] * stages, (3, 5), **kwargs)
    rng = np.random.default_rng(0)
    for variable in model.bank.values():
        variable.assign(0.02 * rng.standard_normal(variable.shape))
    return model


def constants_kept(model):
    for variable in model.bank.values():
        variable.assign_sub(tf.reduce_mean(variable, [1, 2], keepdims=True))
    return model


@pytest.mark.parametrize(("factor", "position"), [(2, None), (3, 0.0)])
def test_stages_are_those_of_the_formula(factor, position):
    """With filters gathered at each pixel by its bin and its phase, and A^+ of the matrix of A."""
    model = random_model(factor, position)
    f = tf.random.stateless_uniform([2, 6, 7, 1], [1, 2], dtype=tf.float64)
    height, width = 6 * factor, 7 * factor
    operator = model.sampling.operator()
    units = np.eye(height * width).reshape(-1, height, width, 1)
    matrix = operator(tf.constant(units)).numpy().reshape(height * width, -1).T
    u = interpolate(f, factor, model.sampling.position)
    np.testing.assert_array_equal(model.start(f), u)
    for k in range(2):
        bins = blade_tf.Selection(**SELECTION)(u).numpy()
        padded = np.pad(u.numpy()[..., 0], [(0, 0), (1, 1), (2, 2)], mode="edge")
        v = u.numpy().copy()
        filters = model.bank[f"stage_{k}"].numpy().astype(np.float64)
        filters = filters.reshape(-1, factor, factor, 3, 5)
        for n, y, x in np.ndindex(2, height, width):
            v[n, y, x, 0] += np.sum(filters[bins[n, y, x], y % factor, x % factor] * padded[n, y : y + 3, x : x + 5])
        flat = v.reshape(2, -1)
        flat = flat + (f.numpy().reshape(2, -1) - flat @ matrix.T) @ np.linalg.pinv(matrix).T
        u = model.stage(k, u, f)
        np.testing.assert_allclose(u.numpy().reshape(2, -1), flat, atol=1e-6)


@pytest.mark.parametrize(("factor", "position"), [(2, None), (2, 0.0), (3, None)])
def test_the_result_explains_the_image(factor, position):
    """Where A does not see beyond the border; and the borders' reflection changes nothing of a constant."""
    model = constants_kept(random_model(factor, position))
    f = skimage.data.camera()[150:182, 180:220].astype(np.float32)[np.newaxis, ..., np.newaxis] / 255
    seen = model.sampling.operator("replicate")(model(f))
    np.testing.assert_allclose(seen[:, 3:-3, 3:-3], f[:, 3:-3, 3:-3], atol=1e-5)
    np.testing.assert_allclose(model(np.full_like(f, 0.4)), 0.4, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 30)])
def test_small_images(height, width):
    found = random_model(3)(tf.random.stateless_uniform([2, height, width, 3], [1, 2]))
    assert found.shape == (2, 3 * height, 3 * width, 3)
    assert np.isfinite(found).all()


def test_a_saved_model_is_the_same(tmp_path):
    model, f = random_model(), tf.random.stateless_uniform([1, 16, 15, 3], [1, 2])
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(f), model(f))
    assert model(keras.Input([None, 15, 3])).shape == (None, None, 30, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 0.8, 0.5, []), "selections: expected at least one stage, got none"),
        ((1, 0.8, 0.5, [SELECTION]), "factor: expected an integer of at least 2, got 1"),
        ((2, 0.0, 0.5, [SELECTION]), "sigma: expected a positive number, got 0"),
        ((2, 1.6, 0.5, [SELECTION]), "sigma: expected a condition of at least 0.0001, got .* of sigma 1.6: too wide"),
        ((2, 1e5, 0.5, [SELECTION]), "sigma: expected at most 83.3 high-resolution pixels, got 100000"),
        ((2, 0.8, 1.5, [SELECTION]), r"position: expected a number in \[0, 1\], got 1.5"),
        ((2, 0.8, 0.5, [SELECTION], (3, 4)), "footprint: expected two odd sizes"),
    ],
)
def test_a_model_without_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        UpscaleModel(*arguments)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (np.zeros((8, 8, 1), np.float32), r"^image: expected float \[N, H, W, C\], got float32 \[8, 8, 1\]"),
        (np.zeros((1, 8, 8, 1), np.uint8), "image: expected float .* uint8"),
        (np.zeros((1, 0, 8, 1), np.float32), "image: expected at least one pixel"),
        (np.full((1, 8, 8, 1), np.nan, np.float32), "image: expected finite values"),
    ],
)
def test_bad_images_are_refused(f, message):
    with pytest.raises(ValueError, match=message):
        random_model()(f)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sampling.factor", 1, "sampling: factor: expected an integer of at least 2, got 1"),
        ("sampling.blur", 0.0, "sampling: sigma: expected a positive number, got 0"),
        ("sampling.blur", 0.8, "sampling.blur: expected one that can be undone, below about 0.74 pixels, got 0.8"),
        ("sampling.position", 1.5, r"sampling: position: expected a number in \[0, 1\], got 1.5"),
        ("sampling.factor", 5, "data.crop: expected a multiple of sampling.factor = 5, got 96"),
        ("train.crop", 31, "train.crop: expected a multiple of sampling.factor = 2, got 31"),
        ("train.crop", 16, "train.crop: expected more than 16, got 16"),
        ("model.stages", 0, "model.stages: expected at least 1, got 0"),
        ("model.selection.soft", "strength", "model.selection.soft: expected none for upscaling, got 'strength'"),
        ("train.batch", 0, "train.batch: expected a positive number, got 0"),
    ],
)
def test_a_config_without_sense_is_refused(key, value, message, tiny):
    tiny.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=message):
        tasks.of(tiny).check(tiny)


def test_examples_are_the_image_and_what_is_left_of_it(tiny):
    tiny.sampling.factor, tiny.sampling.position = 3, 0.0
    image = skimage.data.astronaut()[:200, :240].astype(np.float32) / 255
    kind, rng = examples.of(tiny), np.random.default_rng(0)
    crops = kind.make(image, tiny, rng)
    assert [crop.shape for crop in crops] == [(1, 96, 96, 1)] * 2
    blocks, truth = kind.finish(crops[0], tiny, rng)
    np.testing.assert_array_equal(truth, crops[0][0])
    f = gaussian(3, 1.2, 0.0).operator("replicate")(crops[0])[0].numpy()
    np.testing.assert_array_equal(blocks, f.repeat(3, axis=0).repeat(3, axis=1))


def test_the_start_is_least_squares(tiny, prepared):
    """One bin: for each phase an ordinary regression, which numpy solves."""
    tiny.train.ridge = 1e-12
    tiny.model.selection.orientations = 1
    tiny.model.selection.strength_quantiles = tiny.model.selection.coherence_quantiles = ()
    tiny.model.stages = 1
    data = batches.load_data(prepared(tiny), tiny).train
    start = tasks.of(tiny).start(data, tiny)
    sampling = gaussian(2, 0.8)
    seen, wanted = [], []
    for k in range(len(data)):
        for quarters in range(4):
            for step in (1, -1):
                x = np.rot90(data[k], quarters, (1, 2))[:, :, ::step]
                f = np.pad(sampling.operator("replicate")(x), [(0, 0), (8, 8), (8, 8), (0, 0)], mode="symmetric")
                u = interpolate(f, 2, sampling.position)[0, 16:-16, 16:-16, 0].numpy().astype(np.float64)
                rows, columns = slice(8, -8, 2), slice(9, -8, 2)  # phase (0, 1)
                around = [np.roll(u, (-r, -s), (0, 1)) - u for r in (-1, 0, 1) for s in (-1, 0, 1) if r or s]
                seen.append(np.stack([part[rows, columns].ravel() for part in around], axis=1))
                wanted.append((x[0, ..., 0] - u)[rows, columns].ravel())
    h = np.linalg.lstsq(np.concatenate(seen), np.concatenate(wanted), rcond=None)[0]
    found = start.arrays["least_squares/stage_0"]
    assert found.shape == (4, 3, 3)
    np.testing.assert_allclose(np.delete(found[1].ravel(), 4), h, atol=1e-3)
    np.testing.assert_allclose(found.sum((1, 2)), 0, atol=1e-5)


def test_a_killed_run_ends_as_one_that_is_not_and_upscales(tiny, prepared, tmp_path, monkeypatch):
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
    blocks, x = batches.load_data(data, tiny).validation.transpose(1, 0, 2, 3, 4)
    f, model, inside = tf.constant(blocks[:, ::2, ::2]), trained.model(), slice(8, -8)
    psnr = [
        metrics.psnr(u[:, inside, inside], x[:, inside, inside]).numpy().mean()
        for u in (interpolate(f, 2, model.sampling.position).numpy(), model(f).numpy())
    ]
    assert psnr[1] > psnr[0] + 0.5
    reported = json.loads((tmp_path / "through" / "validation.json").read_text())["psnr"]
    assert set(reported) == {"trained", "least_squares"}
    np.testing.assert_allclose(reported["trained"], psnr[1], atol=1e-4)
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "through" / "model.keras")(f[:1]), model(f[:1]))
    with pytest.raises(ValueError, match=r"model: expected one that evolves images, got .* trained for upscaling"):
        models.load(tmp_path / "through" / "model")
