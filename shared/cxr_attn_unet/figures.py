"""Pictures: radiographs with outlines, side by side on one sheet."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from .files import written
from .structures import OTHER_COLOUR, REGISTRY, colour_of

__all__ = ["COLOURS", "annotated", "contact_sheet", "four_around", "overlay", "to_grey"]

# of outlines that are told apart by number rather than by structure
COLOURS = (*(structure.colour for structure in REGISTRY.values()), OTHER_COLOUR)
TILE = 384
TITLE_HEIGHT = 20


def to_grey(pixels: np.ndarray) -> np.ndarray:
    """Radiograph ``(rows, columns)`` on any scale to 8-bit grey between its 1st and 99th percentile."""
    low, high = np.percentile(pixels, (1, 99))
    return (np.clip((pixels - low) / max(float(high - low), 1e-6), 0, 1) * 255).astype(np.uint8)


def overlay(pixels: np.ndarray, masks: Sequence[np.ndarray], title: str = "", tile: int = TILE) -> Image.Image:
    """A radiograph with the outline of each mask in its own colour, scaled to fit a square tile under a title.

    Args:
        pixels: upright radiograph ``(rows, columns)``.
        masks: upright masks ``(rows, columns)``, of any resolution over the same field of view.
        title: written above the picture.
        tile: side of the square in pixels.
    """
    size = _fitting(pixels, tile)
    outlined = _outlined(pixels, list(zip(masks, COLOURS, strict=False)), size)
    picture = Image.new("RGB", (tile, tile + TITLE_HEIGHT))
    picture.paste(outlined, ((tile - size[0]) // 2, TITLE_HEIGHT + (tile - size[1]) // 2))
    ImageDraw.Draw(picture).text((4, 3), title, fill=(255, 255, 255), font=ImageFont.load_default(size=12))
    return picture


def annotated(
    pixels: np.ndarray,
    masks: Mapping[str, np.ndarray],
    lines: Sequence[tuple[float, float, float]] = (),
    note: str = "",
    side: int = 1024,
) -> Image.Image:
    """A radiograph with the outlines of its structures, horizontal diameters, and a legend below.

    Args:
        pixels: upright radiograph ``(rows, columns)``.
        masks: upright masks ``(rows, columns)`` by structure, of any resolution over the same field of view.
        lines: (row, first column, last column) of diameters in the masks' pixels.
        note: written at the legend's end.
        side: of the square that the radiograph fits, in pixels.
    """
    size = _fitting(pixels, side)
    picture = _outlined(pixels, [(mask, colour_of(name)) for name, mask in masks.items()], size)
    draw, thick = ImageDraw.Draw(picture), max(1, side // 400)
    rows, columns = next(iter(masks.values())).shape if masks else pixels.shape
    x, y = size[0] / columns, size[1] / rows
    for row, start, stop in lines:
        level = (row + 0.5) * y
        ends = start * x, (stop + 1) * x
        draw.line((ends[0], level, ends[1], level), (255, 255, 255), thick)
        for end in ends:
            draw.line((end, level - 4 * thick, end, level + 4 * thick), (255, 255, 255), thick)
    font_size = max(11, side // 50)
    font = ImageFont.load_default(size=font_size)
    legend = Image.new("RGB", (size[0], 2 * font_size))
    write, x = ImageDraw.Draw(legend), font_size / 2
    for text, colour in [*((name, colour_of(name)) for name in masks), (note, (255, 255, 255))]:
        write.text((x, font_size / 3), text, fill=colour, font=font)
        x += font.getlength(text) + font_size
    whole = Image.new("RGB", (size[0], size[1] + legend.height))
    whole.paste(picture, (0, 0))
    whole.paste(legend, (0, size[1]))
    return whole


def four_around(pixels: np.ndarray, masks: Mapping[str, np.ndarray], side: int = 400) -> Image.Image:
    """The radiograph in the middle, each of up to four structures filled in its colour on a picture at a corner.

    Args:
        pixels: upright radiograph ``(rows, columns)``.
        masks: upright masks ``(rows, columns)`` by structure, of any resolution over the same field of view.
        side: of a corner picture, in pixels; the one in the middle is twice as large.

    Raises:
        ValueError: more than four structures.
    """
    if len(masks) > 4:
        raise ValueError(f"the figure has four corners, but {len(masks)} structures were given: {', '.join(masks)}")
    gap, font = side // 40, ImageFont.load_default(size=max(11, side // 18))
    small, large = _fitting(pixels, side), _fitting(pixels, 2 * side + gap)
    title = 3 * font.size // 2
    width, height = 2 * small[0] + large[0] + 4 * gap, max(2 * (small[1] + title) + 3 * gap, large[1] + 2 * gap)
    figure = Image.new("RGB", (int(width), int(height)), (255, 255, 255))
    figure.paste(_outlined(pixels, [], large), (small[0] + 2 * gap, (figure.height - large[1]) // 2))
    draw = ImageDraw.Draw(figure)
    for index, (name, mask) in enumerate(masks.items()):
        x = gap if index % 2 == 0 else figure.width - gap - small[0]
        y = gap if index < 2 else figure.height - gap - int(title) - small[1]
        draw.text((x, y), name, fill=(0, 0, 0), font=font)
        picture = np.asarray(_outlined(pixels, [], small), dtype=np.float32)
        share = 0.55 * np.asarray(_soft(mask, small), dtype=np.float32)[..., None] / 255
        filled = picture * (1 - share) + np.array(colour_of(name)) * share
        figure.paste(Image.fromarray(filled.astype(np.uint8)), (x, y + int(title)))
    return figure


def _fitting(pixels: np.ndarray, side: int) -> tuple[int, int]:
    """(width, height) of a picture scaled to fit a square."""
    scale = side / max(pixels.shape)
    width, height = (max(1, round(length * scale)) for length in reversed(pixels.shape))
    return width, height


def _soft(mask: np.ndarray, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.asarray(mask, bool).astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)


def _outlined(
    pixels: np.ndarray, masks: Sequence[tuple[np.ndarray, tuple[int, int, int]]], size: tuple[int, int]
) -> Image.Image:
    scaled = Image.fromarray(np.asarray(pixels, np.float32)).resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    rgb = np.asarray(Image.fromarray(to_grey(np.asarray(scaled))).convert("RGB")).copy()
    for mask, colour in masks:
        inside = np.asarray(_soft(mask, size)) > 127
        rgb[inside & ~ndimage.binary_erosion(inside, iterations=max(1, max(size) // 300))] = colour
    return Image.fromarray(rgb)


def contact_sheet(tiles: Sequence[Image.Image], path: str | os.PathLike, columns: int | None = None) -> None:
    """Write tiles of one size as one picture, row by row.

    Args:
        tiles: pictures, see :func:`overlay`.
        path: PNG file to write.
        columns: pictures a row; as square a sheet as possible if not given.

    Raises:
        ValueError: no tiles.
    """
    if not tiles:
        raise ValueError("There is no picture to put on the contact sheet.")
    columns = min(columns or int(np.ceil(np.sqrt(len(tiles)))), len(tiles))
    width, height = tiles[0].size
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height))
    for index, picture in enumerate(tiles):
        sheet.paste(picture, (index % columns * width, index // columns * height))
    with written(path) as temporary:
        sheet.save(temporary, format="PNG")
