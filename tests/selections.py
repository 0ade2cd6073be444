"""Images and independent features that the tests of the selection share."""

import math

import numpy as np
import pytest
import scipy.ndimage
import skimage.data

CENTERS = pytest.mark.parametrize("center", ["pixel", "face_x", "face_y"])


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def texture(*shape, seed=0):
    """Noise so smooth that its differences have no preferred direction, of slope 1 or so."""
    smooth = scipy.ndimage.gaussian_filter(noise(*shape, seed=seed), [0, 1.5, 1.5, 0])
    return smooth / np.diff(smooth, axis=1).std()


def photograph(name, step, channels=1):
    picture = getattr(skimage.data, name)()[::step, ::step].astype(np.float64) / 255
    picture = picture.reshape(*picture.shape[:2], -1)
    return np.concatenate([picture, picture**2, picture**3, picture**4], -1)[np.newaxis, ..., :channels]


def plane(radians, height=19, width=23, slope=1.0):
    y, x = np.mgrid[:height, :width]
    return slope * (x * math.cos(radians) + y * math.sin(radians))[np.newaxis, ..., np.newaxis]


def of_faces(index, center):
    """The part of [N, H, W] where pixels or faces are."""
    return {"pixel": index, "face_x": index[:, :, :-1], "face_y": index[:, :-1]}[center]


def features(image, rho, center="pixel"):
    """Orientation, strength, coherence by SciPy's Gaussian and LAPACK's eigenvectors, and intensity, where they are."""
    if center == "face_y":
        return [field.swapaxes(1, 2) for field in features(image.swapaxes(1, 2), rho, "face_x")]
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    along, across = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2, (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    intensity = image.mean(-1)
    if center == "face_x":
        along, across = np.diff(image, axis=2), (across[:, :, 1:] + across[:, :, :-1]) / 2
        intensity = (intensity[:, :, 1:] + intensity[:, :, :-1]) / 2
    gradient = np.stack([along, across], -1)
    tensor = np.einsum("nhwci,nhwcj->nhwij", gradient, gradient)
    for axis in (2, 1) if rho else ():
        tensor = scipy.ndimage.gaussian_filter1d(tensor, rho, axis, mode="nearest", radius=math.ceil(3 * rho))
    values, vectors = np.linalg.eigh(tensor)
    l2, l1 = np.moveaxis(np.sqrt(np.maximum(values, 0)), -1, 0)
    x, y = np.moveaxis(vectors[..., 1], -1, 0)
    with np.errstate(invalid="ignore"):
        coherence = np.where(l1 > 0, (l1 - l2) / (l1 + l2), 0)
    return [np.arctan2(y, x) % math.pi, l1, coherence, intensity]
