"""Learn which Dice to expect of a mask from the confidence that its network has, and measure how true that is.

For each structure, masks of training radiographs and of spoiled copies of them (exposed too little or too much, cut,
rotated, under tubes and text) are compared with the true ones; a curve of two numbers is fitted. Validation radiographs
and their copies say how far expected and true Dice lie apart. Radiographs of JSRT, which the networks know best, are
used only for structures of which no other data set has masks; projections are not used.

Writes the curves (the package's own are in analysis/calibration.json) and the figures for the documentation.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import spearmanr
from tqdm import tqdm

from cxr_attn_unet.analysis.calibration import Curve, calibration_error, fit
from cxr_attn_unet.datasets import DatasetError, load_data
from cxr_attn_unet.files import write_json
from cxr_attn_unet.inference.segmenter import Segmenter
from cxr_attn_unet.io import IGNORED, RadiographError, read_partial_mask, read_radiograph
from cxr_attn_unet.statistics import mask_dice

from .fit_quality import drawn
from .measured import Measured
from .spoil import SPOILED, Case

__all__ = ["Answer", "copies_of", "dice", "main", "summary"]

PROJECTIONS = ("eos_drr_ribs",)
BEST_KNOWN = "jsrt"
LEAST_LEFT = 0.3  # of a structure: a copy that shows less of it is left out


@dataclass(frozen=True)
class Answer:
    """What a network said of one copy of a radiograph.

    Attributes:
        confidence: its own, 0 to 1.
        dice: of its mask with the true one, 0 to 1.
    """

    confidence: float
    dice: float


def usable(dataset_dir: Sequence[str], structure: str) -> dict[str, list[dict[str, Any]]]:
    """Radiographs with masks of a structure by section; those of JSRT only where there are no others.

    Args:
        dataset_dir: see :func:`cxr_attn_unet.datasets.find_items`; several.
        structure: such as ``heart``.

    Raises:
        DatasetError: no data set has masks of it.
    """
    sections: dict[str, list[dict[str, Any]]] = {"training": [], "validation": []}
    problems = []
    for place in dataset_dir:
        try:
            data = load_data(place, structure, check=False)
        except DatasetError as error:
            problems.append(str(error))
            continue
        for section, items in sections.items():
            items += [item for item in data[section] if item["dataset"] not in PROJECTIONS]
    if not sections["training"]:
        raise DatasetError("\n".join(problems) or f"no radiographs with masks of {structure}")
    others = {item["dataset"] for item in sections["training"]} - {BEST_KNOWN}
    if not others:
        return sections
    return {section: [item for item in items if item["dataset"] in others] for section, items in sections.items()}


def read_case(item: Mapping[str, Any]) -> Case:
    """A radiograph with its true mask, both upright and of the radiograph's size.

    Args:
        item: of a data list.

    Raises:
        RadiographError: a file cannot be read.
    """
    radiograph = read_radiograph(item["image"])
    pixels = radiograph.upright()
    low, high = np.percentile(pixels, (1, 99))
    scaled = np.clip((pixels - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
    stored = read_partial_mask(item["label"], item.get("ignore_value"))
    truth = Image.fromarray(radiograph.orientation.apply(stored).astype(np.int16).astype(np.int32))
    rows, columns = scaled.shape
    return Case(scaled, np.asarray(truth.resize((columns, rows), Image.Resampling.NEAREST)).astype(np.int8))


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of the pixels of which something is known; 0 if both are empty.

    Args:
        mask: ``(rows, columns)`` bool.
        truth: see :class:`.spoil.Case`.
    """
    return mask_dice(mask & (truth != IGNORED), truth == 1)


def copies_of(item: Mapping[str, Any], seed: int) -> Iterator[tuple[str, Case]]:
    """A radiograph and its spoiled copies, each with its kind, but those that have lost most of the structure.

    Args:
        item: of a data list.
        seed: of the copies.
    """
    case = read_case(item)
    whole = max(1, int((case.truth == 1).sum()))
    rng = np.random.default_rng((seed, *item["id"].encode()))
    for kind, spoil in SPOILED.items():
        copy = spoil(case, rng)
        if (copy.truth == 1).sum() >= LEAST_LEFT * whole:
            yield kind, copy


