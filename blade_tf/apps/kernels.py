"""Kernels of blur: what a lens out of focus, a motion or a point spread function in a file does."""

from __future__ import annotations

import math
import os
import pathlib
from typing import Any

import numpy as np

from blade_tf import arguments, image_io, names
from blade_tf import image as image_lib
from blade_tf.sampling import LARGEST

__all__ = ["disk", "gaussian", "motion", "parse", "parse_gaussian", "width"]

_FINE = 9  # samples of a pixel along each axis


def gaussian(sigma: float) -> np.ndarray:
    """A sampled Gaussian of standard deviation sigma pixels, of sum 1: [2 ceil(3 sigma) + 1] squared."""
    # Less leaves nothing beside the middle, and its square may be 0.
    sigma = max(arguments.positive("sigma", sigma), 0.02)
    weights = image_lib.gaussian_kernel(sigma, _reach("sigma", sigma, 3 * sigma))
    return np.outer(weights, weights)


def disk(radius: float) -> np.ndarray:
    """A disc of this radius in pixels, of sum 1, each entry in proportion to its share of the disc."""
    radius = arguments.positive("radius", radius)
    y, x = _fine_grid(_reach("radius", radius, radius - 0.5))
    return _shares(np.hypot(y, x) <= radius)


def motion(length: float, angle: float) -> np.ndarray:
    """A straight motion, a line one pixel wide, of sum 1.

    Args:
      length: of the line in pixels.
      angle: in degrees from the x axis, counter-clockwise on the screen.
    """
    length = arguments.positive("length", length)
    if not math.isfinite(angle):
        raise ValueError(f"angle: expected a finite number of degrees, got {angle!r}")
    y, x = _fine_grid(_reach("length", length, length / 2 + 0.5))
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, across = x * cos - y * sin, x * sin + y * cos
    kernel = _shares((np.abs(along) <= length / 2) & (np.abs(across) <= 0.5))
    rows, columns = (np.flatnonzero(kernel.any(axis)) for axis in (1, 0))
    return kernel[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def width(kernel: Any) -> float:
    """The standard deviation of a kernel's weights around their middle, in pixels.

    That of `gaussian(sigma)` is sigma from 0.7 px on, and less below: 0.46 for 0.5 px, 0.28 for 0.4.
    """
    weights = np.abs(np.asarray(kernel, np.float64))
    weights /= weights.sum()
    variances = []
    for axis in (0, 1):
        along, place = weights.sum(1 - axis), np.arange(weights.shape[axis])
        variances.append(along @ (place - along @ place) ** 2)
    return math.sqrt(np.mean(variances))


def _reach(name: str, value: float, reach: float) -> int:
    """Pixels on each side of the middle; ValueError for a kernel of more than `LARGEST` pixels, which `name` says."""
    if reach > LARGEST // 2:
        raise ValueError(f"{name}: expected a kernel of at most {LARGEST} pixels along each axis, got {value:g}")
    return math.ceil(reach)


def _fine_grid(radius: int) -> tuple[np.ndarray, np.ndarray]:
    # From the first pixel's edge to the last one's.
    places = (np.arange((2 * radius + 1) * _FINE) + 0.5) / _FINE - radius - 0.5
    return places[:, np.newaxis], places[np.newaxis]


def _shares(inside: np.ndarray) -> np.ndarray:
    size = inside.shape[0] // _FINE
    kernel = inside.reshape(size, _FINE, size, _FINE).sum((1, 3)).astype(np.float64)
    return kernel / kernel.sum()


_SHAPES: dict[str, tuple[Any, int]] = {"gaussian": (gaussian, 1), "disk": (disk, 1), "motion": (motion, 2)}


def _parse_shape(text: str) -> tuple[str, list[float]] | None:
    """A shape and its numbers; None for a file."""
    shape, colon, numbers = text.partition(":")
    if not colon or os.path.exists(text):
        return None
    if shape not in _SHAPES:
        raise ValueError(f"kernel: unknown shape {shape!r}{names.hint(shape, _SHAPES)}")
    count = _SHAPES[shape][1]
    try:
        values = [float(number) for number in numbers.split(",")]
    except ValueError:
        values = []
    if len(values) != count:
        raise ValueError(f"kernel: expected {count} number{'s' * (count > 1)} after {shape}:, got {numbers!r}")
    return shape, values


def parse_gaussian(text: str) -> float:
    """SIGMA of gaussian:SIGMA; ValueError for another text or kernel."""
    shape, numbers = _parse_shape(text) or ("", [])
    if shape != "gaussian":
        raise ValueError(f"kernel: expected gaussian:SIGMA, got {text!r}")
    return arguments.positive("sigma", numbers[0])


def _read_array(path: pathlib.Path) -> np.ndarray:
    try:
        with path.open("rb") as file:  # np.load would take archives too
            found = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"kernel: {path}: {error}") from error
    if found.dtype.kind not in "biuf":
        raise ValueError(f"kernel: expected real numbers, got {found.dtype.name} in {path}")
    return found.astype(np.float64)


def parse(text: str) -> np.ndarray:
    """A kernel [R, S] of sum 1 from gaussian:SIGMA, disk:RADIUS, motion:LENGTH,ANGLE, or a file.

    A file is an image, whose luma is the kernel, or an .npy array [R, S]; both are divided by their sum.

    Raises:
      ValueError: for another text, a file that cannot be read, a kernel whose sum is not positive, or a shape of more
        than `LARGEST` pixels along an axis.
    """
    if found := _parse_shape(text):
        shape, values = found
        return _SHAPES[shape][0](*values)
    path = pathlib.Path(text)
    if path.suffix != ".npy":
        kernel = image_io.luma(image_io.read_image(path).pixels)[..., 0].astype(np.float64)
    else:
        kernel = _read_array(path)
    total = kernel.sum()
    if kernel.ndim != 2 or not kernel.size or not 0 < total < math.inf:
        raise ValueError(
            f"kernel: expected [R, S] of positive sum, got {list(kernel.shape)} of sum {total:g} in {path}"
        )
    return kernel / total
