import itertools
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
import skimage.segmentation
import tensorflow as tf

import blade_tf
from blade_tf import image_io, models, report
from blade_tf.apps import segment as app
from blade_tf.compare.segment import agreement

ALL = app.Settings(tolerance=0.0)
SHORT = app.Settings(iterations=60, tolerance=0.0)
SHARED = pathlib.Path(__file__).parents[2] / "shared" / "data" / "segmentation"


@pytest.fixture(scope="module", params=[None, "tv_flow_paper"])
def model(request):
    return models.load(request.param) if request.param else None


@pytest.fixture(scope="module")
def paper():
    return models.load("tv_flow_paper")


def disc(noise=0.0, size=(60, 72), values=(0.3, 0.7)):
    """A disc of radius 18 [1, H, W, 1], and where it is."""
    y, x = np.mgrid[: size[0], : size[1]]
    inside = (x - 36) ** 2 + (y - 29) ** 2 < 18**2
    image = np.where(inside, values[1], values[0]) + np.random.default_rng(0).normal(0, 1, inside.shape) * noise
    return image[np.newaxis, ..., np.newaxis].astype(np.float32), inside


def coins():
    return skimage.data.coins()[40:140, 20:150, np.newaxis].astype(np.float32)[np.newaxis] / 255


def oriented(found, inside):
    """The mask and the means with the phase first that holds most of what is inside."""
    mask, means = found.mask[0, ..., 0].numpy(), found.means[0].numpy()
    return (mask, means) if np.mean(mask[inside]) > 0.5 else (~mask, means[::-1])


def test_two_values_are_told_apart_exactly(model):
    image, inside = disc(values=(0.0, 1.0))
    mask, means = oriented(app.segment(image, model=model, settings=app.Settings(mu=0.002)), inside)
    np.testing.assert_array_equal(mask, inside)
    np.testing.assert_allclose(means, [[1], [0]], atol=1e-6)


def test_a_noisy_disc(model):
    image, inside = disc(noise=0.1)
    mask, means = oriented(app.segment(image, model=model), inside)
    assert np.sum(mask & inside) / np.sum(mask | inside) > 0.98
    np.testing.assert_allclose(means, [[0.7], [0.3]], atol=0.01)
    np.testing.assert_allclose(means, [[np.mean(image[0, ..., 0][m])] for m in (mask, ~mask)], atol=1e-6)


def test_small_steps_never_raise_the_energy(model):
    found = app.segment(disc(noise=0.1)[0], model=model, settings=app.Settings(dt=0.1, tolerance=0.0))
    energies = found.energies[0].numpy()
    assert len(energies) == 301
    assert np.all(np.diff(energies) <= 1e-6 * energies[0])
    assert energies[-1] < 0.8 * energies[0]


def test_the_reference_solver_is_scikit_images():
    image, _ = disc(noise=0.1)
    f = image[0, ..., 0].astype(np.float64)
    f = (f - f.min()) / np.ptp(f)
    found = app.segment(
        tf.constant(f[np.newaxis, ..., np.newaxis]), settings=app.Settings(iterations=30, tolerance=0.0)
    )
    mask, level_set, _ = skimage.segmentation.chan_vese(f, mu=0.2, tol=0, max_num_iter=30, extended_output=True)
    np.testing.assert_allclose(found.level_set[0, ..., 0], level_set, atol=1e-8)
    np.testing.assert_array_equal(found.mask[0, ..., 0], mask)


def test_the_energies_are_scikit_images():
    """Whose delta is pi times the derivative of its Heaviside function."""
    f = coins()[0, ..., 0].astype(np.float64)
    f = (f - f.min()) / np.ptp(f)
    found = app.segment(tf.constant(f[np.newaxis, ..., np.newaxis]), settings=app.Settings(iterations=1, tolerance=0.0))
    start = app.checkerboard(*f.shape, tf.float64)[0, ..., 0].numpy()
    y, x = np.gradient(np.pad(start, 1, mode="edge"))
    length = np.sum(np.hypot(y, x)[1:-1, 1:-1] / (1 + start**2))
    *_, (energy, *_) = skimage.segmentation.chan_vese(f, mu=0.2, tol=0, max_num_iter=1, extended_output=True)
    np.testing.assert_allclose(found.energies[0, 0], energy - 0.2 * length * (1 - 1 / np.pi), rtol=1e-6)


