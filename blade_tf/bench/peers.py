"""Others that compute the same, or something like it: OpenCV, stock TensorFlow, numba and Halide."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import ops, pdes, select_ops, step_ops
from blade_tf.bench import cases, check, halide_peer, numba_peer
from blade_tf.bench.inputs import Inputs

__all__ = ["CLASSICAL", "TIES", "classical", "missing", "peers"]

# An arithmetic in another order chooses another filter at ties.
TIES = 1e-3
CLASSICAL = "classical TV-flow step"
PACKAGES = {"opencv": ("cv2", "opencv-python-headless"), "numba": ("numba", "numba"), "halide": ("halide", "halide")}


def missing(names: tuple[str, ...]) -> dict[str, str]:
    """Which of the peers cannot be measured, and what would help."""
    wanted = {name: PACKAGES[name] for name in names if name in PACKAGES}
    return {
        name: f"not installed: pip install {package}"
        for name, (module, package) in wanted.items()
        if importlib.util.find_spec(module) is None
    }


def classical(inputs: Inputs) -> Callable[[tf.Tensor], tf.Tensor]:
    """The explicit step of TV flow that needs no training, as long as the model's."""
    return lambda u: pdes.TVFlow().step(u, inputs.dt)


def _angles_agree(inputs: Inputs, found: np.ndarray) -> dict[str, Any]:
    """OpenCV's window is a box where ours is a Gaussian: where the gradient is strong and coherent, its directions and
    ours agree to within two bins nearly everywhere.
    """
    count = inputs.parameters["orientations"]
    selection = inputs.selection.numpy()[0]
    strong = selection >= count * 8  # the last strength and the last coherence
    angle = np.arctan2(found[..., 3], found[..., 2])[strong]
    apart = np.abs(np.angle(np.exp(2j * (angle - selection[strong] % count * np.pi / count)))) / 2
    same = (apart <= 2 * np.pi / count).astype(np.int64)
    return check.compare("cornerEigenValsAndVecs, OpenCV: directions", np.ones_like(same), same, tolerance=0, share=0.1)


def _opencv(inputs: Inputs) -> list[cases.Case]:
    import cv2

    def run() -> np.ndarray:
        return cv2.cornerEigenValsAndVecs(inputs.gray, 7, 3)

    name = "structure tensor alone, cornerEigenValsAndVecs"
    return [cases.Case(name, "OpenCV", run, inputs.size, check=lambda: _angles_agree(inputs, run()))]


def _stock(inputs: Inputs, by: str, xla: bool) -> list[cases.Case]:
    u, filters, selection, grad = inputs.u, inputs.filters, inputs.selection, inputs.grad
    share = TIES if xla else 0.0

    def step(u: tf.Tensor) -> tf.Tensor:
        return u + inputs.dt * ops.blade_filter(u, filters, select_ops.blade_select(u, **inputs.parameters))

    def gradients(u: tf.Tensor, filters: tf.Tensor, grad: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([u, filters])
            output = ops.blade_filter(u, filters, selection)
        return tape.gradient(output, [u, filters], grad)

    functions: dict[str, tuple[Callable[..., Any], tuple[tf.Tensor, ...], Callable[[], Any], float]] = {
        "filter": (
            lambda u: ops.blade_filter(u, filters, selection),
            (u,),
            lambda: ops.blade_filter(u, filters, selection),
            0.0,
        ),
        "selection 24x3x3": (
            lambda u: select_ops.blade_select(u, **inputs.parameters),
            (u,),
            lambda: selection,
            share,
        ),
        "filter and both gradients": (gradients, (u, filters, grad), lambda: gradients(u, filters, grad), 0.0),
        "step": (step, (u,), lambda: step_ops.blade_step(u, filters, inputs.dt, **inputs.parameters), share),
        CLASSICAL: (classical(inputs), (u,), lambda: classical(inputs)(u), 0.0),
    }
    return [_graph(what, by, xla, inputs, *parts) for what, parts in functions.items()]


def _graph(
    what: str,
    by: str,
    xla: bool,
    inputs: Inputs,
    function: Callable[..., Any],
    arguments: tuple[tf.Tensor, ...],
    expected: Callable[[], Any],
    share: float,
) -> cases.Case:
    graph = tf.function(function, autograph=False, jit_compile=xla)

    def run() -> Any:
        with ops.implementation("stock"):
            return graph(*arguments)

    def compared() -> dict[str, Any]:
        ours = tf.nest.flatten(expected())
        records = [
            check.compare(f"{what}, {by}", a, b, tolerance=cases.TOLERANCE, share=share)
            for a, b in zip(ours, tf.nest.flatten(run()), strict=True)
        ]
        return max(records, key=lambda record: record["worst"] or 0.0)

    return cases.Case(what, by, run, inputs.size, check=compared)


def _numba(inputs: Inputs) -> list[cases.Case]:
    functions = numba_peer.compiled()
    filters, selection = inputs.filters.numpy(), inputs.selection.numpy()[0]
    constants = numba_peer.selection_constants(**inputs.parameters)
    dt, epsilon = np.float32(inputs.dt), np.float32(pdes.TVFlow().epsilon)

    def case(what: str, run: Callable[[], np.ndarray], expected: Callable[[], Any], share: float = 0.0) -> cases.Case:
        name = f"{what}, numba"
        return cases.Case(
            what,
            "numba",
            run,
            inputs.size,
            check=lambda: check.compare(name, expected(), run(), tolerance=cases.TOLERANCE, share=share),
        )

    return [
        case(
            "filter",
            lambda: functions["filter_image"](inputs.gray, filters, selection),
            lambda: ops.blade_filter(inputs.u, inputs.filters, inputs.selection)[0, ..., 0],
        ),
        case("selection 24x3x3", lambda: functions["select"](inputs.gray, *constants), lambda: selection, TIES),
        case(
            CLASSICAL,
            lambda: functions["tv_step"](inputs.gray, dt, epsilon),
            lambda: classical(inputs)(inputs.u)[0, ..., 0],
        ),
    ]


def _halide(inputs: Inputs) -> list[cases.Case]:
    run = halide_peer.filter_image(inputs.gray, inputs.filters.numpy(), inputs.selection.numpy()[0])
    expected = ops.blade_filter(inputs.u, inputs.filters, inputs.selection)[0, ..., 0]

    def compared() -> dict[str, Any]:
        return check.compare("filter, Halide", expected, run(), tolerance=cases.TOLERANCE)

    return [cases.Case("filter", "Halide", run, inputs.size, check=compared)]


MAKERS: dict[str, Callable[[Inputs], list[cases.Case]]] = {
    "opencv": _opencv,
    "stock": lambda inputs: _stock(inputs, "TensorFlow", xla=False),
    "xla": lambda inputs: _stock(inputs, "TensorFlow, XLA", xla=True),
    "numba": _numba,
    "halide": _halide,
}


def peers(name: str, inputs: Inputs) -> list[cases.Case]:
    """The cases of a peer that is installed."""
    return MAKERS[name](inputs)
