import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from PIL import Image

import blade_tf
from blade_tf import image_io, metrics, models, operators
from blade_tf.apps import upscale
from blade_tf.interpolation import cubic, interpolate, lanczos

FACTORS = pytest.mark.parametrize("factor", [2, 3, 4, 5])
RNG = np.random.default_rng(0)


def photograph(height, width, channels=3, dtype=np.float32):
    colour = skimage.data.astronaut()[10 : 10 + height, 180 : 180 + width].astype(dtype) / 255
    return colour[np.newaxis, ..., :channels]


def still(u):
    return tf.zeros_like(u)


def rate_of(name):
    return models.load_pretrained(name).rate


def centre_of_mass(image):
    weights = np.asarray(image)[0, ..., 0]
    return [float((weights.sum(1 - axis) @ np.arange(weights.shape[axis])) / weights.sum()) for axis in (0, 1)]


@FACTORS
def test_a_low_resolution_pixel_sits_at_the_centre_of_its_block(factor):
    sampling = upscale.gaussian(factor, 0.4 * factor)
    assert sampling.position == pytest.approx(((factor - 1) / 2,) * 2, abs=1e-12)
    assert sampling.kernel.sum() == pytest.approx(1)
    # A ramp's samples are its values at these places.
    ramp = np.broadcast_to(np.arange(20.0 * factor)[:, np.newaxis, np.newaxis], (20 * factor, 20 * factor, 1))
    seen = sampling.operator("replicate")(ramp[np.newaxis])[0, 5:15, 8, 0]
    np.testing.assert_allclose(seen, (factor - 1) / 2 + factor * np.arange(5, 15), atol=1e-12)


@pytest.mark.parametrize("position", [0, 1, 0.5, 1.5, 2.25, 3])
def test_any_position(position):
    sampling = upscale.gaussian(4, 1.0, position)
    ramp = np.broadcast_to(np.arange(64.0)[:, np.newaxis], (1, 64, 64))[..., np.newaxis]
    places = sampling.operator("replicate")(ramp)[0, 4:12, 8, 0] - 4 * np.arange(4, 12)
    np.testing.assert_allclose(places, sampling.position[0], atol=1e-12)
    # A tail of less than exp(-4) is cut at one end where the position is between a pixel and a pixel's edge.
    assert sampling.position[0] == pytest.approx(position, abs=0.01 if position * 2 % 1 else 1e-12)


def test_the_paper_s_kernel_is_a_gaussian_on_pixels():
    sampling = upscale.gaussian(4, 0.4, 0)
    expected = np.exp(-(np.arange(-2.0, 3.0) ** 2) / (2 * 0.4**2))
    expected /= expected.sum()
    np.testing.assert_allclose(sampling.kernel, np.outer(expected, expected), atol=1e-15)
    assert sampling.offset == 0


def test_the_kernel_may_be_any_other():
    kernel = RNG.random((3, 4))
    kernel /= kernel.sum()
    sampling = upscale.Sampling(2, kernel, 1)
    f = tf.constant(photograph(24, 20, 1, np.float64))
    found = upscale.upscale_exactly(f, sampling, still, 1.0, 0)
    np.testing.assert_allclose(sampling.operator()(found)[:, 3:-3, 3:-3], f[:, 3:-3, 3:-3], atol=1e-10)
    # Where the sample of a ramp lies between pixels: the kernel's centre of mass.
    ramp = np.broadcast_to(np.arange(40.0)[:, np.newaxis], (1, 40, 40))[..., np.newaxis]
    seen = sampling.operator("replicate")(ramp)[0, 8, 8, 0]
    assert float(seen) == pytest.approx(16 + sampling.position[0], abs=1e-12)


