"""Masks that say nothing about some of their pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import raster
from .radiograph import RadiographError
from .read import read_labels, read_mask

__all__ = ["IGNORED", "read_partial_mask"]

IGNORED = -1  # of a pixel that the mask says nothing about, beside 0 and 1


def read_partial_mask(
    paths: str | os.PathLike | Sequence[str | os.PathLike], ignore_value: float | None = None
) -> np.ndarray:
    """Read a mask, or the union of several, of which some pixels may say nothing.

    A pixel of the union is structure where any file says so; otherwise it is ignored where any file ignores it.

    Args:
        paths: a file or several, see :func:`read_mask`.
        ignore_value: the files' value of pixels to ignore; ``None`` where every pixel counts.

    Returns:
        ``(rows, columns)`` int8, in the files' own pixel layout: 0 background, 1 structure, :data:`IGNORED`.

    Raises:
        RadiographError: a file cannot be read as a mask; the sizes differ; ``ignore_value`` is no number, or 0, the
            background; or it is looked for in a file whose compression changes values.
    """
    mask = read_mask(paths).astype(np.int8)
    if ignore_value is None:
        return mask
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    if not is_ignore_value(ignore_value):
        raise RadiographError(
            f"{os.fspath(paths[0])}: {ignore_value!r} cannot be the value of pixels to ignore: 0 is the background, "
            "all others are numbers. Use another value."
        )
    structure = np.zeros(mask.shape, bool)
    ignored = np.zeros(mask.shape, bool)
    for path in paths:
        values = _values(path)
        unknown = values == ignore_value
        ignored |= unknown
        structure |= (values != 0) & ~unknown
    mask[ignored] = IGNORED
    mask[structure] = 1
    return mask


def is_ignore_value(value: Any) -> bool:
    """Whether pixels to ignore may have this value in a mask: any number but 0."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value != 0


def _values(entry: str | os.PathLike) -> np.ndarray:
    path = os.fspath(entry)
    if raster.is_lossy(path):
        raise RadiographError(
            f"{path}: its compression changes values, so the pixels to ignore cannot be told. Save it as PNG."
        )
    return read_labels(path)
