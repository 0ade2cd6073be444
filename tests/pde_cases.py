"""What the tests of the equations share."""

import itertools
import math

import numpy as np
import skimage.data

import blade_tf


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def photograph():
    return skimage.data.camera()[np.newaxis, :480:6, :510:6, np.newaxis] / 255


def final(pde, u, *, dt, steps, grid_step=1.0):
    return blade_tf.solve(pde, u, dt=dt, steps=steps, grid_step=grid_step)[:, -1].numpy()


def cosine(height, width, ky, kx):
    """A mode of the zero-flux Laplacian, [1, H, W, 1], and its two frequencies per pixel."""
    y, x = (np.arange(n) + 0.5 for n in (height, width))
    mode = np.outer(np.cos(np.pi * ky * y / height), np.cos(np.pi * kx * x / width))
    return mode[np.newaxis, ..., np.newaxis], np.pi * ky / height, np.pi * kx / width


def five_points(fy, fx, grid_step):
    """The eigenvalue of the 5-point Laplacian at these frequencies."""
    return (2 * math.cos(fy) + 2 * math.cos(fx) - 4) / grid_step**2


def smooth(grid_step, length=16):
    """Low cosines on a square that meet its zero-flux boundaries: their means over the cells of the grid."""
    n = round(length / grid_step)

    def mean_cosine(k):
        edges = np.sin(np.pi * k * np.arange(n + 1) / n)
        return np.diff(edges) * n / (np.pi * k)

    a, b = mean_cosine(1), mean_cosine(2)
    return (0.5 + 0.25 * np.outer(a, a) + 0.125 * b + 0.1 * np.outer(b, a))[np.newaxis, ..., np.newaxis]


def refined(pde, length, time, steps, grid_steps):
    """Solutions from `smooth`, their means over the cells of the coarsest grid."""
    solutions = []
    for grid_step, count in zip(grid_steps, steps, strict=True):
        v = final(pde, smooth(grid_step, length), dt=time / count, steps=count, grid_step=grid_step)[0, ..., 0]
        cells = round(length / grid_steps[0])
        factor = v.shape[0] // cells
        solutions.append(v.reshape(cells, factor, cells, factor).mean((1, 3)))
    return solutions


def orders(solutions):
    """log2 of the ratios of successive differences: the order of convergence when steps are halved."""
    changes = [np.abs(a - b).max() for a, b in itertools.pairwise(solutions)]
    return np.log2(np.divide(changes[:-1], changes[1:]))