@pytest.mark.parametrize(
    ("profile", "radius", "filtering"),
    [(cubic(-0.5), 2, Image.Resampling.BICUBIC), (lanczos(3), 3, Image.Resampling.LANCZOS)],
)
@FACTORS
def test_interpolation_is_pillow_s(factor, profile, radius, filtering):
    image = photograph(17, 23, 1)
    height, width = factor * 17, factor * 23
    expected = np.asarray(Image.fromarray(image[0, ..., 0], "F").resize((width, height), filtering))
    found = interpolate(image, factor, ((factor - 1) / 2,) * 2, profile, radius)[0, ..., 0]
    edge = radius * factor  # Pillow has no border pixels, its kernels end there
    np.testing.assert_allclose(found[edge:-edge, edge:-edge], expected[edge:-edge, edge:-edge], atol=1e-5)


@FACTORS
def test_interpolation_is_opencv_s(factor):
    image = photograph(17, 23)
    expected = cv2.resize(image[0], None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    found = interpolate(image, factor, ((factor - 1) / 2,) * 2, cubic(-0.75), 2)
    np.testing.assert_allclose(found[0], expected, atol=2e-5)


@pytest.mark.parametrize("position", [(0.0, 0.0), (1.0, 2.0)])
def test_interpolation_keeps_the_samples_and_places_them(position):
    image = photograph(9, 8, dtype=np.float64)
    found = interpolate(image, 3, position)
    y, x = map(int, position)
    np.testing.assert_allclose(found[:, y::3, x::3], image, atol=1e-15)


METHODS = {
    "4.6": lambda f, sampling, rate, dt: upscale.upscale(f, sampling, rate, dt, 10, 1.0),
    "4.7": lambda f, sampling, rate, dt: upscale.upscale_exactly(f, sampling, rate, dt, 10),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("factor", "position"), [(2, None), (3, None), (4, None), (4, 0), (5, 1)])
def test_nothing_shifts(method, factor, position):
    """A ramp stays the ramp, and a disc's centre of mass stays where it is."""
    sampling = upscale.gaussian(factor, 0.4 * factor, position)
    at = sampling.position[0]
    f = np.add.outer(np.arange(24.0), 2 * np.arange(24.0))[np.newaxis, ..., np.newaxis] / 72
    u = METHODS[method](tf.constant(f, tf.float32), sampling, rate_of("ced_convex"), 0.5)[0, ..., 0].numpy()
    n = (np.arange(24 * factor) - at) / factor
    inside = slice(8 * factor, -8 * factor)
    expected = np.add.outer(n, 2 * n)[inside, inside] / 72
    # An error of 1e-3 along y would be a shift by 0.07 low-resolution px; there is none on average.
    np.testing.assert_allclose(u[inside, inside], expected, atol=1.5e-3)
    assert abs(np.mean(u[inside, inside] - expected)) < 1e-4

    y, x = np.mgrid[: 24 * factor, : 24 * factor] - (11.7 * factor)
    disc = (1 / (1 + np.exp(np.hypot(x, y) - 5 * factor)))[np.newaxis, ..., np.newaxis]
    found = METHODS[method](sampling.operator()(disc), sampling, still, 0.5)
    np.testing.assert_allclose(centre_of_mass(found), centre_of_mass(disc), atol=0.02)
    assert float(metrics.psnr(found, disc)[0]) > 35


@pytest.mark.parametrize("method", METHODS)
def test_mirrored_images_give_mirrored_results(method):
    f = tf.constant(photograph(16, 20, 1, np.float64))
    for factor in (2, 3):
        sampling = upscale.gaussian(factor, 0.4 * factor)
        found = METHODS[method](f, sampling, still, 1.0)
        mirrored = METHODS[method](f[:, ::-1, ::-1], sampling, still, 1.0)
        np.testing.assert_allclose(mirrored, found[:, ::-1, ::-1], atol=1e-6)


@FACTORS
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("position", [None, 0])
def test_projected_results_explain_the_image(factor, channels, position):
    sampling = upscale.gaussian(factor, 0.4 * factor, position)
    f = photograph(22, 26, channels)
    u = upscale.Upscaler(sampling, "tv_flow_paper", 10)(f)
    assert u.shape == (1, 22 * factor, 26 * factor, channels)
    seen = sampling.operator("replicate")(u)
    # Pixels that see across the border see the continuation there.
    np.testing.assert_allclose(seen[:, 2:-2, 2:-2], f[:, 2:-2, 2:-2], atol=1e-5)
    start = upscale.upscale_exactly(f, sampling, still, 1.0, 0)
    assert np.abs(u - start).max() > 0.02


def test_a_centred_result_explains_the_border_too():
    """The continuation of a centred image by reflection is that of its result."""
    sampling = upscale.gaussian(2, 0.8)
    f = tf.constant(photograph(22, 26, 1, np.float64))
    u = upscale.upscale_exactly(f, sampling, still, 1.0, 1)
    pad = [[0, 0], [4, 4], [4, 4], [0, 0]]
    seen = sampling.operator()(tf.pad(u, pad, "SYMMETRIC"))[:, 2:-2, 2:-2]
    np.testing.assert_allclose(seen, f, atol=1e-5)


def test_projected_steps_are_those_of_the_equation():
    """u + dt P0 R(u) with P0 = 1 - A^+ A, on an image that has no border to extend: its margins are its own."""
    sampling, rate, dt = upscale.gaussian(2, 0.8), rate_of("ced_paper"), 0.25
    f = tf.constant(photograph(20, 24, 1))
    extended = tf.pad(f, [[0, 0], [8, 8], [8, 8], [0, 0]], "SYMMETRIC")
    inverse = operators.pseudo_inverse(sampling.kernel, 2, sampling.offset)
    operator = sampling.operator()
    u = interpolate(extended, 2, sampling.position)
    u += inverse(extended - operator(u))
    for _ in range(3):
        du = rate(u)
        u += dt * (du - inverse(operator(du)))
    expected = u[:, 16:-16, 16:-16]
    # Rounding may move a pixel to another filter.
    difference = np.abs(upscale.upscale_exactly(f, sampling, rate, dt, 3) - expected)
    assert np.mean(difference > 1e-5) < 0.01


def test_the_data_term_alone_reaches_the_projection():
    sampling = upscale.gaussian(3, 1.2)
    f = tf.constant(photograph(20, 24, 1, np.float64))
    expected = upscale.upscale_exactly(f, sampling, still, 1.0, 0)
    np.testing.assert_allclose(upscale.upscale(f, sampling, still, 0.3, 60, 1.5), expected, atol=1e-5)


@FACTORS
def test_the_relaxation_is_relative_to_the_norm(factor):
    """A constant's error goes by 1 - relaxation in one step, whatever the factor, the PSF and dt."""
    sampling = upscale.gaussian(factor, 0.4 * factor)
    f = tf.ones([1, 12, 12, 1], tf.float64)
    operator = sampling.operator()
    pull = operators.data_term(operator, f, 0.5 / sampling.squared_norm)
    seen = operator(pull(tf.zeros([1, 12 * factor, 12 * factor, 1], tf.float64)))
    np.testing.assert_allclose(seen, 0.5, rtol=1e-6)


@pytest.mark.parametrize("model", ["tv_flow", "ced_convex", "perona_malik_paper"])
@pytest.mark.parametrize("relaxation", [None, 1.0])
def test_photographs_come_back_better_than_by_lanczos(model, relaxation):
    sampling = upscale.gaussian(2, 0.8)
    truth = photograph(120, 160)
    f = sampling.operator("replicate")(truth)
    inside = slice(8, -8)
    psnr = [
        float(metrics.psnr(found[:, inside, inside], truth[:, inside, inside])[0])
        for found in (
            interpolate(f, 2, sampling.position),
            upscale.Upscaler(sampling, model, 10 if relaxation is None else 5, relaxation)(f),
        )
    ]
    assert psnr[1] > psnr[0] + 0.5


def test_gray_in_colour_is_gray():
    f = photograph(20, 24, 1)
    upscaler = upscale.Upscaler(upscale.gaussian(2, 0.8), steps=5)
    difference = np.abs(upscaler(np.repeat(f, 3, axis=-1)) - upscaler(f))
    assert np.mean(difference > 1e-5) < 0.01  # at a bin's edge, rounding selects the filter beside


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (2, 3), (7, 30)])
def test_small_images(height, width):
    f = photograph(height, width)
    found = upscale.Upscaler(upscale.gaussian(2, 0.4), steps=2)(f)
    assert found.shape == (1, 2 * height, 2 * width, 3)
    assert np.isfinite(found).all()
    flat = upscale.Upscaler(upscale.gaussian(2, 0.4), steps=2)(np.full_like(f, 0.4))
    np.testing.assert_allclose(flat, 0.4, atol=1e-5)


