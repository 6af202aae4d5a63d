"""Values of a DICOM header as they are found, however odd: read from the file's own bytes, never raising.

pydicom converts an element when it is first looked at, warns of values that break the standard and raises for those
that it cannot convert. Both would reach whoever reads a radiograph, and silencing them is not possible for one thread
alone. So the few elements that matter here are taken from the raw bytes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

__all__ = ["has", "item_bytes", "items", "named", "number", "numbers", "raw", "stated", "text", "texts"]

_BINARY = {"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8", "OW": "u2", "US or SS": "u2"}


def named(keyword: str) -> str:
    """``Window Width (0028,1051)`` as ``WindowWidth (0028,1051)``, for messages."""
    tag = _tag(keyword)
    return f"{keyword} ({tag >> 16:04x},{tag & 0xFFFF:04x})"


def has(dataset: Dataset, keyword: str) -> bool:
    """Whether the element is there and not empty."""
    element = raw(dataset, keyword)
    if element is None:
        return False
    value = element.value
    if isinstance(value, bytes):
        return bool(value.strip(b" \0"))
    return value is not None and value != "" and value != []


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """All values as text without padding; none if the element is absent or empty."""
    element = raw(dataset, keyword)
    if element is None or element.value is None:
        return []
    value = element.value
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        value = value.split("\\")
    elif not isinstance(value, (list, tuple)) and not hasattr(value, "__iter__"):
        value = [value]
    found = [str(part).strip(" \0") for part in value]
    return found if any(found) else []


def text(dataset: Dataset, keyword: str) -> str:
    """The first value as text, empty if there is none."""
    found = texts(dataset, keyword)
    return found[0] if found else ""


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """All values as numbers, NaN for what is none; ``2048,5`` is read as 2048.5."""
    element = raw(dataset, keyword)
    if element is None or element.value is None:
        return []
    kind = _BINARY.get(_representation(element, keyword))
    if isinstance(element.value, bytes) and kind is not None:
        order = "<" if getattr(element, "is_little_endian", True) else ">"
        dtype = np.dtype(order + kind)
        whole = len(element.value) // dtype.itemsize * dtype.itemsize
        return [float(value) for value in np.frombuffer(element.value[:whole], dtype)]
    return [_number(part) for part in texts(dataset, keyword)]


def number(dataset: Dataset, keyword: str) -> float:
    """The first value as a number, NaN if there is none."""
    found = numbers(dataset, keyword)
    return found[0] if found else math.nan


def stated(dataset: Dataset, keyword: str) -> str:
    """The first value as it is shown in a message."""
    element = raw(dataset, keyword)
    if element is None:
        return "missing"
    if _representation(element, keyword) in _BINARY:
        found = numbers(dataset, keyword)
        return f"{found[0]:g}" if found else "empty"
    return text(dataset, keyword) or "empty"


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence, none if it is absent or cannot be read."""
    try:
        return [item for item in dataset.get(keyword) or [] if isinstance(item, Dataset)]
    except Exception:  # pydicom raises many kinds for a broken sequence
        return []


def item_bytes(dataset: Dataset, keyword: str) -> tuple[bytes, bool]:
    """The bytes of an element of words, and whether they are little-endian."""
    element = raw(dataset, keyword)
    if element is None or element.value is None:
        return b"", True
    little = getattr(element, "is_little_endian", True)
    if isinstance(element.value, bytes):
        return element.value, little
    try:
        values = np.atleast_1d(np.asarray(element.value, dtype=np.int64))
    except (TypeError, ValueError, OverflowError):
        return b"", True
    return (values & 0xFFFF).astype("<u2").tobytes(), True


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


def raw(dataset: Dataset, keyword: str) -> Any:
    """The element as pydicom found it, ``None`` if it is absent or beyond reading."""
    try:
        return dataset.get_item(_tag(keyword))
    except Exception:  # pydicom raises many kinds for an element that it cannot convert
        return None


def _representation(element: Any, keyword: str) -> str:
    stated = element.VR
    if stated in (None, "UN", "OB"):
        return dictionary_VR(_tag(keyword))
    return str(stated)


def _number(value: str) -> float:
    try:
        return float(value.replace(",", "."))
    except ValueError:
        return math.nan
