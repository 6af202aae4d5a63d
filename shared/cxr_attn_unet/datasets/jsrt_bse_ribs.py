"""Rib labels of real radiographs: JSRT, from the difference to their bone-shadow-eliminated versions.

Bone shadow elimination: Juhasz et al., Computing in Cardiology 37 (2010). The labels are algorithmic, not drawn: the
difference, thresholded. 255 is rib, anterior or posterior, 0 is none, and 128 says nothing: outside the lungs and the
processed field, and on clavicles and heart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..io import is_radiograph_file
from .jsrt import FIELD_OF_VIEW_MM

__all__ = ["IGNORE_VALUE", "SPLIT", "find"]

IGNORE_VALUE = 128
SPLIT = "jsrt"  # the same radiographs, so the same split
FOLDER = "jsrt_bse_ribs"
IMAGES = "jsrt"
_NAME = re.compile(r"JPC(?:LN|NN)\d{3}", re.IGNORECASE)


def find(files: Sequence[Path], structure: str) -> dict[str, dict] | None:
    """Pair ``jsrt_bse_ribs/masks/JPCLN001.png`` with the radiograph ``JPCLN001`` in the folder ``jsrt`` beside it.

    Args:
        files: all files under the data set's folder, whose name is ``jsrt_bse_ribs``.
        structure: ``ribs``.

    Returns:
        ``{image id: {"images": [...], "masks": [[...]]}}``, complete or not, or ``None`` if there is no such mask.
    """
    masks: dict[str, list[str]] = {}
    places: set[Path] = set()
    for path in files:
        place = path.absolute().parent.parent
        if path.parent.name == "masks" and place.name == FOLDER and _NAME.fullmatch(path.stem):
            masks.setdefault(path.stem.upper(), []).append(str(path))
            places.add(place.with_name(IMAGES))
    if not masks:
        return None
    images = _radiographs(places)
    found: dict[str, dict] = {}
    for image_id, paths in masks.items():
        found[image_id] = {
            "images": images.get(image_id, []),
            "masks": [paths] if structure == "ribs" else [],
            "field_of_view_mm": FIELD_OF_VIEW_MM,
            "ignore_value": IGNORE_VALUE,
        }
    return found


def _radiographs(places: set[Path]) -> dict[str, list[str]]:
    images: dict[str, list[str]] = {}
    for place in sorted(places):
        for path in sorted(place.rglob("*")):
            in_masks = path.parent.parent.name.lower() == "masks"
            if _NAME.fullmatch(path.stem) and not in_masks and is_radiograph_file(path):
                images.setdefault(path.stem.upper(), []).append(str(path))
    return images