def test_the_paper_s_setting():
    upscaler = upscale.paper()
    assert (upscaler.model, upscaler.steps, upscaler.sampling.factor) == ("tv_flow_paper", 10, 4)
    assert upscaler.relaxation == pytest.approx(0.35 * upscaler.sampling.squared_norm)
    f = photograph(12, 10, 1)
    assert upscaler(f).shape == (1, 48, 40, 1)


SAMPLING = upscale.gaussian(2, 0.8)
FLAT = np.zeros((1, 8, 8, 1), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: upscale.gaussian(1, 0.4), "factor: expected an integer of at least 2, got 1"),
        (lambda: upscale.gaussian(2.5, 0.4), "factor: expected an integer of at least 2, got 2.5"),
        (lambda: upscale.gaussian(True, 0.4), "factor: expected an integer of at least 2, got True"),
        (lambda: upscale.gaussian(2, 0), "sigma: expected a positive number, got 0"),
        (lambda: upscale.gaussian(2, -1.0), "sigma: expected a positive number, got -1.0"),
        (lambda: upscale.gaussian(2, np.nan), "sigma: expected a positive number, got nan"),
        (lambda: upscale.gaussian(2, 0.4, 1.5), r"position: expected a number in \[0, 1\], got 1.5"),
        (lambda: upscale.gaussian(2, 0.4, np.nan), r"position: expected a number in \[0, 1\], got nan"),
        (lambda: upscale.Sampling(2, np.ones((2, 2)), 0), "kernel: expected a sum of 1, got 4"),
        (lambda: upscale.Sampling(2, np.ones(1), 0), r"kernel: expected \[R, S\], got \[1\]"),
        (lambda: upscale.Sampling(2, np.ones((1, 1)), 2), r"offset: expected an integer in \[0, 2\), got 2"),
        (lambda: upscale.upscale(FLAT, SAMPLING, still, 1.0, relaxation=0), "relaxation: expected a positive .* got 0"),
        (lambda: upscale.upscale(FLAT, SAMPLING, still, 1.0, relaxation=-1), "relaxation: expected a .* got -1"),
        (lambda: upscale.upscale(FLAT, SAMPLING, still, 1.0, relaxation=2), "relaxation: expected less .* got 2"),
        (lambda: upscale.upscale(FLAT, SAMPLING, still, 0.0), "dt: expected a positive number, got 0.0"),
        (lambda: upscale.upscale_exactly(FLAT, SAMPLING, still, -1.0), "dt: expected a positive number, got -1.0"),
        (lambda: upscale.upscale_exactly(FLAT, SAMPLING, still, 1.0, -1), "steps: expected a non-negative integer"),
        (lambda: upscale.upscale_exactly(FLAT[0], SAMPLING, still, 1.0), r"image: expected float \[N, H, W, C\]"),
        (lambda: upscale.upscale_exactly(FLAT.astype(int), SAMPLING, still, 1.0), r"image: expected float .* int64"),
        (lambda: upscale.upscale_exactly(FLAT[:, :0], SAMPLING, still, 1.0), r"image: expected at least one pixel"),
        (lambda: upscale.upscale(FLAT[:, :1, :1], upscale.gaussian(2, 60), still, 1.0), r"kernel: expected at most"),
        (lambda: upscale.Upscaler(SAMPLING, "ced_convx"), "model: unknown name .* did you mean 'ced_convex'"),
        (lambda: upscale.Upscaler(SAMPLING, "restoration"), "model: expected one that evolves images"),
        (lambda: upscale.Upscaler(SAMPLING, "upscale_x2"), "model: expected one that evolves .* trained for upscaling"),
        (lambda: upscale.load("upscal_x2"), "model: unknown name .* did you mean 'upscale_x2'"),
        (lambda: upscale.load("ced"), "model: expected one that upscales images, got 'ced', trained for evolution"),
        (
            lambda: upscale.load("upscale_x2", upscale.gaussian(3, 0.8)),
            "sampling: expected factor 2, sigma 0.8 and position 0.5, .* 'upscale_x2' .* got factor 3, position 1 and",
        ),
        (lambda: upscale.load("upscale_x2", upscale.gaussian(2, 0.9)), "sampling: expected factor 2, sigma 0.8 and"),
        (lambda: upscale.load("upscale_x2", upscale.gaussian(2, 0.8, 0)), "sampling: .* got factor 2, position 0 and"),
        (lambda: upscale.Upscaler(SAMPLING, steps=-1), "steps: expected a non-negative integer, got -1"),
        (lambda: upscale.Upscaler(SAMPLING, relaxation=2.5), "relaxation: expected less than 2, .* got 2.5"),
        (lambda: upscale.Upscaler(SAMPLING)(FLAT.repeat(2, -1)), "image: expected 1 or 3 channels, .* got 2$"),
        (lambda: upscale.Upscaler(SAMPLING, way="lumma"), "way: unknown way 'lumma', did you mean 'luma'"),
        (lambda: upscale.export(upscale.Upscaler(SAMPLING), "x", channels=2), "channels: expected 1 or 3, got 2"),
    ],
)  # fmt: skip
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


