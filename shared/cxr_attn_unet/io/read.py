"""Any supported file to a radiograph or a mask."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import dicom, jsrt, polygons, raster, volume
from .radiograph import Orientation, Radiograph, RadiographError, check_pixels

__all__ = ["is_radiograph_file", "list_radiographs", "read_labels", "read_mask", "read_radiograph"]

_LOSSY = (".jpg", ".jpeg")
FORMATS = "PNG, JPEG, TIFF, BMP, GIF, DICOM, NIfTI, MHA, MHD, NRRD and raw JSRT .IMG"


def _has_head(path: str) -> bool:
    base = path[: -len(".img")]
    return os.path.exists(base + ".hdr") or os.path.exists(base + ".HDR")


def _format(path: str) -> str:
    """``raster``, ``volume``, ``dicom``, ``jsrt``, or empty for what is none of them."""
    name = path.lower()
    if name.endswith(raster.SUFFIXES):
        return "raster"
    if name.endswith(".img"):
        return "volume" if _has_head(path) else "jsrt"
    if name.endswith((*volume.NIFTI_SUFFIXES, *volume.ITK_SUFFIXES)):
        return "volume"
    if name.endswith(dicom.SUFFIXES) or Path(path).name.upper() == "DICOMDIR" or dicom.is_dicom(path):
        return "dicom"
    return ""


def _require_file(path: str) -> None:
    if not os.path.exists(path):
        raise RadiographError(f"{path}: no such file. Check the path.")
    if not os.path.isfile(path):
        raise RadiographError(f"{path}: a folder, not a file. Give the radiograph itself.")
    if os.path.getsize(path) == 0:
        raise RadiographError(f"{path}: the file is empty. Copy or export it anew.")


def read_radiograph(path: str | os.PathLike) -> Radiograph:
    """Read a radiograph of any supported format.

    PNG, JPEG, TIFF, BMP, GIF (8 and 16 bits, colours by luminance), DICOM, NIfTI, MHA, MHD, NRRD (one slice), raw JSRT
    ``.IMG``. Files without a known suffix are tried as DICOM, which may be in gzip (``.dcm.gz``).

    Args:
        path: the file.

    Returns:
        the radiograph: pixels ``(rows, columns)`` float32 as stored but bone bright, spacing in mm, orientation.

    Raises:
        RadiographError: the file cannot be used as a radiograph, or its format needs a package that is not installed;
            the message names file, reason and remedy.
    """
    path = os.fspath(path)
    _require_file(path)
    spacing, orientation, affine = None, Orientation(), None
    kind = _format(path)
    if kind == "raster":
        pixels, orientation = raster.read(path)
    elif kind == "dicom":
        radiograph = dicom.read(path)
        check_pixels(radiograph.pixels, path)
        return radiograph
    elif kind == "volume":
        pixels, spacing, orientation, affine = volume.read(path)
    elif kind == "jsrt":
        pixels, spacing = jsrt.read(path), (jsrt.SPACING_MM, jsrt.SPACING_MM)
    else:
        raise RadiographError(f"{path}: not a format that is read. Convert it to one of {FORMATS}.")
    check_pixels(pixels, path)
    return Radiograph(pixels, path, spacing, orientation, affine)


def read_labels(path: str | os.PathLike) -> np.ndarray:
    """Read a mask's or label map's own values, ``(rows, columns)``; ``FILE.json#INDEX`` for polygons.

    Raises:
        RadiographError: the file cannot be read as one.
    """
    path = os.fspath(path)
    if polygons.is_reference(path):
        kind = "polygons"
    else:
        _require_file(path)
        kind = _format(path)
    if kind == "raster":
        pixels = raster.read_labels(path)
    elif kind == "polygons":
        pixels = polygons.read(path)
    elif kind == "volume":
        pixels = volume.read(path)[0]
    else:
        raise RadiographError(f"{path}: not a format that masks are read from. Convert it to PNG or NIfTI.")
    if not np.isfinite((pixels.min(), pixels.max())).all():
        raise RadiographError(f"{path}: has values that are NaN or infinite. Export the mask anew.")
    return pixels


def read_mask(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> np.ndarray:
    """Read a mask, or the union of several, such as left and right lung.

    Whatever is not zero is structure, so 0/1, 0/255 and a bit for each rib are the same; in JPEG files, which smear
    their edges, whatever is above half. An empty mask is not an error here.

    Args:
        paths: a file or several; ``FILE.json#INDEX`` for polygons, see :func:`.polygons.read`.

    Returns:
        ``(rows, columns)`` bool, in the files' own pixel layout.

    Raises:
        RadiographError: a file cannot be read as a mask, or the sizes differ.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    union: np.ndarray | None = None
    for entry in paths:
        path = os.fspath(entry)
        pixels = read_labels(path)
        mask = pixels > 127 if path.lower().endswith(_LOSSY) else pixels != 0
        if union is not None and union.shape != mask.shape:
            raise RadiographError(
                f"{path}: {mask.shape[1]} x {mask.shape[0]} pixels, but {os.fspath(paths[0])} has "
                f"{union.shape[1]} x {union.shape[0]}. Masks that are joined must have one size."
            )
        union = mask if union is None else union | mask
    if union is None:
        raise RadiographError("no mask file was given. Name at least one.")
    return union


def is_radiograph_file(path: str | os.PathLike) -> bool:
    """Whether a file looks like a radiograph, by its suffix or DICOM's preamble; it is not read any further."""
    path = os.fspath(path)
    if path.lower().endswith((".hdr", ".img")):
        # of a pair, the .img stands for both; of other .img files only those of JSRT's size are radiographs
        return path.lower().endswith(".img") and os.path.isfile(path) and (_has_head(path) or jsrt.is_raw(path))
    return bool(_format(path)) and Path(path).name.upper() != "DICOMDIR"


def list_radiographs(folder: str | os.PathLike) -> list[str]:
    """All radiographs under a folder, sorted; hidden files and folders are passed over.

    Symbolic links are followed, each folder is entered once.

    Raises:
        RadiographError: no such folder.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise RadiographError(f"{folder}: no such folder. Name the folder of the radiographs with --dataset_dir.")
    entered, found = set(), []
    for parent, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(parent)
        if real in entered:
            folders.clear()  # a link that leads back, or to where another has led
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(parent, name) for name in files if not name.startswith(".")]
    return [path for path in sorted(found) if os.path.isfile(path) and is_radiograph_file(path)]
