"""From a folder to a checked data list with a fixed split."""

from __future__ import annotations

import json
import logging
import os
import random
from importlib import resources
from pathlib import Path
from typing import Any

from . import folder, jsrt
from .checks import DatasetError, check_items

__all__ = ["find_items", "load_data", "split_items"]

logger = logging.getLogger(__name__)

# Tried in this order; the first that recognises its files reads the folder.
LAYOUTS = {"jsrt": jsrt, "folder": folder}
VALIDATION_SHARE = 0.1
LAYOUT_HELP = (
    "Expected one of: the JSRT radiographs (JPCLN001.IMG or PNG copies) with the SCR folders masks/ORGAN/*.gif; or a "
    "folder with images/ and masks/STRUCTURE/ of the same file names."
)


def find_items(dataset_dir: str | os.PathLike, structure: str) -> tuple[str, list[dict[str, Any]], list[str]]:
    """Pair the radiographs under a folder with their masks of one structure, without reading them.

    Args:
        dataset_dir: the data set's folder, or one that holds it under its name (``jsrt``).
        structure: ``heart``, ``lungs``, ``ribs``, ``clavicles`` or the name of a folder of masks.

    Returns:
        the layout's name; items ``{"image": path, "label": path or paths, "id": name}``, by id, JSRT items with
        ``field_of_view_mm``; and the problems found: missing or doubled masks and radiographs.

    Raises:
        DatasetError: no folder, no readable layout in it, or no mask of this structure at all.
    """
    root = Path(dataset_dir).expanduser()
    if not root.is_dir():
        raise DatasetError(
            f"{root}: no such folder. Name the data set's folder with --dataset_dir or the environment variable "
            "CXR_DATA."
        )
    for name, layout in LAYOUTS.items():
        # only a folder that holds several data sets is searched by the data set's name
        files = sorted(p for p in (root / name if (root / name).is_dir() else root).rglob("*") if p.is_file())
        found = layout.find(files, structure)
        if found:
            break
    else:
        raise DatasetError(f"{root}: no radiographs with masks found here. {LAYOUT_HELP}")
    if not any(all(entry["masks"]) and entry["masks"] for entry in found.values()):
        raise DatasetError(
            f"{root}: {len(found)} radiographs ({name} layout) but no mask of the structure '{structure}'. "
            f"{LAYOUT_HELP}"
        )
    items, problems = [], []
    for image_id, entry in sorted(found.items()):
        paths = [entry["images"], *entry["masks"]]
        if all(len(p) == 1 for p in paths):
            masks = [p[0] for p in entry["masks"]]
            item = {"image": entry["images"][0], "label": masks[0] if len(masks) == 1 else masks, "id": image_id}
            if "field_of_view_mm" in entry:
                item["field_of_view_mm"] = list(entry["field_of_view_mm"])
            items.append(item)
        elif not all(entry["masks"]):
            problems.append(f"{entry['images'][0]}: no {structure} mask. Add it, or take the radiograph out.")
        else:
            doubled = ", ".join(path for p in paths if len(p) > 1 for path in p)
            problems.append(f"{image_id}: more than one file of this name: {doubled}. Keep one of them.")
    return name, items, problems


def split_items(items: list[dict[str, Any]], layout: str, seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Split items into ``training`` and ``validation`` by patient.

    JSRT is split by the file ``splits/jsrt.json`` of this package, whatever part of it is present. Other folders are
    taken as one patient a radiograph and split 90/10 by a seeded shuffle of their ids.

    Args:
        items: from :func:`find_items`.
        layout: the layout's name.
        seed: of the shuffle.
    """
    split_file = resources.files(__package__) / "splits" / f"{layout}.json"
    if split_file.is_file():
        validation = set(json.loads(split_file.read_text(encoding="utf-8"))["validation"])
    else:
        ids = sorted(item["id"] for item in items)
        random.Random(seed).shuffle(ids)
        validation = set(ids[: max(1, round(VALIDATION_SHARE * len(ids)))]) if len(ids) > 1 else set()
    return {
        "training": [item for item in items if item["id"] not in validation],
        "validation": [item for item in items if item["id"] in validation],
    }


def load_data(dataset_dir: str | os.PathLike, structure: str, check: bool = True) -> dict[str, list[dict[str, Any]]]:
    """Data list of a data set: found, checked and split by patient.

    Args:
        dataset_dir: see :func:`find_items`.
        structure: see :func:`find_items`.
        check: decode every file first, so that a bad one is named before hours are spent.

    Returns:
        ``{"training": [...], "validation": [...]}`` of items ``{"image", "label", "id"}``.

    Raises:
        DatasetError: one list of everything that is wrong.
    """
    layout, items, problems = find_items(dataset_dir, structure)
    if check:
        found, warnings = check_items(items)
        problems += found
        for warning in warnings:
            logger.warning(warning)
    if problems:
        raise DatasetError(
            f"{dataset_dir}: {len(problems)} problems in {len(items)} pairs of radiograph and {structure} mask:\n  "
            + "\n  ".join(problems)
        )
    data = split_items(items, layout)
    logger.info(
        f"{dataset_dir} ({layout}): {len(data['training'])} radiographs to train on, "
        f"{len(data['validation'])} to validate on."
    )
    return data
