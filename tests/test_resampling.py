"""The model of resampling and its training."""

import keras
import numpy as np
import pytest
import scipy.interpolate
import scipy.ndimage
import skimage.data
import tensorflow as tf

import blade_tf
from blade_tf import config as config_lib
from blade_tf import models, tasks, train
from blade_tf.data import prepare, resampling
from blade_tf.resampling import ResampleModel, spline_coefficients

SELECTION = {"strength_thresholds": np.array([0.03]), "coherence_thresholds": [0.5], "orientations": 4, "rho": 1.0}


def photograph(height=40, width=50, channels=1):
    colour = skimage.data.astronaut()[20 : 20 + height, 190 : 190 + width] / np.float32(255)
    return (colour if channels == 3 else colour[..., :1])[np.newaxis].astype(np.float32)


def random_model(seed=0, **arguments):
    model = ResampleModel(SELECTION, **arguments)
    rng = np.random.default_rng(seed)
    for weight in model.bank.values():
        filters = rng.normal(0, 0.1, weight.shape)
        weight.assign(filters - filters.mean((1, 2), keepdims=True))
    return model


def oracle(model, image, displacement):
    """One pixel at a time, from the formula."""
    n, h, w, _ = image.shape
    seen = np.asarray(spline_coefficients(tf.constant(image), model.degree))
    chosen = model.selection(tf.constant(image)).numpy()
    rows, columns = model.footprint
    padded = np.pad(seen, [(0, 0), (rows // 2,) * 2, (columns // 2,) * 2, (0, 0)], mode="edge")
    out = np.zeros(image.shape)
    for b, y, x in np.ndindex(n, h, w):
        at = np.clip(np.array([x, y]) + displacement[b, y, x].astype(np.float64), 0, [w - 1, h - 1])
        near = np.rint(at).astype(int)
        dx, dy = at - near
        value = image[b, near[1], near[0]].astype(np.float64)
        for name, (i, j) in model.powers.items():
            h_k = model.bank[name].numpy()[chosen[b, near[1], near[0]]]
            patch = padded[b, near[1] : near[1] + rows, near[0] : near[0] + columns]
            value = value + dx**i * dy**j * np.einsum("rs,rsc->c", h_k, patch)
        out[b, y, x] = value
    return out


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "arguments",
    [{"order": 1, "degree": 1}, {"order": 3}, {"order": 2, "constant": True, "degree": 3, "footprint": (3, 5)}],
)
def test_the_model_is_its_formula(channels, arguments):
    model, image = random_model(**arguments), photograph(17, 21, channels)
    image = np.concatenate([image, image[:, ::-1]])
    v = np.random.default_rng(1).uniform(-4, 4, (2, 17, 21, 2)).astype(np.float32)
    found = model([tf.constant(image), tf.constant(v)])
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, oracle(model, image, v), atol=2e-5)


def test_banks_are_named_by_their_monomials():
    assert list(ResampleModel(SELECTION, order=1).bank) == ["dx", "dy"]
    third = ["one", "dx", "dy", "dx2", "dxdy", "dy2", "dx3", "dx2dy", "dxdy2", "dy3"]
    assert list(ResampleModel(SELECTION, order=3, constant=True).bank) == third


@pytest.mark.parametrize(("degree", "error"), [(3, 1e-4), (5, 3e-3)])
def test_spline_coefficients_interpolate(degree, error):
    image = photograph(40, 45)
    found = spline_coefficients(tf.constant(image), degree).numpy()
    inside = np.s_[0, 10:-10, 10:-10, 0]
    oracle, back = image[0, ..., 0].astype(np.float64), found[0, ..., 0].astype(np.float64)
    at = np.array([float(k - degree // 2) for k in range(degree // 2 * 2 + 1)])
    samples = scipy.interpolate.BSpline.basis_element(np.arange(degree + 2) - (degree + 1) / 2)(at)
    for axis in range(2):
        oracle = scipy.ndimage.spline_filter1d(oracle, degree, axis, mode="mirror")
        back = scipy.ndimage.correlate1d(back, samples, axis, mode="nearest")
    assert np.abs(back[10:-10, 10:-10] - image[inside]).max() < error
    assert np.abs(found[inside] - oracle[10:-10, 10:-10]).max() < 5 * error
    np.testing.assert_array_equal(spline_coefficients(tf.constant(image), 1), image)
    np.testing.assert_allclose(spline_coefficients(tf.fill([1, 5, 3, 1], 0.7), degree), 0.7, atol=1e-6)


def test_whole_pixels_are_shifts_of_the_index():
    image = photograph()
    found = random_model()([tf.constant(image), tf.constant(np.tile(np.float32([3, -2]), (1, 40, 50, 1)))])
    padded = np.pad(image, [(0, 0), (2, 0), (0, 3), (0, 0)], mode="edge")
    np.testing.assert_array_equal(found, padded[:, :-2, 3:])


def test_positions_outside_are_those_of_the_border():
    model, image = random_model(), tf.constant(photograph(12, 14))
    far = np.zeros((1, 12, 14, 2), np.float32)
    far[..., 0] = 1e8
    np.testing.assert_array_equal(model([image, far]), np.repeat(image[:, :, -1:], 14, axis=2))
    far[..., 0], far[..., 1] = -14.3, -1e6
    np.testing.assert_array_equal(model([image, far]), np.broadcast_to(image[:, :1, :1], image.shape))
    beyond = np.zeros((1, 12, 14, 2), np.float32)
    beyond[0, :, -1, 0] = 0.4
    np.testing.assert_array_equal(model([image, beyond]), image)


def test_unknown_displacements_are_filled():
    model, image = random_model(), tf.constant(photograph(8, 9, 3))
    v = np.zeros((1, 8, 9, 2), np.float32)
    v[0, 2, 3, 0], v[0, 4, 5, 1], v[0, 6, 7] = 1.7e9, np.nan, np.inf
    unknown = np.zeros((8, 9), bool)
    unknown[[2, 4, 6], [3, 5, 7]] = True
    found = model([image, v]).numpy()[0]
    assert np.isnan(found[unknown]).all()
    np.testing.assert_array_equal(found[~unknown], image[0].numpy()[~unknown])
    assert (model.sample(image, v, 0.25).numpy()[0][unknown] == 0.25).all()


def test_precision_does_not_fall_with_the_position():
    """At x = 30000 a float32 position would be rounded to 1/512 of a pixel."""
    ramp = tf.range(30000.0, dtype=tf.float64)[tf.newaxis, tf.newaxis, :, tf.newaxis]
    model = ResampleModel({"orientations": 1, "rho": 0.0}, order=1, degree=1, footprint=(1, 3))
    model.bank["dx"].assign([[[-0.5, 0.0, 0.5]]])
    v = tf.constant(np.tile(np.float32([0.3, 0.0]), (1, 1, 30000, 1)))
    found = model([ramp, v])
    assert found.dtype == tf.float64
    np.testing.assert_allclose(found[0, 0, 1:-1], (ramp + np.float32(0.3))[0, 0, 1:-1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    image = tf.cast(photograph(16, 18), dtype)
    v = np.random.default_rng(2).uniform(-1, 1, (1, 16, 18, 2)).astype(np.float32)
    found = random_model()([image, v])
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, tf.cast(random_model()([tf.cast(image, tf.float32), v]), dtype))


def test_gradients_are_those_of_differences():
    model = random_model(order=3)
    image = tf.constant(photograph(9, 10), tf.float64)
    v = tf.constant(np.random.default_rng(3).uniform(-0.4, 0.4, (1, 9, 10, 2)))
    weights = tf.constant(np.random.default_rng(4).normal(size=(1, 9, 10, 1)))
    with tf.GradientTape() as tape:
        tape.watch(v)
        total = tf.reduce_sum(weights * model([image, v]))
    slope = tape.gradient(total, v).numpy()
    inside = np.s_[0, 1:-1, 1:-1]  # at the borders positions are clamped
    step = 1e-5
    for k in range(2):
        ends = [v + sign * step * tf.one_hot([k], 2, dtype=tf.float64) for sign in (1, -1)]
        high, low = (model([image, end]).numpy() for end in ends)
        difference = (weights.numpy() * (high - low))[..., 0] / (2 * step)
        np.testing.assert_allclose(slope[..., k][inside], difference[inside], rtol=0, atol=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(v)
        total = tf.reduce_sum(model([image, 0 * v]))
    assert np.isfinite(tape.gradient(total, v)).all()


def test_models_are_saved(tmp_path):
    model, image = random_model(constant=True), photograph(12, 13)
    v = np.full((1, 12, 13, 2), 0.3, np.float32)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded([image, v]), model([image, v]))


def test_keras_predicts_and_composes():
    """As any model of two inputs: `predict`, and in a functional model of symbolic tensors."""
    model, image = random_model(), photograph(12, 13, 3)
    v = np.full((1, 12, 13, 2), 0.3, np.float32)
    np.testing.assert_allclose(model.predict([image, v], verbose=0), model([image, v]), atol=1e-6)
    inputs = [keras.Input((None, None, 3)), keras.Input((None, None, 2))]
    composed = keras.Model(inputs, 2 * model(inputs))
    np.testing.assert_allclose(composed([image, v]), 2 * model([image, v]), atol=1e-6)


def test_it_works_in_graphs_of_unknown_size():
    model = random_model()
    specs = [tf.TensorSpec(None, tf.float32), tf.TensorSpec([None, None, None, None], tf.float32)]
    graph = tf.function(model.sample, input_signature=specs)
    for shape in ((2, 11, 13, 1), (1, 3, 2, 3), (0, 4, 4, 1)):
        image = np.random.default_rng(5).random(shape, np.float32)
        v = np.random.default_rng(6).uniform(-2, 2, (*shape[:3], 2)).astype(np.float32)
        np.testing.assert_allclose(graph(image, v), model([image, v]), atol=1e-6)


def test_graphs_of_unknown_shape_refuse_other_displacements():
    image, model = np.zeros((1, 4, 5, 1), np.float32), random_model()
    message = r"displacement: expected float32 \[N, H, W, 2\] of the sizes of the image"
    sizes = (1, 4, 6, 2), (1, 4, 5, 1), (1, 4, 5, 3), (1, 4, 5, 0), (1, 1, 1, 2)
    for spec, shapes in (([None] * 4, sizes), (None, (*sizes, (), (2,), (4, 5, 2), (1, 4, 5, 2, 1), (1, 1, 4, 5, 2)))):
        graph = tf.function(model.sample, input_signature=[tf.TensorSpec(None), tf.TensorSpec(spec)])
        assert graph(image, np.zeros((1, 4, 5, 2), np.float32)).shape == image.shape
        for shape in shapes:
            with pytest.raises(tf.errors.InvalidArgumentError, match=message):
                graph(image, np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 0}, "order: expected an integer of at least 1, got 0"),
        ({"degree": 2}, r"degree: expected one of \[1, 3, 5\], got 2"),
        ({"footprint": (4, 5)}, r"footprint: expected two odd sizes, got \(4, 5\)"),
        ({"footprint": 5}, "footprint: expected two odd sizes, got 5"),
        ({"selection": SELECTION | {"center": "face_x"}}, "selection: expected one at pixels .*, got center='face_x'"),
        (
            {"selection": {"soft": "strength", "centers": [0.01, 0.03], "orientations": 4}},
            "selection: expected one .* without a soft feature, got .*soft='strength'",
        ),
    ],
)
def test_wrong_models_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResampleModel(**{"selection": SELECTION} | arguments)


def test_wrong_inputs_are_refused():
    model, image = random_model(), photograph(8, 9)
    with pytest.raises(ValueError, match=r"inputs: expected \[image, displacement\], got EagerTensor"):
        model(tf.constant(image))
    with pytest.raises(ValueError, match=r"displacement: expected float32 \[N, H, W, 2\] = .*, got \[1, 8, 9, 3\]"):
        model([image, np.zeros((1, 8, 9, 3), np.float32)])
    with pytest.raises(ValueError, match=r"displacement: expected float32 \[N, H, W, 2\] = \[1, 8, 9, 2\]"):
        model([image, np.zeros((1, 9, 8, 2), np.float32)])
    with pytest.raises(TypeError, match=r"displacement: expected float32 or float64 \[N, H, W, 2\], got int32"):
        model.sample(image, np.zeros((1, 8, 9, 2), np.int32))
    with pytest.raises(TypeError, match="image: expected float16"):
        model.sample(np.zeros((1, 8, 9, 1), np.uint8), np.zeros((1, 8, 9, 2), np.float32))


def wave(x, y):
    """Smooth enough for the grid of an example to hold it."""
    return 0.5 + 0.2 * np.sin(0.13 * x + 0.05 * y) + 0.2 * np.cos(0.04 * x - 0.11 * y)


def test_translations_are_those_of_the_photograph():
    y, x = np.mgrid[:64, :96].astype(np.float64)
    found = resampling.translated(wave(x, y)[..., np.newaxis], [-0.5, 0.0, 0.3], [0.0, 0.45])
    assert found.shape == (6, 16, 24, 1)
    rows, columns = np.mgrid[:16, :24]
    frames = iter(found[..., 0])
    for dy in (0.0, 0.45):
        for dx in (-0.5, 0.0, 0.3):
            u, v = 4 * (columns + dx) + 1.5, 4 * (rows + dy) + 1.5
            # A wave of frequency f loses exp(-2 f^2) to a Gaussian of 2 pixels.
            losses = [np.exp(-2 * (a * a + b * b)) for a, b in ((0.13, 0.05), (0.04, 0.11))]
            expected = 0.5 + 0.2 * losses[0] * np.sin(0.13 * u + 0.05 * v)
            expected += 0.2 * losses[1] * np.cos(0.04 * u - 0.11 * v)
            np.testing.assert_allclose(next(frames)[3:-3, 3:-3], expected[3:-3, 3:-3], atol=1e-4)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_shifts_turn_with_the_pixels(quarters, mirrored):
    points, _ = resampling.shifts(3)
    image = np.random.default_rng(7).random((32, 32, 1))
    turned = np.rot90(image, quarters)
    turned = turned[:, ::-1] if mirrored else turned
    found = resampling.turned(resampling.translated(image, points, points), quarters, mirrored)
    np.testing.assert_allclose(found, resampling.translated(turned, points, points), atol=1e-12)


def test_hops_add_up():
    config = config_lib.resampling()
    config.camera.noise = (0.1, 0.1)
    points, weights = resampling.shifts(5)
    np.testing.assert_allclose([weights.sum(), points @ weights, points**2 @ weights], [1, 0, 1 / 12], atol=1e-15)
    frames = np.zeros((25, 40, 40, 1), np.float32)
    frames[..., 0] = (points[:, np.newaxis] + 10 * points).reshape(25, 1, 1)  # 10 dx + dy
    found = resampling.hops(frames, config, np.random.default_rng(8))
    assert found.shape == (3, 40, 40, 3)
    assert 0.08 < found[0, ..., 0].std() < 0.12
    place = np.zeros(2)
    for k in (1, 2):
        place = place + found[k, 0, 0, 1:]
        np.testing.assert_allclose(found[k, ..., 0], 10 * place[0] + place[1], atol=1e-5)


@pytest.fixture
def tiny():
    config = config_lib.resampling()
    config.data.crop, config.data.crops_per_image, config.data.min_side = 160, 2, 160
    config.model.selection.orientations = 4
    config.model.selection.coherence_quantiles = (0.5,)
    config.train.crop, config.train.batch, config.train.steps = 32, 2, 4
    config.train.warmup_steps = config.train.validate_every = 2
    return config


def test_training_through(tiny, photographs, tmp_path):
    prepare.prepare(tiny, photographs, tmp_path / "data", workers=1, log=lambda _: None)
    trained = train.train(tiny, tmp_path / "data", tmp_path / "run")
    loaded = models.load_trained(tmp_path / "run")
    assert loaded.task == "resampling"
    assert list(loaded.bank()) == list(ResampleModel(SELECTION).bank)
    for weights in loaded.weights.values():
        np.testing.assert_allclose(weights.sum((1, 2)), 0, atol=1e-5)
    model = trained.model("least_squares")
    fine = image = skimage.data.camera()[:256, :256, np.newaxis] / np.float32(255)
    image, truth = resampling.translated(fine, [0.0, 0.5], [0.0])[:, np.newaxis]
    v = np.tile(np.float32([0.5, 0]), (1, 64, 64, 1))
    inside = np.s_[0, 6:-6, 6:-6]

    def error(found):
        return np.sqrt(np.mean(np.square(found - truth)[inside]))

    halfway = (image + np.roll(image, -1, axis=2)) / 2
    assert error(model([image, v]).numpy()) < 0.6 * error(halfway)
    restored = keras.saving.load_model(tmp_path / "run" / "model.keras")
    np.testing.assert_array_equal(restored([image, v]), trained.model()([image, v]))
    with pytest.raises(ValueError, match=r"expected one that evolves images, got .* trained for resampling"):
        blade_tf.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("camera.noise", (0.2, 0.1), r"camera.noise: expected \(lowest, highest\), not negative, got \(0.2, 0.1\)"),
        ("camera.shifts", 4, "camera.shifts: expected an odd number, 0 being among them, got 4"),
        ("camera.shifts", 3, "camera.shifts: expected more than model.order = 3, got 3"),
        ("camera.blur", 0.0, "camera.blur: expected a positive number, got 0.0"),
        ("data.crop", 30, "data.crop: expected a multiple of camera.scale = 4, got 30"),
        ("model.degree", 4, "degree: expected one of"),
        ("model.order", 0, "order: expected an integer of at least 1"),
        ("model.selection.soft", "strength", "model.selection.soft: expected none for resampling, got 'strength'"),
        ("train.crop", 16, "train.crop: expected more than 16, got 16"),
    ],
)
def test_configs_that_make_no_sense_are_refused(key, value, message, tiny):
    tiny.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=message):
        tasks.of(tiny).check(tiny)
