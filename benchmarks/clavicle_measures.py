"""What other validation measures would say of the shipped clavicles, for the published Dice of about .5 has one.

Each is a way in which a validation can go wrong or be meant otherwise, applied to the same masks of JSRT's validation
radiographs.

python benchmarks/clavicle_measures.py --dataset_dir JSRT --output docs/clavicle_measures.json
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from cxr_attn_unet import Segmenter
from cxr_attn_unet.datasets import DatasetError, load_data
from cxr_attn_unet.files import write_json
from cxr_attn_unet.io import RadiographError, read_mask, read_radiograph


def dice(one: np.ndarray, two: np.ndarray) -> float:
    """Of masks or of probabilities: 2 sum(a b) / (sum(a) + sum(b))."""
    return float(2 * (one * two).sum() / max(1e-9, one.sum() + two.sum()))


def measures(probability: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Every measure of one radiograph; both ``(rows, columns)``, the truth bool."""
    found = (probability > 0.5).astype(np.float64)
    both = truth.astype(np.float64)
    middle = truth.shape[1] // 2
    left = both.copy()
    right = both.copy()
    left[:, :middle] = 0
    right[:, middle:] = 0
    small = np.asarray(Image.fromarray(found.astype(np.uint8)).resize((128, 128), Image.NEAREST), np.float64)
    small_truth = np.asarray(Image.fromarray(truth.astype(np.uint8)).resize((128, 128), Image.NEAREST), np.float64)
    overlap = dice(found, both)
    return {
        "Dice of both clavicles, as everywhere here": overlap,
        "Jaccard index": overlap / (2 - overlap),
        "Dice of probabilities": dice(probability, both),
        "mean Dice of background and clavicles": (overlap + dice(1 - found, 1 - both)) / 2,
        "Dice at 128 x 128": dice(small, small_truth),
        "both found, one in the reference": (dice(found, left) + dice(found, right)) / 2,
        "reference mirrored": dice(found, both[:, ::-1]),
        "reference turned by 90 degrees": dice(found, np.rot90(both)) if both.shape[0] == both.shape[1] else np.nan,
    }


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True, help="JSRT with the SCR masks")
    parser.add_argument("--output", help="JSON file for the figures")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    try:
        items = load_data(options.dataset_dir, "clavicles")["validation"]
    except (DatasetError, RadiographError) as error:
        print(error, file=sys.stderr)
        return 1
    segmenter = Segmenter.from_bundles(["clavicles"])
    rows = []
    for item in tqdm(items, unit="radiograph"):
        truth = read_mask(item["label"])
        probability = Image.fromarray(segmenter(read_radiograph(item["image"])).probabilities["clavicles"])
        probability = np.asarray(probability.resize(truth.shape[::-1], Image.BILINEAR), np.float64)
        rows.append(measures(probability, truth))
    result = {
        "data": "JSRT, SCR masks, validation split",
        "radiographs": len(rows),
        "mean": {name: round(float(np.mean([row[name] for row in rows])), 3) for name in rows[0]},
        "weights": dict(segmenter.versions),
        "hardware": f"{platform.machine()}, PyTorch {torch.__version__}",
    }
    print(json.dumps(result, indent=1))
    if options.output:
        write_json(options.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
