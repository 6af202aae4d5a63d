"""NIfTI over a radiograph."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from ..files import written
from ..io import Radiograph

__all__ = ["geometry", "save_nifti"]


def geometry(radiograph: Radiograph) -> np.ndarray:
    """Affine ``(4, 4)`` in RAS from (column, row, 0) to mm: the file's own, or what ITK gives files that have none."""
    if radiograph.affine is not None:
        return radiograph.affine
    # a picture, or a DICOM radiograph without a position: columns run to the left, rows to the back
    row, column = radiograph.spacing or (1.0, 1.0)
    return np.diag((-column, -row, 1.0, 1.0))


def save_nifti(values: np.ndarray, radiograph: Radiograph, path: Path) -> None:
    """Write values ``(rows, columns)`` as a single slice over the radiograph, with its spacing and orientation."""
    image = nib.Nifti1Image(np.ascontiguousarray(values.T[..., None]), geometry(radiograph))
    image.header.set_xyzt_units("mm")
    with written(path) as temporary:
        nib.save(image, temporary)
