import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import tensorflow as tf

import blade_tf
from blade_tf import align_ops, align_stock, flow_io, native, ops
from blade_tf import compare as compare_lib
from blade_tf.apps import align as app
from blade_tf.compare import align as compare
from blade_tf.compare import moved

SHARED = pathlib.Path(__file__).parents[2] / "shared" / "data" / "flow"


def smooth(height, width, seed=0):
    """A smooth texture without end, as a function of positions."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(0, 0.25, (24, 2)), rng.uniform(0, 2 * np.pi, 24), rng.uniform(0.5, 1, 24)

    def value(y, x):
        phases = (frequency[0] * y + frequency[1] * x + phase for frequency, phase in zip(*waves[:2], strict=True))
        return 0.5 + sum(a * np.sin(phase) for a, phase in zip(waves[2], phases, strict=True)) / 24

    return value, np.mgrid[:height, :width].astype(np.float64)


def tensor(image):
    return image[np.newaxis, ..., np.newaxis].astype(np.float32)


def flow_of(reference, moving, **options):
    found = app.align(tensor(reference), tensor(moving), **options)
    assert found.dtype == tf.float32
    assert found.shape == (1, *reference.shape, 2)
    return found[0].numpy()


@pytest.mark.parametrize(("dx", "dy"), [(3, -2), (-7, 5), (24, 17), (0, 0)])
def test_whole_pixels(dx, dy):
    photograph = skimage.data.camera()[:, :].astype(np.float32) / 255
    reference = photograph[100:340, 120:400]
    moving = photograph[100 - dy : 340 - dy, 120 - dx : 400 - dx]
    found = flow_of(reference, moving)[30:-30, 30:-30]
    # The sky has no texture, and follows what is around it.
    error = np.hypot(found[..., 0] - dx, found[..., 1] - dy)
    assert np.median(error) < 0.01
    assert np.mean(error < 0.1) > 0.95


@pytest.mark.parametrize(("dx", "dy"), [(0.5, 0.25), (-1.37, 2.71), (6.2, -4.9)])
def test_fractions_of_pixels(dx, dy):
    value, (y, x) = smooth(120, 150)
    error = np.linalg.norm(flow_of(value(y, x), value(y - dy, x - dx)) - [dx, dy], axis=-1)[20:-20, 20:-20]
    assert error.mean() < 0.01
    assert np.quantile(error, 0.99) < 0.05


def test_affine_motion():
    value, (y, x) = smooth(140, 160, 1)
    matrix = np.array([[0.03, -0.02], [0.015, -0.025]])
    flow = np.stack([x - 80, y - 70], -1) @ matrix.T + [1.5, -0.8]
    # moving(p + flow(p)) = value(p): p from q = p + flow(p) is affine too.
    positions = np.linalg.solve(np.eye(2) + matrix, (np.stack([x - 80, y - 70], -1) - [1.5, -0.8])[..., np.newaxis])
    moving = value(positions[..., 1, 0] + 70, positions[..., 0, 0] + 80)
    error = np.linalg.norm(flow_of(value(y, x), moving) - flow, axis=-1)[12:-12, 12:-12]
    assert error.mean() < 0.05
    assert error.max() < 0.25


def test_the_convention_is_that_of_resampling():
    photograph = scipy.ndimage.gaussian_filter(skimage.data.camera()[50:250, 150:400].astype(np.float64) / 255, 1)
    y, x = np.mgrid[:200, :250]
    wave = 1.5 * np.sin(y / 30), 1.2 * np.cos(x / 40)
    moving = scipy.ndimage.map_coordinates(photograph, [y - wave[1], x - wave[0]], order=3, mode="nearest")
    found = flow_of(photograph, moving)
    back = scipy.ndimage.map_coordinates(moving, [y + found[..., 1], x + found[..., 0]], order=3, mode="nearest")
    inside = np.s_[10:-10, 10:-10]
    before, after = (np.sqrt(np.mean((u - photograph)[inside] ** 2)) for u in (moving, back))
    assert after < 0.15 * before


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (40, 1), (3, 5), (33, 47)])
def test_a_constant_image_does_not_move(height, width):
    image = np.full((height, width), 0.3)
    np.testing.assert_array_equal(flow_of(image, image), 0)
    np.testing.assert_allclose(flow_of(image, image + 0.2), 0, atol=1e-6)


def test_an_image_and_itself():
    photograph = skimage.data.camera()[::4, ::4] / 255
    np.testing.assert_allclose(flow_of(photograph, photograph), 0, atol=1e-5)


def test_mirrored_images_have_a_mirrored_flow():
    value, (y, x) = smooth(64, 96, 2)
    one, two = value(y, x), value(y - 1.2, x - 2.3)
    straight, mirrored = flow_of(one, two), flow_of(one[:, ::-1], two[:, ::-1])
    inside = np.s_[8:-8, 8:-8]
    np.testing.assert_allclose((mirrored[:, ::-1] * [-1, 1])[inside], straight[inside], atol=0.02)


def test_noise():
    value, (y, x) = smooth(120, 150)
    rng = np.random.default_rng(0)
    one, two = value(y, x), value(y + 0.7, x - 3.4)
    noisy = [image + rng.normal(0, 0.01, image.shape) for image in (one, two)]
    error = np.linalg.norm(flow_of(*noisy) - [3.4, -0.7], axis=-1)[10:-10, 10:-10]
    assert error.mean() < 0.2


def test_batches_and_channels():
    value, (y, x) = smooth(48, 64)
    pairs = [(value(y, x), value(y, x - 1.5)), (value(x, y), value(x + 0.5, y))]
    references, movings = (np.concatenate([tensor(pair[k]) for pair in pairs]) for k in range(2))
    together = app.align(references, movings)
    for k in range(2):
        np.testing.assert_allclose(together[k], app.align(references[k : k + 1], movings[k : k + 1])[0], atol=1e-5)
    for channels in (2, 3):
        colour = app.align(np.repeat(references, channels, -1), np.repeat(movings, channels, -1))
        np.testing.assert_allclose(colour, together, atol=2e-3)
    double = app.align(references.astype(np.float64), movings.astype(np.float64))
    np.testing.assert_allclose(double, together, atol=1e-5)
    assert app.align(references[:0], movings[:0]).shape == (0, 48, 64, 2)


def test_a_graph_of_open_sizes():
    value, (y, x) = smooth(40, 56)
    pair = tensor(value(y, x)), tensor(value(y - 1.1, x))
    spec = tf.TensorSpec([None, None, None, 1], tf.float32)
    graph = tf.function(app.align, [spec, spec])
    np.testing.assert_allclose(graph(*pair), app.align(*pair), atol=1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="moving: expected the shape of the reference"):
        graph(pair[0], pair[1][:, 1:])
    with pytest.raises(tf.errors.InvalidArgumentError, match="reference: expected finite values"):
        graph(pair[0] * np.nan, pair[1])
    with pytest.raises(tf.errors.InvalidArgumentError, match="reference: expected at least one pixel"):
        graph(pair[0][:, :0], pair[1][:, :0])


NATIVE = pytest.param("native", marks=pytest.mark.skipif(native.library is None, reason="no native library"))


@pytest.mark.parametrize("implementation", [NATIVE, "stock"])
@pytest.mark.parametrize(
    ("scale", "options"), [(1.0, {"smoothness": 1e-7}), (255.0, {}), (255.0, {"smoothness": 1e-7, "robust": 8.0})]
)
def test_strong_edges_beside_little_smoothness(implementation, scale, options):
    """Where squared gradients are up to 1e10 times the smoothness."""
    value, (y, x) = smooth(60, 70)
    with ops.implementation(implementation):
        found = flow_of(
            scale * value(y, x), scale * value(y - 0.25, x - 0.5), parameters=app.AlignParameters(**options)
        )
    assert np.linalg.norm(found - [0.5, 0.25], axis=-1)[10:-10, 10:-10].mean() < 0.05


needs_native = pytest.mark.skipif(native.library is None, reason="blade_tf was installed without its native library")


@needs_native
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (40, 1), (3, 5), (33, 47), (64, 80)])
@pytest.mark.parametrize("levels", [1, 5])
def test_native_equals_stock(height, width, levels):
    rng = np.random.default_rng(height * width)
    photograph = scipy.ndimage.gaussian_filter(skimage.data.camera()[40:120, 180:270].astype(np.float64) / 255, 1)
    several = [
        np.stack([photograph[a : a + height, b : b + width] for a, b in rng.integers(3, 6, (3, 2))]) for _ in range(2)
    ]
    found = []
    for name in ("native", "stock"):
        with ops.implementation(name):
            found.append(app.align(*(images[..., np.newaxis].astype(np.float32) for images in several), levels).numpy())
    # Coarse levels double what roundings make.
    np.testing.assert_allclose(*found, atol=2e-3 if levels > 1 else 1e-4)


@needs_native
def test_native_block_matching_is_that_of_stock():
    rng = np.random.default_rng(0)
    pair = [tf.constant(rng.random((2, 60, 75)), tf.float32) for _ in range(2)]
    parameters = align_ops.AlignParameters(steps=(0, 0), unmatched=0)
    found = align_ops.blade_align(*pair, 4, parameters)
    np.testing.assert_array_equal(found, align_stock.blade_align(*pair, 4, parameters))
    assert np.abs(found).max() > 4


@needs_native
def test_a_program_that_xla_compiles():
    if not native.xla:
        pytest.skip("blade_tf was built without its library for XLA")
    value, (y, x) = smooth(40, 56)
    pair = tf.constant(tensor(value(y, x))), tf.constant(tensor(value(y - 1.1, x)))
    np.testing.assert_array_equal(tf.function(app.align, jit_compile=True)(*pair), app.align(*pair))


@needs_native
def test_huge_values_and_unequal_shapes_end_well():
    for value in (1e30, 3e38):
        image = np.random.default_rng(0).choice([-value, value], (1, 20, 30, 1)).astype(np.float32)
        for name in ("native", "stock"):
            with ops.implementation(name):
                assert app.align(image, image[:, ::-1]).shape == (1, 20, 30, 2)
    plane = tf.zeros([1, 8, 9])
    for pair, name in (
        ((plane, plane[:, 1:]), "moving"),
        ((plane[0], plane[0]), "Shape must be rank 3|reference"),
        ((plane[:, :0],) * 2, "reference"),
    ):
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=name):
            align_ops.blade_align(*pair, 2, app.PARAMETERS)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"smoothness": 0}, r"smoothness: expected a number in \[1e-07, 1e\+12\], got 0"),
        ({"robust": float("nan")}, "robust: expected a number .*, got nan"),
        ({"tile": 6}, "tile: expected an odd number, got 6"),
        ({"radius": 17}, r"radius: expected a number in \[0, 16\], got 17"),
        ({"sweeps": 0}, r"sweeps: expected a number in \[1, 1000\], got 0"),
        ({"steps": (1, -1)}, r"steps: expected a non-negative integer, got -1"),
        ({"steps": (1,)}, r"steps: expected two numbers, got \(1,\)"),
        ({"radius": 1.5}, r"radius: expected a non-negative integer, got 1.5"),
    ],
)
def test_parameters_that_make_no_sense(parameters, message):
    with pytest.raises(ValueError, match=message):
        app.AlignParameters(**parameters)


@needs_native
@pytest.mark.parametrize("end", [0, 1])
def test_the_bounds_are_those_of_the_native_operation(end):
    """Also where float32 rounds them."""
    names = "smoothness", "robust", "bias", "acceleration", "largest"
    parameters = app.AlignParameters(**{name: align_stock._RANGES[name][end] for name in names})
    image = tf.constant(skimage.data.camera()[np.newaxis, :40, :50] / 255, tf.float32)
    assert np.isfinite(align_ops.blade_align(image, image, 2, parameters)).all()


GOOD = np.zeros([1, 8, 9, 1], np.float32)


@pytest.mark.parametrize(
    ("reference", "moving", "levels", "message"),
    [
        (GOOD, GOOD[:, 1:], 5, r"moving: expected the shape of the reference, \(1, 8, 9, 1\), got \(1, 7, 9, 1\)"),
        (GOOD, np.repeat(GOOD, 3, -1), 5, "moving: expected the shape of the reference"),
        (GOOD[0], GOOD, 5, r"reference: expected float32 or float64 \[N, H, W, C\], got float32 \[8, 9, 1\]"),
        (GOOD, GOOD.astype(np.uint8), 5, "moving: expected float32 or float64 .*, got uint8"),
        (GOOD * np.nan, GOOD, 5, "reference: expected finite values, got NaN"),
        (GOOD, GOOD + np.inf, 5, "moving: expected finite values, got NaN or infinity"),
        (GOOD[:, :0], GOOD[:, :0], 5, "reference: expected at least one pixel"),
        (GOOD, GOOD, 0, "levels: expected an integer of at least 1, got 0"),
        (GOOD, GOOD, 10**10, "levels: expected at most 32, got 10000000000"),
    ],
)
def test_what_cannot_be_aligned(reference, moving, levels, message):
    with pytest.raises(ValueError, match=message):
        app.align(reference, moving, levels)


def test_a_graph_has_to_know_the_channels():
    with pytest.raises(ValueError, match="reference: expected a known number of channels"):
        tf.function(app.align, input_signature=[tf.TensorSpec([None] * 4)] * 2)(GOOD, GOOD)


LOAD = """
import sys, numpy as np, tensorflow as tf
if sys.argv[4] == "portable":
    sys.modules["blade_tf"] = None
