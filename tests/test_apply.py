import dataclasses
import os

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
import tifffile
from PIL import Image, ImageCms

from blade_tf import apply, colour, image_files, image_io, metrics, models


@pytest.fixture(scope="module")
def folder(workdir):
    return workdir / "model"


@pytest.fixture(scope="module")
def model(folder):
    return models.load(folder)


def samples(bits, channels, height=37, width=50):
    """A photograph's samples [height, width, channels]; the last of 2 or 4 is alpha, a gradient."""
    colour = skimage.data.astronaut()[20 : 20 + height, 190 : 190 + width].astype(np.uint32)
    values = colour if channels > 2 else colour[..., :1]
    if bits == 16:
        values = values * 257 - values % 7
    if channels in (2, 4):
        alpha = np.add.outer(np.arange(height), np.arange(width)) * ((2**bits - 1) // (height + width))
        values = np.concatenate([values, alpha[..., np.newaxis]], axis=-1)
    return values.astype(f"uint{bits}")


def image_of(values):
    bits, colours = 8 * values.dtype.itemsize, values.shape[-1] - (values.shape[-1] + 1) % 2
    alpha = values[..., -1] if values.shape[-1] > colours else None
    return image_io.Image(values[..., :colours].astype(np.float32) / (2**bits - 1), alpha, bits)


LOSSLESS = [(suffix, bits, channels) for suffix in ("png", "tif") for bits in (8, 16) for channels in (1, 2, 3, 4)]


@pytest.mark.parametrize(("suffix", "bits", "channels"), LOSSLESS)
def test_no_step_is_the_identity(suffix, bits, channels, folder, tmp_path):
    values = samples(bits, channels)
    image_io.write_image(tmp_path / f"in.{suffix}", image_of(values))
    assert apply.apply_files(folder, tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}", 0) == {}
    assert (tmp_path / f"out.{suffix}").read_bytes() == (tmp_path / f"in.{suffix}").read_bytes()


@pytest.mark.parametrize(("suffix", "bits", "channels"), LOSSLESS)
def test_results_keep_depth_and_alpha(suffix, bits, channels, folder, model, tmp_path):
    values = samples(bits, channels)
    image_io.write_image(tmp_path / f"in.{suffix}", image_of(values))
    assert apply.apply_files(folder, tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}") == {}
    found = image_io.read_image(tmp_path / f"out.{suffix}")
    assert found.bits == bits
    if channels in (2, 4):
        np.testing.assert_array_equal(found.alpha, values[..., -1])
    else:
        assert found.alpha is None
    channels = np.moveaxis(image_of(values).pixels, -1, 0)[..., np.newaxis]
    evolved = np.moveaxis(model.evolve(channels).numpy()[..., 0], 0, -1)
    expected = np.rint(np.clip(evolved.astype(np.float64), 0, 1) * (2**bits - 1))
    np.testing.assert_allclose(found.pixels * (2**bits - 1), expected, atol=0.01 if bits == 8 else 1.01)
    assert np.abs(evolved - image_of(values).pixels).max() > 0.02


def test_files_of_other_programs(folder, tmp_path):
    """A 16-bit TIFF by tifffile and an 8-bit PNG and a JPEG by Pillow, and what these make of the results."""
    wide, narrow = samples(16, 3), samples(8, 3)
    tifffile.imwrite(tmp_path / "wide.tif", wide)
    Image.fromarray(narrow).save(tmp_path / "narrow.png")
    Image.fromarray(narrow).save(tmp_path / "photo.jpg", quality=95)
    for name in ("wide.tif", "narrow.png", "photo.jpg"):
        assert apply.apply_files(folder, tmp_path / name, tmp_path / f"out-{name}", 0) == {}
    result = tifffile.imread(tmp_path / "out-wide.tif")
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, wide)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out-narrow.png")), narrow)
    again, before = (np.asarray(Image.open(tmp_path / name), float) for name in ("out-photo.jpg", "photo.jpg"))
    assert np.sqrt(np.mean((again - before) ** 2)) < 3


