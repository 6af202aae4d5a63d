"""Stored pixels of a DICOM radiograph: found, decoded, and freed of what is not theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from ..limits import check_size
from ..radiograph import RadiographError
from . import codestream, decoders, tags
from .codestream import Codestream
from .worker import first_line

# pydicom 2, which MONAI Label needs, leaves luminance and colour differences as they are, and has other places
_DECODES_TO_RGB = not pydicom.__version__.startswith("2.")
if _DECODES_TO_RGB:
    _processing = import_module("pydicom.pixels.processing")
else:
    _processing = import_module("pydicom.pixel_data_handlers.util")

__all__ = ["as_bytes", "luminance", "stored_pixels", "without_unused_bits"]

_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_REPRESENTATIONS = ("OB", "OW", "OF", "OD", "UN", "OB or OW")
_UNDEFINED_LENGTH = 0xFFFFFFFF
_LUMINANCE = np.array([0.299, 0.587, 0.114])
# the strongest compression in use leaves a tenth of a bit for a pixel; beyond, decoders ask for all memory there is
_MOST_PIXELS_PER_BYTE = 500
_OF_ONE = ("MONOCHROME2", "MONOCHROME1", "PALETTE COLOR")
_COLOURS_OF_THREE = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420", "YBR_PARTIAL_422")


@dataclass(frozen=True)
class _Layout:
    """How pixels lie in the file: the header's values, each valid."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    photometric: str
    planar: int

    @property
    def frame_bytes(self) -> int:
        pixels = self.rows * self.columns
        if self.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422") and self.samples == 3:
            return pixels * 2 * self.bits_allocated // 8
        return pixels * self.samples * self.bits_allocated // 8


def stored_pixels(dataset: Dataset, path: str, notes: list[str]) -> np.ndarray:
    """All bits of the stored values: ``(rows, columns)``, or ``(rows, columns, 3)`` RGB where there are colours.

    Args:
        dataset: the data set, with values as raw as pydicom leaves them.
        path: for messages.
        notes: takes what was odd.

    Raises:
        RadiographError: pixels are missing, more than the limit, cut off, damaged, of several frames, or there is no
            decoder for them.
    """
    keyword = next((name for name in _KEYWORDS if name in dataset), "")
    if not keyword:
        raise RadiographError(f"{path}: damaged or truncated, its pixels are missing. Copy or export it again.")
    element = tags.raw(dataset, keyword)
    value = getattr(element, "value", None)
    if not isinstance(value, bytes) or not value:
        raise RadiographError(f"{path}: {tags.named(keyword)} is empty. Copy or export it again.")
    _check_element(element, keyword, value, path, notes)
    layout = _layout(dataset, path, notes, keyword, len(value))
    check_size(path, layout.rows, layout.columns)
    syntax = _transfer_syntax(dataset)
    frame, head = _compressed_frame(value, _is_encapsulated(element), layout, syntax)
    if frame:
        _check_frames(dataset, path, notes, is_one=False)
        return _decoded(frame, head, layout, syntax, dataset, path, notes)
    _check_frames(dataset, path, notes, is_one=len(value) < 2 * layout.frame_bytes)
    return _uncompressed(value, keyword, layout, syntax, element, dataset, path, notes)


def _check_element(element: Any, keyword: str, value: bytes, path: str, notes: list[str]) -> None:
    """Make sure that pixels begin where the header says: after a representation that no pixels have, they do not.

    Raises:
        RadiographError: they do not.
    """
    if element.VR not in (None, *_REPRESENTATIONS):
        raise RadiographError(
            f"{path}: the head of {tags.named(keyword)} is damaged, so that it is not known where the pixels begin. "
            "Copy or export it again."
        )
    stated = getattr(element, "length", None)
    if stated not in (None, _UNDEFINED_LENGTH) and stated > len(value):
        notes.append(f"{tags.named(keyword)} states {stated} bytes, the file has {len(value)} of them")


