"""Outlines of masks, and points of upright pictures, in the coordinates that DICOM gives to stored pixels.

Coordinates are (column, row) from 0 0, the top left corner of the first pixel, to (columns, rows), the bottom right
corner of the last one: DICOM PS3.3 C.10.5 (``PIXEL``) and C.18.6.
"""

from __future__ import annotations

import numpy as np
from skimage.measure import find_contours

from ..analysis.measurements import Diameter
from ..io import Orientation

__all__ = ["diameter_ends", "outlines", "to_stored"]

TOLERANCE = 0.5  # pixels by which an outline may be simplified
MOST_POINTS = 8000  # an element of 16-bit length, as of explicit representation, holds 8191
SMALLEST_OUTLINE = 4  # points of a closed line around something: a triangle, its first point again at the end


def outlines(mask: np.ndarray, tolerance: float = TOLERANCE) -> list[np.ndarray]:
    """The closed outlines of a mask, of its holes too, along the edges of its pixels.

    Args:
        mask: ``(rows, columns)`` as stored.
        tolerance: by which points may be left out, in pixels.

    Returns:
        arrays ``(points, 2)`` of (column, row), the last point equal to the first, the longest outline first.
    """
    padded = np.pad(np.asarray(mask, bool), 1).astype(np.float32)
    found = []
    for contour in find_contours(padded, 0.5):
        line = _simplified(contour, tolerance)
        if len(line) >= SMALLEST_OUTLINE:
            # the padding moves pixels by one; a pixel's centre lies half a pixel from its corner
            found.append(line[:, ::-1] - 0.5)
    return sorted(found, key=len, reverse=True)


def _simplified(contour: np.ndarray, tolerance: float) -> np.ndarray:
    """A line of few enough points for one element."""
    from skimage.measure import approximate_polygon  # it imports all of scipy.signal and scipy.stats

    line = approximate_polygon(contour, tolerance)
    while len(line) > MOST_POINTS:
        tolerance *= 2
        line = approximate_polygon(contour, tolerance)
    return line


def to_stored(points: np.ndarray, orientation: Orientation, shape: tuple[int, int]) -> np.ndarray:
    """Points on an upright picture, on the picture as it is stored.

    Args:
        points: ``(points, 2)`` of (column, row).
        orientation: from stored to upright.
        shape: (rows, columns) as stored.
    """
    rows, columns = shape
    if orientation.transpose:
        rows, columns = columns, rows
    moved = np.asarray(points, float).copy()
    if orientation.flip_columns:
        moved[:, 0] = columns - moved[:, 0]
    if orientation.flip_rows:
        moved[:, 1] = rows - moved[:, 1]
    if orientation.transpose:
        moved = moved[:, ::-1].copy()
    return moved


def diameter_ends(diameter: Diameter, orientation: Orientation, shape: tuple[int, int]) -> np.ndarray:
    """The two ends of a diameter that was measured upright, ``(2, 2)`` of (column, row) as stored.

    Args:
        diameter: on the upright picture.
        orientation: from stored to upright.
        shape: (rows, columns) as stored.
    """
    level = diameter.row + 0.5
    ends = np.array([[diameter.start, level], [diameter.stop + 1, level]])
    return to_stored(ends, orientation, shape)
