"""Pictures: radiographs with outlines, side by side on one sheet."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from .files import written
from .structures import OTHER_COLOUR, REGISTRY, colour_of

__all__ = ["COLOURS", "Name", "annotated", "contact_sheet", "four_around", "overlay", "to_grey"]

Colour = tuple[int, int, int]  # red, green, blue, 0 to 255

# of outlines that are told apart by number rather than by structure
COLOURS = (*(structure.colour for structure in REGISTRY.values()), OTHER_COLOUR)
TILE = 384
TITLE_HEIGHT = 20
WHITE: Colour = (255, 255, 255)
OPACITY = 0.55  # of a filled structure
BLACK: Colour = (0, 0, 0)


@dataclass(frozen=True)
class Name:
    """A text at a place of a radiograph.

    Attributes:
        text: short, such as ``R7``.
        row: of the place, in the masks' pixels.
        column: alike.
        colour: of the text, on a dark rim.
        anchor: of the text at its place, as Pillow has it: ``rm`` ends there, ``lm`` starts there, ``mm`` lies on it.
    """

    text: str
    row: float
    column: float
    colour: Colour
    anchor: str = "mm"


def to_grey(pixels: np.ndarray) -> np.ndarray:
    """Radiograph ``(rows, columns)`` on any scale to 8-bit grey between its 1st and 99th percentile."""
    low, high = np.percentile(pixels, (1, 99))
    span = max(float(high - low), 1e-6)
    share = np.clip((pixels - low) / span, 0, 1)
    return (share * 255).astype(np.uint8)


def overlay(
    pixels: np.ndarray,
    masks: Sequence[np.ndarray],
    title: str = "",
    tile: int = TILE,
    ignored: np.ndarray | None = None,
) -> Image.Image:
    """A radiograph with the outline of each mask in its own colour, scaled to fit a square tile under a title.

    Args:
        pixels: upright radiograph ``(rows, columns)``.
        masks: upright masks ``(rows, columns)``, of any resolution over the same field of view.
        title: written above the picture.
        tile: side of the square in pixels.
        ignored: upright mask ``(rows, columns)`` of what the masks say nothing about, shown at half its brightness.
    """
    size = _fitting(pixels, tile)
    outlined = _outlined(pixels, list(zip(masks, COLOURS, strict=False)), size)
    if ignored is not None and ignored.any():
        dark = outlined.point(lambda value: value // 2)
        outlined = Image.composite(dark, outlined, _resized(ignored, size))
    picture = Image.new("RGB", (tile, tile + TITLE_HEIGHT))
    picture.paste(outlined, ((tile - size[0]) // 2, TITLE_HEIGHT + (tile - size[1]) // 2))
    ImageDraw.Draw(picture).text((4, 3), title, fill=WHITE, font=ImageFont.load_default(size=12))
    return picture


def annotated(
    pixels: np.ndarray,
    masks: Mapping[str, np.ndarray],
    lines: Sequence[tuple[float, float, float]] = (),
    note: str = "",
    side: int = 1024,
    names: Sequence[Name] = (),
) -> Image.Image:
    """A radiograph with the outlines of its structures, horizontal diameters, names, and a legend below.

    Args:
        pixels: upright radiograph ``(rows, columns)``.
        masks: upright masks ``(rows, columns)`` by structure, of any resolution over the same field of view.
        lines: (row, first column, last column) of diameters in the masks' pixels.
        note: written at the legend's end.
        side: of the square that the radiograph fits, in pixels.
        names: written on the radiograph; where two would lie on each other, the lower one is moved down.
    """
    size = _fitting(pixels, side)
    picture = _outlined(pixels, [(mask, colour_of(name)) for name, mask in masks.items()], size)
    rows, columns = next(iter(masks.values())).shape if masks else pixels.shape
    _draw_diameters(picture, lines, size[0] / columns, size[1] / rows, thickness=max(1, side // 400))
    font_size = max(11, side // 50)
    _write_names(picture, names, size[0] / columns, size[1] / rows, font_size)
    legend = _legend([*((name, colour_of(name)) for name in masks), (note, WHITE)], size[0], font_size)
    whole = Image.new("RGB", (size[0], size[1] + legend.height))
    whole.paste(picture, (0, 0))
    whole.paste(legend, (0, size[1]))
    return whole


def _draw_diameters(
    picture: Image.Image, lines: Sequence[tuple[float, float, float]], across: float, down: float, thickness: int
) -> None:
    """Draw horizontal lines with ticks; ``across`` and ``down`` are pixels of the picture per mask pixel."""
    draw = ImageDraw.Draw(picture)
    tick = 4 * thickness
    for row, first, last in lines:
        level = (row + 0.5) * down
        start = first * across
        end = (last + 1) * across
        draw.line((start, level, end, level), WHITE, thickness)
        for place in (start, end):
            draw.line((place, level - tick, place, level + tick), WHITE, thickness)


def _write_names(picture: Image.Image, names: Sequence[Name], across: float, down: float, font_size: int) -> None:
    """Write texts; ``across`` and ``down`` are pixels of the picture per mask pixel."""
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=font_size)
    taken: list[tuple[float, float, float, float]] = []
    for name in sorted(names, key=lambda name: name.row):
        width = font.getlength(name.text)
        gap = font_size / 4
        before = {"l": -gap, "m": width / 2, "r": width + gap}[name.anchor[0]]
        start = min(max((name.column + 0.5) * across - before, 1), max(picture.width - width - 1, 1))
        level = _free_level((name.row + 0.5) * down, start, width, font_size, taken)
        level = min(max(level, font_size / 2), picture.height - font_size / 2)
        taken.append((start, start + width, level - font_size / 2, level + font_size / 2))
        rim = max(1, font_size // 8)
        draw.text((start, level), name.text, name.colour, font, anchor="lm", stroke_width=rim, stroke_fill=BLACK)


def _free_level(
    level: float, start: float, width: float, height: float, taken: Sequence[tuple[float, float, float, float]]
) -> float:
    """The first level from the wanted one down at which a text meets none of the boxes (left, right, top, foot)."""
    for left, right, top, foot in sorted(taken, key=lambda box: box[2]):
        beside = start + width < left or start > right
        if not beside and top < level + height / 2 and foot > level - height / 2:
            level = foot + height / 2
    return level


def _legend(entries: Sequence[tuple[str, Colour]], width: int, font_size: int) -> Image.Image:
    """Texts in their colours, one after the other on black."""
    font = ImageFont.load_default(size=font_size)
    legend = Image.new("RGB", (width, 2 * font_size))
    draw = ImageDraw.Draw(legend)
    place = font_size / 2
    for text, colour in entries:
        draw.text((place, font_size / 3), text, fill=colour, font=font)
        place += font.getlength(text) + font_size
    return legend


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
    gap = side // 40
    font_size = max(11, side // 18)
    font = ImageFont.load_default(size=font_size)
    title_height = 3 * font_size // 2
    small = _fitting(pixels, side)
    large = _fitting(pixels, 2 * side + gap)
    width = 2 * small[0] + large[0] + 4 * gap
    height = max(2 * (small[1] + title_height) + 3 * gap, large[1] + 2 * gap)
    figure = Image.new("RGB", (width, height), WHITE)
    figure.paste(_outlined(pixels, [], large), (small[0] + 2 * gap, (height - large[1]) // 2))
    left, right = gap, width - gap - small[0]
    top, bottom = gap, height - gap - title_height - small[1]
    corners = ((left, top), (right, top), (left, bottom), (right, bottom))
    draw = ImageDraw.Draw(figure)
    plain = _outlined(pixels, [], small)
    for (name, mask), (x, y) in zip(masks.items(), corners, strict=False):
        draw.text((x, y), name, fill=(0, 0, 0), font=font)
        figure.paste(_filled(plain, mask, colour_of(name)), (x, y + title_height))
    return figure


def _filled(picture: Image.Image, mask: np.ndarray, colour: Colour) -> Image.Image:
    """The picture with a mask of the same field of view laid over it, half transparent."""
    pixels = np.asarray(picture, dtype=np.float32)
    inside = np.asarray(_resized(mask, picture.size), dtype=np.float32)[..., None]
    share = OPACITY * inside / 255
    mixed = pixels * (1 - share) + np.array(colour) * share
    return Image.fromarray(mixed.astype(np.uint8))


def _fitting(pixels: np.ndarray, side: int) -> tuple[int, int]:
    """(width, height) of a picture scaled to fit a square."""
    rows, columns = pixels.shape
    scale = side / max(rows, columns)
    return max(1, round(columns * scale)), max(1, round(rows * scale))


def _resized(mask: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A mask as grey from 0 to 255, the share of each new pixel that it covers."""
    grey = np.asarray(mask, bool).astype(np.uint8) * 255
    return Image.fromarray(grey).resize(size, Image.Resampling.BOX)


