"""The application: sub-pixel shifts and warps by shipped models, SavedModels, the program."""

import os
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
import tensorflow as tf

import blade_tf
from blade_tf import flow_io, image_io, models
from blade_tf.apps import resample
from blade_tf.compare import interpolation
from blade_tf.data.resampling import translated
from blade_tf.interpolation import cubic, lanczos

MODELS = ("resample", "resample_noisy", "resample_paper")


def colour(height=48, width=56):
    return skimage.data.astronaut()[20 : 20 + height, 190 : 190 + width][np.newaxis] / np.float32(255)


def error(found, truth):
    return float(np.sqrt(np.mean(np.square(np.asarray(found) - truth)[..., 8:-8, 8:-8, :])))


@pytest.fixture(scope="module")
def fine():
    return skimage.data.camera()[..., np.newaxis] / np.float32(255)


def test_the_models_ship():
    assert set(models.pretrained_names("resampling")) == set(MODELS)
    assert not set(models.pretrained_names()) & set(MODELS)


@pytest.mark.parametrize("shift", [(0.5, 0.5), (0.3, -0.2), (-0.45, 0.1)])
def test_it_is_nearer_to_the_truth_than_classical_interpolation(shift, fine):
    image, truth = (translated(fine, [dx], [dy]) for dx, dy in ((0, 0), shift))
    field = np.broadcast_to(np.float32(shift), (*image.shape[1:3], 2))
    classical = [interpolation.kernel(cubic(a), 2) for a in (-0.5, -0.75)]
    classical += [interpolation.kernel(lanczos(4), 4), interpolation.spline(5)]
    rivals = [error(method(image[0], field)[np.newaxis], truth) for method in classical]
    assert error(resample.resample(image, shift), truth) < 0.98 * min(rivals)


def test_the_papers_form_is_for_small_displacements(fine):
    bicubic = interpolation.kernel(cubic(-0.5), 2)
    ratios = []
    for length in (0.1, 0.5):
        image, truth = translated(fine, [0, length], [0])[:, np.newaxis]
        field = np.broadcast_to(np.float32([length, 0]), (*image.shape[1:3], 2))
        found = resample.resample(image, (length, 0.0), "resample_paper")
        ratios.append(error(found, truth) / error(bicubic(image[0], field)[np.newaxis], truth))
    assert ratios[0] < 0.8
    assert ratios[1] > 1


def test_noise_is_removed_on_the_way(fine):
    image, truth = translated(fine, [0, 0.4], [0])[:, np.newaxis]
    noisy = image + 3 / 255 * np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
    plain, clean = (error(resample.resample(noisy, (0.4, 0.0), name), truth) for name in MODELS[:2])
    assert clean < 0.87 * plain


def test_no_displacement_changes_nothing():
    image = colour()
    np.testing.assert_array_equal(resample.resample(image, (0.0, 0.0)), image)
    np.testing.assert_array_equal(resample.resample(image, (0.0, 0.0), "resample_paper"), image)


def test_whole_pixels_are_shifts():
    image = colour()
    np.testing.assert_array_equal(resample.resample(image, (3.0, -2.0))[:, 2:, :-3], image[:, :-2, 3:])


@pytest.mark.parametrize("name", MODELS)
def test_constants_stay(name):
    image = np.full((1, 20, 30, 1), 0.4, np.float32)
    v = np.random.default_rng(0).uniform(-30, 30, (1, 20, 30, 2)).astype(np.float32)
    np.testing.assert_allclose(resample.resample(image, v, name), 0.4, atol=1e-6)


def test_gray_in_colour_is_gray():
    gray = colour()[..., :1]
    found = resample.resample(np.repeat(gray, 3, axis=-1), (0.3, 0.4))
    for k in range(3):
        np.testing.assert_allclose(found[..., k], resample.resample(gray, (0.3, 0.4))[..., 0], atol=3e-3)


def test_a_shift_is_the_same_displacement_everywhere():
    image = colour()
    v = np.tile(np.float32([0.3, -1.7]), (1, *image.shape[1:3], 1))
    np.testing.assert_array_equal(resample.resample(image, [0.3, -1.7]), resample.resample(image, v))


def test_there_and_back_again():
    image = tf.constant(colour(64, 64))
    back = resample.resample(resample.resample(image, (0.4, -0.3)), (-0.4, 0.3))
    once = interpolation.spline(5)(image[0].numpy(), np.full((64, 64, 2), (0.4, -0.3)))
    twice = interpolation.spline(5)(once, np.full((64, 64, 2), (-0.4, 0.3)))
    assert error(back, image) < error(twice[np.newaxis], image)


