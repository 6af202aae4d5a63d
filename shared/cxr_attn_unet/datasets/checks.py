"""Read every pair of radiograph and mask once, and say in one list what is wrong."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from ..io import IGNORED, RadiographError, read_partial_mask, read_radiograph
from ..transforms.load import check_same_shape

__all__ = ["DatasetError", "Facts", "Report", "check_items", "gap_between_lungs", "looks_inverted"]

# JSRT copies circulate with 17 to 43 grey levels, too few for ribs and vessels; a usual film has over 150.
FEW_GREY_LEVELS = 64
# Gap between the lungs at the height of the heart, in widths of the chest. Of 395 Montgomery and Shenzhen masks, 27
# of the 28 that cover more than three tenths of the heart are below this, and one of the 356 that cover hardly any.
NARROW_GAP = 0.26
NAMED = 12
# Structures that leave most of a radiograph's edge free; of others, such as the whole body, it is not known.
INNER = ("lungs", "heart", "clavicles", "ribs")
INVERTED_EDGE = 0.9  # share of the picture's outermost pixels that a mask covers if it was drawn the wrong way around


class DatasetError(ValueError):
    """What is wrong with a data set, one line a problem, each naming the file and the remedy."""


@dataclass
class Facts:
    """What reading one pair showed: its problem and warning, if any; size (columns, rows), the mask's share of it.

    The share is that of the pixels that are labelled; ``labelled`` is their share of the picture.
    """

    problem: str = ""
    warning: str = ""
    digest: str = ""
    size: tuple[int, int] = (0, 0)
    share: float = 0.0
    labelled: float = 1.0
    behind_heart: bool = False


@dataclass
class Report:
    """Everything that is wrong with a data set, what should be known of it, and the facts of each item in order."""

    problems: list[str]
    warnings: list[str]
    facts: list[Facts]


def check_items(
    items: Sequence[dict[str, Any]], structure: str = "", layouts: Mapping[str, Any] | None = None
) -> Report:
    """Check items: readable, mask not empty, not inverted and of the radiograph's aspect ratio, no radiograph twice.

    Args:
        items: with paths under ``image`` and ``label``, and the name of their layout under ``dataset``.
        structure: for what only one structure has, such as lung masks that go on behind the heart.
        layouts: modules by name, of which those with ``remarks(items, sizes)`` are asked for theirs.

    Returns:
        problems, one line each; and warnings of what is usable but should be known: radiographs of few grey levels,
        copies that lost their proportions, masks drawn by another convention, a value to ignore that none has.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter lock
        checked = pool.map(lambda item: _check(item, structure), items)
        facts = list(tqdm(checked, "checking data", len(items), unit="pair", leave=False, disable=None))
    problems = [fact.problem for fact in facts if fact.problem]
    warnings = [fact.warning for fact in facts if fact.warning]
    first: dict[str, str] = {}
    for item, fact in zip(items, facts, strict=True):
        if fact.digest in first:
            problems.append(f"{item['image']}: the same radiograph as {first[fact.digest]}. Remove one of them.")
        elif fact.digest:
            first[fact.digest] = item["image"]
    warnings += _values_that_no_mask_has(items, facts)
    for name, layout in (layouts or {}).items():
        own = [(item, fact.size) for item, fact in zip(items, facts, strict=True) if item.get("dataset") == name]
        if own and hasattr(layout, "remarks"):
            warnings += [f"{name}: {remark}" for remark in layout.remarks(*zip(*own, strict=True))]
    behind = [str(item.get("id", item["label"])) for item, fact in zip(items, facts, strict=True) if fact.behind_heart]
    if behind:
        warnings.append(
            f"{len(behind)} of {len(items)} lung masks include the lung behind the heart, the others do not: "
            f"{', '.join(behind[:NAMED])}{' ...' if len(behind) > NAMED else ''}. Kept."
        )
    return Report(problems, warnings, facts)


def _values_that_no_mask_has(items: Sequence[dict[str, Any]], facts: Sequence[Facts]) -> list[str]:
    """A line for each value to ignore that none of the masks it was given for has."""
    labelled: dict[tuple[str, Any], float] = {}
    for item, fact in zip(items, facts, strict=True):
        if "ignore_value" in item and not fact.problem:
            key = (item.get("dataset", "list"), item["ignore_value"])
            labelled[key] = min(fact.labelled, labelled.get(key, 1.0))
    return [
        f"{name}: no mask has the value {value}, which was to be ignored, so every pixel counts. Check the value."
        for (name, value), least in labelled.items()
        if least == 1
    ]


def _check(item: dict[str, Any], structure: str) -> Facts:
    try:
        radiograph = read_radiograph(item["image"])
        pixels = radiograph.pixels
        partial_mask = read_partial_mask(item["label"], item.get("ignore_value"))
        mask = partial_mask == 1
        labelled = partial_mask != IGNORED
        check_same_shape(item["image"], pixels.shape[::-1], item["label"], mask.shape[::-1])
    except RadiographError as error:
        return Facts(problem=str(error))
    if not labelled.any():
        return Facts(problem=f"{item['label']}: every pixel is to be ignored. Label some, or take the radiograph out.")
    if not mask.any():
        return Facts(problem=f"{item['label']}: the mask is empty. Draw it, or take the radiograph out.")
    warnings = []
    if looks_inverted(mask):
        text = f"{item['label']}: the mask covers {mask.mean():.0%} of the picture, and its edges: it looks inverted"
        if structure in INNER:
            return Facts(problem=f"{text}. Give the {structure} values other than zero, and zero to all else.")
        warnings.append(f"{text}, kept.")
    levels = len(np.unique(pixels))
    if levels < FEW_GREY_LEVELS:
        warnings.append(f"{item['image']}: only {levels} grey levels, kept.")
    return Facts(
        warning=" ".join(warnings),
        digest=hashlib.sha1(pixels.tobytes(), usedforsecurity=False).hexdigest(),
        size=pixels.shape[::-1],
        share=float(mask[labelled].mean()),
        labelled=float(labelled.mean()),
        behind_heart=structure == "lungs" and gap_between_lungs(radiograph.orientation.apply(mask)) < NARROW_GAP,
    )


def looks_inverted(mask: np.ndarray) -> bool:
    """Whether a mask covers nearly all of the picture's outermost pixels, and most of the picture.

    Args:
        mask: ``(rows, columns)`` bool.
    """
    edge = np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    return bool(edge.mean() >= INVERTED_EDGE and mask.mean() > 0.5)


def gap_between_lungs(mask: np.ndarray) -> float:
    """Median gap between the lungs at the height of the heart, in widths of the mask's bounding box.

    The rows are those from 55 to 80 % of the mask's height; the gap of a row is the longest run of background between
    two foreground pixels.

    Args:
        mask: upright lungs ``(rows, columns)`` bool.

    Returns:
        a share from 0 to 1; 1 where no row has two foreground pixels.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 1.0
    top, height = rows[0], rows[-1] - rows[0]
    width = max(1, columns[-1] - columns[0])
    inside = (np.flatnonzero(row) for row in mask[int(top + 0.55 * height) : int(top + 0.8 * height)])
    gaps = [np.diff(row).max() / width for row in inside if len(row) > 1]
    return float(np.median(gaps)) if gaps else 1.0
