"""Files that say which part of a structure lies where: single ribs, right and left lung."""

from __future__ import annotations

import os

import numpy as np
from scipy import ndimage

from .radiograph import RadiographError
from .read import read_labels

__all__ = ["PAIRS", "UNKNOWN", "read_parts", "right_and_left"]

UNKNOWN = -1  # of pixels whose parts are not known, in place of their bits
PAIRS = "pairs"  # coding of files whose bit k - 1 is pair k, from the top, both sides in one
SMALLEST_SECOND = 0.1  # of the larger component's area; a smaller one is a speck, not the other side


def read_parts(path: str | os.PathLike, count: int, coding: str | None = None) -> np.ndarray:
    """Read which parts lie in each pixel.

    Args:
        path: a picture of whole numbers, in which bit i is set where part i of the structure lies (in the order of
            :func:`cxr_attn_unet.structures.parts_of`): PNG of 8 or 16 bits, TIFF of 32, where -1 is a
            pixel whose parts are not known.
        count: number of parts.
        coding: :data:`PAIRS` if bit k - 1 is pair k, without sides; the sides then follow from where the shadows lie,
            in a picture that is upright.

    Returns:
        ``(rows, columns)`` int32 of bits, or :data:`UNKNOWN`.

    Raises:
        RadiographError: the file cannot be read, or holds other numbers.
    """
    name = os.fspath(path)
    values = read_labels(path)
    bits = values.astype(np.int64)
    highest = count // 2 if coding == PAIRS else count
    lowest = 0 if coding == PAIRS else UNKNOWN
    if (bits != values).any() or bits.min() < lowest or bits.max() >= 1 << highest:
        raise RadiographError(
            f"{name}: has values other than the bits of {highest} parts (0 to {(1 << highest) - 1}). Write one bit a "
            "part, in TIFF of 32 bits if there are more than 16."
        )
    bits = bits.astype(np.int32)
    if coding != PAIRS:
        return bits
    return _with_sides(bits, highest)


def _with_sides(pairs: np.ndarray, count: int) -> np.ndarray:
    """Bits of right parts, then left ones, from bits of pairs."""
    middle = _middle_columns(pairs)
    bits = np.zeros(pairs.shape, np.int32)
    for pair in range(count):
        shadow = (pairs >> pair & 1).astype(bool)
        if not shadow.any():
            continue
        labelled, number = ndimage.label(shadow, np.ones((3, 3)))
        centres = ndimage.center_of_mass(shadow, labelled, range(1, number + 1))
        for component, (row, column) in enumerate(centres, 1):
            on_the_right = column < middle[round(row)]
            bits[labelled == component] |= 1 << (pair if on_the_right else pair + count)
    return bits


def _middle_columns(pairs: np.ndarray) -> np.ndarray:
    """Column of the spine in each row: halfway between the ribs' outermost columns, where there are any."""
    rows = np.flatnonzero(pairs.any(1))
    middles = []
    for row in rows:
        columns = np.flatnonzero(pairs[row])
        middles.append((columns[0] + columns[-1]) / 2)
    # a straight line: single rows may have ribs on one side only
    slope, offset = np.polyfit(rows, middles, 1) if len(rows) > 1 else (0.0, middles[0])
    return slope * np.arange(len(pairs)) + offset


def right_and_left(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The right and the left one of a pair of organs, from the mask of both.

    Args:
        mask: ``(rows, columns)`` bool, upright: the patient's right is on the left.

    Returns:
        two masks ``(rows, columns)`` bool; ``None`` where they cannot be told: one organ only, or both run together.
    """
    labelled, number = ndimage.label(mask, np.ones((3, 3)))
    if number < 2:
        return None
    sizes = ndimage.sum_labels(mask, labelled, range(1, number + 1))
    first, second = np.argsort(sizes)[::-1][:2]
    if sizes[second] < SMALLEST_SECOND * sizes[first]:
        return None
    centres = np.array(ndimage.center_of_mass(mask, labelled, range(1, number + 1)))[:, 1]
    middle = (centres[first] + centres[second]) / 2
    on_the_right = np.concatenate([[False], centres < middle])
    right = on_the_right[labelled]
    return right, mask & ~right
