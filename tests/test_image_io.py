import dataclasses
import errno
import json
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import Image as PILImage
from PIL import ImageCms, ImageOps

from blade_tf.files import atomic_write, write_json, write_npz, write_text
from blade_tf.image import luma as tf_luma
from blade_tf.image_io import Image, ImageError, find_images, luma, quantize, read_image, write_image

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def levels(*shape, bits=8, seed=0):
    return np.random.default_rng(seed).integers(0, 2**bits, shape, dtype=f"uint{bits}")


def stored(image):
    """The integers that a file of this image holds, alpha last."""
    values = np.rint(image.pixels.astype(np.float64) * (2**image.bits - 1)).astype(f"uint{image.bits}")
    return values if image.alpha is None else np.concatenate([values, image.alpha[..., None]], -1)


def image_of(values):
    bits = 8 * values.dtype.itemsize
    colours = {1: 1, 2: 1, 3: 3, 4: 3}[values.shape[2]]
    alpha = values[..., -1] if values.shape[2] in (2, 4) else None
    return Image((values[..., :colours] / (2**bits - 1)).astype(np.float32), alpha, bits)


def pillow(path, values, mode=None, **options):
    picture = PILImage.fromarray(values, mode) if mode else PILImage.fromarray(values)
    picture.save(path, **options)
    return path


def temporaries(folder):
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (31, 3), (40, 50)])
def test_round_trip_is_bit_exact(tmp_path, suffix, bits, channels, size):
    values = levels(*size, channels, bits=bits)
    path = tmp_path / f"image{suffix}"
    write_image(path, dataclasses.replace(image_of(values), icc_profile=PROFILE))
    image = read_image(path)
    assert image.pixels.dtype == np.float32
    assert (image.bits, image.icc_profile) == (bits, PROFILE)
    assert (image.alpha is None) == (channels in (1, 3))
    np.testing.assert_array_equal(stored(image), values)
    again = tmp_path / f"again{suffix}"
    write_image(again, image)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("bits", [8, 16])
