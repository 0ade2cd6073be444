"""Alignment beside OpenCV's optical flows, on scenes whose flow is known."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import skimage.data

from blade_tf import flow_io, image_io, report
from blade_tf.apps import align
from blade_tf.compare import burst, moved
from blade_tf.compare.findings import Findings, Table
from blade_tf.compare.restored import in_turns, photographs

__all__ = ["compare", "end_point_error", "flow_image", "scene", "tune"]

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]

TURNS = 9
OURS = "blade_tf"
EVERY = 4  # photograph is tuned on
GRID: dict[str, tuple[float, ...]] = {
    "smoothness": (5e-5, 7e-5, 1e-4, 1.5e-4, 2e-4, 3e-4, 4e-4, 6e-4),
    "robust": (0.01, 0.015, 0.02, 0.03, 0.04, 0.06),
    "bias": (0.001, 0.002, 0.003, 0.005, 0.01),
}
EXAMPLE = ("astronaut", "camera", "brick", "grass")  # scikit-image's
KEY = 60  # radius of the key in pixels
SHOWN = (OURS, "OpenCV DIS, medium", "OpenCV Farneback")


def scene(folder: pathlib.Path) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """frame10 and frame11 of a Middlebury scene, float32 [H, W, C], and the flow between them.

    Raises:
      ValueError: names the scene: its sizes differ, or its flow is known nowhere.
    """
    first, second = (image_io.read_image(folder / f"frame{number}.png").pixels for number in (10, 11))
    flow = flow_io.read_flow(folder / "flow10.flo")
    for name, found in (("frame11.png", second), ("flow10.flo", flow)):
        if found.shape[:2] != first.shape[:2]:
            raise ValueError(f"{folder}: {name}: expected frame10.png's size, {first.shape[:2]}, got {found.shape[:2]}")
    if not flow_io.known(flow).any():
        raise ValueError(f"{folder}: flow10.flo: expected a flow that is known somewhere, got none")
    return (first, second), flow


def end_point_error(flow: np.ndarray, truth: np.ndarray) -> float:
    """The mean of |flow - truth| in pixels where the truth is known."""
    known = flow_io.known(truth)
    return float(np.mean(np.linalg.norm((flow - truth)[known], axis=-1)))


def flow_image(flow: np.ndarray, largest: float) -> np.ndarray:
    """A flow [H, W, 2] as a picture: the hue is its direction, the saturation its length up to `largest`.

    What is unknown is black.
    """
    length = np.clip(np.linalg.norm(flow, axis=-1) / largest, 0, 1)
    angle = np.arctan2(flow[..., 1], flow[..., 0])
    waves = [0.5 + 0.5 * np.cos(angle - shift) for shift in (0, 2 * np.pi / 3, 4 * np.pi / 3)]
    colour = 1 - length[..., np.newaxis] * (1 - np.stack(waves, -1))
    colour[~flow_io.known(flow)] = 0
    return report.to_uint8(colour)


def _key(largest: float) -> tuple[np.ndarray, str]:
    """The colours of flows up to the largest, each where a pixel of the disk's centre moves to; and what they are."""
    y, x = np.mgrid[-KEY : KEY + 1, -KEY : KEY + 1] / KEY * largest
    flow = np.stack([x, y], -1)
    flow[np.hypot(x, y) > largest] = np.inf
    return flow_image(flow, largest), f"colours, up to {largest:.1f} px"


def _picture(
    frames: Mapping[str, np.ndarray], flows: Mapping[str, np.ndarray], largest: float, scale: int
) -> np.ndarray:
    """Frames, flows, and the key to their colours, enlarged."""
    key, label = _key(largest)
    shown = {**frames, **{name: flow_image(flow, largest) for name, flow in flows.items()}, label: key}
    return report.side_by_side(list(shown.values()), list(shown), columns=4, scale=scale)


def _largest(truth: np.ndarray) -> float:
    """The longest displacement that is known; a pixel where nothing moves."""
    return float(np.max(np.linalg.norm(truth[flow_io.known(truth)], axis=-1))) or 1.0


def _example(methods: Mapping[str, Method]) -> np.ndarray:
    """Patches that move in front of a photograph, and their true flow; unlike Middlebury's these may be shown."""
    found = {name: getattr(skimage.data, name)() / np.float32(255) for name in EXAMPLE}
    grays = {name: image_io.luma(pixels.reshape(*pixels.shape[:2], -1)) for name, pixels in found.items()}
    _, (frames, truth) = itertools.islice(moved.scenes(grays), 2)
    flows = {name: method(*_inputs(name, frames)) for name, method in methods.items() if name in SHOWN}
    shown = dict(zip(("reference", "moving"), frames, strict=True))
    return _picture(shown, {"true flow": truth} | flows, _largest(truth), 2)


