"""A function of images over image files: one, or all of a folder."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tqdm

from blade_tf import image_codecs, image_io, report

__all__ = ["convert"]

_Made = np.ndarray | image_io.Image


class _Job(NamedTuple):
    source: pathlib.Path
    target: pathlib.Path
    sheet: pathlib.Path | None  # the picture of the result beside the input


def _named(path: pathlib.Path, lossless: bool) -> pathlib.Path:
    """The path itself, or with .png behind it for a format that is not written."""
    formats = image_codecs.LOSSLESS if lossless else image_codecs.ENCODERS
    return path if path.suffix.lower() in formats else path.with_name(f"{path.name}.png")


def _pairs(source: pathlib.Path, target: pathlib.Path, lossless: bool) -> list[tuple[pathlib.Path, pathlib.Path]]:
    if not source.exists():
        raise ValueError(f"input: {source} does not exist")
    if source.is_dir():
        if target.exists() and not target.is_dir():
            raise ValueError(f"output: expected a folder, as the input is one, got the file {target}")
        if target.resolve() == source.resolve():
            raise ValueError(f"output: expected another folder than the input, got {target}")
        found = image_io.find_images(source)
        if target.resolve().is_relative_to(source.resolve()):
            found = [path for path in found if not path.resolve().is_relative_to(target.resolve())]
        if not found:
            raise ValueError(f"input: expected an image beside those of the output, got none in {source}")
        return [(path, _named(target / path.relative_to(source), lossless)) for path in found]
    target = _named(target / source.name, lossless) if target.is_dir() else target
    if lossless and target.suffix.lower() in image_codecs.ENCODERS and _named(target, lossless) != target:
        raise ValueError(f"output: expected a name ending in {', '.join(image_codecs.LOSSLESS)}, got {target}")
    return [(source, target)]


def _jobs(pairs: list[tuple[pathlib.Path, pathlib.Path]], beside: bool) -> list[_Job]:
    """What to write; an error if one file would be written twice, or over an input."""
    jobs = [_Job(*pair, pair[1].with_name(f"{pair[1].stem}_beside.png") if beside else None) for pair in pairs]
    taken = {job.source.resolve(): "an input" for job in jobs}
    for job in jobs:
        for path in (job.target, job.sheet):
            if path is None:
                continue
            if path.resolve() == job.source.resolve():
                raise ValueError(f"output: expected another file than the input, got {path}")
            if path.resolve() in taken:
                raise ValueError(
                    f"output: expected a name for each file, got {path}, which is {taken[path.resolve()]}, for "
                    f"{'the picture beside ' if path == job.sheet else ''}{job.source}"
                )
            taken[path.resolve()] = f"a result of {job.source}"
    return jobs


def _reason(error: Exception) -> str:
    """What TensorFlow's errors say of their cause, without where they come from."""
    if not isinstance(error, tf.errors.OpError):
        return str(error)
    asserted = re.search(r"assertion failed: \[(.*?)\](?: \[[^\]]*\])*\s*$", error.message, re.MULTILINE)
    return asserted[1] if asserted else error.message.strip().splitlines()[-1].strip()


def _converted(job: _Job, function: Callable[[image_io.Image], _Made | tuple[_Made, Any]]) -> Any:
    """Writes the results of a file, and returns what else the function made."""
    image = image_io.read_image(job.source)
    image_io.check_writable(job.target, image)
    try:
        made = function(image)
    except (ValueError, tf.errors.OpError) as error:
        raise image_io.ImageError(f"{job.source}: {_reason(error)}") from error
    made, more = made if isinstance(made, tuple) else (made, None)
    pixels, alpha = (made.pixels, made.alpha) if isinstance(made, image_io.Image) else (made, image.alpha)
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        factors = [new // old for new, old in zip(pixels.shape[:2], alpha.shape, strict=True)]
        alpha = alpha.repeat(factors[0], axis=0).repeat(factors[1], axis=1)
    # A profile is for gray or for colour.
    profile = image.icc_profile if pixels.shape[2] == image.pixels.shape[2] else None
    job.target.parent.mkdir(parents=True, exist_ok=True)
    image_io.write_image(job.target, dataclasses.replace(image, pixels=pixels, alpha=alpha, icc_profile=profile))
    if job.sheet is not None:
        factor = pixels.shape[0] // image.pixels.shape[0]
        given = image.pixels.repeat(factor, axis=0).repeat(factor, axis=1)
        report.write_png(job.sheet, report.side_by_side([given, pixels], ["input", "result"]))
    return more


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    function: Callable[[image_io.Image], _Made | tuple[_Made, Any]],
    what: str,
    beside: bool = False,
    written: Callable[[pathlib.Path, Any], None] = lambda *_: None,
    lossless: bool = False,
) -> dict[str, str]:
    """Writes what a function makes of an image file, or of each of a folder, with the same depth and the same alpha.

    Args:
      source: an image file or a folder.
      target: an image file, or a folder that receives the results under the same relative names (WebP and BMP as PNG).
      function: from an image to pixels [H, W, C] of the same size, or of a multiple of it (alpha's pixels are then
        repeated); or to an `Image`, where alpha changes too; or to a pair of either and what `written` takes of it.
      what: stands before the progress bar that a folder has.
      beside: write a picture of the result beside the input too, to NAME_beside.png.
      written: called with each input's path, and the second of the function's pair, when its result is written.
      lossless: for results that compression would change, such as masks: JPEG files too get PNG results.

    Returns:
      For each file that could not be read, converted (the function's ValueError, or an error of TensorFlow) or written,
      the reason.

    Raises:
      ValueError: for a missing input, or an output over an input or over another output.
    """
    failed = {}
    jobs = _jobs(_pairs(pathlib.Path(source), pathlib.Path(target), lossless), beside)
    for job in tqdm.tqdm(jobs, desc=what, unit="image", disable=len(jobs) == 1):
        try:
            written(job.source, _converted(job, function))
        except (image_io.ImageError, OSError) as error:
            failed[str(job.source)] = str(error)
        except MemoryError:
            failed[str(job.source)] = f"{job.source}: out of memory"
    return failed
