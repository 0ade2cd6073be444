"""What blade-segment writes, and what it refuses."""

import re

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageCms

from blade_tf import image_io


@pytest.fixture
def halves():
    """Gray levels 51 and 102, half of the image each, [24, 30, 1]."""
    return np.where(np.arange(30) < 15, 0.2, 0.4)[np.newaxis, :, np.newaxis].repeat(24, 0).astype(np.float32)


def test_masks_of_jpeg_files_are_lossless(program, halves, tmp_path):
    (tmp_path / "in").mkdir()
    image_io.write_image(tmp_path / "in" / "a.jpg", image_io.Image(halves))
    outcome = program("segment", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}", "--stretch")
    assert outcome.status == 0, outcome.err
    mask = image_io.read_image(tmp_path / "out" / "a.jpg.png").pixels
    assert set(np.unique(mask)) == {0, 1}

    outcome = program("segment", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'drawn'}", "--overlay")
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "drawn" / "a.jpg").exists()


def test_means_are_of_the_image_as_it_is(program, halves, tmp_path):
    image_io.write_image(tmp_path / "a.png", image_io.Image(halves))
    options = (
        f"--input={tmp_path / 'a.png'}",
        f"--output={tmp_path / 'b.png'}",
        "--stretch",
        "--mu=0.01",
    )
    outcome = program("segment", *options)
    assert outcome.status == 0, outcome.err
    assert sorted(re.findall(r"side (\S+) %, mean (\d+\.\d)", outcome.out)) == [("50.0", "102.0"), ("50.0", "51.0")]


def test_an_outline_keeps_the_depth_of_the_rest(program, halves, tmp_path):
    pixels = halves + np.float32(1 / 65535)
    image_io.write_image(tmp_path / "a.png", image_io.Image(pixels, bits=16))
    options = f"--input={tmp_path / 'a.png'}", f"--output={tmp_path / 'b.png'}", "--stretch", "--overlay", "--mu=0.01"
    outcome = program("segment", *options)
    assert outcome.status == 0, outcome.err
    drawn = image_io.read_image(tmp_path / "b.png")
    red = np.all(drawn.pixels == [1, 0, 0], axis=-1)
    given = image_io.read_image(tmp_path / "a.png").pixels
    assert drawn.bits == 16
    assert np.all(red == np.isin(np.arange(30), (14, 15)))
    np.testing.assert_array_equal(drawn.pixels[~red], given.repeat(3, -1)[~red])


@pytest.mark.parametrize(("options", "kept"), [((), False), (("--overlay",), True)])
def test_a_profile_of_colour_is_for_colour(options, kept, program, halves, tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image_io.write_image(tmp_path / "a.png", image_io.Image(halves.repeat(3, -1), icc_profile=profile))
    outcome = program("segment", f"--input={tmp_path / 'a.png'}", f"--output={tmp_path / 'b.png'}", *options)
    assert outcome.status == 0, outcome.err
    with PILImage.open(tmp_path / "b.png") as written:
        assert written.info.get("icc_profile") == (profile if kept else None)


@pytest.mark.parametrize(("flag", "value"), [("start", "a.png"), ("stretch", True), ("overlay", True)])
def test_no_flag_is_ignored(flag, value, program, tmp_path):
    option = f"--{flag}" if value is True else f"--{flag}={value}"
    outcome = program("segment", f"--export={tmp_path / 'saved'}", option)
    message = f"blade-segment: {flag}: expected none without --input, got {value!r}\n"
    assert (outcome.status, outcome.err) == (1, message)
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(("flag", "value"), [("start", "a.png"), ("stretch", True)])
def test_an_export_does_what_the_files_get(flag, value, program, halves, tmp_path):
    image_io.write_image(tmp_path / "a.png", image_io.Image(halves))
    places = {"input": "a.png", "output": "b.png", "export": "saved"}
    files = [f"--{name}={tmp_path / place}" for name, place in places.items()]
    outcome = program("segment", *files, f"--{flag}" if value is True else f"--{flag}={value}")
    message = f"blade-segment: {flag}: expected none with --export, got {value!r}\n"
    assert (outcome.status, outcome.err) == (1, message)
    assert not (tmp_path / "b.png").exists()


def test_a_border_too_heavy_for_the_model_is_refused_first(program, halves, tmp_path):
    image_io.write_image(tmp_path / "a.png", image_io.Image(halves))
    files = f"--input={tmp_path / 'a.png'}", f"--output={tmp_path / 'b.png'}"
    outcome = program("segment", *files, "--mu=0.2", "--model=tv_flow_paper")
    assert outcome.status == 1
    assert outcome.err.startswith("blade-segment: mu: expected at most 0.1 with a model, got 0.2; the reference solver")
    assert program("segment", *files, "--mu=0.2").status == 0


def test_the_help_states_defaults(program):
    entries = re.findall(r"^  --(\w+): (.*(?:\n      .*)*)", program("segment", "--help").out, re.MULTILINE)
    meanings = {name: " ".join(text.split()) for name, text in entries}
    for name, default in {
        "model": "the semi-implicit reference solver, more exact and faster",
        "channels": "1",
        "nu": "0",
        "lambda1": "1",
        "lambda2": "1",
        "dt": "0.5",
        "iterations": "300",
        "tolerance": "0.001",
    }.items():
        assert meanings[name].endswith(f"default: {default}."), name
    assert "default: 0.2; with --model, where a fifth weighs the same, 0.04, and 0.1 at most." in meanings["mu"]
