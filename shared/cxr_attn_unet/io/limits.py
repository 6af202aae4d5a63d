"""How large a radiograph may be: asked of a file's header, before any of its pixels is decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .radiograph import RadiographError

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "MAX_PIXELS_VARIABLE",
    "check_max_pixels",
    "check_size",
    "limited_to",
    "max_bytes",
    "max_pixels",
]

MAX_PIXELS_VARIABLE = "CXR_MAX_PIXELS"
# what 4 GB of memory can hold, see docs/segment.md
DEFAULT_MAX_PIXELS = 100_000_000
BYTES_PER_PIXEL = 8  # of the widest values that are read: float64, or four channels of 16 bits
BYTES_OF_HEADER = 64 << 20

_LIMIT: ContextVar[int | None] = ContextVar("max_pixels", default=None)


def max_pixels() -> int:
    """The limit in force: that of :func:`limited_to`, that of ``CXR_MAX_PIXELS``, or :data:`DEFAULT_MAX_PIXELS`.

    Raises:
        ValueError: ``CXR_MAX_PIXELS`` is no whole number above 0.
    """
    limit = _LIMIT.get()
    if limit is not None:
        return limit
    stated = os.environ.get(MAX_PIXELS_VARIABLE)
    if not stated:
        return DEFAULT_MAX_PIXELS
    try:
        return check_max_pixels(int(stated))
    except ValueError as error:
        raise ValueError(f"{MAX_PIXELS_VARIABLE} is {stated}, must be a whole number of 1 or more") from error


def check_max_pixels(limit: int) -> int:
    """The limit, if it is one.

    Raises:
        ValueError: below 1.
    """
    if limit < 1:
        raise ValueError(f"max_pixels is {limit}, must be 1 or more")
    return limit


def max_bytes() -> int:
    """How many bytes the uncompressed file of a radiograph within the limit may have."""
    return BYTES_PER_PIXEL * max_pixels() + BYTES_OF_HEADER


@contextmanager
def limited_to(limit: int | None) -> Iterator[None]:
    """Within, and in this thread alone, another limit; ``None`` leaves it as it is.

    Raises:
        ValueError: below 1.
    """
    if limit is None:
        yield
        return
    token = _LIMIT.set(check_max_pixels(limit))
    try:
        yield
    finally:
        _LIMIT.reset(token)


def check_size(path: str, rows: int, columns: int) -> None:
    """Make sure that a picture is within the limit.

    Args:
        path: for the message.
        rows: as the header states.
        columns: as the header states.

    Raises:
        RadiographError: it is not.
    """
    limit = max_pixels()
    if rows * columns > limit:
        raise RadiographError(
            f"{path}: {rows} x {columns} pixels, more than the limit of {limit}. Make it smaller, or allow more with "
            f"--max-pixels or {MAX_PIXELS_VARIABLE} if there is the memory for it."
        )