def test_every_level_survives(tmp_path, bits):
    values = np.arange(2**bits, dtype=f"uint{bits}").reshape(2 ** (bits // 2), -1, 1)
    write_image(tmp_path / "levels.png", image_of(values))
    image = read_image(tmp_path / "levels.png")
    np.testing.assert_array_equal(image.pixels, (values / np.float32(2**bits - 1)).astype(np.float32))
    np.testing.assert_array_equal(quantize(image.pixels, bits), values)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_agrees_with_tensorflow(tmp_path, bits, channels):
    values = levels(9, 11, channels, bits=bits)
    path = tmp_path / "image.png"
    path.write_bytes(tf.io.encode_png(values).numpy())
    np.testing.assert_array_equal(stored(read_image(path)), values)
    write_image(path, image_of(values))
    np.testing.assert_array_equal(tf.io.decode_png(path.read_bytes(), dtype=f"uint{bits}"), values)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_written_tiff_agrees_with_other_readers(tmp_path, bits, channels):
    values = levels(9, 11, channels, bits=bits)
    write_image(tmp_path / "image.tif", image_of(values))
    np.testing.assert_array_equal(np.atleast_3d(tifffile.imread(tmp_path / "image.tif")), values)
    if bits == 8:
        np.testing.assert_array_equal(np.atleast_3d(PILImage.open(tmp_path / "image.tif")), values)


def test_one_bit_png(tmp_path):
    values = levels(5, 9) > 127
    image = read_image(pillow(tmp_path / "image.png", values))
    np.testing.assert_array_equal(image.pixels[..., 0], values)
    assert image.bits == 8
    assert image.alpha is None


@pytest.mark.parametrize("transparency", [None, bytes([255, 0, 100])])
def test_palette_png(tmp_path, transparency):
    colours = np.array([[1, 2, 3], [200, 100, 0], [9, 9, 250]], np.uint8)
    index = levels(6, 7) % 3
    picture = PILImage.fromarray(index, "P")
    picture.putpalette(colours.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    picture.save(tmp_path / "image.png", **options)
    expected = colours[index]
    if transparency:
        expected = np.concatenate([expected, np.frombuffer(transparency, np.uint8)[index][..., None]], -1)
    np.testing.assert_array_equal(stored(read_image(tmp_path / "image.png")), expected)


def png(width, height, depth, colour_type, rows, **chunks):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("depth", "colour_type", "row", "key", "expected"),
    [
        (1, 0, [0b01000000], ">H1", [[0, 255], [255, 0]]),
        (2, 0, [0b01110000], ">H1", [[85, 0], [255, 255]]),
        (4, 0, [0x3F], ">H15", [[51, 255], [255, 0]]),
        (8, 0, [7, 8], ">H7", [[7, 0], [8, 255]]),
        (8, 2, [1, 2, 3, 1, 2, 4], ">HHH1,2,3", [[1, 2, 3, 0], [1, 2, 4, 255]]),
        (16, 0, [1, 2, 1, 3], ">H258", [[258, 0], [259, 65535]]),
        (16, 2, [0, 1, 0, 2, 0, 3, 0, 1, 0, 2, 1, 3], ">HHH1,2,3", [[1, 2, 3, 0], [1, 2, 259, 65535]]),
    ],
)
def test_transparent_colour_becomes_alpha(tmp_path, depth, colour_type, row, key, expected):
    layout, numbers = key.rstrip("0123456789,"), key.lstrip(">H")
    transparent = struct.pack(layout, *map(int, numbers.split(",")))
    path = tmp_path / "image.png"
    path.write_bytes(png(2, 1, depth, colour_type, [row], tRNS=transparent))
    np.testing.assert_array_equal(stored(read_image(path)), [expected])


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".tif"])
def test_lossy_and_other_formats_as_pillow_decodes_them(tmp_path, mode, suffix):
    if mode == "CMYK" and suffix in (".webp", ".bmp"):
        pytest.skip("the format has no CMYK")
    channels = len(mode) if mode != "L" else 1
    smooth = np.linspace(0, 255, 20 * 30 * channels).reshape(20, 30, channels).astype(np.uint8)
    path = tmp_path / f"image{suffix}"
    pillow(path, smooth[..., 0] if mode == "L" else smooth, mode, icc_profile=PROFILE)
    reference = PILImage.open(path)
    colour = "L" if reference.mode == "L" else "RGB"
    image = read_image(path)
    np.testing.assert_array_equal(stored(image), np.atleast_3d(reference.convert(colour)))
    assert image.alpha is None
    assert image.bits == 8
    if mode != "CMYK" and suffix != ".bmp":
        assert image.icc_profile == PROFILE
    if mode == "CMYK":
        assert image.icc_profile is None


def test_content_counts_not_the_suffix(tmp_path):
    values = levels(4, 5, 3)
    pillow(tmp_path / "image.png", values)
    (tmp_path / "image.png").rename(tmp_path / "image.jpg")
    np.testing.assert_array_equal(stored(read_image(tmp_path / "image.jpg")), values)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_orientation_as_pillow_applies_it(tmp_path, orientation, suffix):
    exif = PILImage.Exif()
    exif[274] = orientation
    options = {"lossless": True} if suffix == ".webp" else {}
    path = pillow(tmp_path / f"image{suffix}", levels(12, 20, 3), exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(PILImage.open(path)))
    np.testing.assert_array_equal(stored(read_image(path)), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_sixteen_bits(tmp_path, orientation):
    values = levels(6, 9, 3, bits=16)
    high = PILImage.fromarray((values >> 8).astype(np.uint8))
    exif = PILImage.Exif()
    exif[274] = orientation
    high.info["exif"] = exif.tobytes()
    expected = np.asarray(ImageOps.exif_transpose(high))

    tiff = tmp_path / "image.tif"
    tifffile.imwrite(tiff, values, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    np.testing.assert_array_equal(stored(read_image(tiff)) >> 8, expected)

    (tmp_path / "lzw.tif").write_bytes(lzw_tiff(values, orientation=orientation))
    np.testing.assert_array_equal(stored(read_image(tmp_path / "lzw.tif")) >> 8, expected)

    rows = [row.astype(">u2").tobytes() for row in values]
    (tmp_path / "image.png").write_bytes(png(9, 6, 16, 2, rows, eXIf=exif.tobytes().removeprefix(b"Exif\0\0")))
    np.testing.assert_array_equal(stored(read_image(tmp_path / "image.png")) >> 8, expected)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"planarconfig": "separate"}, {"rowsperstrip": 3}])
