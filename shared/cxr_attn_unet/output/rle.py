"""COCO's compressed run-length encoding, through pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["decode", "encode"]


def encode(mask: np.ndarray) -> dict[str, Any]:
    """``{"size": [rows, columns], "counts": str, "area": pixels, "bbox": [x, y, width, height]}`` of a mask.

    Args:
        mask: ``(rows, columns)`` bool.
    """
    from pycocotools import mask as coco  # an extra

    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "size": [int(side) for side in encoded["size"]],
        "counts": encoded["counts"].decode("ascii"),
        "area": int(coco.area(encoded)),
        "bbox": [float(value) for value in coco.toBbox(encoded)],
    }


def decode(encoded: dict[str, Any]) -> np.ndarray:
    """The mask ``(rows, columns)`` bool of what :func:`encode` gave."""
    from pycocotools import mask as coco

    return coco.decode({"size": encoded["size"], "counts": encoded["counts"]}).astype(bool)