else:
    import blade_tf
pair = np.load(sys.argv[2])
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
np.save(sys.argv[3], serve(reference=tf.constant(pair["a"]), moving=tf.constant(pair["b"]))["flow"])
"""


@pytest.mark.parametrize("kind", ["portable", "native"])
def test_an_export_gives_the_same_in_a_fresh_process(kind, tmp_path):
    parameters = app.AlignParameters(smoothness=2e-4)
    app.export(tmp_path / "saved", parameters=parameters, channels=3, portable=kind == "portable")
    value, (y, x) = smooth(40, 56)
    a, b = (np.repeat(tensor(u), 3, -1) for u in (value(y, x), value(y - 1.1, x)))
    np.savez(tmp_path / "pair.npz", a=a, b=b)
    names = [str(tmp_path / name) for name in ("saved", "pair.npz", "out.npy")]
    path = "" if kind == "portable" else str(pathlib.Path(blade_tf.__file__).parents[1])
    command = [sys.executable, *(["-I"] if kind == "portable" else []), "-c", LOAD, *names, kind]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = app.align(a, b, parameters=parameters)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-4 if kind == "portable" else 0)
    with pytest.raises(ValueError, match="channels: expected an integer of at least 1, got 0"):
        app.export(tmp_path / "none", channels=0)


def test_the_end_point_error_leaves_out_what_is_unknown():
    truth = np.zeros([4, 5, 2], np.float32)
    truth[0] = 2e9
    flow = np.zeros([4, 5, 2], np.float32)
    flow[:, :, 0], flow[:, :, 1], flow[0] = 3, 4, 100
    assert compare.end_point_error(flow, truth) == pytest.approx(5)


def test_the_comparison_of_a_folder_of_scenes(tmp_path):
    scene = tmp_path / "scenes" / "shifted"
    scene.mkdir(parents=True)
    photograph = skimage.data.astronaut()
    skimage.io.imsave(scene / "frame10.png", photograph[100:180, 150:250])
    skimage.io.imsave(scene / "frame11.png", photograph[99:179, 152:252])
    flow_io.write_flow(scene / "flow10.flo", np.broadcast_to(np.float32([-2, 1]), (80, 100, 2)))
    text = compare_lib.write(compare.compare(tmp_path / "scenes"), tmp_path / "results", "blade-compare --x")
    assert "| shifted |" in text
    assert (tmp_path / "results" / "figures" / "align_shifted.jpg").exists()
    with pytest.raises(ValueError, match="images: expected a folder of scenes"):
        compare.compare(scene)


@pytest.fixture
def still(tmp_path):
    """A scene that stands still, in a folder of scenes."""
    scene = tmp_path / "scenes" / "still"
    scene.mkdir(parents=True)
    for number in (10, 11):
        skimage.io.imsave(scene / f"frame{number}.png", skimage.data.camera()[:60, :70])
    flow_io.write_flow(scene / "flow10.flo", np.zeros([60, 70, 2]))
    return scene


def test_a_scene_that_stands_still(still):
    found = compare.compare(still.parent)
    assert {"still", "example"} <= found.pictures.keys() == found.captions.keys()
    assert found.tables[0].rows[0][1] < 1e-5


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        (np.full([60, 70, 2], 2e9), "still: flow10.flo: expected a flow that is known somewhere"),
        (np.zeros([60, 71, 2]), r"still: flow10.flo: expected frame10.png's size, \(60, 70\), got \(60, 71\)"),
    ],
)
def test_scenes_that_make_no_sense_are_named(flow, message, still):
    flow_io.write_flow(still / "flow10.flo", flow)
    with pytest.raises(ValueError, match=message):
        compare.compare(still.parent)


def test_colours_of_flows():
    flow = np.float32([[[2, 0], [0, 0], [1, 0], [2e9, 0], [np.nan, 0]]])
    found = compare.flow_image(flow, 2.0)[0].tolist()
    assert found == [[255, 64, 64], [255, 255, 255], [255, 159, 159], [0, 0, 0], [0, 0, 0]]


def test_scenes_move_by_their_flow():
    photographs = {
        name: getattr(skimage.data, name)()[:512, :512].reshape(512, 512, -1)[..., :1].astype(np.float32) / 255
        for name in ("camera", "astronaut", "brick", "grass")
    }
    found = list(moved.scenes(photographs))
    assert len(found) == 8
    for k, ((reference, moving), flow) in enumerate(found):
        assert reference.shape == moving.shape == (*flow.shape[:2], 1) == (128, 128, 1)
        back = displaced_along(moving, flow)
        inside = np.s_[16:-16, 16:-16]
        before, after = (np.median(np.abs(u - reference[..., 0])[inside]) for u in (moving[..., 0], back))
        assert after < 0.02, k
        assert after < before
    for _, flow in found[1::2]:
        assert len(np.unique(flow.reshape(-1, 2), axis=0)) == moved.LAYERS + 1


def displaced_along(image, flow):
    y, x = np.indices(flow.shape[:2])
    return scipy.ndimage.map_coordinates(image[..., 0], [y + flow[..., 1], x + flow[..., 0]], order=3, mode="nearest")


def test_tuning_finds_the_least_error(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "EVERY", 1)
    monkeypatch.setattr(compare, "GRID", {"smoothness": (1e-4, 100.0), "bias": (0.002, 0.005)})
    for name in ("camera", "brick"):
        skimage.io.imsave(tmp_path / f"{name}.png", getattr(skimage.data, name)())
    found = compare.tune(tmp_path)
    assert found["smoothness"] == 1e-4
    assert found["error"] <= found["before"]
    assert set(found) == {"smoothness", "bias", "error", "before"}


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data/flow, which is not part of the package")
def test_rubber_whale():
    frames, truth = compare.scene(SHARED / "RubberWhale")
    found = app.align(*(frame[np.newaxis] for frame in frames))[0].numpy()
    assert compare.end_point_error(found, truth) < 0.25
