"""DICOM radiographs (CR, DX, secondary capture), through pydicom."""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import zlib
from typing import IO, cast

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import _read_file_meta_info, read_preamble

from .. import raster
from ..limits import check_size, max_bytes
from ..radiograph import NotARadiographError, Orientation, Radiograph, RadiographError
from ..silence import without_warnings
from . import tags
from .pixels import as_bytes, luminance, stored_pixels, without_unused_bits
from .spacing import spacing
from .values import padding, shown

__all__ = ["SUFFIXES", "is_dicom", "opened", "read", "read_dataset"]

SUFFIXES = (".dcm", ".dicom", ".dic", ".ima", ".dcm.gz", ".dicom.gz", ".dic.gz", ".ima.gz")

_DIRECTORY = "1.2.840.10008.1.3.10"
_VOLUME_MODALITIES = ("CT", "MR", "PT", "NM")
# ultrasound, mammography, microscopy, endoscopy, photographs, teeth, electrocardiograms
_OTHER_MODALITIES = frozenset(("US", "MG", "SM", "GM", "ES", "OP", "OPT", "XC", "IO", "PX", "ECG", "EPS"))
_DERIVED = frozenset(("SEG", "SR", "PR", "KO", "RTSTRUCT", "RTDOSE", "RTPLAN", "REG", "DOC"))
# Image Storage of CT, enhanced CT, MR, enhanced MR, PET
_VOLUME_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("2", "2.1", "4", "4.1", "128"))
# first value: where rows run to (picture's right), second: where columns run to (picture's foot)
_TOWARDS = {"L": (0, True), "R": (0, False), "F": (1, True), "H": (1, False)}
_DEFLATED = "1.2.840.10008.1.2.1.99"
_BLOCK = 1 << 20
_BEGINNING = 4 << 20  # bytes in which the header of a large file is looked for


def is_dicom(path: str | os.PathLike) -> bool:
    """Whether the file begins as DICOM: with its preamble, or without one by elements of the first groups.

    A file whose name ends in ``.gz`` is looked into.
    """
    path = os.fspath(path)
    try:
        with opened(path) as file:
            head = file.read(132)
    except (OSError, EOFError):
        return False
    return head[128:] == b"DICM" or _begins_without_preamble(head)


def opened(path: str) -> IO[bytes]:
    """The file, or where its name ends in ``.gz`` what it unpacks to."""
    if path.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    return open(path, "rb")


def _begins_without_preamble(head: bytes) -> bool:
    """Two elements one after the other, the first of group 2 or 8, by explicit or implicit representation."""
    position = 0
    last = -1
    for _ in range(2):
        if len(head) < position + 8:
            return last >= 0  # the first value is longer than what was read
        group, element = struct.unpack_from("<HH", head, position)
        representation = head[position + 4 : position + 6]
        tag = (group << 16) + element
        if tag <= last or group not in (2, 8) or element > 0x3010:
            return False
        last = tag
        if representation.isalpha() and representation.isupper():
            (length,) = struct.unpack_from("<H", head, position + 6)
        else:
            (length,) = struct.unpack_from("<L", head, position + 4)
        if length > 1024:
            return False
        position += 8 + length
    return True


@without_warnings()
def read_dataset(path: str | os.PathLike) -> Dataset:
    """The data set of a DICOM file, also of one in gzip, without a preamble or without its meta header.

    Raises:
        RadiographError: not DICOM, above the limit on pixels, or cut off within its header.
    """
    path = os.fspath(path)
    try:
        with opened(path) as file:
            content = _bounded_content(file, path)
    except (OSError, EOFError, zlib.error) as error:
        raise RadiographError(f"{path}: cannot be read, perhaps truncated ({error}). Copy it again.") from error
    _check_inflated(content, path)
    try:
        return pydicom.dcmread(io.BytesIO(content))
    except InvalidDicomError:
        return _read_without_preamble(content, path)
    except Exception as error:  # pydicom raises many kinds for a damaged file
        raise RadiographError(f"{path}: damaged or truncated ({error}). Copy or export it again.") from error


def _bounded_content(file: IO[bytes], path: str) -> bytes:
    """All bytes of a file, unless there are more than a radiograph within the limit on pixels can have."""
    beginning = file.read(_BEGINNING)
    if len(beginning) == _BEGINNING:
        _check_size_in(beginning, path)
    file.seek(0)
    content = io.BytesIO()
    while block := file.read(_BLOCK):
        content.write(block)
        if content.tell() > max_bytes():
            raise _too_long(path)
    return content.getvalue()


def _check_size_in(beginning: bytes, path: str) -> None:
    """Say at once, and in pixels, what is too large by the header at the beginning of a long file."""
    if _deflated_from(beginning) is not None:
        return
    try:
        header = pydicom.dcmread(io.BytesIO(beginning), stop_before_pixels=True, force=True)
    except Exception:  # pydicom raises many kinds; what is wrong is said when all of it is read
        return
    rows = tags.number(header, "Rows")
    columns = tags.number(header, "Columns")
    if math.isfinite(rows) and math.isfinite(columns):
        check_size(path, int(rows), int(columns))