FRESH = """
import sys, numpy as np, tensorflow as tf
if sys.argv[4] == "portable":
    sys.modules["blade_tf"] = None
else:
    import blade_tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
np.save(sys.argv[3], serve(image=tf.constant(np.load(sys.argv[2])))["output"])
"""


@pytest.mark.parametrize(
    ("kind", "channels", "upscaler"),
    [
        ("portable", 3, lambda: upscale.Upscaler(SAMPLING, "ced_convex", 3)),
        ("native", 1, lambda: upscale.Upscaler(SAMPLING, "ced_convex", 3, 1.0)),
        ("native", 1, lambda: upscale.Upscaler(SAMPLING, "ced_convex", 3)),
        ("portable", 1, lambda: upscale.load("upscale_x2")),
        ("native", 3, lambda: upscale.load("upscale_x2")),
    ],
)
def test_a_fresh_process_computes_the_same(kind, channels, upscaler, tmp_path):
    upscaler = upscaler()
    upscale.export(upscaler, tmp_path / "saved", portable=kind == "portable", channels=channels)
    f = photograph(15, 22, channels)
    np.save(tmp_path / "f.npy", f)
    command = [sys.executable, "-c", FRESH, *(str(tmp_path / name) for name in ("saved", "f.npy", "u.npy")), kind]
    root = os.path.dirname(os.path.dirname(blade_tf.__file__))
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with blade_tf.implementation("stock" if kind == "portable" else "native"):
        expected = upscaler(f)
    difference = np.abs(np.load(tmp_path / "u.npy") - expected)
    assert np.mean(difference > 1e-5) < 0.01
    with pytest.raises(ValueError, match=r"output: .* exists"):
        upscale.export(upscaler, tmp_path / "saved")