def answers_of(segmenter: Segmenter, structure: str, item: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    """What the network says of all copies of a radiograph, with the kind of each copy.

    Args:
        segmenter: of this structure alone.
        structure: which.
        item: of a data list.
        seed: of the copies.
    """
    answers = []
    for kind, copy in copies_of(item, seed):
        found = segmenter(np.ascontiguousarray(copy.pixels))
        answers.append(
            {
                "kind": kind,
                "confidence": round(found.raw_confidences[structure], 5),
                "dice": round(dice(found.masks[structure], copy.truth), 5),
            }
        )
    return answers


def summary(answers: Sequence[Answer], curve: Curve) -> dict[str, float | int]:
    """How far confidence and expected Dice lie from the true one.

    Args:
        answers: on radiographs that the curve was not fitted on.
        curve: fitted on others.
    """
    confidences = [answer.confidence for answer in answers]
    true = [answer.dice for answer in answers]
    expected = [curve(confidence) for confidence in confidences]
    order = spearmanr(confidences, true).statistic
    return {
        "masks": len(answers),
        "mean_dice": round(float(np.mean(true)), 4),
        "error_before": round(calibration_error(confidences, true), 4),
        "error_after": round(calibration_error(expected, true), 4),
        "spearman": round(float(order), 3),
    }


def _measured(
    segmenter: Segmenter, structure: str, items: Sequence[Mapping[str, Any]], known: Measured, seed: int
) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for item in tqdm(items, desc=structure, unit="radiograph"):
        name = f"{structure}/{item['dataset']}/{item['id']}/{seed}"
        answers += known(name, partial(answers_of, segmenter, structure, item, seed))
    return answers


def _as_answers(rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """Those of masks that are not empty: that nothing was found is said in other words."""
    return [Answer(row["confidence"], row["dice"]) for row in rows if row["confidence"] > 0]


def calibrate(structure: str, options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The curve of one structure, and how true it is.

    Args:
        structure: which.
        options: of the command.

    Raises:
        DatasetError: no radiographs with masks.
        RadiographError: a file cannot be read.
        ValueError: too few masks to fit a curve.
    """
    sections = usable(options.dataset_dir, structure)
    segmenter = Segmenter.from_bundles([structure], options.bundles)
    weights = segmenter.checksums[structure][:16]
    known = Measured(options.work, weights)
    training = drawn(sections["training"], options.count, options.seed)
    validation = drawn(sections["validation"], options.validation_count, options.seed)
    fitted_on = _as_answers(_measured(segmenter, structure, training, known, options.seed))
    curve = fit([answer.confidence for answer in fitted_on], [answer.dice for answer in fitted_on])
    rows = _measured(segmenter, structure, validation, known, options.seed)
    unspoiled = [row for row in rows if row["kind"] == "as it is"]
    figures = {
        "data": ", ".join(dict.fromkeys(item["dataset"] for item in validation)),
        "version": segmenter.versions[structure],
        "fitted_on": len(fitted_on),
        "radiographs": len(validation),
        "all": summary(_as_answers(rows), curve),
        "unspoiled": summary(_as_answers(unspoiled), curve),
    }
    return {"weights": weights, "offset": curve.offset, "slope": curve.slope}, figures


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.tools.calibrate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m cxr_attn_unet_dev.tools.calibrate --dataset_dir DATA --work calibration.jsonl "
        "--output shared/cxr_attn_unet/analysis/calibration.json --figures docs/confidence.json",
    )
    parser.add_argument("--dataset_dir", required=True, nargs="+", help="data sets, or a folder that holds them")
    parser.add_argument("--output", required=True, help="JSON file for the curves; other structures' stay in it")
    parser.add_argument("--figures", help="JSON file for what validation shows; other structures' stay in it")
    parser.add_argument("--structures", nargs="+", default=["lungs", "heart", "clavicles", "ribs"])
    parser.add_argument("--bundles", help="folder of the bundles (default: those of the package)")
    parser.add_argument("--count", type=int, default=60, help="training radiographs a structure (default: 60)")
    parser.add_argument("--validation_count", type=int, default=40, help="validation radiographs (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="of draws and copies (default: 0)")
    parser.add_argument("--work", help="file that keeps what was measured, so that the command resumes")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    for structure in options.structures:
        try:
            curve, figures = calibrate(structure, options)
        except (RadiographError, FileNotFoundError, ValueError) as error:
            print(f"{structure}: {error}", file=sys.stderr)
            return 1
        about = f"{options.count} training radiographs a structure with {len(SPOILED) - 1} spoiled copies of each"
        _update(Path(options.output), "curves", structure, curve, f"{about}, seed {options.seed}")
        if options.figures:
            _update(Path(options.figures), "structures", structure, figures, f"validation, seed {options.seed}")
        print(json.dumps({structure: {**curve, **figures}}, indent=1))
    return 0


def _update(path: Path, key: str, structure: str, content: Mapping[str, Any], about: str) -> None:
    """Put one structure's numbers into a file in which others may be."""
    known: dict[str, Any] = {}
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8")).get(key, {})
    write_json(path, {"about": about, key: {**known, structure: content}})


if __name__ == "__main__":
    sys.exit(main())
