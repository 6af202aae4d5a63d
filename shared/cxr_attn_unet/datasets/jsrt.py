"""JSRT radiographs with the SCR annotations.

JSRT: Shiraishi et al., AJR 174 (2000) 71-74, 247 frontal radiographs of as many patients, 2048 x 2048 at 0.175 mm.
SCR: van Ginneken et al., Medical Image Analysis 10 (2006) 19-40, masks of 1024 x 1024 over the same field of view.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..io import is_radiograph_file

__all__ = ["FIELD_OF_VIEW_MM", "STRUCTURES", "find"]

FIELD_OF_VIEW_MM = (2048 * 0.175, 2048 * 0.175)
STRUCTURES = {
    "heart": ("heart",),
    "lungs": ("left lung", "right lung"),
    "clavicles": ("left clavicle", "right clavicle"),
}
_NAME = re.compile(r"JPC(?:LN|NN)\d{3}", re.IGNORECASE)


def find(files: Sequence[Path], structure: str) -> dict[str, dict] | None:
    """Pair JSRT radiographs with their SCR masks, wherever under the folder they were unpacked.

    Radiographs are files named ``JPCLN001`` and so on, as raw ``.IMG`` or as copies in any readable format. Masks
    stand in folders named by organ, as in the official ``fold1/masks/left lung`` and ``fold2/masks/left lung``.

    Args:
        files: all files under the data set's folder.
        structure: ``heart``, ``lungs`` or ``clavicles``; left and right are joined.

    Returns:
        ``{image id: {"images": [...], "masks": [[...] per organ folder]}}``, complete or not, or ``None`` if there is
        no JSRT radiograph.
    """
    organs = STRUCTURES.get(structure, ())
    found: dict[str, dict] = {}
    masks: dict[tuple[str, str], list[str]] = {}
    for path in files:
        name = _NAME.fullmatch(path.stem)
        if name is None:
            continue
        image_id = name.group().upper()
        organ = path.parent.name.lower().replace("_", " ")
        if path.parent.parent.name.lower() == "masks":
            masks.setdefault((image_id, organ), []).append(str(path))
        elif is_radiograph_file(path):
            found.setdefault(image_id, {"images": []})["images"].append(str(path))
    for image_id, entry in found.items():
        entry["masks"] = [masks.get((image_id, organ), []) for organ in organs]
        entry["field_of_view_mm"] = FIELD_OF_VIEW_MM
    return found or None
