"""Classical interpolation at displaced positions: what resampling is compared with.

Each function maps an image [H, W, C] and a displacement [H, W, 2] in pixels, along x first, to the image at displaced
positions, [H, W, C] of the image's dtype.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.ndimage

__all__ = ["kernel", "opencv", "spline"]

Profile = Callable[[np.ndarray], np.ndarray]
Method = Callable[[np.ndarray, np.ndarray], np.ndarray]


def kernel(profile: Profile, radius: int) -> Method:
    """A separable kernel, its samples divided by their sum; replicated borders."""

    def method(image: np.ndarray, displacement: np.ndarray) -> np.ndarray:
        places, weights = [], []
        for component, axis in enumerate((1, 0)):
            size = image.shape[axis]
            position = np.indices(image.shape[:2])[axis] + displacement[..., component].astype(np.float64)
            first = np.floor(position).astype(int) - radius + 1
            around = first + np.arange(2 * radius).reshape(-1, 1, 1)
            found = profile(position - around)
            weights.append(found / found.sum(0))
            places.append(np.clip(around, 0, size - 1))
        out = np.zeros(image.shape)
        for x, wx in zip(places[0], weights[0], strict=True):
            for y, wy in zip(places[1], weights[1], strict=True):
                out += (wx * wy)[..., np.newaxis] * image[y, x]
        return out.astype(image.dtype)

    return method


def spline(degree: int) -> Method:
    """The interpolating B-spline of SciPy's map_coordinates; mirrored borders."""

    def method(image: np.ndarray, displacement: np.ndarray) -> np.ndarray:
        rows, columns = np.indices(image.shape[:2])
        at = [rows + displacement[..., 1].astype(np.float64), columns + displacement[..., 0]]
        planes = [
            scipy.ndimage.map_coordinates(image[..., k], at, order=degree, mode="mirror") for k in range(image.shape[2])
        ]
        return np.stack(planes, axis=-1)

    return method


def opencv(flag: str) -> Method | None:
    """cv2.remap with an interpolation flag, replicated borders; None where OpenCV is not installed.

    INTER_LANCZOS4 rounds positions to 1/32 of a pixel, before version 5 INTER_CUBIC did too.
    """
    try:
        import cv2
    except ImportError:
        return None

    def method(image: np.ndarray, displacement: np.ndarray) -> np.ndarray:
        rows, columns = np.indices(image.shape[:2])
        x, y = (columns + displacement[..., 0]).astype(np.float32), (rows + displacement[..., 1]).astype(np.float32)
        found = cv2.remap(image, x, y, getattr(cv2, flag), borderMode=cv2.BORDER_REPLICATE)
        return np.reshape(found, image.shape)

    return method