def _outlined(pixels: np.ndarray, masks: Sequence[tuple[np.ndarray, Colour]], size: tuple[int, int]) -> Image.Image:
    """The radiograph at a size (width, height), in grey, with the outlines of masks in their colours."""
    scaled = Image.fromarray(np.asarray(pixels, np.float32)).resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    grey = to_grey(np.asarray(scaled))
    rgb = np.stack([grey, grey, grey], axis=-1)
    thickness = max(1, max(size) // 300)
    for mask, colour in masks:
        inside = np.asarray(_resized(mask, size)) > 127
        rgb[inside & ~ndimage.binary_erosion(inside, iterations=thickness)] = colour
    return Image.fromarray(rgb)


def contact_sheet(tiles: Sequence[Image.Image], path: str | os.PathLike, columns: int | None = None) -> None:
    """Write tiles of one size as one picture, row by row.

    Args:
        tiles: pictures, see :func:`overlay`.
        path: PNG file to write.
        columns: pictures per row; as square a sheet as possible if not given.

    Raises:
        ValueError: no tiles.
    """
    if not tiles:
        raise ValueError("There is no picture to put on the contact sheet.")
    if columns is None:
        columns = math.ceil(math.sqrt(len(tiles)))
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    width, height = tiles[0].size
    sheet = Image.new("RGB", (columns * width, rows * height))
    for index, picture in enumerate(tiles):
        row, column = divmod(index, columns)
        sheet.paste(picture, (column * width, row * height))
    with written(path) as temporary:
        sheet.save(temporary, format="PNG")
