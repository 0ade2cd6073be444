"""Arrays to pictures, uint8 [H, W, 3]."""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blade_tf.image_io import quantize

__all__ = ["error_image", "filter_mosaic", "outlined", "pair_mosaic", "selection_image", "side_by_side", "to_uint8"]

_DIVERGING = np.array([[5, 48, 97], [67, 147, 195], [247, 247, 247], [214, 96, 77], [103, 0, 31]])
_PAPER, _INK, _DOT, _RED = (255, 255, 255), (40, 40, 40), (150, 150, 150), (255, 0, 0)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """[H, W], [H, W, 1] or [H, W, 3], float in [0, 1] (clipped; NaN is black) or uint8, to uint8 [H, W, 3].

    Raises:
      ValueError: image is something else.
    """
    image = np.asarray(image)
    pixels = image[..., np.newaxis] if image.ndim == 2 else image
    floating = np.issubdtype(image.dtype, np.floating)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not (floating or image.dtype == np.uint8):
        raise ValueError(f"image: expected float or uint8 [H, W, 1 or 3], got {image.dtype} {list(image.shape)}")
    return np.repeat(quantize(pixels) if floating else pixels, 3 // pixels.shape[2], axis=2)


def filter_mosaic(
    filters: np.ndarray, orientations: int, *, scale: int = 6, gap: int = 2, transposed: bool = False
) -> np.ndarray:
    """The filter bank as in Figs 11-13: orientations along columns, strength and then coherence along rows.

    Each filter is scaled by its own largest magnitude: blue is negative, white 0, red positive.

    Args:
      filters: float [K, R, S], K a multiple of orientations, ordered by eq 2.5.
      scale: pixels of the picture per tap.
      gap: pixels between filters.
      transposed: exchanges columns and rows, as in Fig 14.

    Raises:
      ValueError: filters is not float [K, R, S], or K is not a multiple of orientations.
    """
    filters = np.nan_to_num(_bank("filters", filters, orientations), posinf=0, neginf=0)
    largest = np.abs(filters).max((1, 2), keepdims=True)
    tiles = _diverging(filters / np.where(largest > 0, largest, 1))
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    tiles = np.pad(tiles, ((0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    return _mosaic(tiles, orientations, gap, transposed)


def pair_mosaic(
    stencils: np.ndarray, orientations: int, *, scale: int = 8, gap: int = 4, transposed: bool = False
) -> np.ndarray:
    """A bank of pixel pairs as a mosaic: in each tile a line joins the two pixels of a pair, a dot is a pixel.

    The stronger a pair, the darker red is its line, relative to the strongest of its tile; those of 0 are left out.

    Args:
      stencils: float [K, R, S], not negative, as of `blade_tf.pairs.BladePairs.face_stencils`: entry [r, s] couples
        this pixel with its mirror image through the tile's centre, [R - 1 - r, S - 1 - s].
      orientations: as in `filter_mosaic`.
      scale: distance of two pixels in the picture.
      gap: pixels between tiles.
      transposed: as in `filter_mosaic`.

    Raises:
      ValueError: stencils is not float [K, R, S], or K is not a multiple of orientations.
    """
    stencils = np.nan_to_num(_bank("stencils", stencils, orientations), posinf=0, neginf=0)
    _, rows, columns = stencils.shape
    sharp = 4 * scale  # drawn enlarged, as Pillow's lines have hard edges
    places = [(r, s) for r in range(rows) for s in range(columns)][: rows * columns // 2]
    # Long lines first: short ones on the same line stay visible on top.
    places.sort(key=lambda place: -np.hypot(rows - 1 - 2 * place[0], columns - 1 - 2 * place[1]))

    def centre(r: int, s: int) -> tuple[float, float]:
        return (s + 0.5) * sharp, (r + 0.5) * sharp

    def tile(stencil: np.ndarray) -> np.ndarray:
        picture = Image.new("RGB", (columns * sharp, rows * sharp), _PAPER)
        draw = ImageDraw.Draw(picture)
        largest = stencil.max()
        for r, s in places:
            if stencil[r, s] > 0:
                colour = tuple(int(c) for c in _diverging(stencil[r, s] / largest))
                draw.line([centre(r, s), centre(rows - 1 - r, columns - 1 - s)], fill=colour, width=sharp // 3)
        for r in range(rows):
            for s in range(columns):
                x, y = centre(r, s)
                draw.ellipse([x - sharp // 8, y - sharp // 8, x + sharp // 8, y + sharp // 8], fill=_DOT)
        return np.asarray(picture.resize((columns * scale, rows * scale), Image.Resampling.BOX))

    tiles = np.stack([tile(stencil) for stencil in stencils])
    tiles = np.pad(tiles, ((0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    return _mosaic(tiles, orientations, gap, transposed)


def _bank(name: str, filters: np.ndarray, orientations: int) -> np.ndarray:
    filters = np.asarray(filters, np.float64)
    if filters.ndim != 3 or not filters.size:
        raise ValueError(f"{name}: expected [K, R, S], got {list(filters.shape)}")
    if orientations < 1 or len(filters) % orientations:
        raise ValueError(f"orientations: expected a divisor of {len(filters)} {name}, got {orientations}")
    return filters


def _mosaic(tiles: np.ndarray, orientations: int, gap: int, transposed: bool) -> np.ndarray:
    grid = tiles.reshape(-1, orientations, *tiles.shape[1:])
    if transposed:
        grid = grid.swapaxes(0, 1)
    rows, columns, height, width, _ = grid.shape
    mosaic = grid.swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    return np.pad(mosaic, ((gap, 0), (gap, 0), (0, 0)), constant_values=255)


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An image with the border of a mask drawn over it in red: the pixels of either side that touch the other.

    Args:
      image: anything that `to_uint8` takes.
      mask: bool [H, W].

    Raises:
      ValueError: mask is something else.
    """
    picture, mask = to_uint8(image).copy(), np.asarray(mask)
    if mask.dtype != bool or mask.shape != picture.shape[:2]:
        raise ValueError(f"mask: expected bool {list(picture.shape[:2])}, got {mask.dtype} {list(mask.shape)}")
    border = np.zeros_like(mask)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = mask[one] != mask[other]
        border[one] |= differs
        border[other] |= differs
    picture[border] = _RED
    return picture


def selection_image(selection: np.ndarray, orientations: int, n_strength: int, n_coherence: int) -> np.ndarray:
    """A selection in false colours: hue is the orientation, value the strength, saturation the coherence.

    Args:
      selection: int [H, W], ori + orientations * (str + n_strength * coh).

    Raises:
      ValueError: selection is not int [H, W], or holds an index out of range.
    """
    selection = np.asarray(selection)
    bins = orientations * n_strength * n_coherence
    if selection.ndim != 2 or not np.issubdtype(selection.dtype, np.integer):
        raise ValueError(f"selection: expected int [H, W], got {selection.dtype} {list(selection.shape)}")
    if selection.size and not (selection.min() >= 0 and selection.max() < bins):
        raise ValueError(f"selection: expected values in [0, {bins}), got {selection.min()} to {selection.max()}")
    palette = [
        colorsys.hsv_to_rgb(ori / orientations, _ramp(coherence, n_coherence), _ramp(strength, n_strength))
        for coherence in range(n_coherence)
        for strength in range(n_strength)
        for ori in range(orientations)
    ]
    return quantize(np.array(palette))[selection]


def error_image(a: np.ndarray, b: np.ndarray, scale: float = 10.0) -> np.ndarray:
    """scale * (a - b), mean over channels: blue where a is darker, white where equal, red where brighter; full at +-1.

    Raises:
      ValueError: a and b are not float [H, W] or [H, W, C] of the same shape.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim not in (2, 3):
        raise ValueError(f"a, b: expected equal shapes [H, W] or [H, W, C], got {list(a.shape)} and {list(b.shape)}")
    if not (np.issubdtype(a.dtype, np.floating) and np.issubdtype(b.dtype, np.floating)):
        raise ValueError(f"a, b: expected float images, got {a.dtype} and {b.dtype}")
    difference = a.astype(np.float64) - b
    return _diverging(scale * (difference.mean(-1) if a.ndim == 3 else difference))


def side_by_side(
    images: Sequence[np.ndarray], labels: Sequence[str], *, columns: int | None = None, scale: int = 1, font: int = 15
) -> np.ndarray:
    """A contact sheet: pictures of any sizes in a grid, each with its label underneath.

    Args:
      images: anything that `to_uint8` takes.
      columns: pictures in a row; all of them by default.
      scale: enlarges each pixel to scale x scale.
      font: height of the labels in pixels.

    Raises:
      ValueError: no image, or another number of labels.
    """
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"labels: expected one for each of at least one image, got {len(labels)} for {len(images)}")
    pictures = [to_uint8(image).repeat(scale, axis=0).repeat(scale, axis=1) for image in images]
    columns = min(columns or len(pictures), len(pictures))
    rows = -(-len(pictures) // columns)
    margin, strip = font, 2 * font
    height = max(picture.shape[0] for picture in pictures) + strip
    width = max(picture.shape[1] for picture in pictures) + margin
    sheet = Image.new("RGB", (columns * width + margin, rows * height + margin), _PAPER)
    draw = ImageDraw.Draw(sheet)
    face = ImageFont.load_default(font)
    for k, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = margin + k % columns * width, margin + k // columns * height
        sheet.paste(Image.fromarray(picture), (x, y))
        text = label.replace("\N{MULTIPLICATION SIGN}", "x")  # not in Pillow's font
        while draw.textlength(text, face) > width - margin and len(text) > 1:
            text = text.removesuffix("…")[:-1] + "…"
        draw.text((x, y + picture.shape[0] + font // 4), text, _INK, face)
    return np.asarray(sheet)


def _diverging(values: np.ndarray) -> np.ndarray:
    stops = np.linspace(-1, 1, len(_DIVERGING))
    values = np.nan_to_num(np.clip(values, -1, 1))
    channels = [np.interp(values, stops, channel) for channel in _DIVERGING.T]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)


def _ramp(k: int, count: int) -> float:
    """Bin 0 stays visible; a single bin is full."""
    return 0.25 + 0.75 * (k / (count - 1) if count > 1 else 1)
