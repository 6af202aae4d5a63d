"""Dictionary transforms that load radiographs and their masks."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import ImageReader, MetaTensor
from monai.transforms import LoadImaged

from ..io import UNKNOWN, MaskReader, Radiograph, RadiographError, RadiographReader, read_parts

__all__ = ["LoadMaskd", "LoadRadiographd", "to_meta_tensor"]

# A mask may be drawn at another resolution than its radiograph (SCR: 1024 over 2048), but never at another shape:
# a rounded pixel or two is the most that a correct pair differs.
ASPECT_TOLERANCE = 0.02


def to_meta_tensor(radiograph: Radiograph) -> MetaTensor:
    """What :class:`LoadRadiographd` gives for a radiograph that was read before: ``(1, columns, rows)`` float32."""
    array, meta = RadiographReader().get_data(radiograph)
    return MetaTensor(torch.from_numpy(array)[None], meta={**meta, "filename_or_obj": radiograph.path})


@contextmanager
def _without_notice_of_decoders() -> Iterator[None]:
    """``LoadImage`` sets up all of MONAI's readers, and one of them warns of a decoder that radiographs do not need."""
    logger = logging.getLogger("monai.data.nvimgcodec_pydicom_plugin")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")
            yield
    finally:
        logger.setLevel(level)


class _LoadWithReader(LoadImaged):
    """``LoadImaged`` with one reader whose errors reach the user as they are.

    MONAI tries a list of readers and wraps each failure in a traceback of its own; there is nothing else to try
    here. It stays a ``LoadImaged`` because MONAI Label looks for that class.
    """

    reader_type: type[ImageReader]

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        self._reader = self.reader_type()
        with _without_notice_of_decoders():
            super().__init__(
                keys,
                reader=self._reader,  # type: ignore[arg-type]  # MONAI takes readers, but does not say so
                image_only=True,
                ensure_channel_first=True,
                allow_missing_keys=allow_missing_keys,
            )

    def __call__(self, data: Mapping[Hashable, Any], reader: ImageReader | None = None) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        return super().__call__(data, reader or self._reader)


class LoadRadiographd(_LoadWithReader):
    """Load a radiograph of any supported format, see :func:`cxr_attn_unet.io.read_radiograph`.

    Gives a ``MetaTensor`` ``(1, columns, rows)`` float32, bone bright, on the file's own scale. Columns come first, as
    in all of MONAI; follow it with :class:`OrientUprightd`. Metadata: ``field_of_view_mm`` (rows, columns) and
    ``pixel_spacing`` (row, column), both NaN where unknown, and ``upright``.

    An item may carry ``field_of_view_mm`` (height, width in mm) for files that do not know their own pixel spacing; it
    takes precedence over the header.

    Args:
        keys: keys of file paths.
        allow_missing_keys: do not raise for a missing key.

    Raises:
        RadiographError: the file cannot be read as a radiograph; the message names file and remedy.
    """

    reader_type = RadiographReader

    def __call__(self, data: Mapping[Hashable, Any], reader: ImageReader | None = None) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = super().__call__(data, reader)
        if "field_of_view_mm" in d:
            for key in self.key_iterator(d):
                d[key].meta["field_of_view_mm"] = torch.as_tensor(d["field_of_view_mm"], dtype=torch.float64)
        return d


class LoadMaskd(_LoadWithReader):
    """Load a mask, or the union of several, as ``MetaTensor`` ``(1, columns, rows)`` with values 0 and 1.

    A mask lies over the pixels of its radiograph, so it takes orientation and field of view from there.

    An item may carry ``ignore_value``: the value of those pixels of its mask files that say nothing. They get the value
    :data:`~cxr_attn_unet.io.IGNORED`.

    With ``parts`` there is a second channel: in each pixel the bits of the parts that lie there, see
    :func:`~cxr_attn_unet.io.read_parts`. An item names their file under ``parts``, and its ``parts_coding`` if that is
    not the usual one; without a file the parts are :data:`~cxr_attn_unet.io.UNKNOWN`.

    Args:
        keys: keys of a file path or a list of them.
        image_key: key of the radiograph, loaded before.
        parts: names of the structure's parts, if their labels are wanted.
        allow_missing_keys: do not raise for a missing key.

    Raises:
        RadiographError: the mask cannot be read, or its shape is not that of the radiograph (another resolution is
            allowed, another aspect ratio is not).
    """

    reader_type = MaskReader

    def __init__(
        self,
        keys: KeysCollection,
        image_key: str = "image",
        parts: Sequence[str] = (),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        self.parts = parts

    def __call__(self, data: Mapping[Hashable, Any], reader: ImageReader | None = None) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        ignore_value = data.get("ignore_value")
        if reader is None and ignore_value is not None:
            reader = MaskReader(ignore_value)
        d = super().__call__(data, reader)
        image = d[self.image_key]
        for key in self.key_iterator(d):
            check_same_shape(image.meta["filename_or_obj"], image.shape[1:], data[key], d[key].shape[1:])
            for name in ("field_of_view_mm", "upright"):
                d[key].meta[name] = image.meta[name]
            d[key].meta["radiograph"] = image.meta["filename_or_obj"]
            d[key].meta["patient"] = str(d.get("patient", ""))
            if self.parts:
                d[key] = self._with_parts(d[key], d)
        return d

    def _with_parts(self, mask: MetaTensor, item: Mapping[Hashable, Any]) -> torch.Tensor:
        bits = torch.full_like(mask, UNKNOWN)
        path = item.get("parts")
        if path:
            array = read_parts(path, len(self.parts), item.get("parts_coding"))
            check_same_shape(item[self.image_key].meta["filename_or_obj"], mask.shape[1:], path, array.shape[::-1])
            bits[0] = torch.from_numpy(array.T.astype("float32"))
        return torch.cat([mask, bits])


def check_same_shape(image_path: Any, image_size: Any, mask_path: Any, mask_size: Any) -> None:
    """Raise :class:`~cxr_attn_unet.io.RadiographError` unless a mask has the aspect ratio of its radiograph.

    Args:
        image_path: the radiograph's file, for the message.
        image_size: its size (columns, rows).
        mask_path: the mask's file or files, for the message.
        mask_size: its size (columns, rows).
    """
    (image_width, image_height), (mask_width, mask_height) = image_size, mask_size
    if abs((mask_width / mask_height) / (image_width / image_height) - 1) > ASPECT_TOLERANCE:
        mask_path = mask_path if isinstance(mask_path, str) else ", ".join(str(p) for p in mask_path)
        raise RadiographError(
            f"{mask_path}: the mask is {mask_width} x {mask_height} but its radiograph {image_path} is "
            f"{image_width} x {image_height}, another aspect ratio. Draw the mask over the whole radiograph; "
            "another resolution is fine, another shape is not."
        )
