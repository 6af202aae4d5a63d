"""Montgomery County and Shenzhen radiographs with lung masks, native or merged.

Jaeger et al., Two public chest X-ray datasets for computer-aided screening of pulmonary diseases, Quantitative Imaging
in Medicine and Surgery 4 (2014) 475-477; Candemir et al., IEEE Transactions on Medical Imaging 33 (2014) 577-590
(Montgomery's masks); Stirenko et al., arXiv:1803.01199 (Shenzhen's masks, of 566 of the 662 radiographs).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..io import is_radiograph_file

__all__ = ["find", "remarks"]

MONTGOMERY_SPACING_MM = 0.0875
MONTGOMERY_SIZES = {(4020, 4892), (4892, 4020)}
_NAME = re.compile(r"((?:MCU|CHN)CXR_\d{4}_[01])(_mask)?", re.IGNORECASE)
_PARTS = ("leftmask", "rightmask")


def find(files: Sequence[Path], structure: str) -> dict[str, dict] | None:
    """Pair the radiographs ``MCUCXR_0001_0.png`` and ``CHNCXR_0001_0.png`` with their lung masks.

    Native: ``MontgomerySet/CXR_png`` with ``MontgomerySet/ManualMask/leftMask`` and ``rightMask``, which are joined,
    and Shenzhen's ``CXR_png`` with ``CHNCXR_0001_0_mask.png`` in any folder. Merged: ``CXR_png`` with ``masks``. The
    part of the Shenzhen radiographs that nobody has drawn masks for is left out and counted.

    Args:
        files: all files under the data set's folder.
        structure: ``lungs``; there are no masks of anything else.

    Returns:
        ``{image id: {"images": [...], "masks": [[...], ...], "optional": whether a mask may be missing}}``, complete or
        not, or ``None`` if there is no such radiograph; with ``field_of_view_mm`` where the file is Montgomery's own.
    """
    found: dict[str, dict] = {}
    masks: dict[tuple[str, str], list[str]] = {}
    for path in files:
        name = _NAME.fullmatch(path.stem)
        if name is None or not is_radiograph_file(path):
            continue
        image_id, folder = name.group(1).upper(), path.parent.name.lower()
        if folder in _PARTS:
            masks.setdefault((image_id, folder), []).append(str(path))
        elif name.group(2) or folder.startswith("mask"):
            masks.setdefault((image_id, ""), []).append(str(path))
        else:
            found.setdefault(image_id, {"images": []})["images"].append(str(path))
    for image_id, entry in found.items():
        whole = masks.get((image_id, ""), [])
        parts = [masks.get((image_id, part), []) for part in _PARTS]
        entry["masks"] = [whole]
        if any(parts) and not whole:
            entry["masks"] = parts
        if structure != "lungs":
            entry["masks"] = []
        entry["optional"] = image_id.startswith("CHN")
        size = _size(entry["images"][0]) if image_id.startswith("MCU") else None
        if size in MONTGOMERY_SIZES:
            entry["field_of_view_mm"] = (size[1] * MONTGOMERY_SPACING_MM, size[0] * MONTGOMERY_SPACING_MM)
    return found or None


def remarks(items: Sequence[dict[str, Any]], sizes: Sequence[tuple[int, int]]) -> list[str]:
    """What to know of this copy of the data; see :func:`.checks.check_items`.

    Args:
        items: of this data set.
        sizes: (columns, rows) of each radiograph.
    """
    squares = sum(width == height for width, height in sizes)
    montgomery = [s for item, s in zip(items, sizes, strict=True) if item["id"].startswith("MCU")]
    squeezed = sum(size not in MONTGOMERY_SIZES and size[0] == size[1] for size in montgomery)
    if squeezed:
        return [
            f"{squares} of {len(sizes)} radiographs are square, Montgomery's among them, which are 4020 x 4892 or "
            "4892 x 4020: this copy was squeezed, its proportions and pixel spacing are lost."
        ]
    return []


def _size(path: str) -> tuple[int, int] | None:
    """(columns, rows) from the file's head; None if it cannot be read, which the check of the data will say."""
    try:
        with Image.open(path) as image:
            return image.size
    except Exception:
        return None