def test_it_stops_when_the_level_set_rests():
    image, _ = disc(noise=0.1)
    found = app.segment(image, settings=app.Settings(tolerance=2e-3))
    iterations = int(found.iterations[0])
    assert 1 < iterations < 300
    assert found.energies.shape == (1, iterations + 1)
    states = [
        app.segment(image, settings=app.Settings(iterations=iterations - back, tolerance=0.0)).level_set.numpy()
        for back in range(3)
    ]
    changes = [np.sqrt(np.mean((a - b) ** 2)) for a, b in itertools.pairwise(states)]
    assert changes[0] <= 2e-3 < changes[1]
    np.testing.assert_allclose(found.level_set, states[0], atol=1e-5)


def test_each_image_of_a_batch_stops_by_itself(model):
    images = np.concatenate([disc(noise=0.1)[0], disc(values=(0.1, 0.9))[0]])
    settings = app.Settings(tolerance=1e-2)
    together = app.segment(images, model=model, settings=settings)
    assert len(set(together.iterations.numpy())) == 2
    for k in range(2):
        alone = app.segment(images[k : k + 1], model=model, settings=settings)
        assert abs(alone.iterations[0] - together.iterations[k]) <= 1
        assert np.mean(alone.mask[0] != together.mask[k]) < 1e-3
        np.testing.assert_allclose(alone.means[0], together.means[k], atol=1e-3)
        last = together.energies[k, int(together.iterations[k]) :].numpy()
        np.testing.assert_allclose(last, last[0], rtol=1e-5)


def test_no_image_and_no_iteration():
    assert app.segment(np.zeros([0, 8, 8, 1], np.float32)).mask.shape == (0, 8, 8, 1)
    image, inside = disc()
    found = app.segment(image, inside[np.newaxis, ..., np.newaxis], settings=app.Settings(iterations=0))
    np.testing.assert_array_equal(found.mask[0, ..., 0], inside)
    np.testing.assert_allclose(found.means[0], [[0.7], [0.3]], atol=1e-6)
    assert found.iterations[0] == 0


def test_intensities_may_be_shifted_and_colours_reversed(model):
    image, inside = disc(noise=0.05)
    shifted = image, image + 0.25, 1 - image
    masks = [oriented(app.segment(f, model=model, settings=SHORT), inside)[0] for f in shifted]
    for mask in masks[1:]:
        assert agreement(mask, masks[0]) > 0.995


def test_an_image_may_be_turned(model):
    """Exactly in the reference solver; a bank's filters are not quite those of the turned image."""
    image, inside = disc(noise=0.1)
    start = np.random.default_rng(1).random(image.shape) < 0.5
    image, start, inside = image[:, :, 6:66], start[:, :, 6:66], inside[:, 6:66]
    straight = oriented(app.segment(image, start, model=model, settings=SHORT), inside)[0]
    turned = app.segment(np.rot90(image, axes=(1, 2)), np.rot90(start, axes=(1, 2)), model=model, settings=SHORT)
    turned = oriented(turned, np.rot90(inside))[0]
    assert agreement(np.rot90(turned, -1), straight) >= (0.998 if model is None else 0.98)


def test_gray_in_colour_is_gray(model):
    image, _ = disc(noise=0.1)
    colour = app.segment(np.repeat(image, 3, axis=-1), model=model, settings=SHORT)
    gray = app.segment(image, model=model, settings=SHORT)
    assert agreement(colour.mask[0, ..., 0].numpy(), gray.mask[0, ..., 0].numpy()) > 0.995
    np.testing.assert_allclose(colour.energies[0, :20], gray.energies[0, :20], rtol=1e-4)
    assert colour.means.shape == (1, 2, 3)
    np.testing.assert_allclose(colour.means[0], np.repeat(gray.means[0], 3, axis=-1), atol=1e-3)


