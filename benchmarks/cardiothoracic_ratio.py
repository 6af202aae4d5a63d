"""Cardiothoracic ratio from the shipped weights against that from manual masks, on JSRT's validation radiographs.

python benchmarks/cardiothoracic_ratio.py --dataset_dir JSRT --output docs/cardiothoracic_ratio.json
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from cxr_attn_unet import Segmenter
from cxr_attn_unet.analysis.measurements import heart_diameter, thoracic_diameter
from cxr_attn_unet.datasets import DatasetError, load_data
from cxr_attn_unet.files import write_json
from cxr_attn_unet.io import RadiographError, read_mask, read_radiograph
from cxr_attn_unet.training.handlers.results import bootstrap_interval


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True, help="JSRT with the SCR masks")
    parser.add_argument("--output", help="JSON file for the figures")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    try:
        lungs, hearts = (load_data(options.dataset_dir, name)["validation"] for name in ("lungs", "heart"))
    except (DatasetError, RadiographError) as error:
        print(error, file=sys.stderr)
        return 1
    by_image = {item["image"]: item["label"] for item in lungs}
    segmenter = Segmenter.from_bundles(["lungs", "heart"])
    cases = {}
    for item in tqdm(hearts, unit="radiograph"):
        radiograph = read_radiograph(item["image"])
        upright = radiograph.orientation.apply
        heart = heart_diameter(upright(read_mask(item["label"])))
        thorax = thoracic_diameter(upright(read_mask(by_image[item["image"]])))
        if heart and thorax:
            found = segmenter(radiograph).measurements["cardiothoracic_ratio"]
            cases[Path(item["image"]).stem] = {"manual": heart.length / thorax.length, "found": found}
    errors = np.array([case["found"] - case["manual"] for case in cases.values()])
    low, high = bootstrap_interval(np.abs(errors), list(cases))
    result = {
        "data": "JSRT, SCR masks, validation split",
        "radiographs": len(cases),
        "mean_absolute_difference": round(float(np.abs(errors).mean()), 4),
        "interval": [round(low, 4), round(high, 4)],
        "mean_difference": round(float(errors.mean()), 4),
        "largest": round(float(np.abs(errors).max()), 4),
        "weights": dict(segmenter.versions),
        "hardware": f"{platform.machine()}, PyTorch {torch.__version__}",
        "cases": {name: {key: round(value, 4) for key, value in case.items()} for name, case in cases.items()},
    }
    print(json.dumps({key: value for key, value in result.items() if key != "cases"}, indent=1))
    if options.output:
        write_json(options.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
