"""Parts (numbered ribs, right and left lung or clavicle) found by the shipped weights against those of the reference.

A part has the right name if, of all parts found, the one of that name overlaps it most. References are the numbered
ribs of the EOS projections, or the right and the left one of a pair of manual masks.

python benchmarks/parts.py --structure ribs --dataset_dir EOS_DRR_RIBS --output docs/parts_ribs.json
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from cxr_attn_unet import Segmenter
from cxr_attn_unet.datasets import DatasetError, load_data
from cxr_attn_unet.files import write_json
from cxr_attn_unet.io import UNKNOWN, RadiographError, read_mask, read_parts, right_and_left
from cxr_attn_unet.statistics import bootstrap_interval, mask_dice
from cxr_attn_unet.structures import part_names

SMALLEST = 0.001  # of the picture: what is cut off by the border down to less than that is not counted
Masks = Mapping[str, np.ndarray]


def reference_parts(item: Mapping[str, Any], structure: str) -> dict[str, np.ndarray]:
    """Masks of the parts that a radiograph's reference knows; none if it knows none.

    Args:
        item: see :func:`cxr_attn_unet.datasets.find_items`; of a radiograph that is stored upright.
        structure: such as ``ribs``.
    """
    names = part_names(structure)
    if "parts" in item:
        bits = read_parts(item["parts"], len(names), item.get("parts_coding"))
        known = bits != UNKNOWN
        masks = {name: known & (bits >> place & 1).astype(bool) for place, name in enumerate(names)}
    else:
        sides = right_and_left(read_mask(item["label"]))
        masks = dict(zip(names, sides, strict=True)) if sides is not None else {}
    return {name: mask for name, mask in masks.items() if mask.mean() >= SMALLEST}


def _resized(mask: np.ndarray, rows: int, columns: int) -> np.ndarray:
    picture = Image.fromarray(mask.astype(np.uint8)).resize((columns, rows), Image.Resampling.NEAREST)
    return np.asarray(picture).astype(bool)


def compare(reference: Masks, found: Masks) -> dict[str, dict[str, Any]]:
    """For each part of a reference its Dice, and whether it has the right name.

    References may be drawn at another resolution than their radiograph; Dice is that of the reference's pixels.
    """
    compared = {}
    rows, columns = next(iter(reference.values())).shape
    found = {name: _resized(mask, rows, columns) for name, mask in found.items()}
    for name, mask in reference.items():
        overlaps = {other: float((mask & part).sum()) for other, part in found.items()}
        best = max(overlaps, key=lambda other: overlaps[other], default=None)
        right_name = best == name and overlaps[name] > 0
        compared[name] = {"dice": mask_dice(mask, found[name]) if name in found else 0.0, "right_name": right_name}
    return compared


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structure", required=True, help="ribs, lungs or clavicles")
    parser.add_argument("--dataset_dir", required=True, help="folder of a data set")
    parser.add_argument("--section", default="validation", help="of its split (default: validation)")
    parser.add_argument("--output", help="JSON file for the figures")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    try:
        items = load_data(options.dataset_dir, options.structure, check=False)[options.section]
    except (DatasetError, RadiographError) as error:
        print(error, file=sys.stderr)
        return 1
    segmenter = Segmenter.from_bundles([options.structure], parts=True)
    cases = {}
    for item in tqdm(items, unit="radiograph"):
        reference = reference_parts(item, options.structure)
        if reference:
            found = segmenter(item["image"])
            compared = compare(reference, found.parts[options.structure])
            doubts = [warning for warning in found.warnings if "numbers uncertain" in warning]
            cases[item["id"]] = {"parts": compared, "uncertain": bool(doubts)}
    result = summary(cases, options, segmenter)
    print(json.dumps({key: value for key, value in result.items() if key != "cases"}, indent=1))
    if options.output:
        write_json(options.output, result)
    return 0


def summary(cases: Mapping[str, Any], options: argparse.Namespace, segmenter: Segmenter) -> dict[str, Any]:
    """Means over all parts, and by name; of all radiographs, and of those whose names were not said to be uncertain."""
    dices = np.array([np.mean([part["dice"] for part in case["parts"].values()]) for case in cases.values()])
    sure = [case for case in cases.values() if not case["uncertain"]]
    by_name = {}
    for name in part_names(options.structure):
        of_name = [case["parts"][name]["dice"] for case in cases.values() if name in case["parts"]]
        by_name[name] = round(float(np.mean(of_name)), 3) if of_name else None
    return {
        "structure": options.structure,
        "data": f"{options.dataset_dir.rstrip('/').split('/')[-1]}, {options.section}",
        "radiographs": len(cases),
        "parts": sum(len(case["parts"]) for case in cases.values()),
        "right_name": share_of_right_names(cases.values()),
        "uncertain": len(cases) - len(sure),
        "right_name_where_sure": share_of_right_names(sure),
        "dice": round(float(dices.mean()), 4),
        "interval": bootstrap_interval(dices, list(cases)),
        "dice_by_name": by_name,
        "weights": dict(segmenter.versions),
        "hardware": f"{platform.machine()}, PyTorch {torch.__version__}",
        "cases": {
            name: {
                "uncertain": case["uncertain"],
                "dice": {part: round(one["dice"], 3) for part, one in case["parts"].items()},
                "wrong_name": [part for part, one in case["parts"].items() if not one["right_name"]],
            }
            for name, case in cases.items()
        },
    }


def share_of_right_names(cases: Any) -> float | None:
    """Of all parts of some cases; ``None`` of no cases."""
    right = [part["right_name"] for case in cases for part in case["parts"].values()]
    return round(float(np.mean(right)), 4) if right else None


if __name__ == "__main__":
    sys.exit(main())
