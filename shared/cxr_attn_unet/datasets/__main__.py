"""Check a data set and write its data list: ``python -m cxr_attn_unet.datasets --help``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..files import written
from ..io import IGNORED, RadiographError, read_partial_mask, read_radiograph
from .checks import DatasetError, Facts
from .load import LAYOUT_HELP, inspect_data

SHEET = 24


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet.datasets",
        description="Check a data set of radiographs and masks, split it by patient, and write the data list.",
        epilog=f"{LAYOUT_HELP} The list that --output writes is itself a --dataset_dir, here and for the bundles.\n"
        "Examples: python -m cxr_attn_unet.datasets --dataset_dir JSRT --structure heart --sheet sheet.png\n"
        "          python -m cxr_attn_unet.datasets --dataset_dir JSRT NLM --structure lungs --output lungs.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset_dir", required=True, nargs="+", help="folder of a data set, or a data list; several")
    parser.add_argument("--structure", required=True, help="heart, lungs, ribs, clavicles or a folder of masks")
    parser.add_argument("--output", help="write the data list here (JSON)")
    parser.add_argument("--sheet", help=f"write a contact sheet of {SHEET} radiographs with outlines here (PNG)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return _check(options)
    except (DatasetError, RadiographError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def _check(options: argparse.Namespace) -> int:
    """Check, say what was found and write what is wanted; returns the exit status."""
    data, report = inspect_data(options.dataset_dir, options.structure)
    items = [item for section in data.values() for item in section]
    for line in summary(data, report.facts):
        print(line)
    for warning in report.warnings:
        print(f"note: {warning}")
    for problem in report.problems:
        print(problem, file=sys.stderr)
    if options.sheet:
        draw([i for i, fact in zip(items, report.facts, strict=True) if not fact.problem], options.sheet)
    if report.problems:
        print(f"{len(report.problems)} problems; no data list is written.", file=sys.stderr)
        return 1
    if options.output:
        # from wherever it is read, the list must find its files
        absolute = {section: [_absolute(item) for item in items] for section, items in data.items()}
        with written(options.output) as path:
            path.write_text(json.dumps(absolute, indent=1), encoding="utf-8")
    return 0


def summary(data: dict[str, list[dict[str, Any]]], facts: list[Facts]) -> list[str]:
    """Lines for a person: counts by data set and section, sizes, known pixel spacing, the masks' share."""
    sections = [(name, item) for name, items in data.items() for item in items]
    lines = []
    for dataset in dict.fromkeys(item.get("dataset", "list") for _, item in sections):
        own = [(n, i, f) for (n, i), f in zip(sections, facts, strict=True) if i.get("dataset", "list") == dataset]
        counts = Counter(name for name, _, _ in own)
        sizes = Counter(fact.size for _, _, fact in own if not fact.problem)
        spacings = {
            round(item["field_of_view_mm"][0] / fact.size[1], 3)
            for _, item, fact in own
            if "field_of_view_mm" in item and not fact.problem
        }
        shares = [fact.share for _, _, fact in own if not fact.problem]
        lines.append(f"{dataset}: {len(own)} radiographs, {', '.join(f'{n} {s}' for s, n in counts.items())}")
        if sizes:
            (width, height), number = sizes.most_common(1)[0]
            others = f", {len(sizes) - 1} other sizes" if len(sizes) > 1 else ""
            lines.append(f"  size: {width} x {height} ({number} of them{others})")
            lines.append(
                f"  pixel spacing: {', '.join(f'{s} mm' for s in sorted(spacings)) or 'not known from the set'}"
            )
            low, middle, high = np.percentile(shares, (0, 50, 100))
            labelled = [fact.labelled for _, _, fact in own if not fact.problem]
            whole = "picture" if min(labelled) == 1 else "labelled part"
            lines.append(f"  mask: {middle:.1%} of the {whole} ({low:.1%} to {high:.1%})")
            if min(labelled) < 1:
                lines.append(
                    f"  labelled: {np.median(labelled):.1%} of the picture; the rest is left out of loss and metrics"
                )
    return lines


def draw(items: list[dict[str, Any]], path: str) -> None:
    """Contact sheet of radiographs spread over the data list, reference outlined."""
    from ..figures import contact_sheet, overlay

    tiles = []
    for item in items[:: max(1, len(items) // SHEET)][:SHEET]:
        radiograph = read_radiograph(item["image"])
        mask = radiograph.orientation.apply(read_partial_mask(item["label"], item.get("ignore_value")))
        title = str(item.get("id", Path(item["image"]).name))
        tiles.append(overlay(radiograph.upright(), [mask == 1], title, ignored=mask == IGNORED))
    if tiles:
        contact_sheet(tiles, path)


def _absolute(item: dict[str, Any]) -> dict[str, Any]:
    labels = item["label"]
    several = not isinstance(labels, str)
    paths = [os.path.abspath(label) for label in (labels if several else [labels])]
    return {**item, "image": os.path.abspath(item["image"]), "label": paths if several else paths[0]}


if __name__ == "__main__":
    sys.exit(main())
