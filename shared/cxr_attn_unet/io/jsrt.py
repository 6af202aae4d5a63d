"""Raw radiographs of the JSRT database (Shiraishi et al., AJR 174 (2000) 71-74)."""

from __future__ import annotations

import os

import numpy as np

from .limits import check_size
from .radiograph import RadiographError

__all__ = ["SPACING_MM", "is_raw", "read"]

SIDE = 2048
SPACING_MM = 0.175
HIGHEST = 4095  # 12 bits


def is_raw(path: str) -> bool:
    """Whether the file has the size of a JSRT radiograph: 2048 x 2048 in 16 bits, without a head."""
    return os.path.isfile(path) and os.path.getsize(path) == SIDE * SIDE * 2


def read(path: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pixels ``(2048, 2048)``, bone bright, and oddities: the 12 bits, big-endian in 16, are high where film is dark.

    Raises:
        RadiographError: not of the size of a JSRT radiograph, or above the limit on pixels.
    """
    if not is_raw(path):
        raise RadiographError(
            f"{path}: {os.path.getsize(path)} bytes, a raw JSRT radiograph has {SIDE * SIDE * 2}. Copy it again; for "
            "Analyze or NIfTI pairs, the .hdr file must stand beside it."
        )
    check_size(path, SIDE, SIDE)
    stored = np.fromfile(path, dtype=">u2").reshape(SIDE, SIDE)
    beyond = int((stored > HIGHEST).sum())
    notes: tuple[str, ...] = ()
    if beyond:
        notes = (f"{beyond} pixels are above {HIGHEST}, which 12 bits cannot hold: damaged, or no JSRT radiograph",)
    return HIGHEST - np.minimum(stored, HIGHEST).astype(np.float32), notes
