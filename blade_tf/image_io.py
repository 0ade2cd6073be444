"""Image files to numpy arrays and back, bit depth, alpha and colour profile kept."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from blade_tf import image_codecs
from blade_tf.files import PathLike, atomic_write
from blade_tf.image import LUMA_WEIGHTS
from blade_tf.image_codecs import MAX_PIXELS

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "Image",
    "ImageError",
    "check_writable",
    "find_images",
    "luma",
    "quantize",
    "read_image",
    "write_image",
]

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class ImageError(ValueError):
    """An image file that cannot be read, or an image that a file format cannot hold; the message names the path."""


@dataclass(frozen=True, eq=False)
class Image:
    """One picture and what its file must keep.

    Attributes:
      pixels: float [H, W, C] in [0, 1], C = 1 (gray) or 3 (colour); not premultiplied by alpha.
      alpha: None or [H, W], the file's own integers: uint8 for 8 bits, uint16 for 16.
      bits: of each sample in the file, 8 or 16.
      icc_profile: None or the embedded colour profile.

    `dataclasses.replace(image, pixels=...)` gives the same picture with other pixels.

    Raises:
      ValueError: an attribute is not as above.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    bits: int = 8
    icc_profile: bytes | None = None

    def __post_init__(self) -> None:
        if self.bits not in (8, 16):
            raise ValueError(f"bits: expected 8 or 16, got {self.bits}")
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] not in (1, 3) or not np.issubdtype(dtype, np.floating):
            raise ValueError(f"pixels: expected float [H, W, 1 or 3], got {dtype} {list(shape)}")
        if self.alpha is not None and (self.alpha.shape, self.alpha.dtype) != (shape[:2], f"uint{self.bits}"):
            raise ValueError(
                f"alpha: expected uint{self.bits} {list(shape[:2])}, got {self.alpha.dtype} {list(self.alpha.shape)}"
            )


def read_image(path: PathLike) -> Image:
    """Reads PNG, JPEG, TIFF, WebP or BMP, told apart by content.

    8 and 16 bits; gray or colour, with or without alpha; 1-bit, palette, transparent colour, CMYK and YCbCr are
    converted (CMYK without its profile). The EXIF orientation is applied. Of several pages or frames, the first.

    Returns:
      Image with float32 pixels k / 255 or k / 65535; `write_image` gives back the same k.

    Raises:
      ImageError: the file is missing, unreadable, truncated, corrupt, of an unknown format, of a sample type other than
        unsigned integers up to 16 bits, or has more than MAX_PIXELS pixels (2^29 - 1: 20000 x 20000 fits).
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        values, icc_profile = image_codecs.decode(data)
    except MemoryError:
        raise
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # decoders fail in many ways on corrupt bytes
        raise ImageError(f"{path}: {str(error) or type(error).__name__}") from error
    bits = 8 * values.dtype.itemsize
    colours = values.shape[2] - 1 + values.shape[2] % 2
    pixels = values[..., :colours].astype(np.float32)
    pixels /= np.float32(2**bits - 1)
    alpha = np.ascontiguousarray(values[..., -1]) if values.shape[2] > colours else None
    return Image(pixels, alpha, bits, icc_profile)


def write_image(path: PathLike, image: Image) -> None:
    """Writes PNG, TIFF (both lossless) or JPEG (quality 95), by the suffix of `path`, atomically.

    Pixels are clipped to [0, 1], scaled and rounded half to even; NaN becomes 0. Alpha, bit depth and colour profile
    are the image's.

    Raises:
      ImageError: another suffix, an image without pixels, or alpha, 16 bits or a size that the format cannot hold.
      OSError: the file cannot be written; see `atomic_write`.
    """
    atomic_write(path, _encoded(Path(path), image))


def check_writable(path: PathLike, image: Image) -> None:
    """Raises what `write_image` would for this suffix, alpha and bit depth, before the pixels are known."""
    alpha = None if image.alpha is None else image.alpha[:1, :1]
    _encoded(Path(path), replace(image, pixels=image.pixels[:1, :1], alpha=alpha))


def _encoded(path: Path, image: Image) -> bytes:
    suffix = path.suffix.lower()
    if suffix not in image_codecs.ENCODERS:
        raise ImageError(f"{path}: expected a name ending in {', '.join(image_codecs.ENCODERS)}, got '{path.suffix}'")
    if not image.pixels.size:
        raise ImageError(f"{path}: an image of {list(image.pixels.shape)} has no pixels to write")
    values = quantize(image.pixels, image.bits)
    if image.alpha is not None:
        values = np.concatenate([values, image.alpha[..., None]], axis=-1)
    try:
        return image_codecs.ENCODERS[suffix](values, image.icc_profile)
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(f"{path}: {error}") from error


def find_images(folder: PathLike) -> list[Path]:
    """All files of `folder` and its subfolders that end in one of IMAGE_SUFFIXES, sorted.

    Hidden files and folders, whose names begin with a dot, are left out; `folder` itself may be hidden.

    Raises:
      ImageError: the folder is missing, not a folder, or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not found:
        raise ImageError(f"{folder}: no image found ({', '.join(IMAGE_SUFFIXES)})")
    return found


def luma(pixels: np.ndarray) -> np.ndarray:
    """Luma 0.299 R + 0.587 G + 0.114 B without rounding to gray levels: float [..., 1 or 3] -> [..., 1].

    Raises:
      ValueError: pixels are not float, or the last axis has another length.
    """
    if pixels.ndim == 0 or pixels.shape[-1] not in (1, 3) or not np.issubdtype(pixels.dtype, np.floating):
        raise ValueError(f"pixels: expected float [..., 1 or 3], got {pixels.dtype} {list(pixels.shape)}")
    if pixels.shape[-1] == 1:
        return pixels
    r, g, b = (weight * pixels[..., c : c + 1] for c, weight in enumerate(LUMA_WEIGHTS))
    return r + g + b


def quantize(pixels: np.ndarray, bits: int = 8) -> np.ndarray:
    """Float values in [0, 1] to uint8 or uint16: clipped, scaled, rounded half to even; NaN becomes 0."""
    scaled = pixels.astype(np.result_type(pixels, np.float32))
    np.clip(scaled, 0, 1, out=scaled)
    scaled *= 2**bits - 1
    np.nan_to_num(np.rint(scaled, out=scaled), copy=False, nan=0.0)
    return scaled.astype(f"uint{bits}")