def test_one_format_may_become_another(folder, tmp_path):
    image_io.write_image(tmp_path / "in.tif", image_of(samples(16, 2)))
    assert apply.apply_files(folder, tmp_path / "in.tif", tmp_path / "out.png", 0) == {}
    written = image_io.read_image(tmp_path / "out.png")
    np.testing.assert_array_equal(written.pixels, image_of(samples(16, 2)).pixels)
    failed = apply.apply_files(folder, tmp_path / "in.tif", tmp_path / "out.jpg", 0)
    assert list(failed) == [str(tmp_path / "in.tif")]
    assert "out.jpg" in failed[str(tmp_path / "in.tif")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tif", "out.png"]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (37, 1), (2, 3)])
@pytest.mark.parametrize("channels", [1, 4])
def test_any_size(height, width, channels, folder, tmp_path):
    image_io.write_image(tmp_path / "in.png", image_of(samples(8, channels, height, width)))
    assert apply.apply_files(folder, tmp_path / "in.png", tmp_path / "out.png") == {}
    found = image_io.read_image(tmp_path / "out.png")
    assert found.pixels.shape == (height, width, 1 if channels == 1 else 3)
    if height == width == 1:
        # One pixel is constant: the filters sum to zero.
        np.testing.assert_array_equal(found.pixels, image_io.read_image(tmp_path / "in.png").pixels)


def test_gray_evolves_as_each_channel_of_the_same_in_colour(model):
    gray = skimage.data.camera()[:200, :300, np.newaxis].astype(np.float32) / 255
    alone, colour = apply.apply_image(model, gray), apply.apply_image(model, np.repeat(gray, 3, axis=-1))
    for c in (1, 2):
        np.testing.assert_array_equal(colour[..., c], colour[..., 0])
    # The luma of r = g = b differs from them by 1e-7, which at a bin's edge selects the filter beside.
    difference = np.abs(colour[..., :1] - alone)
    assert np.mean(difference > 1e-6) < 0.01
    assert difference.max() < 0.01


def test_channels_share_the_selection_by_luma(model):
    colour = samples(8, 3).astype(np.float32) / 255
    found = apply.apply_image(model, colour)
    selected = model.rates[0].selection((colour @ np.array([0.299, 0.587, 0.114], np.float32))[np.newaxis, ..., None])
    first = colour + model.dt * model.rates[0].blade(colour[np.newaxis], selected).numpy()[0]
    np.testing.assert_allclose(apply.apply_image(model, colour, 1), first, atol=2e-6)
    assert found.shape == colour.shape


def test_smaller_steps_reach_about_the_same(model):
    image = skimage.data.camera()[100:228, 100:228, np.newaxis].astype(np.float32) / 255
    full = apply.apply_image(model, image)[np.newaxis]
    np.testing.assert_array_equal(apply.apply_image(model, image, 10, model.dt)[np.newaxis], full)
    psnr = [
        float(metrics.psnr(full, apply.apply_image(model, image, 10 * k, model.dt / k)[np.newaxis])[0]) for k in (2, 8)
    ]
    assert min(psnr) > 40
    assert min(psnr) > float(metrics.psnr(full, image[np.newaxis])[0]) + 10


def write_folder(folder):
    (folder / "sub" / "deeper").mkdir(parents=True)
    image_io.write_image(folder / "a.png", image_of(samples(8, 3)))
    image_io.write_image(folder / "sub" / "b.tif", image_of(samples(16, 1)))
    image_io.write_image(folder / "sub" / "deeper" / "c.jpg", image_of(samples(8, 1)))
    (folder / "sub" / "broken.png").write_bytes((folder / "a.png").read_bytes()[:500])
    (folder / "notes.txt").write_text("not an image")


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_with_a_corrupt_file(program, folder, tmp_path):
    write_folder(tmp_path / "in")
    outcome = program("apply", f"--model={folder}", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}")
    assert outcome.status == 1
    assert outcome.err.splitlines()[-1] == f"blade-apply: {tmp_path}/in/sub/broken.png: image file is truncated"
    assert "Traceback" not in outcome.err
    assert files_in(tmp_path / "out") == ["a.png", "sub/b.tif", "sub/deeper/c.jpg"]
    assert apply.apply_files(folder, tmp_path / "in" / "a.png", tmp_path / "alone.png") == {}
    assert (tmp_path / "alone.png").read_bytes() == (tmp_path / "out" / "a.png").read_bytes()


def test_a_folder_for_results_inside_the_input(folder, tmp_path):
    write_folder(tmp_path)
    (tmp_path / "sub" / "broken.png").unlink()
    for _ in range(2):
        assert apply.apply_files(folder, tmp_path, tmp_path / "results") == {}
    assert files_in(tmp_path / "results") == ["a.png", "sub/b.tif", "sub/deeper/c.jpg"]


def test_a_file_into_a_folder(folder, tmp_path):
    image_io.write_image(tmp_path / "a.png", image_of(samples(8, 1)))
    (tmp_path / "results").mkdir()
    assert apply.apply_files(folder, tmp_path / "a.png", tmp_path / "results", 0) == {}
    assert (tmp_path / "results" / "a.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_the_input_is_never_overwritten(folder, tmp_path):
    image_io.write_image(tmp_path / "a.png", image_of(samples(8, 1)))
    before = (tmp_path / "a.png").read_bytes()
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "here").symlink_to(tmp_path)
    for source, target in (("a.png", "a.png"), ("a.png", "."), ("a.png", "link.png"), ("link.png", "a.png")):
        with pytest.raises(ValueError, match="output: expected another file than the input"):
            apply.apply_files(folder, tmp_path / source, tmp_path / target)
    for target in (".", "here"):
        with pytest.raises(ValueError, match="output: expected another folder than the input"):
            apply.apply_files(folder, tmp_path, tmp_path / target)
    with pytest.raises(ValueError, match=r"output: expected a folder, as the input is one, got the file .*a\.png"):
        apply.apply_files(folder, tmp_path, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before


@pytest.mark.parametrize(
    ("steps", "dt", "message"),
    [
        (-1, None, "steps: expected a non-negative integer, got -1"),
        (1.5, None, "steps: expected a non-negative integer, got 1.5"),
        (None, 0.0, "dt: expected a positive number, got 0.0"),
        (3, -1.0, "dt: expected a positive number, got -1.0"),
        (3, float("nan"), "dt: expected a positive number, got nan"),
        (3, 1.0, "dt: expected at most the 0.0048 that the model was trained with, got 1"),
    ],
)
def test_steps_without_sense_are_refused_first(steps, dt, message, folder, tmp_path):
    write_folder(tmp_path / "in")
    with pytest.raises(ValueError, match=message):
        apply.apply_files(folder, tmp_path / "in", tmp_path / "out", steps, dt)
    assert not (tmp_path / "out").exists()


def test_what_is_not_finite_is_not_written(folder, tmp_path):
    (tmp_path / "in").mkdir()
    image_io.write_image(tmp_path / "in" / "photo.png", image_of(samples(8, 3)))
    image_io.write_image(tmp_path / "in" / "flat.png", image_io.Image(np.zeros((8, 8, 1), np.float32)))
    trained = models.load_trained(folder)
    dataclasses.replace(trained, spec=trained.spec | {"dt": 1e12}).save(tmp_path / "wild")
    failed = apply.apply_files(tmp_path / "wild", tmp_path / "in", tmp_path / "out", 20)
    photo = str(tmp_path / "in" / "photo.png")
    assert failed == {photo: f"{photo}: the result is not finite; a smaller dt may help"}
    assert files_in(tmp_path / "out") == ["flat.png"]


def test_what_cannot_be_read_or_written(folder, tmp_path):
    with pytest.raises(ValueError, match=r"input: .*none does not exist"):
        apply.apply_files(folder, tmp_path / "none", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no image found"):
        apply.apply_files(folder, tmp_path / "empty", tmp_path / "out")
    (tmp_path / "notes.txt").write_text("not an image")
    failed = apply.apply_files(folder, tmp_path / "notes.txt", tmp_path / "out.png")
    assert "notes.txt: not a PNG, JPEG, TIFF" in failed[str(tmp_path / "notes.txt")]
    image_io.write_image(tmp_path / "a.png", image_of(samples(8, 1)))
    for target in ("notes.txt/out.png", "out.gif", "out"):
        (reason,) = apply.apply_files(folder, tmp_path / "a.png", tmp_path / target).values()
        assert str(tmp_path / target.partition("/")[0]) in reason
    assert files_in(tmp_path) == ["a.png", "notes.txt"]


def test_a_full_disk_leaves_no_half_file(folder, tmp_path, monkeypatch):
    write_folder(tmp_path / "in")
    (tmp_path / "in" / "sub" / "broken.png").unlink()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    failed = apply.apply_files(folder, tmp_path / "in", tmp_path / "out")
    assert len(failed) == 3
    assert all("No space left on device" in reason for reason in failed.values())
    assert files_in(tmp_path / "out") == []


@pytest.mark.parametrize("way", colour.WAYS)
def test_a_gray_photograph_in_colour_evolves_as_in_gray_in_every_way(way, folder):
    gray = skimage.data.camera()[100:180, 150:250, np.newaxis].astype(np.float32) / 255
    evolution = colour.Evolution(models.load_trained(folder), way)
    alone = apply.apply_image(evolution, gray)
    difference = np.abs(apply.apply_image(evolution, np.repeat(gray, 3, axis=-1)) - alone)
    # A pixel at a bin's edge may select the filter beside, where luma or a mean are rounded.
    assert np.mean(difference > 1e-6) < 0.01
    assert np.abs(alone - gray).max() > 0.01


def test_channels_by_themselves_are_the_default_where_the_equation_has_no_other(folder, model, tmp_path):
    values = samples(16, 3)
    image_io.write_image(tmp_path / "in.png", image_of(values))
    expected = np.concatenate([apply.apply_image(model, c) for c in np.split(image_of(values).pixels, 3, axis=2)], 2)
    for name, options in (("default", {}), ("separate", {"colour": "separate"}), ("luma", {"colour": "luma"})):
        assert apply.apply_files(folder, tmp_path / "in.png", tmp_path / f"{name}.png", **options) == {}
    for name in ("default", "separate"):
        np.testing.assert_allclose(image_io.read_image(tmp_path / f"{name}.png").pixels, expected, atol=0.6 / 65535)
    assert np.abs(image_io.read_image(tmp_path / "luma.png").pixels - expected).max() > 0.01


def test_the_shared_tensor_is_the_default_of_coherence_enhancing_diffusion():
    assert {name: colour.best_way(models.load_trained(name)) for name in ("ced", "tv_flow", "cahn_hilliard")} == {
        "ced": "joint",
        "tv_flow": "separate",
        "cahn_hilliard": "separate",
    }


def test_unknown_ways_are_refused(folder, workdir, tmp_path):
    image_io.write_image(tmp_path / "a.png", image_of(samples(8, 1)))
    with pytest.raises(ValueError, match="colour: unknown way 'seperate', did you mean 'separate'"):
        apply.apply_files(folder, tmp_path / "a.png", tmp_path / "b.png", colour="seperate")
    with pytest.raises(
        ValueError, match=r"colour: expected none, as a \.keras file selects in its own way, got 'luma'"
    ):
        apply.apply_files(workdir / "model.keras", tmp_path / "a.png", tmp_path / "b.png", colour="luma")


def test_unknown_models_bring_the_nearest(tmp_path):
    image_io.write_image(tmp_path / "a.png", image_of(samples(8, 1)))
    with pytest.raises(ValueError, match="model: unknown name or path 'tv_flow_papr', did you mean 'tv_flow_paper'"):
        apply.apply_files("tv_flow_papr", tmp_path / "a.png", tmp_path / "out.png")
    with pytest.raises(ValueError, match=r"gone\.keras"):
        apply.apply_files(tmp_path / "gone.keras", tmp_path / "a.png", tmp_path / "out.png")


def test_an_array_of_another_rank_is_refused(model):
    with pytest.raises(ValueError, match=r"image: expected \[H, W, C\], got float32 \[4, 5\]"):
        apply.apply_image(model, np.zeros((4, 5), np.float32))


def test_formats_that_are_read_but_not_written_become_png(folder, tmp_path):
    (tmp_path / "in").mkdir()
    gray = samples(8, 1)[..., 0]
    for number, name in enumerate(("photo.bmp", "photo.png")):
        Image.fromarray(gray // (number + 1)).save(tmp_path / "in" / name)
    assert apply.apply_files(folder, tmp_path / "in", tmp_path / "out", 0) == {}
    assert files_in(tmp_path / "out") == ["photo.bmp.png", "photo.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "photo.bmp.png")), gray)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "photo.png")), gray // 2)


def test_a_picture_of_the_result_beside_the_input(tmp_path):
    """Also of a result that is larger than its input, whose alpha is enlarged too."""
    values = samples(8, 4)
    image_io.write_image(tmp_path / "in.png", image_of(values))
    failed = image_files.convert(
        tmp_path / "in.png", tmp_path / "out.png", lambda image: 1 - image.pixels.repeat(2, 0).repeat(2, 1), "x", True
    )
    assert failed == {}
    found = image_io.read_image(tmp_path / "out.png")
    np.testing.assert_array_equal(found.alpha, values[..., 3].repeat(2, 0).repeat(2, 1))
    sheet = image_io.read_image(tmp_path / "out_beside.png").pixels
    height, width = found.pixels.shape[:2]
    margin = (sheet.shape[1] - 2 * width) // 3
    beside = [sheet[margin : margin + height, start : start + width] for start in (margin, 2 * margin + width)]
    np.testing.assert_allclose(beside[0], 1 - beside[1], atol=1e-6)
    np.testing.assert_array_equal(beside[1], found.pixels)


def test_what_a_function_refuses_is_named(tmp_path):
    write_folder(tmp_path / "in")

    def refuse(image):
        raise ValueError("kernel: too large")

    failed = image_files.convert(tmp_path / "in", tmp_path / "out", refuse, "x")
    assert any(reason.endswith("kernel: too large") for reason in failed.values())
    assert all(name in reason for name, reason in failed.items())
    assert not list(tmp_path.glob("out/**/*.png"))


def convert(source, target, **options):
    return image_files.convert(source, target, lambda image: 1 - image.pixels, "invert", **options)


def write(path, *sizes, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    image_io.write_image(path, image_io.Image(np.zeros((*(sizes or (4, 5)), 1), np.float32), **more))
    return path


def test_no_picture_beside_is_written_over_an_input_or_another_one(tmp_path):
    source = write(tmp_path / "x_beside.png")
    with pytest.raises(ValueError, match=r"output: expected another file than the input, got .*x_beside\.png"):
        convert(source, tmp_path / "x.png", beside=True)
    for name in ("in/a.png", "in/a.jpg"):
        write(tmp_path / name)
    with pytest.raises(ValueError, match=r"a_beside\.png, which is a result of .*a\.jpg, for the picture beside"):
        convert(tmp_path / "in", tmp_path / "out", beside=True)
    assert not (tmp_path / "out").exists()
    assert convert(tmp_path / "in", tmp_path / "out") == {}


def test_what_is_told_of_a_result(tmp_path):
    """Of each that was written, and no other."""
    for size in (4, 5, 6):
        write(tmp_path / f"in/{size}.png", size, 7)
    told = {}

    def halved(image):
        if len(image.pixels) == 5:
            raise ValueError("odd")
        return image.pixels / 2, image.pixels.shape

    failed = image_files.convert(tmp_path / "in", tmp_path / "out", halved, "halve", written=told.__setitem__)
    assert list(failed) == [str(tmp_path / "in/5.png")]
    assert told == {tmp_path / "in/4.png": (4, 7, 1), tmp_path / "in/6.png": (6, 7, 1)}
    assert files_in(tmp_path / "out") == ["4.png", "6.png"]


def test_an_input_within_the_output(tmp_path):
    write(tmp_path / "all/raw/a.png")
    assert convert(tmp_path / "all/raw", tmp_path / "all") == {}
    assert (tmp_path / "all/a.png").exists()
    with pytest.raises(ValueError, match="input: expected an image beside those of the output, got none"):
        convert(tmp_path, tmp_path / "all")


def test_what_a_format_cannot_hold_is_refused_before_the_work(tmp_path):
    source = write(tmp_path / "a.png", bits=16)
    failed = image_files.convert(source, tmp_path / "b.jpg", lambda _: pytest.fail("computed"), "fail")
    assert "JPEG holds 8 bits" in failed[str(source)]


def test_results_that_must_be_lossless(tmp_path):
    write(tmp_path / "in/a.jpg")
    assert convert(tmp_path / "in", tmp_path / "out", lossless=True) == {}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.jpg.png"]
    with pytest.raises(ValueError, match=r"output: expected a name ending in .png, .tif, .tiff, got .*b.jpg"):
        convert(tmp_path / "in/a.jpg", tmp_path / "b.jpg", lossless=True)


def test_what_tensorflow_and_memory_refuse_is_a_reason(tmp_path):
    source = write(tmp_path / "a.png")

    def asserts(_):
        @tf.function
        def larger(size):
            with tf.control_dependencies([tf.debugging.Assert(size < 1, ["kernel: larger than the image", size])]):
                return tf.identity(size)

        larger(tf.constant(2))

    def exhausts(_):
        raise MemoryError

    assert image_files.convert(source, tmp_path / "b.png", asserts, "") == {
        str(source): f"{source}: kernel: larger than the image"
    }
    assert image_files.convert(source, tmp_path / "b.png", exhausts, "") == {str(source): f"{source}: out of memory"}


def test_a_profile_is_for_its_number_of_channels(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image_io.write_image(tmp_path / "a.png", image_io.Image(np.zeros((4, 5, 3), np.float32), icc_profile=profile))
    assert image_files.convert(tmp_path / "a.png", tmp_path / "b.png", lambda image: image.pixels[..., :1], "") == {}
    assert convert(tmp_path / "a.png", tmp_path / "c.png") == {}
    kept = [image_io.read_image(tmp_path / f"{name}.png").icc_profile for name in "bc"]
    assert kept == [None, profile]
