"""A function of images over image files: one, or all of a folder."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable

import numpy as np
import tqdm

from blade_tf import image_codecs, image_io, report

__all__ = ["convert"]


def _writable(path: pathlib.Path) -> pathlib.Path:
    """The path itself, or with .png behind it for a format that is read but not written."""
    return path if path.suffix.lower() in image_codecs.ENCODERS else path.with_name(f"{path.name}.png")


def _pairs(source: pathlib.Path, target: pathlib.Path) -> list[tuple[pathlib.Path, pathlib.Path]]:
    if not source.exists():
        raise ValueError(f"input: {source} does not exist")
    if source.is_dir():
        if target.exists() and not target.is_dir():
            raise ValueError(f"output: expected a folder, as the input is one, got the file {target}")
        if target.resolve() == source.resolve():
            raise ValueError(f"output: expected another folder than the input, got {target}")
        found = [path for path in image_io.find_images(source) if not path.resolve().is_relative_to(target.resolve())]
        return [(path, _writable(target / path.relative_to(source))) for path in found]
    target = target / source.name if target.is_dir() else target
    if target.resolve() == source.resolve():
        raise ValueError(f"output: expected another file than the input, got {target}")
    return [(source, target)]


def _converted(
    read_from: pathlib.Path,
    write_to: pathlib.Path,
    function: Callable[[image_io.Image], np.ndarray | image_io.Image],
    beside: bool,
) -> None:
    image = image_io.read_image(read_from)
    try:
        made = function(image)
    except ValueError as error:
        raise image_io.ImageError(f"{read_from}: {error}") from error
    pixels, alpha = (made.pixels, made.alpha) if isinstance(made, image_io.Image) else (made, image.alpha)
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        factors = [new // old for new, old in zip(pixels.shape[:2], alpha.shape, strict=True)]
        alpha = alpha.repeat(factors[0], axis=0).repeat(factors[1], axis=1)
    write_to.parent.mkdir(parents=True, exist_ok=True)
    image_io.write_image(write_to, dataclasses.replace(image, pixels=pixels, alpha=alpha))
    if beside:
        factor = pixels.shape[0] // image.pixels.shape[0]
        given = image.pixels.repeat(factor, axis=0).repeat(factor, axis=1)
        sheet = report.side_by_side([given, pixels], ["input", "result"])
        report.write_png(write_to.with_name(f"{write_to.stem}_beside.png"), sheet)


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    function: Callable[[image_io.Image], np.ndarray | image_io.Image],
    what: str,
    beside: bool = False,
    written: Callable[[pathlib.Path], None] = lambda _: None,
) -> dict[str, str]:
    """Writes what a function makes of an image file, or of each of a folder, with the same depth and the same alpha.

    Args:
      source: an image file or a folder.
      target: an image file, or a folder that receives the results under the same relative names (WebP and BMP as PNG).
      function: from an image to pixels [H, W, C] of the same size, or of a multiple of it (alpha's pixels are then
        repeated); or to an `Image`, where alpha changes too.
      what: stands before the progress bar that a folder has.
      beside: write a picture of the result beside the input too, to NAME_beside.png.
      written: called with each input's path when its result is written.

    Returns:
      For each file that could not be read, converted (the function's ValueError) or written, the reason.

    Raises:
      ValueError: for a missing input, or an output over the input.
    """
    failed = {}
    pairs = _pairs(pathlib.Path(source), pathlib.Path(target))
    for read_from, write_to in tqdm.tqdm(pairs, desc=what, unit="image", disable=len(pairs) == 1):
        try:
            _converted(read_from, write_to, function, beside)
            written(read_from)
        except (image_io.ImageError, OSError) as error:
            failed[str(read_from)] = str(error)
    return failed