def test_colours_of_the_same_luma_are_told_apart(model):
    """Chan-Vese-Sandberg (eq 4.11) sees what no single channel's threshold and no luma would."""
    _, inside = disc()
    one, other = np.array([0.8, 0.3, 0.2]), np.array([0.2, 0.3 + 0.6 * 0.299 / 0.587, 0.2])
    assert image_io.luma((one - other)[np.newaxis])[0, 0] == pytest.approx(0, abs=1e-9)
    image = np.where(inside[..., np.newaxis], one, other)[np.newaxis].astype(np.float32)
    mask, means = oriented(app.segment(image, model=model, settings=app.Settings(mu=0.01)), inside)
    assert agreement(mask, inside) > 0.98
    np.testing.assert_allclose(means, [one, other], atol=0.02)


def test_a_constant_image_has_one_mean(model):
    found = app.segment(np.full([1, 20, 25, 1], 0.4, np.float32), model=model)
    np.testing.assert_allclose(found.means, 0.4, atol=1e-6)
    assert np.all(np.isfinite(found.level_set))
    assert found.energies[0, -1] < found.energies[0, 0]


def test_a_phase_that_vanishes_leaves_the_other_alone():
    image, inside = disc(values=(0.49, 0.51))
    found = app.segment(image, inside[np.newaxis, ..., np.newaxis], settings=app.Settings(nu=1.0))
    assert not found.mask.numpy().any()
    np.testing.assert_allclose(found.means[0], np.full([2, 1], image.mean()), atol=1e-5)


def test_the_weights_of_the_energy():
    """An area that costs shrinks."""
    image, inside = disc(noise=0.1)
    start = inside[np.newaxis, ..., np.newaxis]
    areas = [
        np.mean(app.segment(image, start, settings=app.Settings(**weights)).mask)
        for weights in ({}, {"nu": 0.1}, {"nu": -0.1, "lambda1": 2.0})
    ]
    assert areas[1] < areas[0] < areas[2]


@pytest.mark.parametrize(
    ("image", "start", "message"),
    [
        (np.zeros([1, 8, 8, 1], np.uint8), None, "image: expected float32 or float64 .*, got uint8"),
        (np.zeros([8, 8, 1], np.float32), None, r"image: expected float32 or float64 \[N, H, W, C\], got float32"),
        (np.full([1, 8, 8, 1], np.nan, np.float32), None, "image: expected finite values"),
        (np.zeros([1, 8, 8, 0], np.float32), None, r"image: expected at least one pixel and channel, .* 8, 0\]"),
        (np.zeros([1, 1, 8, 1], np.float32), None, "start: expected pixels inside and outside in each image"),
        (np.zeros([1, 8, 8, 1], np.float32), np.zeros([1, 8, 8, 1], bool), "start: expected pixels inside and outside"),
        (np.zeros([1, 8, 8, 1], np.float32), np.ones([1, 8, 8, 1], bool), "start: expected pixels inside and outside"),
        (np.zeros([1, 8, 8, 1], np.float32), np.ones([1, 8, 9, 1], bool), r"start: .* got bool \(1, 8, 9, 1\)"),
        (np.zeros([2, 8, 8, 1], np.float32), np.ones([3, 8, 8, 1], bool), r"start: .* got bool \(3, 8, 8, 1\)"),
        (np.zeros([1, 8, 8, 1], np.float32), np.ones([1, 8, 8, 1]), "start: expected bool or float32 .*, got float64"),
        (np.zeros([1, 8, 8, 1], np.float32), np.full([1, 8, 8, 1], np.inf, np.float32), "start: expected finite"),
    ],
)
def test_what_cannot_be_segmented(image, start, message):
    with pytest.raises(ValueError, match=message):
        app.segment(image, start)