def test_sixteen_bit_tiff_layouts(tmp_path, byteorder, compression, options):
    values = levels(21, 18, 3, bits=16)
    array = np.moveaxis(values, -1, 0) if "planarconfig" in options else values
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, array, photometric="rgb", byteorder=byteorder, compression=compression, **options)
    np.testing.assert_array_equal(stored(read_image(path)), values)


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_where_zero_is_white(tmp_path, bits):
    values = levels(5, 6, bits=bits)
    tifffile.imwrite(tmp_path / "image.tif", values, photometric="miniswhite")
    np.testing.assert_array_equal(stored(read_image(tmp_path / "image.tif"))[..., 0], 2**bits - 1 - values)


@pytest.mark.parametrize("kind", ["unspecified", "assocalpha", "unassalpha"])
def test_sixteen_bit_tiff_extra_samples(tmp_path, kind):
    straight = np.array([[[65535, 40000, 0], [60000, 30000, 15000], [9, 8, 7]]], np.uint16)
    alpha = np.array([[[65535], [32768], [0]]], np.uint16)
    colour = straight if kind != "assocalpha" else np.rint(straight * (alpha / 65535)).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "image.tif", np.concatenate([colour, alpha], -1), photometric="rgb", extrasamples=[kind]
    )
    image = read_image(tmp_path / "image.tif")
    if kind == "unspecified":
        assert image.alpha is None
    else:
        np.testing.assert_array_equal(image.alpha, alpha[..., 0])
    # Premultiplying loses half a level, which dividing by alpha 1/2 doubles; nothing is left under alpha 0.
    seen = 3 if kind != "assocalpha" else 2
    np.testing.assert_allclose(stored(image)[0, :seen, :3].astype(int), straight[0, :seen], atol=kind == "assocalpha")


def lzw(data):
    """TIFF's LZW with a clear code before the width of codes would grow."""
    bits = ""
    for start in range(0, len(data), 200):
        bits += f"{256:09b}" + "".join(f"{byte:09b}" for byte in data[start : start + 200])
    bits += f"{257:09b}"
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def lzw_tiff(values, orientation=1, extra=None):
    height, width, channels = values.shape
    strip = lzw(values.astype("<u2").tobytes())
    tags = {256: width, 257: height, 258: 16, 259: 5, 262: 2 if channels > 2 else 1, 273: 8, 274: orientation}
    tags |= {277: channels, 278: height, 279: len(strip), 284: 1}
    if extra is not None:
        tags[338] = extra
    directory = 8 + len(strip) + len(strip) % 2
    depths = directory + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, value in sorted(tags.items()):
        if tag == 258 and channels > 2:
            entries += struct.pack("<HHII", tag, 3, channels, depths)
        else:
            entries += struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value)
    head = b"II*\0" + struct.pack("<I", directory) + strip.ljust(directory - 8, b"\0")
    return head + struct.pack("<H", len(tags)) + entries + bytes(4) + struct.pack(f"<{channels}H", *[16] * channels)


@pytest.mark.parametrize(("channels", "extra"), [(1, None), (3, None), (4, 2)])
def test_lzw_tiff_of_sixteen_bits(tmp_path, channels, extra):
    values = levels(13, 11, channels, bits=16)
    (tmp_path / "image.tif").write_bytes(lzw_tiff(values, extra=extra))
    np.testing.assert_array_equal(stored(read_image(tmp_path / "image.tif")), values)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint32, np.int16, np.int8])
def test_other_tiff_samples_are_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "image.tif", np.ones((4, 5), dtype), photometric="minisblack")
    with pytest.raises(ImageError, match=r"image\.tif: TIFF samples of \d+ bits \(\w+\) are not supported"):
        read_image(tmp_path / "image.tif")