def write(path, values):
    colours = values.shape[-1] - (values.shape[-1] + 1) % 2
    bits = 8 * values.dtype.itemsize
    alpha = np.ascontiguousarray(values[..., -1]) if values.shape[-1] > colours else None
    image_io.write_image(path, image_io.Image(values[..., :colours].astype(np.float32) / (2**bits - 1), alpha, bits))


def test_the_program(program, tmp_path):
    (tmp_path / "in").mkdir()
    colour = skimage.data.astronaut()[:24, 180:210]
    write(
        tmp_path / "in" / "a.png",
        np.dstack([colour, np.arange(720, dtype=np.uint32).reshape(24, 30) % 256]).astype("u1"),
    )
    write(tmp_path / "in" / "b.tif", colour[..., :1].astype(np.uint16) * 257)
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    outcome = program(
        "upscale", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}", "--factor=3", "--steps=5", "--beside"
    )
    assert outcome.status == 1
    assert outcome.err.splitlines()[-1].startswith(f"blade-upscale: {tmp_path}/in/broken.png: not a PNG")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a.png", "a_beside.png", "b.tif", "b_beside.png"}
    upscaler = upscale.Upscaler(upscale.gaussian(3, 1.2), steps=5)  # --steps asks for a regulariser
    for name in ("a.png", "b.tif"):
        given, found = (image_io.read_image(tmp_path / folder / name) for folder in ("in", "out"))
        expected = image_io.quantize(upscaler(given.pixels[np.newaxis])[0].numpy(), given.bits)
        difference = np.abs(image_io.quantize(found.pixels, given.bits).astype(int) - expected)
        assert np.mean(difference > 2 ** (given.bits - 8)) < 0.01
        assert (found.bits, found.pixels.shape) == (given.bits, (72, 90, given.pixels.shape[-1]))
        if given.alpha is not None:
            np.testing.assert_array_equal(found.alpha, given.alpha.repeat(3, 0).repeat(3, 1))