def test_a_model_may_be_named(paper, tmp_path):
    image, settings = disc(noise=0.1)[0], app.Settings(iterations=5, tolerance=0.0)
    expected = app.segment(image, model=paper, settings=settings).level_set
    models.load_trained("tv_flow_paper").save(tmp_path / "own")
    paper.save(tmp_path / "own.keras")
    for model in ("tv_flow_paper", tmp_path / "own", tmp_path / "own.keras"):
        np.testing.assert_array_equal(app.segment(image, model=model, settings=settings).level_set, expected)
    for model in ("tv_flow_stable", tmp_path / "own.keras"):
        assert app.load(model) is app.load(model)
    app.export(tmp_path / "saved", model="tv_flow_paper", settings=settings)
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    mask = serve(image=tf.constant(image))["mask"][0, ..., 0].numpy()
    assert agreement(mask, expected[0, ..., 0].numpy() > 0) > 0.99


def test_a_model_is_one_of_tv_flow(tmp_path):
    for name in ("ced", "perona_malik_paper", "cahn_hilliard"):
        message = f"model: expected one of TV flow, got '{name}', of {name.removesuffix('_paper')}"
        with pytest.raises(ValueError, match=message):
            app.segment(disc()[0], model=name)
        with pytest.raises(ValueError, match=message):
            app.export(tmp_path / "saved", model=name)
    for model, message in (
        ("tv_flo", "model: unknown name .* did you mean 'tv_flow'"),
        ("resample", "model: expected one that evolves images, got 'resample', trained for resampling"),
        (3, "model: expected a name, a folder or an EvolutionModel, got int"),
    ):
        with pytest.raises(ValueError, match=message):
            app.segment(disc()[0], model=model)


def test_settings_are_settings():
    with pytest.raises(ValueError, match="settings: expected Settings, got dict"):
        app.segment(disc()[0], settings={})


def test_a_model_takes_a_border_of_small_weight(paper, tmp_path):
    """Beyond 0.1 BLADE's regions of coins are others than the reference solver's."""
    image = coins()
    message = r"mu: expected at most 0.1 with a model, got 0.11; the reference solver \(no model\) .* at 0.55"
    for refused in (
        lambda: app.segment(image, model=paper, settings=app.Settings(mu=0.11)),
        lambda: tf.function(lambda f: app.segment(f, model=paper, settings=app.Settings(mu=0.11)))(image),
        lambda: app.export(tmp_path / "saved", model=paper, settings=app.Settings(mu=0.11)),
    ):
        with pytest.raises(ValueError, match=message):
            refused()
    assert not (tmp_path / "saved").exists()
    assert app.segment(image, settings=app.Settings(mu=0.55, iterations=1)).iterations[0] == 1
    assert app.segment(image, model=paper, settings=app.Settings(mu=0.1, iterations=1)).iterations[0] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mu": 0.0}, "mu: expected a positive number, got 0.0"),
        ({"lambda1": -1.0}, "lambda1: expected a positive number, got -1.0"),
        ({"lambda2": np.nan}, "lambda2: expected a positive number, got nan"),
        ({"nu": np.inf}, "nu: expected a finite number, got inf"),
        ({"nu": "x"}, "nu: expected a finite number, got 'x'"),
        ({"tolerance": "x"}, "tolerance: expected a finite number of at least 0, got 'x'"),
        ({"dt": 0.0}, "dt: expected a positive number"),
        ({"iterations": 1.5}, "iterations: expected a non-negative integer, got 1.5"),
        ({"tolerance": -1.0}, "tolerance: expected a finite number of at least 0"),
    ],
)
def test_settings_without_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        app.Settings(**settings)


def test_in_a_graph_it_checks_and_gives_the_same(model):
    image, _ = disc(noise=0.1)
    signature = tf.TensorSpec([None, None, None, 1], tf.float32)
    graph = tf.function(lambda f: app.segment(f, model=model, settings=SHORT), [signature])
    found, eager = graph(image), app.segment(image, model=model, settings=SHORT)
    assert agreement(found.mask[0, ..., 0].numpy(), eager.mask[0, ..., 0].numpy()) > 0.99
    np.testing.assert_allclose(found.energies, eager.energies, rtol=1e-3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="image: expected finite values"):
        graph(np.full([1, 8, 8, 1], np.nan, np.float32))
    with pytest.raises(tf.errors.InvalidArgumentError, match="start: expected pixels inside and outside"):
        graph(np.zeros([1, 1, 8, 1], np.float32))


