"""VinDr-RibCXR: 245 radiographs with a polygon for each of 20 ribs.

Nguyen et al., VinDr-RibCXR: a benchmark dataset for automatic segmentation and labeling of individual ribs on chest
X-rays, arXiv:2107.01327. Given out by its owners under an agreement.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..io import polygons

__all__ = ["find", "rib_masks"]

_NAME = re.compile(r"vindr_ribcxr_(train|val)_mask\.json", re.IGNORECASE)
_SECTIONS = {"train": "training", "val": "validation"}


def find(files: Sequence[Path], structure: str) -> dict[str, dict] | None:
    """Pair the radiographs with the polygons in ``Vindr_RibCXR_train_mask.json`` and ``Vindr_RibCXR_val_mask.json``.

    Args:
        files: all files under the data set's folder.
        structure: ``ribs``, all 20 joined.

    Returns:
        ``{image id: {"images": [path], "masks": [[reference]], "section": that of its owners}}``, or ``None`` if there
        is no such JSON file. The reference is ``FILE.json#INDEX``, which :func:`cxr_attn_unet.io.read_mask` reads.

    Raises:
        RadiographError: a JSON file is damaged.
    """
    found: dict[str, dict] = {}
    for path in files:
        name = _NAME.fullmatch(path.name)
        if name is None:
            continue
        for index, image in polygons.images(path).items():
            entry = found.setdefault(Path(image).stem, {"images": [], "masks": [[]]})
            entry["images"].append(str(path.parent / image))
            entry["section"] = _SECTIONS[name.group(1).lower()]
            if structure == "ribs":
                entry["masks"][0].append(f"{path}#{index}")
    return found or None


def rib_masks(label: str) -> dict[str, np.ndarray]:
    """Each rib of one radiograph: ``R1`` to ``R10`` and ``L1`` to ``L10`` to masks ``(rows, columns)`` bool.

    Args:
        label: the item's ``label``, ``FILE.json#INDEX``.

    Raises:
        RadiographError: see :func:`cxr_attn_unet.io.polygons.read`.
    """
    return {name: polygons.read(f"{label}/{name}") for name in polygons.structures(label.rpartition("#")[0])}
