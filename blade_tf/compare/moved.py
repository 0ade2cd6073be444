"""Photographs that move by a known flow: smooth motions, and cut-outs that hide and uncover what is behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import scipy.ndimage

from blade_tf.compare.displaced import SCALE, smooth_field

__all__ = ["Scene", "cut_outs", "scenes", "smooth_motion"]

Scene = tuple[tuple[np.ndarray, np.ndarray], np.ndarray]  # reference and moving [H, W, 1], flow [H, W, 2]

LARGEST = 360, 480  # height and width of a scene
SMOOTHNESS = 40.0  # px of the smooth motions
SMOOTH_SIZES, CUT_OUT_SIZES = (0.5, 6.0), (1.0, 8.0)  # px, root mean square of a scene's motion: the least, the largest
LAYERS = 3  # of cut-outs, each of which
SHARE = 0.15  # covers this share of the scene, in patches of
PATCHES = 8.0, 24.0  # px, the smoothing of the noise whose peaks they are
NOISE, GAIN, OFFSET = 1 / 255, 0.005, 0.0025  # standard deviations of noise, and of changes of exposure


def _between(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _fine(plane: np.ndarray) -> np.ndarray:
    return scipy.ndimage.zoom(plane, SCALE, order=1, mode="nearest", grid_mode=True)


def _coarse(plane: np.ndarray) -> np.ndarray:
    height, width = (size // SCALE for size in plane.shape)
    return plane.reshape(height, SCALE, width, SCALE).mean((1, 3))


def _at(plane: np.ndarray, flow: np.ndarray) -> np.ndarray:
    y, x = np.indices(plane.shape, np.float32)
    return scipy.ndimage.map_coordinates(plane, [y + flow[..., 1], x + flow[..., 0]], order=1, mode="nearest")


def _pair(reference: np.ndarray, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = (_coarse(plane)[..., np.newaxis].astype(np.float32) for plane in (reference, moving))
    return first, second


def smooth_motion(photograph: np.ndarray, rng: np.random.Generator) -> Scene:
    """A photograph [SCALE H, SCALE W] that moves as a whole by a smooth random field."""
    shape = photograph.shape[0] // SCALE, photograph.shape[1] // SCALE
    flow = smooth_field(shape, _between(SMOOTH_SIZES, rng), SMOOTHNESS, rng)
    fine = np.stack([SCALE * _fine(flow[..., k]) for k in range(2)], -1)
    return _pair(_at(photograph, fine), photograph), flow


def cut_outs(photographs: Sequence[np.ndarray], rng: np.random.Generator) -> Scene:
    """The first photograph, and in front of it patches of the others; each moves by a translation of its own.

    What is hidden in the moving image has the flow of its layer.
    """
    behind, *others = photographs
    size = _between(CUT_OUT_SIZES, rng)
    shifts = size / np.sqrt(2) * rng.standard_normal((len(photographs), 2)).astype(np.float32)
    reference, moving = _at(behind, SCALE * np.broadcast_to(shifts[0], (*behind.shape, 2))), behind
    flow = np.broadcast_to(shifts[0], (*behind.shape, 2))
    for photograph, shift in zip(others, shifts[1:], strict=True):
        coarse = behind.shape[0] // SCALE, behind.shape[1] // SCALE
        noise = scipy.ndimage.gaussian_filter(rng.standard_normal(coarse), _between(PATCHES, rng), mode="wrap")
        mask = (_fine(noise) > np.quantile(noise, 1 - SHARE)).astype(np.float32)
        fine = SCALE * np.broadcast_to(shift, (*behind.shape, 2))
        moved = _at(mask, fine)
        reference = moved * _at(photograph, fine) + (1 - moved) * reference
        moving = mask * photograph + (1 - mask) * moving
        flow = np.where(moved[..., np.newaxis] > 0.5, shift, flow)
    middle = slice(SCALE // 2, None, SCALE)
    return _pair(reference, moving), flow[middle, middle].astype(np.float32)


def scenes(photographs: Mapping[str, np.ndarray]) -> Iterator[Scene]:
    """Two for each photograph [H, W, 1], one of either kind, with noise and a change of exposure."""
    named = list(photographs.items())
    for k, (name, _) in enumerate(named):
        rng = np.random.default_rng([*name.encode()])
        several = [named[(k + i) % len(named)][1][..., 0] for i in range(LAYERS + 1)]
        size = [
            SCALE * min(most, *(image.shape[axis] // SCALE for image in several)) for axis, most in enumerate(LARGEST)
        ]
        several = [image[: size[0], : size[1]] for image in several]
        for (reference, moving), flow in (smooth_motion(several[0], rng), cut_outs(several, rng)):
            moving = (1 + GAIN * rng.standard_normal()) * moving + OFFSET * rng.standard_normal()
            noisy = [image + NOISE * rng.standard_normal(image.shape) for image in (reference, moving)]
            yield (noisy[0].astype(np.float32), noisy[1].astype(np.float32)), flow
