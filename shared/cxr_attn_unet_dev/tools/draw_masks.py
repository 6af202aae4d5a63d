"""Draw a structure in radiographs that have no masks of it, by a bundle's weights, as masks to train on: self-training.

Radiographs of other hospitals than those with masks make weights that hold there. Each is seen in three sizes. Pixels
that are not sure are left open (128). A radiograph whose views differ, or in which too much is not sure, is left out.
Only training radiographs of the data sets are taken.

OUTPUT/images, OUTPUT/masks/STRUCTURE (0, 128, 255), OUTPUT/mask_values.json, which says that 128 is open, and
OUTPUT/split.json, by which all of them are for training, are made or added to.

python -m cxr_attn_unet_dev.tools.draw_masks --structure heart --dataset_dir MONTGOMERY_SHENZHEN --output DRAWN
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxr_attn_unet.analysis.measurements import box_of
from cxr_attn_unet.datasets import DatasetError
from cxr_attn_unet.files import write_json
from cxr_attn_unet.inference.restoration import largest_components
from cxr_attn_unet.io import IGNORED, RadiographError
from cxr_attn_unet.statistics import mask_dice
from cxr_attn_unet.structures import BUNDLE_SUFFIX, REGISTRY

from .by_weights import PART_LIMIT, SURE_LIMITS, ByWeights, finish
from .references import training_items
from .render_examples import OPEN_VALUE, save_png

__all__ = ["drawn_mask"]

VIEWS = tuple((0.0, zoom, False) for zoom in (0.9, 1.0, 1.08))
LEAST_AGREEMENT = 0.975  # Dice of each view with their mean
MOST_OPEN = 0.2  # pixels that are not sure, as a share of the mask; its edge alone has .15


def drawn_mask(views: np.ndarray, components: int) -> np.ndarray | None:
    """A structure's mask, or ``None`` if the views do not agree on one.

    Args:
        views: ``(views, rows, columns)`` probabilities of the structure.
        components: how many pieces it has.

    Returns:
        ``(rows, columns)`` int8: 0, 1, and IGNORED where it is not sure.
    """
    mean = views.mean(0)
    inside_of_mean = mean >= PART_LIMIT
    if not inside_of_mean.any():
        return None
    for view in views:
        if mask_dice(view >= PART_LIMIT, inside_of_mean) < LEAST_AGREEMENT:
            return None
    mask = largest_components(inside_of_mean, components) if components else inside_of_mean
    is_open = (mean > SURE_LIMITS[0]) & (mean < SURE_LIMITS[1])
    if is_open.sum() > MOST_OPEN * mask.sum():
        return None
    label = mask.astype(np.int8)
    label[is_open | (inside_of_mean & ~mask)] = IGNORED
    return label


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structure", required=True, choices=list(REGISTRY), help="what is drawn")
    parser.add_argument("--dataset_dir", required=True, nargs="+", help="data sets with masks of any structure")
    parser.add_argument("--output", required=True, type=Path, help="folder, made or added to")
    parser.add_argument("--bundle", type=Path, help="whose weights draw (default: the structure's)")
    parser.add_argument("--count", type=int, default=500, help="radiographs of each data set, at most (default: 500)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    options = parser.parse_args(arguments)
    structure = REGISTRY[options.structure]
    others = [name for name in REGISTRY if name != structure.name]
    bundle = options.bundle or Path("bundles") / f"{structure.name}{BUNDLE_SUFFIX}"
    try:
        items = training_items(options.dataset_dir, others, options.count, options.seed)
    except (DatasetError, RadiographError) as error:
        print(error, file=sys.stderr)
        return 1
    see = ByWeights(bundle, VIEWS)
    kept = 0
    failures: list[str] = []
    for item, seen in see.each(items, failures):
        label = drawn_mask(seen.views[:, 1], structure.components)
        if label is not None:
            _save(options.output, structure.name, f"{item['dataset']}_{item['id']}", seen.image, label)
            kept += 1
    write_json(options.output / "mask_values.json", {"ignore": OPEN_VALUE})
    print(f"{kept} of {len(items)} radiographs have masks of {structure.name} now.")
    return finish(options.output, failures)


def _save(folder: Path, structure: str, name: str, image: np.ndarray, label: np.ndarray) -> None:
    """Write a radiograph and its mask, without the empty margin of the square."""
    picture = box_of(image > 0)
    values = np.choose(label + 1, (OPEN_VALUE, 0, 255)).astype(np.uint8)
    save_png((255 * image[picture]).astype(np.uint8), folder / "images" / f"{name}.png")
    save_png(values[picture], folder / "masks" / structure / f"{name}.png")


if __name__ == "__main__":
    sys.exit(main())
