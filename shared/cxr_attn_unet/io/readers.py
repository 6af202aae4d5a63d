"""Readers for MONAI's ``LoadImage``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys

from . import polygons
from .partial import read_partial_mask
from .radiograph import Orientation, Radiograph, RadiographError
from .read import is_radiograph_file, read_radiograph

__all__ = ["MaskReader", "RadiographReader"]


class RadiographReader(ImageReader):
    """:func:`read_radiograph` in MONAI's convention: the array is ``(columns, rows)``.

    MONAI's and MONAI Label's writers count on that convention to put a mask back over the file's own pixels. Metadata
    beyond MONAI's: ``pixel_spacing`` and ``field_of_view_mm`` ((row, column), NaN where unknown), ``spacing_source``
    (empty where unknown), ``notes`` (lines of text) and ``upright`` (transpose, flip rows, flip columns of the stored
    ``(rows, columns)``; 0 or 1).
    """

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether these files are for this reader."""
        return is_radiograph_file(_only(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Radiograph:
        """Read the file; MONAI then asks :meth:`get_data` for its pixels."""
        return read_radiograph(_only(data))

    def get_data(self, img: Radiograph) -> tuple[np.ndarray, dict[str, Any]]:
        """Pixels ``(columns, rows)`` float32 and metadata, see :class:`cxr_attn_unet.transforms.LoadRadiographd`."""
        spacing = np.array(img.spacing or (np.nan, np.nan), dtype=np.float64)
        affine = img.affine
        if affine is None:
            row, column = img.spacing or (1.0, 1.0)
            affine = np.diag((column, row, 1.0, 1.0))
        array = np.ascontiguousarray(img.pixels.T)
        return array, {
            str(MetaKeys.AFFINE): affine.copy(),
            str(MetaKeys.ORIGINAL_AFFINE): affine.copy(),
            str(MetaKeys.SPACE): SpaceKeys.RAS,
            str(MetaKeys.SPATIAL_SHAPE): np.array(array.shape),
            str(MetaKeys.ORIGINAL_CHANNEL_DIM): "no_channel",
            "pixel_spacing": spacing,
            "field_of_view_mm": spacing * img.pixels.shape,
            "spacing_source": img.spacing_source or "",
            "notes": "\n".join(img.notes),
            "upright": np.array(
                (img.orientation.transpose, img.orientation.flip_rows, img.orientation.flip_columns), dtype=np.uint8
            ),
        }


class MaskReader(RadiographReader):
    """:func:`read_partial_mask` in MONAI's convention: ``(columns, rows)``; several files are joined.

    The values are 0, 1 and, where the mask says nothing, :data:`~cxr_attn_unet.io.IGNORED`.

    Args:
        ignore_value: the files' value of pixels to ignore, if there are any.
    """

    def __init__(self, ignore_value: float | None = None) -> None:
        super().__init__()
        self.ignore_value = ignore_value

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether these files are for this reader."""
        return all(polygons.is_reference(os.fspath(path)) or is_radiograph_file(path) for path in _several(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Radiograph:
        """Read the file; MONAI then asks :meth:`get_data` for its pixels."""
        paths = _several(data)
        mask = read_partial_mask(paths, self.ignore_value).astype(np.float32)
        return Radiograph(mask, os.fspath(paths[0]), None, Orientation())


def _several(paths: Sequence[PathLike] | PathLike) -> Sequence[PathLike]:
    return [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)


def _only(paths: Sequence[PathLike] | PathLike) -> PathLike:
    paths = _several(paths)
    if len(paths) != 1:
        raise RadiographError(f"{', '.join(map(str, paths))}: a radiograph is one file. Give one per case.")
    return paths[0]
