"""What confidence is worth: beside the true Dice, on validation radiographs and on spoiled copies of them.

For each structure and data set: the network's own confidence, the Dice to expect (calibrated), and reverse
classification accuracy (a few references, registered), each compared with the true Dice. "Worst tenth caught" is the
share of the tenth of masks of lowest Dice that is among the fifth of lowest estimate.

    python benchmarks/confidence.py --dataset_dir DATA --work confidence.jsonl --output docs/reliability/confidence.json
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from tqdm import tqdm

from cxr_attn_unet import Segmenter
from cxr_attn_unet.analysis.calibration import calibration_error
from cxr_attn_unet.datasets import DatasetError, load_data
from cxr_attn_unet.files import write_json
from cxr_attn_unet.io import RadiographError
from cxr_attn_unet.system import hardware
from cxr_attn_unet_dev.tools.calibrate import PROJECTIONS, copies_of, dice, read_case
from cxr_attn_unet_dev.tools.fit_quality import drawn
from cxr_attn_unet_dev.tools.measured import Measured
from cxr_attn_unet_dev.tools.reliability import write_findings
from cxr_attn_unet_dev.tools.reverse_accuracy import ReverseAccuracy
from cxr_attn_unet_dev.tools.spoil import SPOILED

STRUCTURES = ("lungs", "heart", "clavicles", "ribs")
ESTIMATES = {
    "network": "network's own",
    "expected": "calibrated",
    "best": "reverse, best reference",
    "mean": "reverse, mean of references",
}
UNSPOILED = "as it is"
WORST, LOWEST = 0.1, 0.2
BINS = 5


def by_dataset(places: Sequence[str], structure: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Data set to sections of its radiographs with masks of a structure; projections are left out.

    Raises:
        DatasetError: no data set has masks of it.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    problems = []
    for place in places:
        try:
            data = load_data(place, structure, check=False)
        except DatasetError as error:
            problems.append(str(error))
            continue
        for section in ("training", "validation"):
            for item in data[section]:
                if item["dataset"] not in PROJECTIONS:
                    found.setdefault(item["dataset"], {"training": [], "validation": []})[section].append(item)
    if not found:
        raise DatasetError("\n".join(problems) or f"no radiographs with masks of {structure}")
    return found


def answers_of(
    segmenter: Segmenter, reverse: ReverseAccuracy, structure: str, item: Mapping[str, Any], seed: int
) -> list[dict[str, Any]]:
    """True Dice, all estimates of it and what they took in seconds, of all copies of a radiograph."""
    answers = []
    for kind, copy in copies_of(item, seed):
        began = time.perf_counter()
        found = segmenter(np.ascontiguousarray(copy.pixels))
        segmented = time.perf_counter()
        verdict = reverse(copy.pixels, found.masks[structure])
        answer = {
            "dice": dice(found.masks[structure], copy.truth),
            "network": found.raw_confidences[structure],
            "expected": found.confidences[structure],
            "best": verdict.best,
            "mean": verdict.mean,
            "seconds": segmented - began,
            "reverse_seconds": time.perf_counter() - segmented,
        }
        answers.append({"kind": kind, **{name: round(float(value), 4) for name, value in answer.items()}})
    return answers


def caught(estimates: Sequence[float], true: Sequence[float]) -> float:
    """Share of the tenth of masks of lowest Dice that is among the fifth of lowest estimate."""
    worst = max(1, round(WORST * len(true)))
    lowest = max(1, round(LOWEST * len(true)))
    named = set(np.argsort(estimates, kind="stable")[:lowest])
    return len(named & set(np.argsort(true, kind="stable")[:worst])) / worst


def curve(estimates: Sequence[float], true: Sequence[float]) -> list[list[float]]:
    """Mean estimate and mean Dice of equally many masks each, from the lowest estimates to the highest."""
    order = np.argsort(estimates, kind="stable")
    places = np.array_split(order, min(BINS, len(order)))
    return [
        [round(float(np.mean(np.take(estimates, part))), 4), round(float(np.mean(np.take(true, part))), 4)]
        for part in places
    ]


def row_of(name: str, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How true one kind of estimate is, over some masks."""
    estimates = [answer[name] for answer in answers]
    true = [answer["dice"] for answer in answers]
    differ = len(set(estimates)) > 1 and len(set(true)) > 1
    own = "reverse_seconds" if name in ("best", "mean") else "seconds"
    extra = [answer["reverse_seconds"] / answer["seconds"] for answer in answers] if own != "seconds" else [0.0]
    return {
        "estimate": ESTIMATES[name],
        "masks": len(answers),
        "mean Dice": round(float(np.mean(true)), 3),
        "mean estimate": round(float(np.mean(estimates)), 3),
        "expected calibration error": round(calibration_error(estimates, true), 3),
        "Spearman": round(float(spearmanr(estimates, true).statistic), 2) if differ else None,
        "worst tenth caught": round(caught(estimates, true), 2),
        "time, of the network's": round(float(np.median(extra)), 2),
    }


