"""NIfTI (nibabel), MHA, MHD and NRRD (SimpleITK) that hold one radiograph."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np

from .radiograph import Orientation, RadiographError

__all__ = ["ITK_SUFFIXES", "NIFTI_SUFFIXES", "orientation_of", "read"]

NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr")
ITK_SUFFIXES = (".mha", ".mhd", ".nrrd")
# a pixel spacing of exactly this, without any further geometry, is what writers put when they know none
_UNKNOWN = 1.0


def read(path: str) -> tuple[np.ndarray, tuple[float, float] | None, Orientation, np.ndarray]:
    """Pixels ``(rows, columns)``, spacing (row, column) in mm or ``None``, orientation and affine (RAS).

    The file's first axis are the columns, its second the rows; a third of length one is dropped. See
    :func:`orientation_of` for what is upright. A spacing of 1 x 1 mm is taken as unknown.

    Raises:
        RadiographError: damaged, or more than one slice.
    """
    itk = path.lower().endswith(ITK_SUFFIXES)
    try:
        array, affine, known = _read_itk(path) if itk else _read_nifti(path)
    except RadiographError:
        raise
    except Exception as error:  # nibabel, zlib and ITK each raise their own
        message = str(error).strip().splitlines()
        raise RadiographError(
            f"{path}: damaged or truncated ({message[-1] if message else type(error).__name__}). Export it anew."
        ) from error
    axes = [axis for axis, size in enumerate(array.shape) if size > 1]
    if array.dtype.kind not in "biuf":
        kind = "colour" if array.dtype.fields else str(array.dtype)
        raise RadiographError(f"{path}: has {kind} values, a radiograph has one number a pixel. Save it as grey.")
    if len(axes) != 2 or axes[1] > 2:
        raise RadiographError(
            f"{path}: a volume of shape {'x'.join(map(str, array.shape))}, not a radiograph. Give one projection, or "
            "extract a single slice."
        )
    pixels = array.reshape([array.shape[axis] for axis in axes]).T
    columns, rows = affine[:3, axes[0]], affine[:3, axes[1]]
    lengths = float(np.linalg.norm(rows)), float(np.linalg.norm(columns))
    spacing = None if lengths == (_UNKNOWN, _UNKNOWN) or not all(lengths) else lengths
    orientation = orientation_of(columns, rows) if known else Orientation()
    in_plane = np.eye(4)
    # the third column is that of the axis that was dropped: without it a coronal affine has no inverse
    (dropped,) = {0, 1, 2} - set(axes)
    in_plane[:3, 0], in_plane[:3, 1], in_plane[:3, 2], in_plane[:3, 3] = (
        columns,
        rows,
        affine[:3, dropped],
        affine[:3, 3],
    )
    return np.ascontiguousarray(pixels, dtype=np.float32), spacing, orientation, in_plane


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


def _read_nifti(path: str) -> tuple[np.ndarray, np.ndarray, bool]:
    image: Any = nib.load(path)
    header = image.header
    # Analyze has no codes; what nibabel makes up for it says nothing
    known = hasattr(header, "get_sform") and bool(header["sform_code"] or header["qform_code"])
    array = np.asanyarray(image.dataobj)
    return array, np.asarray(image.affine, float), known


def _read_itk(path: str) -> tuple[np.ndarray, np.ndarray, bool]:
    try:
        import SimpleITK as sitk
    except ImportError as error:
        raise RadiographError(
            f"{path}: MHA, MHD and NRRD need SimpleITK. Install it: pip install 'cxr-attn-unet[itk]'."
        ) from error
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    image = sitk.ReadImage(path)
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise RadiographError(f"{path}: has several values a pixel, a radiograph has one. Save it as grey.")
    dimension = image.GetDimension()
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(dimension, dimension) * np.array(image.GetSpacing())
    used = min(dimension, 3)
    affine[:used, :used] = direction[:used, :used]
    affine[:2] *= -1  # ITK's LPS to RAS
    return sitk.GetArrayFromImage(image).T, affine, True
