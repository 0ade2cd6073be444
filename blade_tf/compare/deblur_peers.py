"""Other methods of restoration, which `blade_tf.compare.deblur` compares with. Images are [H, W]."""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft
import tensorflow as tf

from blade_tf import image as image_lib
from blade_tf import operators, pdes
from blade_tf.apps import kernels, restoration

__all__ = ["pde", "total_variation", "wiener"]


@functools.lru_cache(maxsize=8)
def _transfers(shape: tuple[int, ...], sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Of the Gaussian blur, and of minus the Laplacian, in the cosine domain: reflecting borders."""
    weights = image_lib.gaussian_kernel(sigma)
    lags = np.arange(len(weights)) - len(weights) // 2
    y, x = (np.pi * np.arange(size) / size for size in shape)
    blurs = [weights @ np.cos(np.outer(lags, at)) for at in (y, x)]
    laplacian = (2 - 2 * np.cos(y))[:, np.newaxis] + (2 - 2 * np.cos(x))
    return np.outer(*blurs).astype(np.float32), laplacian.astype(np.float32)


def wiener(f: np.ndarray, sigma: float, weight: float) -> np.ndarray:
    """Wiener's filter of a Gaussian blur for images of a 1 / frequency^2 spectrum, in the cosine domain.

    It is the minimum of ||A u - f||^2 + weight ||grad u||^2.
    """
    transfer, laplacian = _transfers(f.shape, sigma)
    spectrum = scipy.fft.dctn(f, norm="ortho", workers=-1) * transfer / (transfer**2 + weight * laplacian)
    return scipy.fft.idctn(spectrum, norm="ortho", workers=-1)


def total_variation(
    f: np.ndarray, sigma: float, weight: float, iterations: int = 60, penalty: float = 20.0
) -> np.ndarray:
    """The minimum of 1/2 ||A u - f||^2 + weight TV(u), A a Gaussian blur, by ADMM, exact steps in the cosine domain.

    Source: Wang, Yang, Yin, Zhang, "A new alternating minimization algorithm for total variation image
    reconstruction", SIAM Journal on Imaging Sciences 1, 2008; with multipliers.
    """
    transfer, laplacian = _transfers(f.shape, sigma)
    rho = penalty * weight
    data = transfer * scipy.fft.dctn(f, norm="ortho", workers=-1)
    inverse = 1 / (transfer**2 + rho * laplacian)
    split = np.zeros((2, *f.shape), f.dtype)
    dual = np.zeros_like(split)
    u = f
    for _ in range(iterations):
        pull = scipy.fft.dctn(_minus_divergence(split - dual), norm="ortho", workers=-1)
        u = scipy.fft.idctn((data + rho * pull) * inverse, norm="ortho", workers=-1)
        slope = _gradient(u) + dual
        length = np.sqrt((slope**2).sum(0))
        split = slope * (np.maximum(length - 1 / penalty, 0) / np.maximum(length, 1e-12))
        dual = slope - split
    return u


def _gradient(u: np.ndarray) -> np.ndarray:
    return np.stack([np.diff(u, axis=0, append=u[-1:]), np.diff(u, axis=1, append=u[:, -1:])])


def _minus_divergence(flux: np.ndarray) -> np.ndarray:
    """The adjoint of `_gradient`."""
    y, x = flux[0, :-1], flux[1, :, :-1]
    return -np.diff(y, axis=0, prepend=0, append=0) - np.diff(x, axis=1, prepend=0, append=0)


@functools.lru_cache(maxsize=16)
def _pde_evolution(name: str, sigma: float, steps: int) -> tf.types.experimental.PolymorphicFunction:
    operator = operators.blur(kernels.gaussian(sigma))
    equation = pdes.build(name)
    longest = equation.stable_dt(1.0)

    @tf.function
    def evolve(f: tf.Tensor, dt: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        def rate(u: tf.Tensor) -> tf.Tensor:
            return (equation.step(u, longest, 1.0) - u) / longest

        return restoration.restore(f, operator, rate, dt, weight, steps)

    return evolve


def pde(f: np.ndarray, name: str, sigma: float, pace: float, pull: float, steps: int = 40) -> np.ndarray:
    """Eq 4.2 with the rate of the equation's reference scheme on the image's own grid.

    Args:
      f: the image.
      name: of the equation.
      sigma: of the blur.
      pace: the time step in the longest stable one.
      pull: dt lambda.
      steps: number of steps.
    """
    dt = pace * pdes.build(name).stable_dt(1.0)
    image = tf.constant(f[np.newaxis, :, :, np.newaxis])
    return _pde_evolution(name, sigma, steps)(image, tf.constant(dt), tf.constant(pull / dt))[0, :, :, 0].numpy()