def luminance(colours: np.ndarray) -> np.ndarray:
    """``(rows, columns, 3)`` RGB to ``(rows, columns)`` float32 on the same scale (ITU-R BT.601)."""
    return (colours @ _LUMINANCE).astype(np.float32)


def as_bytes(colours: np.ndarray) -> np.ndarray:
    """Colours of any number of bits in 8, by their own largest value."""
    if colours.dtype == np.uint8:
        return colours
    return (colours.astype(np.float64) * (255 / max(float(colours.max()), 1.0))).clip(0, 255).astype(np.uint8)


def without_unused_bits(
    stored: np.ndarray, dataset: Dataset, padded: np.ndarray | None, notes: list[str]
) -> np.ndarray:
    """The bits between ``HighBit`` and the lowest that is stored (PS3.5 8.1.1), the sign extended.

    What is above may be an overlay of old files. A header that is wrong shows in the picture: bits that are cut off
    make it jump from white to black.

    Args:
        stored: ``(rows, columns)``.
        dataset: the header.
        padded: where there is no picture, or ``None``.
        notes: takes what was odd.
    """
    allocated = 8 * stored.dtype.itemsize
    bits = tags.number(dataset, "BitsStored")
    if stored.dtype.kind not in "iu" or not 0 < bits < allocated:
        return stored
    unused = allocated - int(bits)
    low = (stored << unused) >> unused
    high_bit = tags.number(dataset, "HighBit")
    shift = int(high_bit) + 1 - int(bits) if bits <= high_bit < allocated else 0
    if shift and int(stored.view(f"u{stored.dtype.itemsize}").max()) >> int(bits):
        high = (stored << (unused - shift)) >> unused
        return min((high, low), key=lambda picture: _roughness(picture, padded))
    if np.array_equal(low, stored):
        return stored
    if padded is not None and np.array_equal(low[~padded], stored[~padded]):
        return low
    if _wraps(stored, low, int(bits), padded):
        notes.append(f"{tags.named('BitsStored')} is {bits:g}, but the pixels use more bits; all were taken")
        return stored
    return low


def _wraps(stored: np.ndarray, low: np.ndarray, bits: int, padded: np.ndarray | None) -> bool:
    """Whether the low bits jump from white to black where the whole value rises smoothly.

    If what is above them is an overlay, it is the other way round at its outline.
    """
    half = 1 << (bits - 1)
    above = stored >> bits
    wraps = 0
    outlines = 0
    for axis in (0, 1):
        changes = np.diff(above, axis=axis) != 0
        of_stored = np.abs(np.diff(stored.astype(np.int64), axis=axis)) > half
        of_low = np.abs(np.diff(low.astype(np.int64), axis=axis)) > half
        if padded is not None:
            changes &= np.diff(padded.astype(np.int8), axis=axis) == 0
        wraps += int((changes & of_low & ~of_stored).sum())
        outlines += int((changes & of_stored & ~of_low).sum())
    return wraps > outlines


def _roughness(picture: np.ndarray, padded: np.ndarray | None) -> float:
    """Mean step between neighbours over the standard deviation: bits that are not the picture's make it rough."""
    values = picture.astype(np.float64)
    steps = np.abs(np.diff(values, axis=1))
    if padded is not None:
        steps = steps[~(padded[:, 1:] | padded[:, :-1])]
        values = values[~padded]
    deviation = float(values.std())
    return float(steps.mean()) / deviation if deviation else math.inf


