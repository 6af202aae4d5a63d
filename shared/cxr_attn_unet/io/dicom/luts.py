"""Lookup tables of DICOM headers, also those whose descriptor does not fit their entries."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from . import tags

__all__ = ["LookupTable", "read_table"]

_WORD = 1 << 16
# total variation over range: 1 for a table that only rises or only falls; entries read at the wrong width zigzag
_MOST_ZIGZAG = 3.0
# of a table that is too short, the part at its end whose slope goes on beyond it
_END = 8


@dataclass(frozen=True)
class LookupTable:
    """Entries for whole numbers from ``first`` on (PS3.3 C.11.1.1 and C.11.2.1.1).

    Attributes:
        entries: (n,) float64, not constant.
        first: the input that maps to the first entry.
        stated: number of entries that the descriptor states.
    """

    entries: np.ndarray
    first: int
    stated: int

    @property
    def falls(self) -> bool:
        """Whether high inputs become low outputs."""
        return bool(self.entries[-1] < self.entries[0])

    @property
    def is_short(self) -> bool:
        """Whether there are fewer entries than the descriptor states."""
        return len(self.entries) < self.stated

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The entries of ``values``; inputs before the first or after the last take that.

        A table that is shorter than it states goes on with the slope of its end.
        """
        index = np.rint(values).astype(np.int64) - self.first
        last = len(self.entries) - 1
        output = self.entries[np.clip(index, 0, last)]
        if not self.is_short:
            return output
        end = max(last - len(self.entries) // _END, 0)
        slope = (self.entries[last] - self.entries[end]) / max(last - end, 1)
        beyond = np.clip(index, last, self.stated - 1) - last
        return output + slope * beyond


def read_table(item: Dataset) -> LookupTable | None:
    """A lookup table of an item with ``LUTDescriptor`` and ``LUTData``; ``None`` if it cannot be used.

    Entries are found in words or in bytes, whatever the descriptor says of their bits.
    """
    descriptor = tags.numbers(item, "LUTDescriptor")
    whole = [int(value) for value in descriptor if math.isfinite(value)]
    if len(whole) != len(descriptor):
        whole = []
    data, little = tags.item_bytes(item, "LUTData")
    stated = (whole[0] % _WORD or _WORD) if whole else 0
    first = whole[1] if len(whole) > 1 else 0
    bits = whole[2] if len(whole) > 2 else 16
    entries = _entries(data, stated, bits, little)
    if entries is None:
        return None
    return LookupTable(entries, first, stated or len(entries))


def _entries(data: bytes, stated: int, bits: int, little: bool) -> np.ndarray | None:
    order = "<" if little else ">"
    swapped = ">" if little else "<"
    in_bytes = bits <= 8 and len(data) in (stated, stated + 1)
    kinds = [np.dtype(order + "u2"), np.dtype(np.uint8), np.dtype(swapped + "u2")]
    if in_bytes:
        kinds = [kinds[1], kinds[0], kinds[2]]
    for kind in kinds:
        entries = np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind).astype(np.float64)
        if kind.itemsize == 1 and len(entries) == stated + 1:
            entries = entries[:-1]  # an odd number of bytes is padded to an even one
        if len(entries) < 2 or np.ptp(entries) == 0:
            continue
        if np.abs(np.diff(entries)).sum() <= _MOST_ZIGZAG * np.ptp(entries):
            return entries
    return None