def test_channels_may_be_unknown_before_a_graph_runs():
    image, _ = disc(noise=0.1)
    graph = tf.function(lambda f: app.segment(f, settings=SHORT).mask, [tf.TensorSpec([None] * 4, tf.float32)])
    np.testing.assert_array_equal(graph(image), app.segment(image, settings=SHORT).mask)


@pytest.mark.parametrize("start", [[1, 1, 8, 1], [1, 8, 1, 1], [1, 8, 8, 2], [3, 8, 8, 1]])
def test_a_graph_broadcasts_no_start(start):
    signature = [tf.TensorSpec([None] * 4, dtype) for dtype in (tf.float32, tf.bool)]
    graph = tf.function(lambda f, mask: app.segment(f, mask, settings=SHORT).mask, signature)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"start: expected \[1 or N, H, W, 1\] for the image"):
        graph(np.zeros([2, 8, 8, 1], np.float32), np.ones(start, bool))


def test_no_tape_records_what_is_not_in_a_graph(model):
    image = tf.Variable(disc(noise=0.1)[0])
    with tf.GradientTape() as tape:
        found = app.segment(image, model=model, settings=SHORT)
    np.testing.assert_array_equal(found.level_set, app.segment(image, model=model, settings=SHORT).level_set)
    assert tape.gradient(found.energies, image) is None


def test_the_gradient_is_that_of_differences():
    """Of the last energy after some iterations, by a pixel; the means' sharp regions do not change."""
    image = tf.constant(disc(noise=0.1)[0], tf.float64)
    settings = app.Settings(iterations=3)

    @tf.function
    def energy(f):
        return tf.reduce_sum(app.segment(f, settings=settings).energies[:, -1])

    with tf.GradientTape() as tape:
        tape.watch(image)
        total = energy(image)
    slope = tape.gradient(total, image).numpy()
    for y, x in ((3, 4), (10, 20), (20, 7)):
        change = np.zeros(image.shape)
        change[0, y, x, 0] = 1e-4
        expected = (energy(image + change) - energy(image - change)) / 2e-4
        np.testing.assert_allclose(slope[0, y, x, 0], expected, rtol=1e-5)


SCRIPT = """
import sys, numpy as np, tensorflow as tf
if sys.argv[4] == "alone":
    sys.modules["blade_tf"] = None
else:
    import blade_tf
found = tf.saved_model.load(sys.argv[1]).signatures["serving_default"](image=tf.constant(np.load(sys.argv[2])))
np.savez(sys.argv[3], **found)
"""


