"""Times the native operations against OpenCV's fixed 5x5 filter in one run, on one thread, after a check.

    python tests/benchmarks/benchmark_ops.py

Prints nanoseconds a pixel and the ratio to cv2.filter2D (5x5, float32, one channel): medians over interleaved repeats.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import skimage.data
import skimage.transform
import tensorflow as tf

import blade_tf
from blade_tf import native, report

REPEATS = 40
HEIGHT, WIDTH = 512, 768
THRESHOLDS = {"strength_thresholds": [0.02, 0.07], "coherence_thresholds": [0.4, 0.7]}


def _photograph() -> np.ndarray:
    gray = skimage.transform.resize(skimage.data.astronaut().mean(-1) / 255, (HEIGHT, WIDTH), anti_aliasing=True)
    return gray.astype(np.float32)


def _cases(image: np.ndarray) -> dict[str, Callable[[], Any]]:
    rng = np.random.default_rng(0)
    bank = rng.normal(size=(216, 5, 5)).astype(np.float32)
    kernel = bank[0]
    u = tf.constant(image[np.newaxis, ..., np.newaxis])
    colour = tf.constant(np.stack([image, image[::-1], image[:, ::-1]], -1)[np.newaxis])
    filters = tf.constant(bank)
    selection = blade_tf.blade_select(u, **THRESHOLDS)
    grad = tf.constant(rng.normal(size=u.shape).astype(np.float32))
    shape = tf.shape(filters)
    model = blade_tf.load_pretrained("tv_flow_paper")
    step = tf.function(model.step, autograph=False)
    lib = native.library

    one = tf.zeros_like(selection)
    expected = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(blade_tf.blade_filter(u, filters, one)[0, ..., 0], expected, rtol=0, atol=1e-5)
    with blade_tf.implementation("stock"):
        np.testing.assert_array_equal(blade_tf.blade_select(u, **THRESHOLDS), selection)
        stock = blade_tf.blade_filter(u, filters, selection)
    np.testing.assert_allclose(blade_tf.blade_filter(u, filters, selection), stock, rtol=0, atol=1e-5)

    source = np.ascontiguousarray(colour[0])
    return {
        "cv2.filter2D 5x5": lambda: cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE),
        "cv2.filter2D 5x5, 3 channels": lambda: cv2.filter2D(source, -1, kernel, borderType=cv2.BORDER_REPLICATE),
        "cv2.cornerEigenValsAndVecs": lambda: cv2.cornerEigenValsAndVecs(image, 7, 3),
        "blade_filter, 216 filters of 5x5": lambda: blade_tf.blade_filter(u, filters, selection),
        "the same, 3 channels": lambda: blade_tf.blade_filter(colour, filters, selection),
        "its gradient to the image": lambda: lib.blade_filter_grad_image(
            filters=filters, selection=selection, grad=grad
        ),
        "its gradient to the filters": lambda: lib.blade_filter_grad_filters(
            image=u, selection=selection, grad=grad, filters_shape=shape
        ),
        "blade_select 24x3x3, rho 1": lambda: blade_tf.blade_select(u, **THRESHOLDS),
        "one Euler step of tv_flow_paper": lambda: step(u),
    }


def main() -> None:
    """Prints the table."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    cv2.setNumThreads(1)
    cases = _cases(_photograph())
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(REPEATS):
        for name, run in cases.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    pixels = HEIGHT * WIDTH
    medians = {name: 1e9 * float(np.median(values)) / pixels for name, values in times.items()}
    unit = medians["cv2.filter2D 5x5"]
    simd = os.environ.get("BLADE_TF_SIMD", "best")
    print(f"{WIDTH}x{HEIGHT} float32, one thread, {platform.processor() or platform.machine()}, SIMD: {simd}")
    rows = [[name, f"{ns:.2f}", f"{ns / unit:.2f}"] for name, ns in medians.items()]
    print(report.text_table(["what", "ns a pixel", "x cv2.filter2D"], rows))


if __name__ == "__main__":
    main()
