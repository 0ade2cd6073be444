"""The cases of this package: its operations, called as a user calls them, eagerly or inside of a graph."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from blade_tf import native, ops, select_ops, step_ops
from blade_tf.bench import check
from blade_tf.bench.inputs import Inputs

__all__ = [
    "COPIES",
    "OWN",
    "TOLERANCE",
    "Case",
    "at_once",
    "copies",
    "filter2d",
    "graphs",
    "library",
    "operations",
    "units",
]

OWN = "blade_tf"
TOLERANCE = 2e-5
COPIES = 8


@dataclasses.dataclass(frozen=True)
class Case:
    """Something to time.

    Attributes:
      what: the operation.
      by: whose it is.
      run: computes it.
      size: (width, height) of the image.
      how: "call", one eager call or the like, or "graph", one of `COPIES` calls in a TensorFlow graph.
      channels: of the image.
      work: number of operations in a `run`.
      check: compares the result of `run` with another's and returns a record of `check.compare`, or raises
        MismatchError. None for what other cases are checked against.
    """

    what: str
    by: str
    run: Callable[[], Any]
    size: tuple[int, int]
    how: str = "call"
    channels: int = 1
    work: int = 1
    check: Callable[[], dict[str, Any]] | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.what}, {self.by}, {self.size[0]}x{self.size[1]}{', graph' if self.how == 'graph' else ''}"


def library() -> Any:
    """The native library.

    Raises:
      ValueError: it is not installed.
    """
    if native.library is None:
        raise ValueError("blade_tf was installed without its native library, which is what is measured here")
    return native.library


def filter2d(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """OpenCV's fixed filter, the unit of all ratios; ValueError where OpenCV is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise ValueError(
            "OpenCV is not installed, whose filter2D is the unit: pip install 'blade-tf[bench]'"
        ) from error
    cv2.setNumThreads(1)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def units(inputs: Inputs) -> list[Case]:
    """filter2D, 5x5, float32, one thread, on the channels that there are."""
    kernel = inputs.filters[0].numpy()
    found = [Case("filter2D 5x5", "OpenCV", lambda: filter2d(inputs.gray, kernel), inputs.size)]
    if inputs.colour is not None:
        colour = inputs.colour
        found.append(
            Case("filter2D 5x5, 3 channels", "OpenCV", lambda: filter2d(colour, kernel), inputs.size, channels=3)
        )
    return found


def at_once(inputs: Inputs, threads: int) -> Case:
    """filter2D on as many images as there are threads, one in each: what the machine's processors gain together."""
    kernel = inputs.filters[0].numpy()
    pool = concurrent.futures.ThreadPoolExecutor(threads)

    def some(_: int) -> None:
        for _ in range(COPIES):
            filter2d(inputs.gray, kernel)

    return Case(
        f"{threads} filters at once",
        "OpenCV",
        lambda: list(pool.map(some, range(threads))),
        inputs.size,
        work=threads * COPIES,
    )


def copies(inputs: Inputs) -> list[Case]:
    """What the memory allows: the image copied to memory that is there, and to memory that has to be found first."""
    there = np.zeros_like(inputs.gray)
    return [
        Case("copy", "NumPy", lambda: np.copyto(there, inputs.gray), inputs.size),
        Case("copy to new memory", "NumPy", lambda: inputs.gray.copy(), inputs.size),
    ]


def _functions(inputs: Inputs) -> dict[str, Callable[[tf.Tensor], Any]]:
    """The operations on one channel as functions of the image; the adjoint takes it as its cotangent."""
    lib, shape = library(), tf.shape(inputs.filters)
    return {
        "filter": lambda u: ops.blade_filter(u, inputs.filters, inputs.index),
        "selection 24x3x3": lambda u: select_ops.blade_select(u, dtype=inputs.index.dtype, **inputs.parameters),
        "gradient to the image": lambda u: lib.blade_filter_grad_image(
            filters=inputs.filters, selection=inputs.index, grad=u
        ),
        "gradient to the filters": lambda u: lib.blade_filter_grad_filters(
            image=u, selection=inputs.index, grad=inputs.grad, filters_shape=shape
        ),
        "step": lambda u: step_ops.blade_step(u, inputs.filters, inputs.dt, **inputs.parameters),
    }


def _stock_gradient(filters: tf.Tensor) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    def gradient(selection: tf.Tensor, grad: tf.Tensor) -> tf.Tensor:
        # The filter is linear in the image: its gradient is the same wherever it is taken.
        with tf.GradientTape() as tape:
            image = tf.zeros_like(grad)
            tape.watch(image)
            output = ops.blade_filter(image, filters, selection)
        return tape.gradient(output, image, grad)

    return gradient


