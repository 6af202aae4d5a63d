"""Sheets of radiographs with what the shipped weights find, for people who look them through and count what is right.

Where nobody has drawn masks or numbered ribs, eyes are what is left to measure with. Radiographs are taken evenly from
each folder, in the order of their names, so that the same command shows the same ones again. Beside the name stands the
confidence; of ribs whether their numbers are said to be sure or uncertain.

python -m cxr_attn_unet_dev.tools.look_through --structure clavicles --images WINGSPAN/images --output sheet.png
python -m cxr_attn_unet_dev.tools.look_through --structure ribs --parts --dataset_dir JSRT --count 8 --output sheet.png
"""

from __future__ import annotations

import argparse
import colorsys
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cxr_attn_unet import Segmenter
from cxr_attn_unet.datasets import DatasetError
from cxr_attn_unet.figures import contact_sheet, overlay, to_grey
from cxr_attn_unet.inference import Segmentation
from cxr_attn_unet.inference.quantised import evenly
from cxr_attn_unet.io import RadiographError, list_radiographs, read_radiograph
from cxr_attn_unet.structures import REGISTRY, parts_of

from .references import items_of_any

__all__ = ["main"]

TITLE = 16  # rows above a picture
OPACITY = 0.5
GOLDEN = 0.381966  # hues that far apart differ much from one number to the next


def _filled(pixels: np.ndarray, found: Segmentation, structure: str, title: str, tile: int) -> Image.Image:
    """A radiograph whose parts are filled, each number in the same colour on both sides, with the numbers on them."""
    rows, columns = pixels.shape
    scale = (tile - TITLE) / max(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    coloured = np.asarray(Image.fromarray(to_grey(pixels)).convert("RGB").resize(size), np.float32)
    places = []
    for part in parts_of(structure):
        if part.name not in found.parts[structure]:
            continue
        mask = found.upright(structure, part.name)
        small = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        hue = (part.number or ord(part.name[0])) * GOLDEN % 1
        colour = np.array(colorsys.hsv_to_rgb(hue, 0.9, 1)) * 255
        coloured[small] = (1 - OPACITY) * coloured[small] + OPACITY * colour
        if small.any():
            places.append((part.name, np.argwhere(small)))
    picture = Image.new("RGB", (tile, tile))
    picture.paste(Image.fromarray(coloured.astype(np.uint8)), (0, TITLE))
    draw = ImageDraw.Draw(picture)
    draw.text((2, 2), title, fill=(255, 255, 0))
    for name, pixels_of_part in places:
        # near the spine and near the side: a rib with two numbers shows
        for share in (0.2, 0.8):
            by_column = pixels_of_part[np.argsort(pixels_of_part[:, 1])]
            row, column = by_column[int(share * (len(by_column) - 1))]
            draw.text((int(column), TITLE + int(row) - 6), name[1:], fill=(255, 255, 255))
    return picture


def _tile(path: str, segmenter: Segmenter, structure: str, tile: int) -> Image.Image:
    radiograph = read_radiograph(path)
    found = segmenter(radiograph)
    title = f"{Path(path).name} {found.confidences[structure]:.2f}"
    if not found.parts:
        return overlay(radiograph.upright(), [found.upright(structure)], title, tile)
    numbering = found.measurements.get("ribs_numbering")
    title = f"{title} {numbering or ''}"
    return _filled(radiograph.upright(), found, structure, title, tile)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structure", required=True, choices=list(REGISTRY), help="which is looked for")
    parser.add_argument("--parts", action="store_true", help="fill its parts and number them, rather than outline it")
    parser.add_argument("--images", nargs="+", default=[], help="folders of radiographs, or radiographs")
    parser.add_argument(
        "--dataset_dir",
        nargs="+",
        default=[],
        help="data sets, with masks of anything; their validation radiographs are taken",
    )
    parser.add_argument("--count", type=int, default=40, help="of each folder and data set, at most (default: 40)")
    parser.add_argument("--tile", type=int, default=420, help="side of a picture, pixels (default: 420)")
    parser.add_argument("--columns", type=int, help="pictures per row (default: as square as possible)")
    parser.add_argument("--output", required=True, help="PNG file to write")
    options = parser.parse_args(arguments)
    try:
        paths: list[str] = []
        for place in options.images:
            paths += evenly([str(path) for path in list_radiographs(place)], options.count)
        for place in options.dataset_dir:
            items = items_of_any(place, (options.structure, *REGISTRY), "validation")
            paths += evenly(sorted(item["image"] for item in items), options.count)
        if not paths:
            raise RadiographError("no radiographs. Name their folder with --images, or a data set with --dataset_dir.")
        segmenter = Segmenter.from_bundles([options.structure], parts=options.parts)
        tiles = [_tile(path, segmenter, options.structure, options.tile) for path in paths]
    except (RadiographError, DatasetError) as error:
        print(error, file=sys.stderr)
        return 1
    contact_sheet(tiles, options.output, options.columns)
    print(Path(options.output).resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