def _inputs(name: str, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What a method sees: luma, in 8 bits if it is OpenCV's."""
    grays = [image_io.luma(frame) for frame in frames]
    return grays if name == OURS else [image_io.quantize(gray)[..., 0] for gray in grays]


def _peers() -> dict[str, Method]:
    """OpenCV's methods, of 8-bit gray images, with one thread; none where it is not installed."""
    try:
        import cv2
    except ImportError:
        return {}
    cv2.setNumThreads(1)
    presets = {"fast": cv2.DISOPTICAL_FLOW_PRESET_FAST, "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM}

    def inverse_search(preset: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return cv2.DISOpticalFlow.create(preset).calc(a, b, np.zeros([*a.shape, 2], np.float32))

    def farneback(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        # OpenCV's example, with 5 levels as we have.
        flow = np.zeros([*a.shape, 2], np.float32)
        return cv2.calcOpticalFlowFarneback(a, b, flow, 0.5, 5, 15, 3, 5, 1.1, 0)

    found = {f"OpenCV DIS, {name}": functools.partial(inverse_search, preset) for name, preset in presets.items()}
    return found | {"OpenCV Farneback": farneback}


def tune(images: str | os.PathLike[str]) -> dict[str, float]:
    """`align.PARAMETERS`: what has the least end-point error on the scenes of `moved` from a folder's photographs.

    The mean over the scenes. One parameter after the other takes the best value of GRID, until none changes; those that
    decide on the time are not among them.

    Returns:
      The parameters, their error, and that of the present ones.
    """
    known = list(moved.scenes(dict(list(photographs(images).items())[::EVERY])))

    @functools.cache
    def error(parameters: align.AlignParameters) -> float:
        found = [end_point_error(_ours(*pair, parameters), truth) for pair, truth in known]
        return float(np.mean(found))

    def changed(name: str, value: float) -> align.AlignParameters:
        change: dict[str, Any] = {name: value}
        return dataclasses.replace(best, **change)

    best, before = align.PARAMETERS, None
    while best != before:
        before = best
        for name, values in GRID.items():
            best = min((changed(name, value) for value in values), key=error)
    return {name: getattr(best, name) for name in GRID} | {"error": error(best), "before": error(align.PARAMETERS)}


def _ours(a: np.ndarray, b: np.ndarray, parameters: align.AlignParameters = align.PARAMETERS) -> np.ndarray:
    return align.align(a[np.newaxis], b[np.newaxis], parameters=parameters)[0].numpy()


def compare(images: str | os.PathLike[str]) -> Findings:
    """End-point errors and times.

    Args:
      images: a folder with a folder for each scene: frame10.png, frame11.png and flow10.flo.

    Raises:
      ValueError: there is no scene, or what `scene` refuses.
    """
    folders = sorted(path.parent for path in pathlib.Path(images).glob("*/flow10.flo"))
    if not folders:
        raise ValueError(f"images: expected a folder of scenes with flow10.flo, got {images}")
    methods: dict[str, Method] = {OURS: _ours} | _peers()
    errors: dict[str, list[float]] = {name: [] for name in methods}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    ratios: dict[str, list[float]] = {name: [] for name in methods}
    pictures = {"example": _example(methods)}
    captions = {
        "example": "Patches of photographs that move in front of another (`blade_tf.compare.moved.cut_outs`), their "
        "true flow, and the flows found."
    }
    for folder in folders:
        frames, truth = scene(folder)
        inputs = {name: _inputs(name, frames) for name in methods}
        flows = {name: method(*inputs[name]) for name, method in methods.items()}
        runs = {name: functools.partial(method, *inputs[name]) for name, method in methods.items()}
        samples = {name: seconds[:, 1] for name, seconds in in_turns(runs, TURNS).items()}
        for name, flow in flows.items():
            errors[name].append(end_point_error(flow, truth))
            seconds[name].append(float(np.median(samples[name])))
            ratios[name].append(float(np.median(samples[name] / samples[OURS])))
        # Neither the frames nor their true flow: Middlebury's data are not to be redistributed.
        shown = {name: flow for name, flow in flows.items() if name in SHOWN}
        pictures[folder.name] = _picture({}, shown, _largest(truth), 1)
        captions[folder.name] = f"The flows found from frame 10 to frame 11 of {folder.name}."
    missing = "" if len(methods) > 1 else " OpenCV is not installed here, so its rows are missing."
    rows: list[list[Any]] = [
        [
            name,
            *errors[name],
            float(np.mean(errors[name])),
            1e3 * float(np.mean(seconds[name])),
            float(np.mean(ratios[name])),
        ]
        for name in methods
    ]
    table = Table(
        "End-point error",
        "Mean distance in pixels between the flow found from frame 10 to frame 11 and the true one, where that is "
        "known (Middlebury; Baker et al., IJCV 2011); the mean processor time on one thread; and how many times as "
        f"long it is as ours, medians of {TURNS} turns. All see luma, OpenCV's methods in 8 bits and with their "
        "presets. Our weights are those that `tune` chose on photographs moved by known flows; how many levels, steps "
        f"and sweeps there are was chosen on these scenes.{missing}",
        ["method", *(folder.name for folder in folders), "mean", "ms", "time"],
        rows,
    )
    tables = [table, burst.true_flow(folders)]
    for folder in folders:
        found = burst.burst(folder)
        if found:
            tables.append(found[0])
            pictures[f"{folder.name}_burst"] = found[1]
            captions[f"{folder.name}_burst"] = "Ten times the errors after two hops."
    return Findings("align", "Alignment", tables, pictures=pictures, captions=captions)