def test_unknown_flow_is_filled():
    image = colour(10, 12)
    v = np.zeros((1, 10, 12, 2), np.float32)
    v[0, 3, 4] = 1.666666752e9
    found = resample.resample(image, v).numpy()
    assert np.isnan(found[0, 3, 4]).all()
    assert np.isfinite(found).sum() == found.size - 3
    assert (resample.resample(image, v, fill=0.5)[0, 3, 4].numpy() == 0.5).all()


def test_bad_input_is_refused():
    image, v = colour(10, 12), np.zeros((1, 10, 12, 2), np.float32)
    with pytest.raises(ValueError, match=r"displacement: expected float32 \[N, H, W, 2\] = \[1, 10, 12, 2\]"):
        resample.resample(image, v[:, :-1])
    v[0, 2, 3, 1] = np.nan
    with pytest.raises(ValueError, match=r"displacement: expected numbers, got NaN at \[0, 2, 3, 1\]"):
        resample.resample(image, v)
    with pytest.raises(ValueError, match=r"displacement: expected float32 \[N, H, W, 2\] = .*, got \[1, 10, 12\]"):
        resample.resample(image, v[..., 0] * 0)
    with pytest.raises(ValueError, match=r"displacement: expected two numbers or \[N, H, W, 2\], got \[3\]"):
        resample.resample(image, [1.0, 2.0, 3.0])
    for dtype in (np.int32, np.float16):
        for wrong in (np.ones(2, dtype), np.zeros((1, 10, 12, 2), dtype)):
            with pytest.raises(TypeError, match=f"displacement: expected float32 or float64 .*, got {np.dtype(dtype)}"):
                resample.resample(image, wrong)
    with pytest.raises(ValueError, match=r"image: expected float \[N, H, W, C\], got uint8 \[1, 10, 12, 1\]"):
        resample.resample(np.zeros((1, 10, 12, 1), np.uint8), (0.5, 0.5))
    with pytest.raises(ValueError, match=r"image: expected at least one pixel and channel, got .* \[1, 0, 12, 3\]"):
        resample.resample(image[:, :0], (0.5, 0.5))
    assert resample.resample(image[:0], (0.5, 0.5)).shape == (0, 10, 12, 3)
    with pytest.raises(ValueError, match=r"model: unknown name or path 'resampel', did you mean 'resample'\?"):
        resample.resample(image, (0.5, 0.5), "resampel")
    with pytest.raises(ValueError, match="model: expected one that resamples images, got 'ced', trained for evolution"):
        resample.resample(image, (0.5, 0.5), "ced")


def test_arrays_of_displacements_keep_their_precision():
    """A third of a pixel, which float32 rounds, of a ramp in float64."""
    image = np.tile(np.linspace(0, 1, 40)[:, np.newaxis], (1, 30, 1, 1))
    shift = np.array([1 / 3, 0])
    wanted = resample.resample(image, tf.constant(shift))
    assert np.abs(wanted - resample.resample(image, shift.astype(np.float32))).max() > 1e-11
    np.testing.assert_array_equal(resample.resample(image, shift), wanted)
    np.testing.assert_array_equal(resample.resample(image, [1, 0]), resample.resample(image, np.float32([1, 0])))


@pytest.mark.parametrize("length", [1, 3])
def test_a_graph_refuses_shifts_of_other_lengths(length):
    image = tf.constant(colour(10, 12))
    graph = tf.function(lambda shift: resample.resample(image, shift), input_signature=[tf.TensorSpec([None])])
    np.testing.assert_array_equal(graph(tf.constant([3.0, 0.0])), resample.resample(image, (3.0, 0.0)))
    message = r"displacement: expected two numbers or \[N, H, W, 2\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        graph(tf.zeros([length]))


LOAD = """
import sys
import numpy as np
import tensorflow as tf
if "with" in sys.argv[1]:
    import blade_tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
with np.load(sys.argv[2]) as given:
    inputs = {name: tf.constant(given[name]) for name in given.files}
np.save(sys.argv[3], serve(**inputs)["output"])
"""


@pytest.mark.parametrize("portable", [False, True])
def test_a_fresh_process_loads_the_export(portable, tmp_path):
    saved = tmp_path / ("alone" if portable else "with")
    resample.export(saved, portable=portable, channels=3)
    image = colour(21, 26)
    v = np.random.default_rng(0).uniform(-3, 3, (1, 21, 26, 2)).astype(np.float32)
    np.savez(tmp_path / "given.npz", image=image, displacement=v)
    path = "" if portable else os.path.dirname(os.path.dirname(blade_tf.__file__))
    command = [sys.executable, *(["-I"] if portable else []), "-c", LOAD]
    done = subprocess.run(
        [*command, str(saved), str(tmp_path / "given.npz"), str(tmp_path / "out.npy")],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), resample.resample(image, v), atol=2e-6)


