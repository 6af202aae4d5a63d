"""Read every pair of radiograph and mask once, and say in one list what is wrong."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from tqdm import tqdm

from ..io import RadiographError, read_mask, read_radiograph
from ..transforms.load import check_same_shape

__all__ = ["DatasetError", "check_items"]

# JSRT copies circulate with 17 to 43 grey levels, too few for ribs and vessels; a usual film has over 150.
FEW_GREY_LEVELS = 64


class DatasetError(ValueError):
    """What is wrong with a data set, one line a problem, each naming the file and the remedy."""


def check_items(items: Sequence[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Check items: readable, mask not empty and of the radiograph's aspect ratio, no radiograph twice.

    Args:
        items: with paths under ``image`` and ``label``.

    Returns:
        problems and warnings (radiographs of few grey levels; they are usable), one line each.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter lock
        results = list(
            tqdm(pool.map(_check, items), "checking data", len(items), unit="pair", leave=False, disable=None)
        )
    problems = [problem for problem, _, _ in results if problem]
    warnings = [warning for _, warning, _ in results if warning]
    first: dict[str, str] = {}
    for item, (_, _, digest) in zip(items, results, strict=True):
        if digest in first:
            problems.append(f"{item['image']}: the same radiograph as {first[digest]}. Remove one of them.")
        elif digest:
            first[digest] = item["image"]
    return problems, warnings


def _check(item: dict[str, Any]) -> tuple[str, str, str]:
    """Problem, warning and digest of the pixels of one item; empty where there is none."""
    try:
        pixels = read_radiograph(item["image"]).pixels
        mask = read_mask(item["label"])
        check_same_shape(item["image"], pixels.shape[::-1], item["label"], mask.shape[::-1])
    except RadiographError as error:
        return str(error), "", ""
    if not mask.any():
        return f"{item['label']}: the mask is empty. Draw it, or take the radiograph out.", "", ""
    levels = len(np.unique(pixels))
    warning = f"{item['image']}: only {levels} grey levels, kept." if levels < FEW_GREY_LEVELS else ""
    return "", warning, hashlib.sha1(np.ascontiguousarray(pixels), usedforsecurity=False).hexdigest()
