"""NIfTI (nibabel), MHA, MHD and NRRD (SimpleITK) that hold one radiograph."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Sequence
from pathlib import PurePath, PureWindowsPath
from typing import Any

import nibabel as nib
import numpy as np

from .content import what_is
from .limits import check_size, max_bytes
from .radiograph import Orientation, RadiographError

__all__ = ["ITK_SUFFIXES", "NIFTI_SUFFIXES", "orientation_of", "read"]

NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr")
ITK_SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
# a pixel spacing of exactly this, without any further geometry, is what writers put when they know none
_UNKNOWN = 1.0


def read(
    path: str,
) -> tuple[np.ndarray, tuple[float, float] | None, Orientation, np.ndarray, tuple[str, ...]]:
    """Pixels ``(rows, columns)``, spacing (row, column) in mm or ``None``, orientation, affine (RAS), and oddities.

    The file's first axis are the columns, its second the rows; a third of length one is dropped. See
    :func:`orientation_of` for what is upright. A spacing of 1 x 1 mm is taken as unknown.

    Raises:
        RadiographError: damaged, more than one slice, or above the limit on pixels.
    """
    itk = path.lower().endswith(ITK_SUFFIXES)
    notes: list[str] = []
    try:
        if itk:
            array, affine = _read_itk(path)
            orientation = None
        else:
            array, affine, orientation = _read_nifti(path, notes)
    except (RadiographError, MemoryError):
        raise
    except Exception as error:  # nibabel, zlib and ITK each raise their own
        raise _refusal(path, error) from error
    _check_grey(array.dtype, path)
    axes = _picture_axes(array.shape, path)
    if not np.isfinite(affine).all():
        notes.append("its geometry holds values that are no numbers; spacing and orientation were ignored")
        affine = np.eye(4)
        orientation = Orientation()
    pixels = array.reshape([array.shape[axis] for axis in axes]).T
    columns, rows = affine[:3, axes[0]], affine[:3, axes[1]]
    lengths = float(np.linalg.norm(rows)), float(np.linalg.norm(columns))
    spacing = None if lengths == (_UNKNOWN, _UNKNOWN) or not all(lengths) else lengths
    if orientation is None:
        orientation = orientation_of(columns, rows)
    in_plane = np.eye(4)
    # the third column is that of the axis that was dropped: without it a coronal affine has no inverse
    (dropped,) = {0, 1, 2} - set(axes)
    in_plane[:3, 0], in_plane[:3, 1], in_plane[:3, 2], in_plane[:3, 3] = (
        columns,
        rows,
        affine[:3, dropped],
        affine[:3, 3],
    )
    return np.ascontiguousarray(pixels, dtype=np.float32), spacing, orientation, in_plane, tuple(notes)


def _check_grey(dtype: np.dtype, path: str) -> None:
    if dtype.kind not in "biuf":
        kind = "colour" if dtype.fields else str(dtype)
        raise RadiographError(f"{path}: has {kind} values, a radiograph has one number a pixel. Save it as grey.")


def _picture_axes(shape: Sequence[int], path: str) -> list[int]:
    """The axes of columns and rows.

    Args:
        shape: as the header states.
        path: for messages.

    Raises:
        RadiographError: more than one slice, none, or above the limit on pixels.
    """
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    if min(shape, default=0) < 1:
        raise RadiographError(f"{path}: its header states a side without pixels, so it is damaged. Copy it again.")
    if len(axes) != 2 or axes[1] > 2:
        raise RadiographError(
            f"{path}: a volume of shape {'x'.join(map(str, shape))}, not a radiograph. Give one projection, or "
            "extract a single slice."
        )
    check_size(path, shape[axes[1]], shape[axes[0]])
    return axes


def orientation_of(columns: np.ndarray, rows: np.ndarray) -> Orientation:
    """Upright from the directions, in RAS, in which columns and rows run.

    - An axis runs head to foot: anatomy decides. Down is the foot, the picture's right is the patient's left.
    - The plane is axial, the nominal one that writers give to a two-dimensional picture. As a viewer shows it: the
      picture's right is left (-R), down is posterior (-A). So what ITK writes for a PNG is upright as stored, and a
      file whose rows were reversed (dcm2niix) is turned over. Except when both run positively, as in an identity
      matrix: that says nothing about flips, and the picture is upright as stored (or, with its axes exchanged, as
      transposed).
    - Anything else (a lateral view) is upright as stored.
    """
    main = int(np.argmax(np.abs(columns))), int(np.argmax(np.abs(rows)))
    positive = columns[main[0]] > 0, rows[main[1]] > 0
    if set(main) == {0, 1} and all(positive):
        return Orientation(transpose=main == (1, 0))
    if 0 not in main or main[0] == main[1]:
        return Orientation()
    transpose = main[0] != 0
    down, right = positive if transpose else positive[::-1]
    return Orientation(transpose, bool(down), bool(right))


def _read_nifti(path: str, notes: list[str]) -> tuple[np.ndarray, np.ndarray, Orientation | None]:
    """Array, affine, and the orientation if the file's geometry says nothing about it; adds oddities to the notes."""
    image: Any = nib.load(path)
    header = image.header
    orientation = None
    # Analyze has no codes; what nibabel makes up for it says nothing
    if not hasattr(header, "get_sform"):
        orientation = Orientation()
    elif not header["sform_code"] and not header["qform_code"]:
        orientation = Orientation(flip_rows=_rows_reversed_by_dcm2niix(header))
    _check_grey(header.get_data_dtype(), path)
    _picture_axes(image.shape, path)
    array = np.asanyarray(image.dataobj)
    needed = image.dataobj.offset + math.prod(image.shape) * header.get_data_dtype().itemsize
    found = _length_of_pixels_file(image)
    if found > needed:
        notes.append(
            f"holds {found} bytes, of which the size in its header needs {needed}; the rest was ignored, and perhaps "
            "the size is wrong"
        )
    return array, np.asarray(image.affine, float), orientation


