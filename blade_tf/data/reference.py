"""Reference sequences (section 2.3): an equation solved on a fine grid, seen on the operating grid."""

from __future__ import annotations

from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf

from blade_tf import image as image_lib
from blade_tf import names, pdes

__all__ = ["coarse_sequence", "reference_sequence"]


def reference_sequence(image: np.ndarray, config: ml_collections.ConfigDict, refine: int = 1) -> np.ndarray:
    """Solves config.pde on the image as it is, and averages every M-th state over scale x scale blocks.

    Args:
      image: float [H, W, C], the reference grid; trailing rows and columns that fill no block are left out.
      config: see `blade_tf.config`.
      refine: divides the reference's time step, for a check of its convergence.

    Returns:
      float32 [frames + 1, H // scale, W // scale, C]; frame 0 is the input of a model.
    """
    ref, scale = config.reference, config.reference.scale
    height, width = (size - size % scale for size in image.shape[:2])
    if height == 0 or width == 0:
        raise ValueError(f"image: expected at least {scale} x {scale} pixels, got {image.shape[1]} x {image.shape[0]}")
    frames = pdes.solve(
        pdes.build(config.pde.name, **config.pde.parameters),
        tf.constant(image[np.newaxis, :height, :width], tf.float32),
        dt=ref.dt / refine,
        steps=ref.steps_per_frame * refine,
        frames=ref.frames,
        grid_step=1 / scale,
        observe=lambda u: image_lib.area_downscale(u, scale),
    )
    return frames[0].numpy()


def coarse_sequence(
    image: Any,
    config: ml_collections.ConfigDict,
    steps: int,
    *,
    scheme: str | None = None,
    time_scale: float = 1.0,
    **parameters: float,
) -> tf.Tensor:
    """A classical scheme on the operating grid itself: the final state after `steps` equal steps.

    Args:
      image: [N, H, W, C], the operating grid.
      config: see `blade_tf.config`.
      steps: number of time steps to the stopping time frames * steps_per_frame * dt.
      scheme: one of `pdes.schemes(config.pde.name)`; by default that of the reference.
      time_scale: multiplies the stopping time.
      **parameters: replace those of config.pde, or are the scheme's own.

    Raises:
      ValueError: for a scheme of another equation, or an unknown parameter.
    """
    ref = config.reference
    known = pdes.schemes(config.pde.name)
    if scheme is not None and scheme not in known:
        raise ValueError(f"scheme: unknown name {scheme!r} for {config.pde.name}{names.hint(scheme, known)}")
    total = ref.frames * ref.steps_per_frame * ref.dt * time_scale
    pde = pdes.build(scheme or config.pde.name, **{**config.pde.parameters, **parameters})
    return pdes.solve(pde, image, dt=total / steps, steps=steps)[:, 1]