def test_wrong_exports_are_refused(tmp_path):
    with pytest.raises(ValueError, match="channels: expected an integer of at least 1, got 0"):
        resample.export(tmp_path / "saved", channels=0)
    with pytest.raises(ValueError, match=r"output: .* exists"):
        resample.export(tmp_path)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_program_shifts_files(bits, channels, program, tmp_path):
    values = (colour()[0, ..., :channels] * (2**bits - 1)).round() / np.float32(2**bits - 1)
    image_io.write_image(tmp_path / "in.png", image_io.Image(values.astype(np.float32), bits=bits))
    outcome = program(
        "resample", f"--input={tmp_path / 'in.png'}", f"--output={tmp_path / 'out.png'}", "--shift=2,-0.25", "--beside"
    )
    assert (outcome.status, outcome.err) == (0, "")
    found = image_io.read_image(tmp_path / "out.png")
    assert found.bits == bits
    assert found.alpha is None
    expected = resample.resample(image_io.read_image(tmp_path / "in.png").pixels[np.newaxis], (2.0, -0.25))
    np.testing.assert_array_equal(image_io.quantize(found.pixels, bits), image_io.quantize(expected[0].numpy(), bits))
    assert (tmp_path / "out_beside.png").exists()


@pytest.mark.parametrize("bits", [8, 16])
def test_the_program_resamples_colours_by_their_alpha(bits, program, tmp_path):
    """A gray disk: what was green beneath alpha 0 shows nowhere, and what is unknown is transparent."""
    y, x = np.mgrid[:48, :56] - 25
    opaque = np.hypot(x, y) < 15
    pixels = np.where(opaque[..., np.newaxis], 0.5, [0.0, 1.0, 0.0]).astype(np.float32)
    given = image_io.Image(pixels, (opaque * (2**bits - 1)).astype(f"uint{bits}"), bits)
    image_io.write_image(tmp_path / "in.png", given)
    flow = np.full([48, 56, 2], (2.0, -0.25), np.float32)
    flow[20, 30] = 1.666666752e9
    flow_io.write_flow(tmp_path / "flow.flo", flow)
    arguments = f"--input={tmp_path / 'in.png'}", f"--output={tmp_path / 'out.png'}", f"--flow={tmp_path / 'flow.flo'}"
    assert program("resample", *arguments, "--fill=1").status == 0
    found = image_io.read_image(tmp_path / "out.png")
    opacity = resample.resample(opaque[np.newaxis, ..., np.newaxis].astype(np.float32), (2.0, -0.25))[0, ..., 0].numpy()
    expected = image_io.quantize(opacity, bits)
    expected[20, 30] = 0
    np.testing.assert_array_equal(found.alpha, expected)
    assert found.alpha[20, 29] > 0.99 * 2**bits
    np.testing.assert_array_equal(found.pixels[..., 1], found.pixels[..., 0])
    np.testing.assert_allclose(found.pixels[found.alpha > 0.2 * 2**bits], 0.5, atol=0.02)
    np.testing.assert_array_equal(found.pixels[found.alpha == 0], 0)


def test_the_program_warps_along_flow(program, tmp_path):
    image = image_io.Image(colour()[0])
    image_io.write_image(tmp_path / "in.png", image)
    flow = np.random.default_rng(0).uniform(-2, 2, (48, 56, 2)).astype(np.float32)
    flow[5, 6] = 1.666666752e9
    flow_io.write_flow(tmp_path / "flow.flo", flow)
    arguments = f"--input={tmp_path / 'in.png'}", f"--output={tmp_path / 'out.png'}", f"--flow={tmp_path / 'flow.flo'}"
    assert "fill: expected a value in [0, 1], got nan" in program("resample", *arguments, "--fill=nan").err
    assert program("resample", *arguments, "--fill=1", "--model=resample_paper").status == 0
    given = image_io.read_image(tmp_path / "in.png").pixels[np.newaxis]
    expected = resample.resample(given, flow[np.newaxis], "resample_paper", 1.0)[0].numpy()
    found = image_io.read_image(tmp_path / "out.png").pixels
    assert (found[5, 6] == 1).all()
    np.testing.assert_array_equal(image_io.quantize(found), image_io.quantize(expected))