@pytest.mark.parametrize("portable", [True, False])
def test_an_export_gives_the_same_in_a_fresh_process(portable, paper, tmp_path):
    settings = app.Settings(iterations=3)  # more, and roundings have moved pixels to other filters
    app.export(tmp_path / "saved", model=paper, settings=settings, channels=3, portable=portable)
    image = skimage.data.astronaut()[np.newaxis, 20:68, 190:250].astype(np.float32) / 255
    np.save(tmp_path / "image.npy", image)
    arguments = [tmp_path / "saved", tmp_path / "image.npy", tmp_path / "out.npz", "alone" if portable else "with"]
    path = "" if portable else str(pathlib.Path(blade_tf.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as found, blade_tf.implementation("stock" if portable else "native"):
        expected = tf.function(lambda f: app.segment(f, model=paper, settings=settings))(image)
        assert set(found) == set(expected._fields)
        for name, value in expected._asdict().items():
            np.testing.assert_allclose(found[name], value, atol=1e-4, rtol=1e-4, err_msg=name)


def test_an_export_needs_channels(tmp_path):
    with pytest.raises(ValueError, match="channels: expected an integer of at least 1, got 0"):
        app.export(tmp_path / "saved", channels=0)


def test_an_outline_is_of_both_sides():
    mask = np.zeros([5, 6], bool)
    mask[2, 2:4] = True
    drawn = report.outlined(np.full([5, 6], 0.5), mask)
    red = np.all(drawn == [255, 0, 0], axis=-1)
    expected = np.zeros([5, 6], bool)
    expected[1:4, 2:4] = expected[2, 1:5] = True
    np.testing.assert_array_equal(red, expected)
    assert np.all(drawn[~red] == 128)
    assert not np.any(np.all(report.outlined(np.zeros([4, 4, 3]), np.ones([4, 4], bool)) == [255, 0, 0], axis=-1))
    with pytest.raises(ValueError, match=r"mask: expected bool \[5, 6\], got float64 \[5, 6\]"):
        report.outlined(np.zeros([5, 6]), np.zeros([5, 6]))


def test_the_program_writes_masks_and_outlines(program, tmp_path):
    image, inside = disc(noise=0.05)
    colour = np.repeat(image[0], 3, axis=-1)
    (tmp_path / "in").mkdir()
    alpha = np.arange(inside.size, dtype=np.uint16).reshape(inside.shape)
    image_io.write_image(tmp_path / "in" / "a.png", image_io.Image(image[0], alpha, 16))
    image_io.write_image(tmp_path / "in" / "b.png", image_io.Image(colour))
    image_io.write_image(tmp_path / "start.png", image_io.Image(np.float32(inside)[..., np.newaxis]))
    (tmp_path / "in" / "c.png").write_bytes(b"broken")
    options = f"--input={tmp_path / 'in'}", f"--start={tmp_path / 'start.png'}"
    outcome = program("segment", *options, f"--output={tmp_path / 'out'}")
    assert outcome.status == 1
    assert "c.png" in outcome.err
    for name in "ab":
        (line,) = [line for line in outcome.out.splitlines() if line.startswith(f"{tmp_path}/in/{name}.png: inside ")]
        assert "iterations" in line
        written = image_io.read_image(tmp_path / "out" / f"{name}.png")
        assert agreement(written.pixels[..., 0] == 1, inside) > 0.98
        assert np.isin(written.pixels, (0, 1)).all()
    assert re.search(
        r"a\.png: inside 23\.\d %, mean 178\.\d; outside 76\.\d %, mean 76\.\d; \d+ iterations\n", outcome.out
    )
    a = image_io.read_image(tmp_path / "out" / "a.png")
    assert a.bits == 16
    np.testing.assert_array_equal(a.alpha, alpha)

    (tmp_path / "in" / "c.png").unlink()
    outcome = program(
        "segment", *options, f"--output={tmp_path / 'drawn'}", "--overlay", "--beside", "--model=tv_flow_paper"
    )
    assert outcome.status == 0, outcome.err
    drawn = image_io.read_image(tmp_path / "drawn" / "b.png").pixels
    assert np.any(np.all(drawn == [1, 0, 0], axis=-1))
    assert (tmp_path / "drawn" / "b_beside.png").exists()


def test_the_program_exports_and_refuses(program, tmp_path):
    outcome = program("segment", f"--export={tmp_path / 'saved'}", "--portable", "--iterations=3")
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "saved" / "saved_model.pb").exists()
    image_io.write_image(tmp_path / "a.png", image_io.Image(disc()[0][0]))
    for options, message in (
        ((f"--input={tmp_path / 'a.png'}", f"--output={tmp_path / 'b.png'}", "--mu=-1"), "mu: expected a positive"),
        ((f"--input={tmp_path / 'a.png'}", f"--output={tmp_path / 'b.png'}", "--model=tv_flo"), "unknown name or path"),
        (("--export=b", "--model=ced"), "model: expected one of TV flow, got 'ced', of ced"),
        (("--export=b", "--model=resample"), "model: expected one that evolves images, got 'resample'"),
    ):
        outcome = program("segment", *options)
        assert outcome.status == 1
        assert message in outcome.err
        assert "Traceback" not in outcome.err


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data/segmentation, which is not part of the package")
def test_coins_as_scikit_image(model):
    f = image_io.read_image(SHARED / "coins.png").pixels
    f = (f - f.min()) / np.ptp(f)
    mask = app.segment(f[np.newaxis], model=model, settings=ALL).mask[0, ..., 0].numpy()
    peer = skimage.segmentation.chan_vese(f[..., 0].astype(np.float64), mu=0.2, tol=0, max_num_iter=300)
    assert agreement(mask, peer) >= (0.97 if model is None else 0.92)