def test_the_program_exports(program, tmp_path):
    outcome = program("upscale", f"--export={tmp_path / 'saved'}", "--paper", "--portable", "--factor=2")
    assert outcome.status == 0, outcome.err
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    assert serve(image=tf.zeros([1, 9, 7, 1]))["output"].shape == (1, 18, 14, 1)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--factor=1"], "factor: expected an integer of at least 2, got 1"),
        (["--factor=2.5"], "flag --factor=2.5"),
        (["--sigma=-1"], "sigma: expected a positive number, got -1.0"),
        (["--relaxation=0"], "relaxation: expected a positive number, got 0.0"),
        (["--relaxation=2"], "relaxation: expected less than 2"),
        (["--position=-1"], "position: expected a number in [0, 1], got -1.0"),
        (["--model=cde"], "model: unknown name or path 'cde'"),
        (["--model=restoration"], "model: expected one that evolves images, got 'restoration'"),
        (["--model=upscale_x2", "--factor=4"], "sampling: expected factor 2, sigma 0.8"),
        (["--model=upscale_x2", "--sigma=0.5"], "sampling: expected factor 2, sigma 0.8"),
        (["--model=upscale_x2", "--steps=3"], "steps: expected none with --model=upscale_x2"),
        (["--model=upscale_x2", "--colour=luma"], "colour: expected none with --model=upscale_x2"),
        (["--paper", "--model=upscale_x2"], "model: expected none with --paper, got 'upscale_x2'"),
        (["--paper", "--sigma=0.4"], "sigma: expected none with --paper, got 0.4"),
    ],
)  # fmt: skip
def test_the_program_s_errors_are_one_line(flags, message, program, tmp_path):
    write(tmp_path / "a.png", np.zeros((8, 8, 1), np.uint8))
    outcome = program("upscale", f"--input={tmp_path / 'a.png'}", f"--output={tmp_path / 'b.png'}", *flags)
    assert outcome.status == 1
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "b.png").exists()