def _layout(dataset: Dataset, path: str, notes: list[str], keyword: str, length: int) -> _Layout:
    rows, columns = (_size(dataset, name, path) for name in ("Rows", "Columns"))
    samples = tags.number(dataset, "SamplesPerPixel")
    photometric = tags.text(dataset, "PhotometricInterpretation").upper().replace("MONOCHROME ", "MONOCHROME")
    if samples not in (1, 3, 4):
        samples = 3 if photometric in _COLOURS_OF_THREE else 1
        notes.append(f"{tags.named('SamplesPerPixel')} is missing or not valid; {samples} was taken")
    expected = _COLOURS_OF_THREE if samples > 1 else _OF_ONE
    if photometric not in expected:
        photometric = expected[0]
        stated = tags.stated(dataset, "PhotometricInterpretation")
        notes.append(f"{tags.named('PhotometricInterpretation')} is {stated}; {photometric} was taken")
    allocated = tags.number(dataset, "BitsAllocated")
    if keyword != "PixelData":
        allocated = 32 if keyword == "FloatPixelData" else 64
    elif allocated not in (1, 8, 16, 32, 64):
        allocated = 8 if length < 2 * rows * columns * samples else 16
        notes.append(f"{tags.named('BitsAllocated')} is {tags.stated(dataset, 'BitsAllocated')}; {allocated} was taken")
    stored = tags.number(dataset, "BitsStored")
    if not 0 < stored <= allocated:
        stored = allocated
    return _Layout(
        rows,
        columns,
        int(samples),
        int(allocated),
        int(stored),
        tags.number(dataset, "PixelRepresentation") == 1,
        photometric,
        1 if tags.number(dataset, "PlanarConfiguration") == 1 else 0,
    )


def _size(dataset: Dataset, keyword: str, path: str) -> int:
    value = tags.number(dataset, keyword)
    if not (math.isfinite(value) and value >= 1):
        raise RadiographError(
            f"{path}: {tags.named(keyword)} is {tags.stated(dataset, keyword)}, so the size of the picture is not "
            "known. Export it again."
        )
    return int(value)