def _checks(inputs: Inputs, functions: dict[str, Callable[[tf.Tensor], Any]]) -> dict[str, Callable[[], Any]]:
    filters, parameters = inputs.filters, inputs.parameters

    def windows(what: str, got: Any, oracle: Callable[..., Any], *arguments: tf.Tensor) -> dict[str, Any]:
        name = f"{what}, {OWN}, {inputs.size[0]}x{inputs.size[1]}"
        return check.on_windows(name, got, oracle, arguments, tolerance=TOLERANCE)

    def filters_gradient() -> dict[str, Any]:
        got = functions["gradient to the filters"](inputs.u).numpy()
        grad, selection = inputs.grad.numpy()[0, ..., 0], inputs.selection.numpy()[0]
        expected = check.filters_gradient(inputs.gray, selection, grad, got.shape)
        got = np.where(np.isnan(expected), np.nan, got)
        name = f"gradient to the filters, {OWN}, {inputs.size[0]}x{inputs.size[1]}"
        return check.compare(name, np.nan_to_num(expected), np.nan_to_num(got), tolerance=TOLERANCE)

    def stock_step(u: tf.Tensor) -> tf.Tensor:
        return u + inputs.dt * ops.blade_filter(u, filters, select_ops.blade_select(u, **parameters))

    return {
        "filter": lambda: windows(
            "filter",
            functions["filter"](inputs.u),
            lambda u, selection: ops.blade_filter(u, filters, selection),
            inputs.u,
            inputs.selection,
        ),
        "selection 24x3x3": lambda: windows(
            "selection 24x3x3",
            functions["selection 24x3x3"](inputs.u),
            lambda u: select_ops.blade_select(u, **parameters),
            inputs.u,
        ),
        "gradient to the image": lambda: windows(
            "gradient to the image",
            functions["gradient to the image"](inputs.grad),
            _stock_gradient(filters),
            inputs.selection,
            inputs.grad,
        ),
        "gradient to the filters": filters_gradient,
        "step": lambda: windows("step", functions["step"](inputs.u), stock_step, inputs.u),
    }


def operations(inputs: Inputs) -> list[Case]:
    """Each operation, called eagerly; both gradients one after the other as well."""
    functions = _functions(inputs)
    checks = _checks(inputs, functions)
    cases = {
        what: Case(what, OWN, lambda function=function: function(inputs.u), inputs.size, check=checks[what])  # type: ignore[misc]
        for what, function in functions.items()
    }
    image, filters = functions["gradient to the image"], functions["gradient to the filters"]
    found = list(cases.values())
    found.insert(-1, Case("both gradients", OWN, lambda: (image(inputs.grad), filters(inputs.u)), inputs.size))
    if inputs.u3 is not None:
        u3 = inputs.u3

        def filtered() -> tf.Tensor:
            return ops.blade_filter(u3, inputs.filters, inputs.index)

        def compared() -> dict[str, Any]:
            name = f"filter, 3 channels, {OWN}, {inputs.size[0]}x{inputs.size[1]}"
            arguments = u3, inputs.selection
            return check.on_windows(
                name, filtered(), lambda u, s: ops.blade_filter(u, inputs.filters, s), arguments, tolerance=TOLERANCE
            )

        found.insert(1, Case("filter, 3 channels", OWN, filtered, inputs.size, channels=3, check=compared))
    return found


def _in_turn(function: Callable[[tf.Tensor], Any], images: list[tf.Tensor]) -> Callable[[], Any]:
    """A graph that calls a function on each image, one after the other; equal inputs would be computed once."""

    @tf.function(autograph=False)
    def run(images: list[tf.Tensor]) -> list[Any]:
        found: list[Any] = []
        for image in images:
            with tf.control_dependencies(found[-1:]):
                found.append(function(image))
        return found

    return lambda: run(images)


def graphs(inputs: Inputs) -> list[Case]:
    """The operations on one channel in a graph that calls each `COPIES` times: what of a call is not the operation."""
    images = [tf.constant(np.roll(inputs.u.numpy(), k, axis=1)) for k in range(COPIES)]
    found = []
    for what, function in _functions(inputs).items():
        run = _in_turn(function, images)

        def compared(
            what: str = what, function: Callable[[tf.Tensor], Any] = function, run: Callable[[], Any] = run
        ) -> dict[str, Any]:
            name = f"{what}, {OWN}, {inputs.size[0]}x{inputs.size[1]}, graph"
            return check.compare(name, [function(u) for u in images], [u.numpy() for u in run()], tolerance=0.0)

        found.append(Case(what, OWN, run, inputs.size, how="graph", work=COPIES, check=compared))
    return found
