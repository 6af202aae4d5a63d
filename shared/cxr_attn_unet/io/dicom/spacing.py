"""Pixel spacing of a DICOM radiograph in mm, and what it measures."""

from __future__ import annotations

import math

from pydicom.dataset import Dataset

from . import tags

__all__ = ["spacing"]

# a radiograph's pixels are finer than the coarsest and coarser than the finest of these, in mm
_FINEST_MM = 0.01
_COARSEST_MM = 5.0
# ratio of the distances source to detector and source to patient; at a chest stand it is 1.05 to 1.2
_LARGEST_MAGNIFICATION = 3.0
# two spacings are one if they differ by no more than the rounding of a decimal string
_SAME = 1e-3

Spacing = tuple[float, float]


def spacing(dataset: Dataset, notes: list[str]) -> tuple[Spacing | None, str | None]:
    """Spacing (row, column) in mm and its source, both ``None`` where the file does not say or says 1 x 1 mm.

    By DICOM PS3.3, 10.7.1 and C.8.11.3:

    - ``PixelSpacing`` that differs from the detector's spacing has been corrected: ``"calibrated"``.
      ``PixelSpacingCalibrationType`` (GEOMETRY or FIDUCIAL) says how, and is enough where the detector's spacing is
      missing.
    - ``ImagerPixelSpacing`` is that of the detector, ``NominalScannedPixelSpacing`` that of a digitised film.
      Where ``EstimatedRadiographicMagnificationFactor`` is given, or ``DistanceSourceToDetector`` and
      ``DistanceSourceToPatient``, whose ratio is the magnification, the spacing is divided by it: ``"patient"``.
      Otherwise it is ``"detector"``; ``PixelSpacing`` that equals it has not been corrected.
    - ``PixelSpacing`` alone may be either: ``"given"``.

    A spacing of exactly 1 x 1 mm is what converters write when they know none.
    """
    pixel = _pair(dataset, "PixelSpacing", notes)
    detector = _pair(dataset, "ImagerPixelSpacing", notes) or _pair(dataset, "NominalScannedPixelSpacing", notes)
    calibration = tags.text(dataset, "PixelSpacingCalibrationType").upper()
    if pixel and detector and not _same(pixel, detector):
        return pixel, "calibrated"
    if detector:
        magnification = _magnification(dataset, notes)
        if magnification > 1:
            return (detector[0] / magnification, detector[1] / magnification), "patient"
        return detector, "detector"
    if pixel and calibration in ("GEOMETRY", "FIDUCIAL"):
        return pixel, "calibrated"
    if pixel:
        return pixel, "given"
    return None, None


def _pair(dataset: Dataset, keyword: str, notes: list[str]) -> Spacing | None:
    found = tags.numbers(dataset, keyword)
    if not found:
        return None
    if len(found) == 1:
        notes.append(f"{tags.named(keyword)} has one value; taken for rows and columns")
        found = found * 2
    row, column = found[:2]
    stated = "\\".join(tags.texts(dataset, keyword)[:2])
    if not (math.isfinite(row) and math.isfinite(column) and min(row, column) > 0):
        notes.append(f"{tags.named(keyword)} is {stated}, no spacing; ignored")
        return None
    if row == column == 1:
        notes.append(f"{tags.named(keyword)} is 1\\1, what converters write when they know none; ignored")
        return None
    if min(row, column) < _FINEST_MM or max(row, column) > _COARSEST_MM:
        notes.append(f"{tags.named(keyword)} is {stated}, which no radiograph has in mm; ignored")
        return None
    return row, column


def _same(first: Spacing, second: Spacing) -> bool:
    return all(abs(a - b) <= _SAME * b for a, b in zip(first, second, strict=True))


def _magnification(dataset: Dataset, notes: list[str]) -> float:
    """1 if unknown. The estimated factor, which is that of the anatomy, is taken before the distances."""
    keyword = "EstimatedRadiographicMagnificationFactor"
    factor = tags.number(dataset, keyword)
    if tags.has(dataset, keyword):
        if 1 <= factor <= _LARGEST_MAGNIFICATION:
            return factor
        notes.append(f"{tags.named(keyword)} is {tags.stated(dataset, keyword)}, no magnification; ignored")
    to_detector = tags.number(dataset, "DistanceSourceToDetector")
    to_patient = tags.number(dataset, "DistanceSourceToPatient")
    if not (to_detector > 0 and to_patient > 0):
        return 1.0
    factor = to_detector / to_patient
    if 1 <= factor <= _LARGEST_MAGNIFICATION:
        return factor
    notes.append(
        f"{tags.named('DistanceSourceToDetector')} is {to_detector:g} mm and {tags.named('DistanceSourceToPatient')} "
        f"{to_patient:g} mm, which cannot be; magnification not corrected"
    )
    return 1.0