def inside(image):
    return image[:, 8:-8, 8:-8]


@pytest.mark.parametrize("name", models.pretrained_names("upscaling"))
@pytest.mark.parametrize("channels", [1, 3])
def test_trained_stages_are_nearer_to_a_photograph_than_eq_47(name, channels):
    model = upscale.load(name)
    truth = skimage.data.astronaut()[np.newaxis, 60:360, 120:420, :channels].astype(np.float32) / 255
    f = model.sampling.operator("replicate")(truth)
    found = model(f)
    others = [interpolate(f, model.factor, model.sampling.position), upscale.Upscaler(model.sampling)(f)]
    psnr = [float(metrics.psnr(inside(u), inside(truth))[0]) for u in (found, *others)]
    assert psnr[0] > max(psnr[1:]) + 0.3
    seen = model.sampling.operator("replicate")(found)
    np.testing.assert_allclose(inside(seen), inside(f), atol=1e-5)
    np.testing.assert_allclose(model(0 * f + 0.7), 0.7, atol=1e-5)
    np.testing.assert_array_equal(blade_tf.load_pretrained(name)(f), found)


def test_the_best_is_what_was_trained_for_the_sampling():
    for name in models.pretrained_names("upscaling"):
        model = upscale.load(name)
        assert upscale.best(upscale.gaussian(model.factor, model.sigma, model.position)) is model
        assert upscale.load(name, model.sampling) is model
    other = upscale.gaussian(2, 0.7)
    assert upscale.best(other) == upscale.Upscaler(other)


def test_the_program_takes_what_was_trained_for_the_sampling(program, tmp_path):
    given = skimage.data.astronaut()[100:120, 180:204]
    write(tmp_path / "in.png", given)
    for name, flags in (("default", []), ("named", ["--model=upscale_x2"]), ("other", ["--model=ced_convex"])):
        outcome = program("upscale", f"--input={tmp_path / 'in.png'}", f"--output={tmp_path / name}.png", *flags)
        assert outcome.status == 0, outcome.err
    default, named, other = (image_io.read_image(tmp_path / f"{n}.png").pixels for n in ("default", "named", "other"))
    f = image_io.read_image(tmp_path / "in.png").pixels[np.newaxis]
    expected = np.clip(upscale.load("upscale_x2")(f)[0], 0, 1)
    assert np.mean(np.abs(default - expected) > 1 / 255) < 0.01
    np.testing.assert_array_equal(default, named)
    assert np.abs(default - other).max() > 0.02


@pytest.mark.parametrize("model", ["ced_convex", "tv_flow_paper"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_graph_of_open_sizes_chooses_the_same_filters(model, channels):
    upscaler, f = upscale.Upscaler(upscale.gaussian(3, 1.2), model, 5), photograph(20, 31, channels)
    graph = tf.function(upscaler, input_signature=[tf.TensorSpec([None, None, None, channels])])
    np.testing.assert_allclose(graph(f), upscaler(f), atol=1e-5)


@pytest.mark.parametrize("position", [-18.0, -3.0, -0.5, 6.5, 21.5])
def test_interpolation_at_positions_beyond_the_block_keeps_a_ramp(position):
    ramp = np.arange(40.0)[np.newaxis, np.newaxis, :, np.newaxis] * np.ones((1, 40, 1, 1))
    found = interpolate(ramp, 4, (0.0, position)).numpy()[0, 80, 60:-60, 0]
    wanted = interpolate(ramp, 4, (0.0, position % 4)).numpy()[0, 80, 60:-60, 0]
    np.testing.assert_allclose(found, wanted - (position - position % 4) / 4, atol=1e-9)


def test_an_image_with_nan_is_refused():
    f = photograph(12, 12, 1).copy()
    f[0, 3, 4] = np.nan
    with pytest.raises(ValueError, match="image: expected finite values"):
        upscale.Upscaler(upscale.gaussian(2, 0.8))(f)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((1, 8, 8, 1), np.uint8), "image: expected float [N, H, W, C], got uint8 [1, 8, 8, 1]"),
        (FLAT[0], "image: expected float [N, H, W, C], got float32 [8, 8, 1]"),
        (FLAT[:, :0], "image: expected at least one pixel and channel, got float32 [1, 0, 8, 1]"),
        (FLAT + np.inf, "image: expected finite values, got NaN or infinity"),
    ],
)
def test_trained_stages_say_what_is_wrong_as_the_regularisers_do(image, message):
    for upscaler in (upscale.best(SAMPLING), upscale.Upscaler(SAMPLING)):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            upscaler(image)


