"""A radiograph as it lies in its file, and which way it is shown upright."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["NotARadiographError", "Orientation", "Radiograph", "RadiographError"]

SMALLEST_SIDE = 32


class RadiographError(ValueError):
    """A file that cannot be used; its message is ``<path>: <what is wrong>. <remedy>.``."""


class NotARadiographError(RadiographError):
    """A sound file of another kind, such as a CT slice or a report, that a folder may well hold beside radiographs."""


@dataclass(frozen=True)
class Orientation:
    """Steps from the stored ``(rows, columns)`` to the upright picture, in this order.

    Upright is how a radiologist sees a frontal radiograph: head up, the patient's left on the picture's right.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Stored ``(rows, columns)`` to upright."""
        pixels = pixels.T if self.transpose else pixels
        return pixels[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def undo(self, upright: np.ndarray) -> np.ndarray:
        """Upright ``(rows, columns)`` to stored."""
        stored = upright[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return stored.T if self.transpose else stored


@dataclass(frozen=True)
class Radiograph:
    """A radiograph in its file's own pixel layout.

    Attributes:
        pixels: ``(rows, columns)`` float32, bone bright, on the file's own scale, finite.
        path: the file.
        spacing: (row, column) distance of pixels in mm, ``None`` if the file does not say.
        orientation: how to show ``pixels`` upright.
        affine: 4 x 4, indices (column, row, 0) to RAS mm, for volume formats only.
        spacing_source: what ``spacing`` measures: ``"patient"`` (at the patient's depth, corrected for magnification),
            ``"calibrated"`` (against an object of known size), ``"detector"`` (on the detector or film, larger than
            the anatomy by the magnification) or ``"given"`` (stated without saying where); ``None`` if unknown.
        notes: what was odd in the file and how it was read, one plain sentence each.
    """

    pixels: np.ndarray
    path: str
    spacing: tuple[float, float] | None = None
    orientation: Orientation = field(default_factory=Orientation)
    affine: np.ndarray | None = None
    spacing_source: str | None = None
    notes: tuple[str, ...] = ()

    def upright(self) -> np.ndarray:
        """The pixels as a person would see them, ``(rows, columns)`` float32."""
        return self.orientation.apply(self.pixels)


def check_pixels(pixels: np.ndarray, path: str) -> None:
    """Raise :class:`RadiographError` for what no radiograph is: tiny, constant, or not finite."""
    rows, columns = pixels.shape
    if min(rows, columns) < SMALLEST_SIDE:
        raise RadiographError(
            f"{path}: only {columns} x {rows} pixels. A radiograph has at least {SMALLEST_SIDE} on each side; "
            "give the full-size file."
        )
    low, high = float(pixels.min()), float(pixels.max())  # NaN propagates through both
    if not np.isfinite((low, high)).all():
        raise RadiographError(f"{path}: has pixels that are NaN or infinite. Export the radiograph again.")
    if low == high:
        raise RadiographError(f"{path}: all pixels have the value {low:g}, the picture is empty. Export it again.")
