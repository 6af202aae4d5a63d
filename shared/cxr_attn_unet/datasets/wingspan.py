"""Extended Wingspan CTR data set: radiographs of several hospitals, PA and AP, with heart and lung masks.

Dong et al. 2018 and 2019; 512 x 512 as published, their pixel spacing is not known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from . import folder

__all__ = ["find"]

_NAME = re.compile(r"wingspan_\d+")
EXCHANGED = ("wingspan_044",)  # the mask of the heart is the left lung's, that of the lungs has the heart


def find(files: Sequence[Path], structure: str) -> dict[str, dict] | None:
    """Pair ``images/wingspan_001.png`` with ``masks/STRUCTURE/wingspan_001.png``.

    Args:
        files: all files under the data set's folder.
        structure: ``heart`` or ``lungs``.

    Returns:
        ``{image id: {"images": [...], "masks": [[...]]}}``, complete or not, or ``None`` unless all images have such a
        name. Radiographs whose masks are exchanged are left out.
    """
    found = folder.find(files, structure)
    if not found or not all(_NAME.fullmatch(image_id) for image_id in found):
        return None
    return {image_id: entry for image_id, entry in found.items() if image_id not in EXCHANGED}