def _length_of_pixels_file(image: Any) -> int:
    """Bytes of the file of the pixels, unpacked; no more than a radiograph can have.

    In gzip, it is read to its end: only there is its checksum compared.
    """
    holder = image.file_map["image"]
    length = 0
    with holder.get_prepare_fileobj("rb") as file:
        while block := file.read(1 << 20):
            length += len(block)
            if length > max_bytes():
                break
    return length


def _rows_reversed_by_dcm2niix(header: Any) -> bool:
    """Whether a NIfTI header without codes is that of dcm2niix, which stores the rows from foot to head.

    For a radiograph, whose DICOM file has no place in space, it leaves both codes 0 but notes that it turned the rows
    around: the offset in y is that of the last row, ``1 - rows``, in pixels (rows of ``sform``: 1 0 0 0; 0 1 0 1-rows;
    0 0 1 0). Other writers that know no geometry leave the offset 0 (nibabel) or centre the picture.
    """
    rows = header.get_data_shape()[1]
    last_row = 1.0 - rows
    offsets = (float(header["srow_y"][3]), float(header["qoffset_y"]))
    return rows > 1 and last_row in offsets and float(header["srow_y"][1]) >= 0


def _read_itk(path: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        import SimpleITK as sitk
    except ImportError as error:
        raise RadiographError(
            f"{path}: MHA, MHD and NRRD need SimpleITK. Install it: pip install 'cxr-attn-unet[itk]'."
        ) from error
    _check_pixels_of_header(path)
    found, remedy = what_is(path)
    if "DICOM" in found:
        # ITK would read it, but not as a radiograph is to be shown
        raise RadiographError(f"{path}: not MetaImage or NRRD but {found}. {remedy}.")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(path)
    reader.ReadImageInformation()
    if reader.GetNumberOfComponents() != 1:
        raise RadiographError(f"{path}: has several values a pixel, a radiograph has one. Save it as grey.")
    _picture_axes(reader.GetSize(), path)
    image = reader.Execute()
    dimension = image.GetDimension()
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(dimension, dimension) * np.array(image.GetSpacing())
    used = min(dimension, 3)
    affine[:used, :used] = direction[:used, :used]
    affine[:2] *= -1  # ITK's LPS to RAS
    return sitk.GetArrayFromImage(image).T, affine


def _check_pixels_of_header(path: str) -> None:
    """Raise :class:`RadiographError` if an MHD or NHDR header names a file of pixels that is not there."""
    if not path.lower().endswith((".mhd", ".nhdr")):
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.replace(":", "=", 1).partition("=") for line in file]
    in_list = False
    for key, _, value in lines:
        name = value.strip()
        if in_list:
            # one file a line
            _check_beside(key.strip(), path)
            continue
        if key.strip().lower() not in ("elementdatafile", "data file", "datafile") or not name:
            continue
        in_list = name.upper().startswith("LIST")
        _check_beside(name, path)
        # LIST, LOCAL and patterns such as slice%03d.raw stand for several files or for none
        if name.upper().startswith(("LIST", "LOCAL")) or "%" in name:
            continue
        if not os.path.exists(os.path.join(os.path.dirname(path), name)):
            raise RadiographError(f"{path}: its pixels are in {name}, which is not there. Copy both files.")


def _check_beside(name: str, path: str) -> None:
    """Raise :class:`RadiographError` if a header's file of pixels does not lie beside it or below.

    A header from elsewhere could otherwise have any file of this machine shown as a picture.
    """
    pure = PureWindowsPath(name) if "\\" in name else PurePath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise RadiographError(f"{path}: its pixels are in {name}, outside of its folder. Put both into one folder.")


def _refusal(path: str, error: Exception) -> RadiographError:
    """The message for what nibabel, zlib or ITK raised."""
    lines = str(error).strip().splitlines()
    text = lines[-1] if lines else type(error).__name__
    if isinstance(error, PermissionError):
        return RadiographError(f"{path}: may not be read. Check the permissions of the file.")
    if isinstance(error, (EOFError, zlib.error)):
        return RadiographError(f"{path}: damaged or truncated ({text}). Copy or export it again.")
    found, remedy = what_is(path)
    compressed = found.startswith("compressed")
    if path.lower().endswith(".gz") and not compressed:
        return RadiographError(
            f"{path}: not compressed, though its name ends in .gz" + (f", but {found}" if found else "") + ". "
            "Give it its right name."
        )
    expected = "NIfTI" if path.lower().endswith(NIFTI_SUFFIXES) else "MetaImage or NRRD"
    if found and not compressed and expected not in found and "text" not in found:
        return RadiographError(f"{path}: not {expected} but {found}. {remedy}.")
    if isinstance(error, nib.filebasedimages.ImageFileError):
        return RadiographError(f"{path}: not a NIfTI file ({text}). Export the radiograph again.")
    return RadiographError(f"{path}: cannot be read as {expected}, or is truncated ({text}). Copy or export it again.")
