"""Learn from training radiographs what quality control takes for usual, and which hearts and lungs it takes for real.

Usual: the mean picture, and limits of features of the masks that the networks draw. They are the 1st and 99th
percentile over training radiographs of all data sets, equally many of each, widened by their distance from the median:
more would let spoiled ones through, less would flag what other hospitals send. Confidences have only a lower limit.

Real: limits of features of the masks that people drew, of all training hearts and lungs. They are the .5th and 99.5th
percentile, widened by half of their distance from the median (a quarter where there is one limit). What lies outside
is not measured.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from cxr_attn_unet.analysis import quality
from cxr_attn_unet.datasets import DatasetError, load_data
from cxr_attn_unet.files import written
from cxr_attn_unet.inference.segmenter import Segmenter
from cxr_attn_unet.io import RadiographError, read_mask, read_radiograph
from cxr_attn_unet.output import upright_field

from .measured import Measured

__all__ = ["anatomy_limits", "limits", "main"]

QUANTILES = (0.01, 0.5, 0.99)
ANATOMY_QUANTILES = (0.005, 0.5, 0.995)  # a few of the masks that people drew are wrong
WIDER = 1.0
WIDER_ANATOMY = 0.5
WIDER_ONE_SIDED = 0.25  # of solidity and the like, which notches and missing halves change little
LEAST_SIMILARITY = 0.7  # of what 99 of 100 good radiographs have
LEAST_CUT = 0.05  # of the lungs' side: what may touch the picture's border
LEAST_CUT_ANATOMY = 0.2
ONE_SIDED = ("confidence", "lung_ratio", "kept", "heart_solidity", "lungs_solidity")
# that say whether a heart and lungs can be a person's; see cxr_attn_unet.analysis.anatomy
ANATOMY = (
    "heart_solidity",
    "heart_shape",
    "heart_side",
    "size_heart",
    "column_heart",
    "row_heart",
    "lungs_solidity",
    "lung_ratio",
    "lungs_shape",
    "cut_left",
    "cut_right",
)


def limits(table: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """(least, most) of each feature over good radiographs, see :func:`cxr_attn_unet.analysis.quality.features`."""
    found = {}
    for name in sorted({name for values in table for name in values}):
        low, middle, high = np.quantile([values[name] for values in table if name in values], QUANTILES)
        least, most = low - WIDER * (middle - low), high + WIDER * (high - middle)
        if name.startswith("cut"):
            least, most = 0.0, max(high, LEAST_CUT)
        elif name.endswith("parts"):
            least, most = middle, max(high, middle)
        if name.startswith(ONE_SIDED):
            most = 1.0
        found[name] = [round(float(least), 4), round(float(most), 4)]
    return found


def anatomy_limits(table: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """(least, most) of each feature that hearts and lungs have, over masks that people drew.

    Args:
        table: features of each radiograph's masks; a mask that is not there has none.
    """
    found = {}
    for name in ANATOMY:
        known = [values[name] for values in table if name in values]
        if not known:
            continue
        low, middle, high = np.quantile(known, ANATOMY_QUANTILES)
        wider = WIDER_ONE_SIDED if name.startswith(ONE_SIDED) else WIDER_ANATOMY
        least = low - wider * (middle - low)
        most = high + wider * (high - middle)
        if name.startswith("cut"):
            least, most = 0.0, max(high, LEAST_CUT_ANATOMY)
        if name.startswith(ONE_SIDED):
            most = 1.0
        found[name] = [round(float(least), 4), round(float(most), 4)]
    return found


def drawn(items: Sequence[Mapping[str, Any]], count: int, seed: int) -> list[Mapping[str, Any]]:
    """Radiographs drawn at random, equally many of each data set as far as there are so many.

    Args:
        items: see :func:`cxr_attn_unet.datasets.load_data`.
        count: of all together.
        seed: of the draw.
    """
    by_dataset: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        by_dataset.setdefault(item["dataset"], []).append(item)
    chosen: list[Mapping[str, Any]] = []
    left = len(by_dataset)
    for own in sorted(by_dataset.values(), key=len):
        share = min(len(own), (count - len(chosen)) // left)
        order = np.random.default_rng(seed).permutation(len(own))
        chosen += [own[index] for index in sorted(order[:share])]
        left -= 1
    return chosen


def hand_drawn(dataset_dir: Sequence[str]) -> Iterator[dict[str, float]]:
    """Features of the masks that people drew, of every training radiograph.

    Args:
        dataset_dir: data sets with lung masks; those with heart masks give the heart's features too.
    """
    lungs = load_data(dataset_dir, "lungs", check=False)["training"]
    hearts: dict[tuple[str, str], Mapping[str, Any]] = {}
    for folder in dataset_dir:
        try:
            items = load_data(folder, "heart", check=False)["training"]
        except DatasetError:
            continue  # of lungs alone
        hearts |= {(item["dataset"], item["id"]): item for item in items}
    for item in tqdm(lungs, unit="mask"):
        masks = {"lungs": read_mask(item["label"])}
        heart = hearts.get((item["dataset"], item["id"]))
        if heart is not None:
            masks["heart"] = read_mask(heart["label"])
        yield quality.features(masks, {})


def _found(segmenter: Segmenter, path: str) -> dict[str, Any]:
    """The small picture and the features of one radiograph as the networks see it."""
    found = segmenter(read_radiograph(path))
    pixels, masks = upright_field(found.radiograph, found.masks, found.field)
    boxed = quality.letter_boxed(pixels)
    return {
        "picture": [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in boxed],
        "features": quality.features(masks, found.raw_confidences),
    }


def _written_out(learnt: Mapping[str, Any]) -> str:
    """JSON with a line a limit and a line a row of the mean picture."""
    text = json.dumps(learnt)
    for name in ("anatomy", "limits", "mean"):
        text = text.replace(f'"{name}"', f'\n"{name}"')
    return text.replace("], ", "],\n") + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.tools.fit_quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m cxr_attn_unet_dev.tools.fit_quality --dataset_dir DATA/jsrt DATA/wingspan "
        "DATA/montgomery_shenzhen --work quality.jsonl --output shared/cxr_attn_unet/analysis/quality.json",
    )
    parser.add_argument(
        "--dataset_dir", required=True, nargs="+", help="data sets with lung masks, as for training; some with hearts"
    )
    parser.add_argument("--output", required=True, help="JSON file to write; the package's own is quality.json in it")
    parser.add_argument("--count", type=int, default=400, help="training radiographs, drawn at random (default: 400)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    parser.add_argument("--work", help="file that keeps what was measured, so that the command resumes")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    try:
        items = load_data(options.dataset_dir, "lungs", check=False)["training"]
        segmenter = Segmenter.from_bundles()
        real = anatomy_limits(list(hand_drawn(options.dataset_dir)))
    except (RadiographError, FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    known = Measured(options.work, segmenter.identity)
    chosen = drawn(items, options.count, options.seed)
    found = []
    for item in tqdm(chosen, unit="radiograph"):
        name = f"{item['dataset']}/{item['id']}"
        found.append(known(name, partial(_found, segmenter, str(item["image"]))))
    pictures = np.array([one["picture"] for one in found], np.float32)
    mean = np.nanmean(pictures, 0)
    least = np.quantile([quality.similarities(picture, mean)["upright"] for picture in pictures], QUANTILES[0])
    learnt = {
        "about": f"{len(chosen)} of {len(items)} training radiographs, seed {options.seed}, weights "
        + ", ".join(f"{name} {version}" for name, version in segmenter.versions.items()),
        "similarity": round(LEAST_SIMILARITY * float(least), 3),
        "anatomy": real,
        "limits": limits([one["features"] for one in found]),
        "mean": np.round(255 * mean).astype(int).tolist(),
    }
    with written(options.output) as temporary:
        temporary.write_text(_written_out(learnt), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