def _deflated_from(content: bytes) -> int | None:
    """Where the compressed data set of the deflated transfer syntax begins; ``None`` in files of another one."""
    file = io.BytesIO(content)
    try:
        read_preamble(file, True)
        meta = _read_file_meta_info(file)
    except Exception:  # pydicom raises many kinds for a damaged file
        return None
    if tags.text(meta, "TransferSyntaxUID") != _DEFLATED:
        return None
    return file.tell()


def _check_inflated(content: bytes, path: str) -> None:
    """Make sure that a deflated data set, which pydicom inflates as a whole, is not longer than a file may be."""
    start = _deflated_from(content)
    if start is None:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    length = 0
    for position in range(start, len(content), _BLOCK):
        waiting = content[position : position + _BLOCK]
        while waiting:
            try:
                length += len(inflater.decompress(waiting, _BLOCK))
            except zlib.error:  # pydicom will say so
                return
            if length > max_bytes():
                raise _too_long(path)
            waiting = inflater.unconsumed_tail


def _too_long(path: str) -> RadiographError:
    return RadiographError(
        f"{path}: more than {max_bytes()} bytes, which is enough for the limit on pixels. Take it out of the folder."
    )


def _read_without_preamble(content: bytes, path: str) -> Dataset:
    try:
        dataset = pydicom.dcmread(io.BytesIO(content), force=True)
        is_sound = "Rows" in dataset and "Columns" in dataset and len(dataset) > 4
    except Exception as error:  # what pydicom makes of other files' bytes
        raise RadiographError(f"{path}: not a DICOM file, or its head is missing. Export it again.") from error
    if not is_sound:
        raise RadiographError(f"{path}: not a DICOM file, or its head is missing. Export it again.")
    return dataset


@without_warnings()
def read(path: str) -> Radiograph:
    """The radiograph of a DICOM file: as stored but bone bright, with spacing, orientation and notes.

    How values are shown, see :func:`.values.shown`; what the spacing measures, :func:`.spacing.spacing`.
    ``PatientOrientation`` is followed when it is that of a frontal view.

    Raises:
        RadiographError: not DICOM, above the limit on pixels, truncated, no decoder for its compression, several
            frames, or of a volume.
    """
    notes: list[str] = []
    dataset = read_dataset(path)
    _check_kind(dataset, path)
    pixels = _pixels(dataset, path, notes)
    measured, source = spacing(dataset, notes)
    if tags.text(dataset, "BurnedInAnnotation").upper() == "YES":
        notes.append(
            f"{tags.named('BurnedInAnnotation')} is YES: the picture may show the patient's name, and so may "
            "overlays, figures and the report"
        )
    return Radiograph(pixels, path, measured, _orientation(dataset), None, source, tuple(notes))


def _check_kind(dataset: Dataset, path: str) -> None:
    modality = tags.text(dataset, "Modality").upper()
    storage = tags.text(dataset, "SOPClassUID")
    meta = getattr(dataset, "file_meta", None)
    if "DirectoryRecordSequence" in dataset or (
        meta is not None and tags.text(meta, "MediaStorageSOPClassUID") == _DIRECTORY
    ):
        raise NotARadiographError(f"{path}: a list of files (DICOMDIR), no radiograph. Give the folder that it is in.")
    if modality in _VOLUME_MODALITIES or storage in _VOLUME_CLASSES:
        raise NotARadiographError(
            f"{path}: a slice of a volume ({tags.named('Modality')} is {modality}), no radiograph. Take it out of the "
            "folder."
        )
    if modality in _OTHER_MODALITIES or modality in _DERIVED:
        raise NotARadiographError(
            f"{path}: of modality {modality} (0008,0060), no radiograph. Take it out of the folder."
        )
    if any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        return
    if "Rows" in dataset or len(dataset) == 0:  # pydicom 3 drops all it has read
        raise RadiographError(f"{path}: damaged or truncated, its pixels are missing. Copy or export it again.")
    raise NotARadiographError(f"{path}: has no pixels, perhaps a report. Take it out of the folder.")


def _pixels(dataset: Dataset, path: str, notes: list[str]) -> np.ndarray:
    stored = stored_pixels(dataset, path, notes)
    if stored.ndim == 3:
        raster.check_colours(Image.fromarray(as_bytes(stored)), path)
        return luminance(stored)
    padded = padding(stored, dataset, notes)
    stored = without_unused_bits(stored, dataset, padded, notes)
    return shown(stored, dataset, padded, notes)


def _orientation(dataset: Dataset) -> Orientation:
    # one oblique direction, "LF", is a single value
    towards = [_TOWARDS[part] for part in tags.texts(dataset, "PatientOrientation") if part in _TOWARDS]
    if len(towards) != 2 or towards[0][0] == towards[1][0]:
        return Orientation()  # empty, lateral or oblique: as it is stored
    (first_axis, right), (_, down) = towards
    if first_axis == 1:
        return Orientation(True, not right, not down)
    return Orientation(False, not down, not right)
