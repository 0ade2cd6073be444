"""Bytes of image files to samples and back: uint8 or uint16 [H, W, 1..4], alpha last, and the colour profile."""

import io
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from PIL import BmpImagePlugin, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL import Image as PILImage

__all__ = ["ENCODERS", "LOSSLESS", "MAX_PIXELS", "decode"]

MAX_PIXELS = 2**29 - 1

_ORIENTATION = 274  # the tag of EXIF and TIFF
_PNG, _TIFF = PngImagePlugin.PngImageFile, TiffImagePlugin.TiffImageFile

# Pillow's Image.open would also try formats that run foreign programs, and has a limit that is global to the process
# and too low for 20000 x 20000 pixels.
_PLUGINS: dict[bytes, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": _PNG,
    b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
    b"II*\0": _TIFF,
    b"MM\0*": _TIFF,
    b"II+\0": _TIFF,
    b"MM\0+": _TIFF,
    b"RIFF": WebPImagePlugin.WebPImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
}

_CONVERTED = {"1": "L", "PA": "RGBA", "RGBa": "RGBA", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}


def decode(data: bytes) -> tuple[np.ndarray, bytes | None]:
    """Upright samples and the colour profile. Fails in as many ways as decoders do on corrupt bytes."""
    if not data:
        raise ValueError("the file is empty")
    plugin = next((plugin for magic, plugin in _PLUGINS.items() if data.startswith(magic)), None)
    if plugin is None:
        raise ValueError("not a PNG, JPEG, TIFF, WebP or BMP file")
    if plugin is _TIFF:
        return _decode_tiff(data)
    picture = plugin(io.BytesIO(data))
    _check_size(*picture.size)
    if plugin is _PNG and _png_depth(data) == 16:
        values = _decode_png16(data, picture)
    else:
        values = _samples(picture, _png_depth(data) if plugin is _PNG else 8)
    return _upright(values, picture.getexif().get(_ORIENTATION, 1)), _profile(picture)


def _samples(picture: ImageFile.ImageFile, depth: int = 8) -> np.ndarray:
    picture.load()
    mode = picture.mode
    key = picture.info.get("transparency")
    if mode in ("L", "LA", "RGB", "RGBA"):
        converted: PILImage.Image = picture
    elif mode == "P":
        converted = picture.convert("RGB" if key is None else "RGBA")
    elif mode in _CONVERTED:
        converted = picture.convert(_CONVERTED[mode])
    else:
        raise ValueError(f"pictures of mode {mode} are not supported")
    values = np.atleast_3d(np.asarray(converted))
    if key is None or mode not in ("1", "L", "RGB"):
        return values
    # A transparent colour of PNG: Pillow scales gray of fewer than 8 bits to 8, but not always this key.
    if mode == "1":
        key = 255 if key else 0
    elif mode == "L":
        key *= 255 // (2**depth - 1)
    opaque = np.any(values != np.asarray(key), axis=-1, keepdims=True)
    return np.concatenate([values, np.where(opaque, np.uint8(255), np.uint8(0))], axis=-1)


def _png_depth(data: bytes) -> int:
    return data[24]


def _decode_png16(data: bytes, picture: ImageFile.ImageFile) -> np.ndarray:
    # Pillow reduces 16-bit colour to 8 bits.
    import tensorflow as tf

    colour_type = data[25]
    colours = 3 if colour_type & 2 else 1
    alpha = bool(colour_type & 4) or "transparency" in picture.info
    try:
        values = tf.io.decode_png(data, channels=4 if alpha else colours, dtype=tf.uint16).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError("broken or truncated PNG file") from error
    return values[..., ::3] if alpha and colours == 1 else values


def _decode_tiff(data: bytes) -> tuple[np.ndarray, bytes | None]:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages.first
        _check_size(page.imagewidth, page.imagelength)
        segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        if not segments or any(count == 0 or offset + count > len(data) for offset, count in segments):
            raise ValueError("image file is truncated")
        if page.sampleformat != tifffile.SAMPLEFORMAT.UINT or page.bitspersample not in (1, 2, 4, 8, 16):
            kind = tifffile.SAMPLEFORMAT(page.sampleformat).name.lower()
            raise ValueError(
                f"TIFF samples of {page.bitspersample} bits ({kind}) are not supported, 8 or 16 (uint) are"
            )
        if page.bitspersample == 16:
            return _decode_tiff16(data, page), page.iccprofile
    picture = _TIFF(io.BytesIO(data))
    return _samples(picture), _profile(picture)  # turned upright by Pillow