def measure(structure: str, options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and curves of one structure."""
    sets = by_dataset(options.dataset_dir, structure)
    segmenter = Segmenter.from_bundles([structure], options.bundles)
    training = [item for sections in sets.values() for item in sections["training"]]
    chosen = drawn(training, options.references, options.seed)
    reverse = ReverseAccuracy([read_case(item) for item in chosen])
    known = Measured(options.work, f"{segmenter.checksums[structure][:16]} {options.references}")
    rows, curves = [], []
    for dataset, sections in sets.items():
        items = drawn(sections["validation"], options.count, options.seed)
        answers: list[dict[str, Any]] = []
        for item in tqdm(items, desc=f"{structure}, {dataset}", unit="radiograph"):
            work: Callable[[], Any] = partial(answers_of, segmenter, reverse, structure, item, options.seed)
            answers += known(f"{structure}/{dataset}/{item['id']}/{options.seed}", work)
        copies = {
            "unspoiled": [answer for answer in answers if answer["kind"] == UNSPOILED],
            "spoiled": [answer for answer in answers if answer["kind"] != UNSPOILED],
        }
        for kind, own in copies.items():
            where = {"structure": structure, "data": f"{dataset}, validation", "copies": kind}
            for name in ESTIMATES if own else ():
                rows.append({**where, **row_of(name, own)})
                points = curve([answer[name] for answer in own], [answer["dice"] for answer in own])
                curves.append({**where, "estimate": ESTIMATES[name], "mean estimate and mean Dice": points})
    return rows, curves


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True, nargs="+", help="data sets, or a folder that holds them")
    parser.add_argument("--structures", nargs="+", default=list(STRUCTURES))
    parser.add_argument("--bundles", help="folder of the bundles (default: those of the package)")
    parser.add_argument("--count", type=int, default=40, help="validation radiographs of a data set (default: 40)")
    parser.add_argument("--references", type=int, default=8, help="of reverse classification accuracy (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of draws and copies (default: 0)")
    parser.add_argument("--work", help="file that keeps what was measured, so that the command resumes")
    parser.add_argument("--output", help="JSON file for the figures")
    parser.add_argument("--curves", help="JSON file for the mean estimate and the mean Dice of equally many masks each")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    rows, curves = [], []
    for structure in options.structures:
        try:
            own_rows, own_curves = measure(structure, options)
        except (RadiographError, DatasetError, FileNotFoundError, ImportError, ValueError) as error:
            print(f"{structure}: {error}", file=sys.stderr)
            return 1
        rows += own_rows
        curves += own_curves
    given = ["--structures", *options.structures]
    for name in ("count", "references", "seed"):
        given += [f"--{name}", str(getattr(options, name))]
    command = shlex.join(["python", "benchmarks/confidence.py", "--dataset_dir", "DATA", *given])
    setting = (
        f"Up to {options.count} validation radiographs of each data set, and {len(SPOILED) - 1} spoiled copies of each "
        f"(exposed, cut, rotated, under devices), seed {options.seed}; {options.references} training radiographs as "
        f"references; worst tenth caught: among the fifth of lowest estimate; {hardware()}"
    )
    print(json.dumps(rows, indent=1))
    if options.output:
        write_findings(Path(options.output), "Confidence beside the true Dice", command, setting, rows)
    if options.curves:
        write_json(options.curves, {"command": command, "curves": curves})
    return 0


if __name__ == "__main__":
    sys.exit(main())
