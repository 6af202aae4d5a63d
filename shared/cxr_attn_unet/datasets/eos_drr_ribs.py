"""Frontal digitally reconstructed radiographs with exact rib masks, one bit a pair of ribs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..io import is_radiograph_file
from ..io.parts import PAIRS as PAIRS_CODING
from ..io.raster import read_labels

__all__ = ["PAIRS", "find", "rib_masks"]

PAIRS = 12
_NAME = re.compile(r"eos_drr_\d+")


def find(files: Sequence[Path], structure: str) -> dict[str, dict] | None:
    """Pair ``images/eos_drr_1.png`` with ``labels/eos_drr_1.png``.

    Args:
        files: all files under the data set's folder.
        structure: ``ribs``, all pairs joined: whatever is not zero in the label.

    Returns:
        ``{image id: {"images": [...], "masks": [[...]]}}``, complete or not, or ``None`` if there is no such image;
        the label is the file of ``parts`` too.
    """
    found: dict[str, dict] = {}
    labels: dict[str, list[str]] = {}
    for path in files:
        if _NAME.fullmatch(path.stem) is None or not is_radiograph_file(path):
            continue
        if path.parent.name == "labels":
            labels.setdefault(path.stem, []).append(str(path))
        else:
            found.setdefault(path.stem, {"images": []})["images"].append(str(path))
    for image_id, entry in found.items():
        entry["masks"] = [labels.get(image_id, [])] if structure == "ribs" else []
        entry["parts"] = labels.get(image_id, [])
        entry["parts_coding"] = PAIRS_CODING
    return found or None


def rib_masks(label: str) -> dict[int, np.ndarray]:
    """Each pair of ribs of one label file: 1 to 12, from the top, to masks ``(rows, columns)`` bool.

    Raises:
        RadiographError: the file cannot be read.
    """
    bits = read_labels(label).astype(np.uint16)
    return {pair: (bits >> (pair - 1) & 1).astype(bool) for pair in range(1, PAIRS + 1)}