def sample_files(folder):
    smooth = (np.add.outer(np.arange(40), np.arange(50)) * 2 % 251).astype(np.uint8)
    colour = np.stack([smooth, smooth[::-1], smooth[:, ::-1]], -1)
    pillow(folder / "a.png", levels(20, 30, 3))
    pillow(folder / "b.jpg", colour)
    pillow(folder / "c.webp", colour)
    pillow(folder / "d.bmp", colour)
    pillow(folder / "e.tif", colour, compression="tiff_lzw")
    tifffile.imwrite(folder / "f.tif", levels(20, 30, 3, bits=16), photometric="rgb", compression="zlib")
    tifffile.imwrite(folder / "g.tif", levels(20, 30, bits=16), photometric="minisblack", rowsperstrip=7)
    write_image(folder / "h.png", image_of(levels(20, 30, 3, bits=16)))
    write_image(folder / "i.png", image_of(levels(20, 30, 2, bits=16)))
    return sorted(folder.iterdir())


def test_truncated_files_fail_or_are_whole(tmp_path):
    for path in sample_files(tmp_path):
        data, whole = path.read_bytes(), stored(read_image(path))
        refused = 0
        for length in [*range(0, len(data), max(1, len(data) // 40)), len(data) - 1, len(data) - 13]:
            path.write_bytes(data[:length])
            try:
                np.testing.assert_array_equal(stored(read_image(path)), whole, err_msg=f"{path.name}: {length}")
            except ImageError as error:
                refused += str(path) in str(error)
        assert refused >= 40, path.name


def test_damaged_png_is_refused(tmp_path):
    for name in ("a.png", "h.png"):
        path = next(path for path in sample_files(tmp_path) if path.name == name)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
        with pytest.raises(ImageError, match=name):
            read_image(path)


def test_noise_after_any_signature_is_refused(tmp_path):
    path = tmp_path / "image.png"
    rng = np.random.default_rng(3)
    for start in (
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"II*\0\x08\0\0\0",
        b"MM\0*\0\0\0\x08",
        b"RIFF",
        b"BM",
        b"II+\0",
    ):
        for _ in range(20):
            path.write_bytes(start + rng.bytes(300))
            with pytest.raises(ImageError, match=r"image\.png: "):
                read_image(path)


@pytest.mark.parametrize(("data", "reason"), [(b"", "the file is empty"), (b"GIF89a" + bytes(99), "not a PNG, JPEG,")])
def test_no_image(tmp_path, data, reason):
    path = tmp_path / "image.png"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=f"image.png: {reason}"):
        read_image(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png: No such file or directory"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="Is a directory"):
        read_image(tmp_path)


def test_damaged_exif_does_not_spoil_the_pixels(tmp_path):
    path = pillow(tmp_path / "image.jpg", levels(8, 8, 3), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f garbage")
    assert read_image(path).pixels.shape == (8, 8, 3)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sizes_beyond_the_limit_are_refused_before_decoding(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    if suffix == ".png":
        path.write_bytes(png(100000, 100000, 8, 0, [[0]]))
    else:
        tifffile.imwrite(path, levels(2, 2), photometric="minisblack")
        data = path.read_bytes().replace(struct.pack("<HHII", 256, 4, 1, 2), struct.pack("<HHII", 256, 4, 1, 2**30))
        path.write_bytes(data.replace(struct.pack("<HHII", 256, 3, 1, 2), struct.pack("<HHII", 256, 4, 1, 2**30)))
    with pytest.raises(ImageError, match="pixels are more than 536870911"):
        read_image(path)


def test_pictures_above_pillows_own_limit_are_read(tmp_path, monkeypatch):
    path = pillow(tmp_path / "image.png", levels(40, 50))
    monkeypatch.setattr(PILImage, "MAX_IMAGE_PIXELS", 100)
    assert read_image(path).pixels.shape == (40, 50, 1)


def test_jpeg_is_close_and_keeps_the_profile(tmp_path):
    smooth = np.linspace(0, 1, 32 * 48).reshape(32, 48, 1).astype(np.float32)
    for pixels in (smooth, np.concatenate([smooth, smooth[::-1], smooth[:, ::-1]], -1)):
        write_image(tmp_path / "image.jpg", Image(pixels, icc_profile=PROFILE))
        image = read_image(tmp_path / "image.jpg")
        assert image.icc_profile == PROFILE
        np.testing.assert_allclose(image.pixels, pixels, atol=4 / 255)


def test_jpeg_refuses_what_it_cannot_hold(tmp_path):
    path = tmp_path / "image.jpg"
    with pytest.raises(ImageError, match=r"image\.jpg: JPEG holds 8 bits, not 16"):
        write_image(path, image_of(levels(4, 4, 3, bits=16)))
    with pytest.raises(ImageError, match=r"image\.jpg: JPEG holds no alpha"):
        write_image(path, image_of(levels(4, 4, 4)))
    with pytest.raises(ImageError, match=r"image\.jpg: "):
        write_image(path, image_of(np.zeros((1, 70000, 1), np.uint8)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["image", "image.gif", "image.webp", ".png"])
def test_unknown_suffix_is_refused(tmp_path, name):
    with pytest.raises(ImageError, match=r"expected a name ending in \.png, \.jpg, \.jpeg, \.tif, \.tiff"):
        write_image(tmp_path / name, image_of(levels(4, 4, 3)))
    assert list(tmp_path.iterdir()) == []


def test_an_image_without_pixels_is_refused(tmp_path):
    with pytest.raises(ImageError, match=r"an image of \[0, 4, 1\] has no pixels"):
        write_image(tmp_path / "image.png", Image(np.zeros((0, 4, 1), np.float32)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_quantize_clips_and_rounds_half_to_even(dtype):
    pixels = np.array([-np.inf, -0.1, 0, 1, 1.1, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(quantize(pixels), [0, 0, 0, 255, 255, 255, 0])
    np.testing.assert_array_equal(quantize(pixels, 16), [0, 0, 0, 65535, 65535, 65535, 0])
    assert quantize(pixels).dtype == np.uint8
    assert quantize(pixels, 16).dtype == np.uint16


def test_quantize_ties_go_to_even():
    ties = np.array([127.5, 76.5]) / 255  # both exact in float64: 1/2 and 3/10 * 255 = 76.5
    np.testing.assert_array_equal(quantize(ties), [128, 76])
    np.testing.assert_array_equal(quantize(np.float32([0.5]), 16), [32768])


def test_quantize_leaves_its_input_alone():
    pixels = np.array([-1.0, 2.0], np.float32)
    quantize(pixels)
    np.testing.assert_array_equal(pixels, [-1, 2])


def test_luma_hand_computed_and_as_in_tensorflow():
    pixels = levels(7, 8, 3).astype(np.float32) / 255
    np.testing.assert_array_equal(luma(pixels), tf_luma(pixels[None])[0])
    np.testing.assert_allclose(luma(np.array([[1.0, 0.5, 0.25]])), [[0.299 + 0.2935 + 0.0285]], rtol=1e-15)
    gray = pixels[..., :1]
    np.testing.assert_array_equal(luma(gray), gray)
    with pytest.raises(ValueError, match=r"pixels: expected float \[\.\.\., 1 or 3\], got uint8 \[2, 2, 3\]"):
        luma(levels(2, 2, 3))


def test_image_checks_its_attributes():
    pixels = np.zeros((2, 3, 1), np.float32)
    with pytest.raises(ValueError, match=r"pixels: expected float \[H, W, 1 or 3\], got float32 \[2, 3, 2\]"):
        Image(np.zeros((2, 3, 2), np.float32))
    with pytest.raises(ValueError, match=r"pixels: expected float \[H, W, 1 or 3\], got uint8 \[2, 3, 1\]"):
        Image(np.zeros((2, 3, 1), np.uint8))
    with pytest.raises(ValueError, match=r"alpha: expected uint16 \[2, 3\], got uint8 \[2, 3\]"):
        Image(pixels, np.zeros((2, 3), np.uint8), bits=16)
    with pytest.raises(ValueError, match=r"alpha: expected uint8 \[2, 3\], got uint8 \[3, 2\]"):
        Image(pixels, np.zeros((3, 2), np.uint8))
    with pytest.raises(ValueError, match="bits: expected 8 or 16, got 12"):
        Image(pixels, bits=12)


def test_find_images_is_recursive_and_sorted(tmp_path):
    names = ["b.PNG", "a.jpg", "deep/er/c.tiff", "deep/a.webp"]
    for name in [*names, ".hidden.png", "notes.txt", "deep/.x.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    expected = [tmp_path / name for name in ["a.jpg", "b.PNG", "deep/a.webp", "deep/er/c.tiff"]]
    assert find_images(tmp_path) == expected


def test_find_images_leaves_out_hidden_folders(tmp_path):
    folder = tmp_path / ".cache" / "photographs"  # the folder itself may lie in one
    for name in ("a.png", ".thumbnails/b.png", "deep/.trash/er/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert find_images(folder) == [folder / "a.png"]


def test_find_images_names_a_bad_folder(tmp_path):
    (tmp_path / "file.txt").touch()
    with pytest.raises(ImageError, match="none: no such folder"):
        find_images(tmp_path / "none")
    with pytest.raises(ImageError, match=r"file\.txt: not a folder"):
        find_images(tmp_path / "file.txt")
    with pytest.raises(ImageError, match="no image found"):
        find_images(tmp_path)


def fail_with(number):
    def function(*_args, **_kwargs):
        raise OSError(number, os.strerror(number), "somewhere else")

    return function


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, OSError), (errno.EACCES, PermissionError)])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, function, number, kind):
    path = tmp_path / "image.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, function, fail_with(number))
    with pytest.raises(kind) as caught:
        write_image(path, image_of(levels(4, 4, 3)))
    assert caught.value.filename == str(path)
    assert caught.value.errno == number
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "file", b"data")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_impossible_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"image\.png"):
        write_image(tmp_path / "file" / "image.png", image_of(levels(4, 4, 3)))
    with pytest.raises(FileNotFoundError, match=r"none/image\.png"):
        write_image(tmp_path / "none" / "image.png", image_of(levels(4, 4, 3)))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder\.png"):
        write_image(tmp_path / "folder.png", image_of(levels(4, 4, 3)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_read_only_folder_is_named(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(PermissionError, match=r"image\.png"):
        write_image(folder / "image.png", image_of(levels(4, 4, 3)))


def test_atomic_write_replaces_and_keeps_the_usual_permissions(tmp_path):
    (tmp_path / "plain").touch()
    for data in (b"one", b"two", b""):
        atomic_write(tmp_path / "file", data)
        assert (tmp_path / "file").read_bytes() == data
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "plain"]


def test_text_and_strict_json(tmp_path):
    write_text(tmp_path / "file", "gray µ ≤ ü\n")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "gray µ ≤ ü\n"
    data = {"a": np.float32(0.5), "b": [np.nan, float("inf"), 1], "c": np.arange(3), "d": (True, None, "ü")}
    write_json(tmp_path / "file", data)

    def refuse(constant):
        raise AssertionError(constant)

    back = json.loads((tmp_path / "file").read_text(encoding="utf-8"), parse_constant=refuse)
    assert back == {"a": 0.5, "b": [None, None, 1], "c": [0, 1, 2], "d": [True, None, "ü"]}
    with pytest.raises(TypeError):
        write_json(tmp_path / "file", {"a": object()})
    assert json.loads((tmp_path / "file").read_text(encoding="utf-8")) == back


def test_npz_has_the_same_bytes_for_the_same_arrays(tmp_path):
    arrays = {"filters": levels(3, 5, 5).astype(np.float32), "empty": np.zeros((0, 2))}
    data = write_npz(tmp_path / "a.npz", arrays)
    assert (tmp_path / "a.npz").read_bytes() == data == write_npz(tmp_path / "b.npz", arrays)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(tmp_path / "a.npz", allow_pickle=False) as loaded:
        assert set(loaded) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(loaded[name], array)
    with pytest.raises(ValueError, match="allow_pickle"):
        write_npz(tmp_path / "c.npz", {"object": np.array([None])})
    assert not (tmp_path / "c.npz").exists()
