"""Labels as files for MONAI Label's clients."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from monailabel.transform.writer import write_itk
from PIL import Image

from cxr_attn_unet.io import read_radiograph
from cxr_attn_unet.output import geometry, save_nifti

__all__ = ["write_label"]

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
VOLUMES = (".nii.gz", ".nii", ".nrrd", ".mha")


def write_label(labels: np.ndarray, path: str, extension: str | None = None) -> str:
    """Write the labels of a radiograph where and as MONAI Label wants them: over its pixels, in its geometry.

    Args:
        labels: ``(rows, columns)`` uint8.
        path: of the radiograph.
        extension: of the file to write, such as ``.nrrd``, which 3D Slicer asks for; if not given, PNG for pictures (of
            JPEG too, for it would change labels), NRRD for DICOM, otherwise that of the radiograph.

    Returns:
        path of a temporary file.
    """
    extension = extension or _extension_for(path)
    handle, target = tempfile.mkstemp(suffix=extension)
    os.close(handle)
    if extension.lower() in PICTURES:
        Image.fromarray(labels).save(target)
        return target
    radiograph = read_radiograph(path)
    if extension.lower() in (".nii", ".nii.gz"):
        save_nifti(labels, radiograph, Path(target))
    else:
        write_itk(labels.T[..., None], target, geometry(radiograph), np.uint8, True)
    return target


def _extension_for(path: str) -> str:
    """The suffix of a label of the radiograph ``path``."""
    name = path.lower()
    if name.endswith(PICTURES):
        return ".png"
    for suffix in VOLUMES:
        if name.endswith(suffix):
            return suffix
    return ".nrrd"