def _transfer_syntax(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    return tags.text(meta, "TransferSyntaxUID") if meta is not None else ""


def _is_known(syntax: UID) -> bool:
    try:
        return syntax.is_transfer_syntax
    except ValueError:  # pydicom 2 has no answer for private ones
        return False


def _is_encapsulated(element: Any) -> bool:
    if getattr(element, "length", None) == _UNDEFINED_LENGTH:
        return True
    return bool(getattr(element, "is_undefined_length", False))


def _compressed_frame(
    value: bytes, is_encapsulated: bool, layout: _Layout, syntax: str
) -> tuple[bytes, Codestream | None]:
    """The frame and what it says of itself; no bytes if the pixels are not compressed."""
    if is_encapsulated:
        frame = b"".join(codestream.fragments(value))
        return frame or value, codestream.parse(frame)
    if len(value) in (layout.frame_bytes, layout.frame_bytes + 1):
        return b"", None
    head = codestream.parse(value)
    if head is not None:
        return value, head
    return b"", None


def _check_frames(dataset: Dataset, path: str, notes: list[str], is_one: bool) -> None:
    frames = tags.number(dataset, "NumberOfFrames")
    stated = tags.text(dataset, "NumberOfFrames")
    if math.isfinite(frames) and frames > 1:
        if not is_one:
            raise RadiographError(
                f"{path}: holds {frames:.0f} frames ({tags.named('NumberOfFrames')}), a radiograph has one. Export the "
                "one to segment."
            )
        notes.append(f"{tags.named('NumberOfFrames')} is {stated}, but there is one frame")
    elif tags.has(dataset, "NumberOfFrames") and frames != 1:
        notes.append(f"{tags.named('NumberOfFrames')} is {stated}; one frame was read")


def _uncompressed(
    value: bytes,
    keyword: str,
    layout: _Layout,
    syntax: str,
    element: Any,
    dataset: Dataset,
    path: str,
    notes: list[str],
) -> np.ndarray:
    expected = layout.frame_bytes
    is_known = not syntax or _is_known(UID(syntax))
    if not is_known and len(value) not in (expected, expected + 1):
        raise _unknown_syntax(path, syntax)
    if len(value) < expected:
        raise RadiographError(
            f"{path}: truncated, {tags.named(keyword)} holds {len(value)} bytes, {layout.columns} x {layout.rows} "
            f"pixels need {expected}. Copy or export it again."
        )
    if len(value) > expected + 1:
        notes.append(
            f"{tags.named(keyword)} holds {len(value)} bytes, of which {layout.columns} x {layout.rows} pixels need "
            f"{expected}; the rest was ignored, and perhaps the size is wrong"
        )
    little = getattr(element, "is_little_endian", True)
    if not is_known:
        notes.append(f"{tags.named('TransferSyntaxUID')} is {syntax}, which is not known; read as uncompressed")
    # all bits, for pydicom 2 and 3 treat unused ones differently
    layout = replace(layout, bits_stored=layout.bits_allocated)
    pixels = _native(value[:expected], keyword, layout, little, path)
    if not is_known and pixels.dtype.itemsize == 2 and pixels.ndim == 2:
        swapped = pixels.byteswap()
        pixels = min((pixels, swapped), key=lambda picture: _roughness(picture, None))
    return _in_colour(pixels, layout.photometric, dataset, path)


def _native(value: bytes, keyword: str, layout: _Layout, little: bool, path: str) -> np.ndarray:
    syntax = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    plain = _plain_dataset(layout, syntax)
    if len(value) % 2:
        value += b"\0"
    setattr(plain, keyword, value)
    plain[keyword].VR = "OW" if layout.bits_allocated > 8 and keyword == "PixelData" else plain[keyword].VR
    try:
        return plain.pixel_array
    except Exception as error:
        raise RadiographError(f"{path}: its pixels cannot be read ({first_line(error)}). Export it again.") from error


def _decoded(
    frame: bytes, head: Codestream | None, layout: _Layout, syntax: str, dataset: Dataset, path: str, notes: list[str]
) -> np.ndarray:
    uid = UID(syntax) if syntax else UID("")
    if head is None and not (_is_known(uid) and uid.is_compressed):
        if not syntax:
            raise RadiographError(
                f"{path}: compressed, but {tags.named('TransferSyntaxUID')} does not say how. Export it again."
            )
        raise _unknown_syntax(path, syntax)
    if head is None and codestream.is_jpeg_2000(frame):
        # OpenJPEG would believe it, and ask for all memory there is
        raise RadiographError(f"{path}: the head of its JPEG 2000 pixels is damaged. Copy or export it again.")
    if head is not None:
        layout = _as_in_frame(layout, head, notes)
        # before any decoder, which believes the frame, asks for memory
        check_size(path, layout.rows, layout.columns)
        if not _fits(uid, head):
            if syntax:
                notes.append(f"{tags.named('TransferSyntaxUID')} is {syntax}, but the pixels are {head.syntax.name}")
            uid = head.syntax
    elif uid == RLELossless:
        layout = replace(layout, bits_stored=layout.bits_allocated)
    if layout.rows * layout.columns > _MOST_PIXELS_PER_BYTE * len(frame):
        raise RadiographError(
            f"{path}: damaged or truncated, {len(frame)} bytes of compressed pixels cannot hold {layout.columns} x "
            f"{layout.rows}. Copy or export it again."
        )
    plain = _plain_dataset(layout, uid)
    plain.PixelData = encapsulate([frame], has_bot=False)
    plain["PixelData"].is_undefined_length = True
    plain["PixelData"].VR = "OB"
    try:
        pixels = decoders.decode(plain)
    except decoders.DecodingError as error:
        raise _not_decoded(error, uid, layout.bits_stored, path) from error
    return _in_colour(pixels, layout.photometric, dataset, path)


def _as_in_frame(layout: _Layout, head: Codestream, notes: list[str]) -> _Layout:
    """The layout with what the frame says of itself: decoders use that."""
    if (head.rows, head.columns) != (layout.rows, layout.columns):
        notes.append(
            f"the header says {layout.columns} x {layout.rows} pixels, the compressed picture {head.columns} x "
            f"{head.rows}, which was taken"
        )
        layout = replace(layout, rows=head.rows, columns=head.columns)
    if head.samples != layout.samples:
        photometric = "MONOCHROME2"
        if head.samples == 3:
            photometric = "YBR_FULL_422"
        notes.append(
            f"{tags.named('SamplesPerPixel')} is {layout.samples}, but the compressed picture has {head.samples}; that "
            "was taken"
        )
        layout = replace(layout, samples=head.samples, photometric=photometric)
    allocated = next(size for size in (8, 16, 32) if head.bits <= size)
    # a frame of 8 bits in words: pydicom 2 would take two pixels for one
    return replace(layout, bits_allocated=allocated, bits_stored=head.bits)


def _fits(syntax: UID, head: Codestream) -> bool:
    """Whether the stated transfer syntax is of the frame's family of compressions."""
    names = (str(syntax), str(head.syntax))
    families = (
        ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"),
        ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"),
        ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"),
        tuple(f"1.2.840.10008.1.2.4.{last}" for last in (90, 91, 92, 93, 201, 202, 203)),
    )
    if names[0] == "1.2.840.10008.1.2.4.50" and head.bits > 8:
        return False
    return any(names[0] in family and names[1] in family for family in families)


def _plain_dataset(layout: _Layout, syntax: UID) -> Dataset:
    """A data set of nothing but valid values, for whichever decoder."""
    plain = Dataset()
    plain.file_meta = FileMetaDataset()
    plain.file_meta.TransferSyntaxUID = syntax
    plain.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    plain.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    plain.SOPClassUID = plain.file_meta.MediaStorageSOPClassUID
    plain.SOPInstanceUID = plain.file_meta.MediaStorageSOPInstanceUID
    plain.Rows = layout.rows
    plain.Columns = layout.columns
    plain.SamplesPerPixel = layout.samples
    plain.PhotometricInterpretation = layout.photometric
    plain.BitsAllocated = layout.bits_allocated
    plain.BitsStored = layout.bits_stored
    plain.HighBit = layout.bits_stored - 1
    plain.PixelRepresentation = int(layout.is_signed)
    if layout.samples > 1:
        plain.PlanarConfiguration = layout.planar
    if not _DECODES_TO_RGB:  # pydicom 2
        plain.is_little_endian = syntax != ExplicitVRBigEndian
        plain.is_implicit_VR = False
    return plain


def _in_colour(pixels: np.ndarray, photometric: str, dataset: Dataset, path: str) -> np.ndarray:
    """Palettes and luminance with colour differences to RGB; grey as it is."""
    if photometric == "PALETTE COLOR" and pixels.ndim == 2:
        try:
            return _processing.apply_color_lut(pixels, dataset)[..., :3]
        except Exception as error:
            raise RadiographError(f"{path}: its palette is damaged ({first_line(error)}). Export it again.") from error
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        if photometric.startswith("YBR_FULL") and not _DECODES_TO_RGB:
            return _processing.convert_color_space(pixels[..., :3], "YBR_FULL", "RGB")
        return pixels[..., :3]
    if pixels.ndim != 2:
        raise RadiographError(f"{path}: pixels of shape {pixels.shape}, a radiograph has two axes. Export it again.")
    return pixels


def _unknown_syntax(path: str, syntax: str) -> RadiographError:
    return RadiographError(
        f"{path}: its compression is not known, {tags.named('TransferSyntaxUID')} is {syntax}. Export it uncompressed "
        "(1.2.840.10008.1.2.1)."
    )


def _not_decoded(error: decoders.DecodingError, syntax: UID, bits: int, path: str) -> RadiographError:
    if error.crashed or decoders.can_decode(syntax, bits):
        return RadiographError(
            f"{path}: its compressed pixels ({syntax.name}) are damaged or truncated ({error}). Copy or export it "
            "again."
        )
    return RadiographError(
        f"{path}: its compression ({syntax.name}, {tags.named('TransferSyntaxUID')}) cannot be decoded here ({error}). "
        "Install more decoders with: pip install 'cxr-attn-unet[dicom]'; if they are there, it is damaged."
    )