def _decode_tiff16(data: bytes, page: Any) -> np.ndarray:
    photometric, extra = page.photometric, page.extrasamples
    kinds = tifffile.PHOTOMETRIC
    if photometric not in (kinds.MINISBLACK, kinds.MINISWHITE, kinds.RGB):
        raise ValueError(f"16-bit TIFF of photometric {getattr(photometric, 'name', photometric)} is not supported")
    if page.compression in tifffile.TIFF.DECOMPRESSORS:
        values = np.atleast_3d(page.asarray())
        if page.axes[0] == "S":
            values = np.moveaxis(values, 0, -1)
        values = _upright(values, page.tags.valueof(_ORIENTATION, 1))
    else:
        values = _unpack_tiff16(data)
    colours = 3 if photometric == kinds.RGB else 1
    colour, alpha = values[..., :colours], values[..., colours : colours + 1]
    if photometric == kinds.MINISWHITE:
        colour = 65535 - colour
    if extra and extra[0] == tifffile.EXTRASAMPLE.UNSPECIFIED:
        return colour
    if extra and extra[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:
        straight = np.rint(colour * (65535.0 / np.maximum(alpha, 1)))
        colour = np.minimum(straight, 65535).astype(np.uint16)
    return np.concatenate([colour, alpha], axis=-1)


def _unpack_tiff16(data: bytes) -> np.ndarray:
    """Compressions such as LZW, which tifffile leaves to another package.

    Pillow unpacks 16-bit colour to its high bytes; told the other byte order, to its low ones.
    """
    halves = []
    for order in ("N", "B" if sys.byteorder == "little" else "L"):
        picture = _TIFF(io.BytesIO(data))
        if picture.mode.startswith("I;16"):
            return np.atleast_3d(np.asarray(picture).astype(np.uint16))
        (tile,) = picture.tile
        args: Any = tile.args
        if picture.mode not in ("RGB", "RGBA") or not args[0].endswith(";16N"):
            raise ValueError("this compression of this kind of 16-bit TIFF is not supported")
        layout = args[0].removesuffix(";16N").replace("RGBa", "RGBA")
        picture.tile = [tile._replace(args=(f"{layout};16{order}", *args[1:]))]
        halves.append(np.asarray(picture).astype(np.uint16))
    return 256 * halves[0] + halves[1]


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Applies an EXIF orientation, 1 to 8; any other value means 1."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values


def _profile(picture: ImageFile.ImageFile) -> bytes | None:
    return picture.info.get("icc_profile") if picture.mode != "CMYK" else None


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels are more than {MAX_PIXELS}")


def _encode_png(values: np.ndarray, icc_profile: bytes | None) -> bytes:
    import tensorflow as tf

    data = tf.io.encode_png(values).numpy()
    if icc_profile is None:
        return data
    body = b"iCCPicc\0\0" + zlib.compress(icc_profile)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    end_of_header = 33
    return data[:end_of_header] + chunk + data[end_of_header:]


def _encode_jpeg(values: np.ndarray, icc_profile: bytes | None) -> bytes:
    if values.dtype != np.uint8:
        raise ValueError("JPEG holds 8 bits, not 16: write PNG or TIFF")
    if values.shape[2] in (2, 4):
        raise ValueError("JPEG holds no alpha: write PNG or TIFF")
    buffer = io.BytesIO()
    picture = PILImage.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    picture.save(buffer, "JPEG", quality=95, subsampling="4:4:4", icc_profile=icc_profile)
    return buffer.getvalue()


def _encode_tiff(values: np.ndarray, icc_profile: bytes | None) -> bytes:
    buffer = io.BytesIO()
    channels = values.shape[2]
    tifffile.imwrite(
        buffer,
        values[..., 0] if channels == 1 else values,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig=None if channels == 1 else "contig",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        predictor=True,
        iccprofile=icc_profile,
        metadata=None,
    )
    return buffer.getvalue()


ENCODERS: dict[str, Callable[[np.ndarray, bytes | None], bytes]] = {
    ".png": _encode_png,
    ".jpg": _encode_jpeg,
    ".jpeg": _encode_jpeg,
    ".tif": _encode_tiff,
    ".tiff": _encode_tiff,
}
LOSSLESS = (".png", ".tif", ".tiff")
