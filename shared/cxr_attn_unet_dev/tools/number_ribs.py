"""Number the ribs of real radiographs by a bundle's weights, as labels to train on: self-training.

Nobody has numbered the ribs of the real radiographs at hand. Each is seen in six views, three sizes and their mirror
images; posterior ribs get one number each (cxr_attn_unet.analysis.posterior_ribs); pixels whose number is not sure are
left open, and so are sides of which too little is sure. Only training radiographs of the data sets are taken.

OUTPUT/images, OUTPUT/masks/ribs (0 and 255), OUTPUT/parts/ribs (32-bit TIFF, -1 where the number is left open) and
OUTPUT/split.json, by which all of them are for training, are made or added to.

python -m cxr_attn_unet_dev.tools.number_ribs --dataset_dir JSRT_BSE_RIBS MONTGOMERY_SHENZHEN --output NUMBERED
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cxr_attn_unet.analysis.measurements import box_of
from cxr_attn_unet.analysis.posterior_ribs import HIGHEST_CORRECTED, Rib, numbered, sides_of
from cxr_attn_unet.datasets import DatasetError
from cxr_attn_unet.files import written
from cxr_attn_unet.io import IGNORED, UNKNOWN, RadiographError
from cxr_attn_unet.structures import part_names

from .by_weights import PART_LIMIT, SURE_LIMITS, ByWeights, finish
from .references import training_items
from .render_examples import save_png

__all__ = ["Numbered", "labels_of"]

RIBS = "ribs"
VIEWS = tuple((0.0, zoom, mirrored) for zoom in (0.9, 1.0, 1.08) for mirrored in (False, True))
LEAST_SURE = -0.85  # mean logarithm of the probabilities of a side's numbers; below, the side is left open
AGREEING = 0.75  # of a rib's pixels: where fewer had its number, how it goes on to the side is left open
LEAST_OF_PART = 0.1


@dataclass(frozen=True)
class Numbered:
    """A radiograph with the numbers of its ribs, over the square that the network sees.

    Attributes:
        mask: of all ribs, ``(rows, columns)`` bool.
        bits: of the parts, ``(rows, columns)`` int32, or UNKNOWN.
        sides: of which numbers are sure, 0 to 2.
    """

    mask: np.ndarray
    bits: np.ndarray
    sides: int


def labels_of(probabilities: np.ndarray, label: np.ndarray | None = None) -> Numbered:
    """The numbers of the ribs of a radiograph.

    Args:
        probabilities: ``(25, rows, columns)`` of any rib, R1 to R12 and L1 to L12, upright.
        label: 0 no rib, 1 rib, IGNORED, ``(rows, columns)``, where there is one.
    """
    any_rib, parts = probabilities[0], probabilities[1:]
    mask = any_rib >= PART_LIMIT
    if label is not None:
        mask = np.where(label == IGNORED, mask, label == 1)
    found = (parts >= PART_LIMIT) & mask
    most_probable = parts.argmax(0)
    assigned = mask & (parts.max(0) >= LEAST_OF_PART)
    for index in range(len(found)):
        found[index] |= assigned & (most_probable == index)
    is_open = mask & ~found.any(0)
    if label is None:
        is_open |= (any_rib > SURE_LIMITS[0]) & (any_rib < SURE_LIMITS[1]) & ~found.any(0)
    sure = _correct(found, is_open, mask, probabilities)
    places = np.arange(len(found)).reshape(-1, 1, 1)
    bits = (found.astype(np.int32) << places).sum(0, dtype=np.int32)
    bits[is_open] = UNKNOWN
    return Numbered(mask, bits, sure)


def _correct(found: np.ndarray, is_open: np.ndarray, mask: np.ndarray, probabilities: np.ndarray) -> int:
    """Give each posterior rib one number in masks of parts, leave open what is not sure; how many sides are sure."""
    right, left = sides_of(probabilities[1:], mask)
    sure = 0
    for side, other in ((right, left), (left, right)):
        masks, undecided = found[side.numbers][side.outwards], is_open[side.outwards]  # views
        numbers, certainty = numbered(side.ribs, side.parts, other.ribs, other.parts)
        for rib, chosen in zip(side.ribs, numbers, strict=False):
            same = [one for one, its in zip(side.ribs, numbers, strict=True) if its == chosen and one is not rib]
            if chosen is None or any(set(rib.stripes) & set(one.stripes) for one in same):
                undecided[rib.mask(mask.shape)] = True
            elif chosen >= HIGHEST_CORRECTED:
                _give(rib, chosen, masks, undecided)
        if certainty < LEAST_SURE:
            undecided[side.region & (side.parts.max(0) > LEAST_OF_PART)] = True
        else:
            sure += 1
    return sure


def _give(rib: Rib, number: int, masks: np.ndarray, is_open: np.ndarray) -> None:
    """Give a rib's pixels its number; where they had another before, how the rib goes on is left open."""
    pixels = rib.mask(is_open.shape)
    own = number - 1
    close = slice(own - 1, own + 2)
    if masks[own][pixels].mean() < AGREEING:
        beyond: np.ndarray = np.any(masks[close], axis=0)
        beyond[:, : max(rib.stripes) + 1] = False
        is_open[beyond] = True
    masks[close] &= ~pixels
    masks[own] |= pixels


def _save(folder: Path, name: str, image: np.ndarray, labels: Numbered) -> None:
    """Write a radiograph and its labels, without the empty margin of the square."""
    picture = box_of(image > 0)
    save_png((255 * image[picture]).astype(np.uint8), folder / "images" / f"{name}.png")
    save_png(255 * labels.mask[picture].astype(np.uint8), folder / "masks" / RIBS / f"{name}.png")
    with written(folder / "parts" / RIBS / f"{name}.tif") as path:
        Image.fromarray(labels.bits[picture]).save(path, format="TIFF")


def main(arguments: Sequence[str] | None = None) -> int:
    """Number and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True, nargs="+", help="data sets with masks of ribs or lungs")
    parser.add_argument("--output", required=True, type=Path, help="folder, made or added to")
    parser.add_argument("--bundle", type=Path, default=Path("bundles/ribs_attn_unet"), help="whose weights number")
    parser.add_argument("--count", type=int, default=120, help="radiographs of each data set, at most (default: 120)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    options = parser.parse_args(arguments)
    see = ByWeights(options.bundle, VIEWS, part_names(RIBS))
    try:
        items = training_items(options.dataset_dir, (RIBS, "lungs"), options.count, options.seed)
    except (DatasetError, RadiographError) as error:
        print(error, file=sys.stderr)
        return 1
    kept = 0
    failures: list[str] = []
    for item, seen in see.each(items, failures):
        has_ribs = item.get("dataset", "").endswith(RIBS)
        labels = labels_of(seen.views.mean(0)[1:], seen.label if has_ribs else None)
        if labels.sides:
            _save(options.output, f"{item['dataset']}_{item['id']}", seen.image, labels)
            kept += 1
    print(f"{kept} of {len(items)} radiographs are numbered, on one side at least.")
    return finish(options.output, failures)


if __name__ == "__main__":
    sys.exit(main())
