"""Learn from training radiographs what quality control takes for usual: the mean picture and limits of the features.

Limits are the 1st and 99th percentile over good radiographs, widened by half of their distance from the median (more
would let spoiled ones through, less would flag what other hospitals send). Confidences have only a lower limit.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from cxr_attn_unet.analysis import quality
from cxr_attn_unet.datasets import load_data
from cxr_attn_unet.files import written
from cxr_attn_unet.inference.segmenter import Segmenter
from cxr_attn_unet.io import RadiographError, read_radiograph
from cxr_attn_unet.output import upright_field

QUANTILES = (0.01, 0.5, 0.99)
WIDER = 0.5
WIDER_CONFIDENCE = 1.0  # radiographs of other hospitals are segmented less surely than those learnt from
LEAST_SIMILARITY = 0.7  # of what 99 of 100 good radiographs have
ONE_SIDED = ("confidence", "lung_ratio")


def limits(table: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """(least, most) of each feature over good radiographs, see :func:`cxr_attn_unet.analysis.quality.features`."""
    found = {}
    for name in sorted({name for values in table for name in values}):
        low, middle, high = np.quantile([values[name] for values in table if name in values], QUANTILES)
        wider = WIDER_CONFIDENCE if name.startswith("confidence") else WIDER
        least, most = low - wider * (middle - low), high + wider * (high - middle)
        if name.startswith("cut"):
            least, most = 0.0, max(most, 0.05)
        elif name.endswith("parts"):
            least, most = middle, max(most, middle)
        if name.startswith(ONE_SIDED):
            most = 1.0
        found[name] = [round(float(least), 4), round(float(most), 4)]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.tools.fit_quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m cxr_attn_unet_dev.tools.fit_quality --dataset_dir DATA --output quality.json",
    )
    parser.add_argument("--dataset_dir", required=True, help="data set with lung masks, as for training")
    parser.add_argument("--output", required=True, help="JSON file to write; the package's own is quality.json in it")
    parser.add_argument("--count", type=int, default=400, help="training radiographs, drawn at random (default: 400)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    try:
        items = load_data(options.dataset_dir, "lungs")["training"]
        segmenter = Segmenter.from_bundles()
    except (RadiographError, FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    chosen = sorted(np.random.default_rng(options.seed).permutation(len(items))[: options.count])
    pictures = []
    table = []
    for index in tqdm(chosen, unit="radiograph"):
        found = segmenter(read_radiograph(items[index]["image"]))
        pixels, masks = upright_field(found.radiograph, found.masks, found.field)
        pictures.append(quality.letter_boxed(pixels))
        table.append(quality.features(masks, found.confidences))
    mean = np.nanmean(pictures, 0)
    least = np.quantile([quality.similarities(picture, mean)["upright"] for picture in pictures], QUANTILES[0])
    learnt = {
        "about": f"{len(chosen)} of {len(items)} training radiographs, seed {options.seed}, weights "
        + ", ".join(f"{name} {version}" for name, version in segmenter.versions.items()),
        "similarity": round(LEAST_SIMILARITY * float(least), 3),
        "limits": limits(table),
        "mean": np.round(255 * mean).astype(int).tolist(),
    }
    text = json.dumps(learnt).replace('"limits"', '\n"limits"').replace('"mean"', '\n"mean"').replace("], ", "],\n")
    with written(options.output) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
