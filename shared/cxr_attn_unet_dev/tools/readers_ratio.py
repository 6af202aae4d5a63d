"""Compare the measured cardiothoracic ratio with that of readers, on the Wingspan radiographs of a section.

Writes a JSON file with the mean absolute error and its bootstrap interval, the mean difference and the limits of
agreement (Bland and Altman, Lancet 1986), and their picture. Ratios that quality control withholds are counted, and not
compared.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cxr_attn_unet.datasets import DatasetError, load_data
from cxr_attn_unet.files import write_json, written
from cxr_attn_unet.inference.segmenter import Segmenter
from cxr_attn_unet.io import RadiographError
from cxr_attn_unet.statistics import bootstrap_interval

from .measured import Measured

__all__ = ["agreement", "draw", "main", "read_ratios"]

TABLE = "ctr.csv"
WITHIN = 1.96  # standard deviations: what 95 % of differences lie within


def read_ratios(path: Path) -> dict[str, float]:
    """The readers' ratio of each radiograph that has one.

    Args:
        path: a table with the columns ``name`` and ``cardiothoracic_ratio``.

    Raises:
        DatasetError: no such file, or other columns.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: no such file. Name the folder of Wingspan, with its {TABLE}.")
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"name", "cardiothoracic_ratio"} <= set(rows[0]):
        raise DatasetError(f"{path}: needs the columns name and cardiothoracic_ratio. Add them.")
    return {row["name"]: float(row["cardiothoracic_ratio"]) for row in rows if row["cardiothoracic_ratio"]}


def agreement(measured: Mapping[str, float], readers: Mapping[str, float]) -> dict[str, Any]:
    """How far measured ratios and those of readers lie apart.

    Args:
        measured: by radiograph.
        readers: of the same radiographs, and perhaps of more.

    Returns:
        ``radiographs``, ``mean_absolute_error`` with its 95 % ``interval``, ``mean_difference`` (measured minus read),
        ``limits_of_agreement`` and ``largest`` absolute difference.

    Raises:
        ValueError: fewer than two radiographs.
    """
    if len(measured) < 2:
        raise ValueError(f"there are {len(measured)} radiographs to compare, needed are 2 or more")
    differences = np.array([ratio - readers[name] for name, ratio in measured.items()])
    mean = float(differences.mean())
    reach = WITHIN * float(differences.std(ddof=1))
    return {
        "radiographs": len(measured),
        "mean_absolute_error": round(float(np.abs(differences).mean()), 4),
        "interval": bootstrap_interval(np.abs(differences), list(measured)),
        "mean_difference": round(mean, 4),
        "limits_of_agreement": [round(mean - reach, 4), round(mean + reach, 4)],
        "largest": round(float(np.abs(differences).max()), 4),
    }


def draw(result: Mapping[str, Any], path: Path) -> None:
    """The picture of Bland and Altman: differences over means, with the mean difference and the limits of agreement.

    Args:
        result: of the command.
        path: PNG file to write.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("drawing needs matplotlib: pip install 'cxr-attn-unet[figures]'") from error
    cases = [case for case in result["cases"].values() if case["measured"] is not None]
    means = [(case["measured"] + case["read"]) / 2 for case in cases]
    differences = [case["measured"] - case["read"] for case in cases]
    low, high = result["limits_of_agreement"]
    figure = Figure(figsize=(6, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.scatter(means, differences, s=16, color="#0072B2")
    axes.axhline(0, color="0.8", lw=0.8)
    for level, name in ((result["mean_difference"], "mean"), (low, "-1.96 SD"), (high, "+1.96 SD")):
        axes.axhline(level, color="#D55E00", lw=1, ls="-" if name == "mean" else "--")
        axes.annotate(
            f"{name} {level:+.3f}",
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(-3, 2),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    axes.set_xlabel("mean of measured and readers' cardiothoracic ratio")
    axes.set_ylabel("measured minus readers'")
    with written(path) as temporary:
        figure.savefig(temporary, format="png")


def _ratio(segmenter: Segmenter, path: str) -> float | str | None:
    return segmenter(path).measurements["cardiothoracic_ratio"]


def _compared(
    segmenter: Segmenter, items: Sequence[Mapping[str, Any]], readers: Mapping[str, float], known: Measured
) -> dict[str, dict[str, float | None]]:
    """By radiograph, the ratio ``measured``, ``None`` if it is withheld, and the one ``read``."""
    cases: dict[str, dict[str, float | None]] = {}
    for item in tqdm(items, unit="radiograph"):
        ratio = known(item["id"], partial(_ratio, segmenter, str(item["image"])))
        cases[item["id"]] = {"measured": None if ratio is None else round(ratio, 4), "read": readers[item["id"]]}
    return cases


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.tools.readers_ratio",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m cxr_attn_unet_dev.tools.readers_ratio --dataset_dir DATA/wingspan "
        "--output docs/readers_ratio.json --picture docs/readers_ratio.png",
    )
    parser.add_argument("--dataset_dir", required=True, type=Path, help="Wingspan, with its ctr.csv")
    parser.add_argument("--section", default="validation", help="of the split (default: validation)")
    parser.add_argument("--bundles", help="folder of the bundles (default: those of the package)")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--picture", type=Path, help="PNG file to write")
    parser.add_argument("--work", help="file that keeps what was measured, so that the command resumes")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    try:
        readers = read_ratios(options.dataset_dir / TABLE)
        items = load_data(options.dataset_dir, "heart", check=False)[options.section]
        segmenter = Segmenter.from_bundles(["lungs", "heart"], options.bundles)
        known = Measured(options.work, segmenter.identity)
        cases = _compared(segmenter, [item for item in items if item["id"] in readers], readers, known)
        measured = {name: case["measured"] for name, case in cases.items() if case["measured"] is not None}
        result = {
            "data": f"Wingspan, {options.section} split",
            **agreement(measured, readers),
            "withheld": len(cases) - len(measured),
            "weights": dict(segmenter.versions),
            "cases": cases,
        }
        if options.picture:
            draw(result, options.picture)
    except (RadiographError, ImportError, FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({name: value for name, value in result.items() if name != "cases"}, indent=1))
    if options.output:
        write_json(options.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
