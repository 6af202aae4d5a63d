"""Pictures: radiographs with outlines, side by side on one sheet."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from .files import written

__all__ = ["COLOURS", "contact_sheet", "overlay", "to_grey"]

# Okabe and Ito's palette, told apart by colour-blind readers too
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (204, 121, 167))
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
    scale = tile / max(pixels.shape)
    size = tuple(max(1, round(side * scale)) for side in reversed(pixels.shape))
    grey = Image.fromarray(to_grey(pixels)).resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    rgb = np.asarray(grey.convert("RGB")).copy()
    for mask, colour in zip(masks, COLOURS, strict=False):
        soft = Image.fromarray(np.asarray(mask, bool).astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
        inside = np.asarray(soft) > 127
        rgb[inside & ~ndimage.binary_erosion(inside, iterations=max(1, tile // 300))] = colour
    picture = Image.new("RGB", (tile, tile + TITLE_HEIGHT))
    picture.paste(Image.fromarray(rgb), ((tile - size[0]) // 2, TITLE_HEIGHT + (tile - size[1]) // 2))
    ImageDraw.Draw(picture).text((4, 3), title, fill=(255, 255, 255), font=ImageFont.load_default(size=12))
    return picture


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
