"""How long each application takes with its defaults."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tqdm

from blade_tf import models
from blade_tf.apps import align, deblur, kernels, resample, segment, stages, upscale
from blade_tf.compare.findings import Findings, Table
from blade_tf.compare.restored import in_turns, photographs

__all__ = ["compare"]

CALLS = 3  # after the first
NOISE = 5 / 255
COLUMNS = ["application", "call", "first call, s", "then, s", "processor, s"]


def _calls(image: np.ndarray) -> dict[tuple[str, str], Callable[[], Any]]:
    """What is timed on an image [1, H, W, C], by application and call."""
    known = np.random.default_rng(0).random((*image.shape[1:3], 1)) < 0.5
    model, settings = models.load("tv_flow_paper"), segment.Settings(tolerance=0)
    small = image[:, ::2, ::2]
    upscalers = {factor: upscale.Upscaler(upscale.gaussian(factor, 0.4 * factor)) for factor in (2, 4)}
    one = functools.partial(deblur.deblur, image)
    return {
        ("deblurring", "`deblur(image, gaussian(1), noise=5/255)`"): lambda: one(kernels.gaussian(1.0), noise=NOISE),
        ("deblurring by stages", "`restore(image)`"): lambda: stages.restore(image),
        ("denoising", "`deblur(image, noise=5/255)`"): lambda: one(noise=NOISE),
        ("inpainting", "`deblur(image, known=half)`"): lambda: one(known=known),
        ("segmentation", "`segment(image, model=tv_flow_paper)`, 300 iterations"): lambda: (
            segment.segment(image, model=model, settings=settings).level_set
        ),
        ("resampling", "`resample(image, (0.5, 0.25))`"): lambda: resample.resample(image, (0.5, 0.25)),
        ("alignment", "`align(image, image)`"): lambda: align.align(image, image),
        ("upscaling", "`Upscaler(gaussian(2, 0.8))(half the size)`"): lambda: upscalers[2](small),
        ("upscaling", "`Upscaler(gaussian(2, 0.8))(image)`"): lambda: upscalers[2](image),
        ("upscaling", "`Upscaler(gaussian(4, 1.6))(image)`"): lambda: upscalers[4](image),
        ("upscaling by stages", '`load("upscale_x2")(image)`'): lambda: upscale.load("upscale_x2")(image),
    }


def compare(images: str | os.PathLike[str]) -> Findings:
    """Each application on the first photograph of a folder.

    Args:
      images: the folder.
    """
    name, image = next(iter(photographs(images, gray=False).items()))
    rows = []
    for (application, call), function in tqdm.tqdm(_calls(image[np.newaxis]).items(), desc="times", unit="call"):
        taken = in_turns({call: functools.partial(lambda run: np.asarray(run()), function)}, 1 + CALLS)[call]
        seconds = taken[0, 0], *np.median(taken[1:], axis=0)
        rows.append([application, call, *(f"{value:.2f}" for value in seconds)])
    height, width, channels = image.shape
    text = (
        f"`{name}`, {width} x {height}, {channels} channels, on {os.cpu_count()} processors. The first "
        f"call builds the graph; then the median of {CALLS}: by the clock, and the processor's seconds of all threads "
        "together, which say more where other work goes on."
    )
    return Findings("times", "How long the applications take", [Table("Time", text, COLUMNS, rows)])