def test_no_image_is_an_empty_batch():
    for upscaler in (upscale.best(SAMPLING), upscale.Upscaler(SAMPLING), upscale.Upscaler(SAMPLING, relaxation=1.0)):
        assert upscaler(FLAT[:0]).shape == (0, 16, 16, 1)
        assert upscaler(FLAT[:0].repeat(3, -1)).shape == (0, 16, 16, 3)


def test_a_kernel_far_from_its_middle_shifts_the_image():
    kernel = np.zeros((1, 41))
    kernel[0, :3] = 1 / 3
    sampling = upscale.Sampling(2, kernel.tolist(), 0.0)
    f = photograph(12, 30, 1)
    u = upscale.upscale_exactly(f, sampling, tf.zeros_like, 1.0, 0)
    assert np.isfinite(u).all()
    np.testing.assert_allclose(
        sampling.operator()(np.pad(u, [(0, 0), (24, 24), (24, 24), (0, 0)], "symmetric"))[0, 12:24, 22:32, 0],
        f[0, :, 10:20, 0],
        atol=1e-3,
    )


def test_samplings_within_a_plain_graph():
    with tf.Graph().as_default():
        sampling = upscale.gaussian(2, 1.2)
        assert sampling.condition == pytest.approx(upscale.gaussian(2, 1.2).condition)
        assert sampling.margin == 16


@pytest.mark.parametrize("sigma", [0.75, 1.0])
def test_a_blur_too_wide_for_eq_47_is_refused(sigma):
    sampling = upscale.gaussian(2, 2 * sigma)
    with pytest.raises(ValueError, match=r"sampling: expected a condition of at least 0.0001 without a relaxation,"):
        upscale.Upscaler(sampling)
    assert upscale.best(sampling).relaxation == 1


@pytest.mark.parametrize("factor", [2, 3])
def test_what_eq_47_makes_of_a_rounded_image_of_a_wide_blur(factor):
    """The truth, blurred as wide as is allowed, subsampled and rounded to 8 bits, is found better than by Lanczos."""
    sampling = upscale.gaussian(factor, 0.7 * factor)
    truth = photograph(60, 90, 1)
    f = np.rint(255 * sampling.operator("replicate")(truth)) / np.float32(255)
    errors = [
        np.mean(np.square(np.asarray(u) - truth))
        for u in (upscale.Upscaler(sampling)(f), interpolate(f, factor, sampling.position))
    ]
    assert errors[0] < errors[1]


def test_an_image_smaller_than_margin_and_kernel_is_reflected_again_and_again():
    sampling, f = upscale.gaussian(2, 1.4), photograph(1, 3, 1)
    wide = np.tile(np.concatenate([f, f[:, :, ::-1]], 2), [1, 8, 8, 1])
    upscaler = upscale.Upscaler(sampling)
    found = upscaler(f)
    assert found.shape == (1, 2, 6, 1)
    np.testing.assert_allclose(found, upscaler(wide)[:, 8:10, 48:54], atol=2e-3)