def test_the_program_aligns(program, tmp_path):
    """A photograph against itself one row further down and three columns to the left, in a folder of two."""
    whole = skimage.data.astronaut()[60:190, 100:260].astype(np.float32) / 255
    reference, moving = whole[4:-4, 4:-4], whole[3:-5, 7:-1]
    for name, pixels in (("first.png", reference), ("in/a.png", moving), ("in/small.png", moving[:-1])):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image_io.write_image(tmp_path / name, image_io.Image(pixels))
    arguments = f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}", f"--align={tmp_path / 'first.png'}"
    outcome = program("resample", *arguments, f"--write_flow={tmp_path / 'flows'}")
    assert outcome.status == 1
    assert "small.png: moving: expected the shape of the reference" in outcome.err
    assert not (tmp_path / "out" / "small.png").exists()
    found = image_io.read_image(tmp_path / "out" / "a.png").pixels
    inside = slice(8, -8)
    assert np.abs(found - reference)[inside, inside].mean() < 0.01
    assert np.abs(moving - reference)[inside, inside].mean() > 0.05
    assert [path.name for path in (tmp_path / "flows").iterdir()] == ["a.png.flo"]
    flow = flow_io.read_flow(tmp_path / "flows" / "a.png.flo")
    assert np.median(np.abs(flow - [-3, 1])) < 0.05
    one = f"--input={tmp_path / 'in' / 'a.png'}", f"--output={tmp_path / 'a.png'}", arguments[2]
    assert program("resample", *one, f"--write_flow={tmp_path / 'a.flo'}").status == 0
    np.testing.assert_array_equal(flow_io.read_flow(tmp_path / "a.flo"), flow)
    along = f"--input={tmp_path / 'in' / 'a.png'}", f"--output={tmp_path / 'b.png'}", f"--flow={tmp_path / 'a.flo'}"
    assert program("resample", *along).status == 0
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_the_program_exports(program, tmp_path):
    assert program("resample", f"--export={tmp_path / 'saved'}").status == 0
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    gray = tf.constant(colour(12, 14)[..., :1])
    found = serve(image=gray, displacement=tf.fill([1, 12, 14, 2], 0.25))["output"]
    np.testing.assert_allclose(found, resample.resample(gray, (0.25, 0.25)), atol=2e-6)


def test_the_program_exports_and_resamples(program, tmp_path):
    image_io.write_image(tmp_path / "in.png", image_io.Image(colour(12, 14)[0]))
    arguments = f"--input={tmp_path / 'in.png'}", f"--output={tmp_path / 'out.png'}", "--shift=1,0"
    assert program("resample", *arguments, f"--export={tmp_path / 'saved'}", "--channels=3").status == 0
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    given = image_io.read_image(tmp_path / "in.png").pixels[np.newaxis]
    found = serve(image=tf.constant(given), displacement=tf.tile([[[[1.0, 0.0]]]], [1, 12, 14, 1]))["output"]
    np.testing.assert_allclose(image_io.read_image(tmp_path / "out.png").pixels, found[0], atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--export={saved}", "--shift=nonsense"], "shift: expected none without --input, got ['nonsense']"),
        (["--input=a.png", "--output=b.png", "--shift=1,1", "--fill=1"], "fill: expected none without --flow, got 1.0"),
        (
            ["--input=a.png", "--output=b.png", "--shift=1,1", "--write_flow=f.flo"],
            "write_flow: expected none without --align, got 'f.flo'",
        ),
        (
            ["--input=a.png", "--output=b.png", "--export={saved}", "--shift=x,1"],
            "shift: expected two numbers dx,dy of at most 1e+09, got 'x,1'",
        ),
    ],
)
def test_flags_that_make_no_sense_together(arguments, message, program, tmp_path):
    saved = tmp_path / "saved"
    outcome = program("resample", *(argument.format(saved=saved) for argument in arguments))
    assert (outcome.status, outcome.err) == (1, f"blade-resample: {message}\n")
    assert not saved.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one of --shift, --flow and --align"),
        (["--shift=1,2", "--flow=x.flo"], "expected one of --shift, --flow and --align"),
        (["--shift=1"], "shift: expected two numbers dx,dy of at most 1e+09, got '1'"),
        (["--shift=1,nan"], "shift: expected two numbers dx,dy of at most 1e+09, got '1,nan'"),
        (["--shift=0,-1.1e9"], "shift: expected two numbers dx,dy of at most 1e+09, got '0,-1.1e9'"),
        (["--flow=missing.flo"], "No such file"),
        (["--flow={small}"], r"displacement: expected float32 [N, H, W, 2] = [1, 12, 14, 2]"),
        (["--shift=1,1", "--model=ced"], "model: expected one that resamples images, got 'ced'"),
    ],
)
def test_mistakes_are_one_line(arguments, message, program, tmp_path):
    image_io.write_image(tmp_path / "in.png", image_io.Image(colour(12, 14)[0]))
    flow_io.write_flow(tmp_path / "small.flo", np.zeros((4, 5, 2), np.float32))
    arguments = [argument.format(small=tmp_path / "small.flo") for argument in arguments]
    outcome = program("resample", f"--input={tmp_path / 'in.png'}", f"--output={tmp_path / 'out.png'}", *arguments)
    assert outcome.status == 1
    assert outcome.err.startswith("blade-resample: ")
    assert len(outcome.err.splitlines()) == 1
    assert message in outcome.err
    assert not (tmp_path / "out.png").exists()
