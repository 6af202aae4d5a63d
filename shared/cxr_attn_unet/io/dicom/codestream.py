"""What a compressed frame says of itself, which counts where the header says otherwise."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom.uid import (
    JPEG2000,
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSNearLossless,
)

__all__ = ["Codestream", "fragments", "is_jpeg_2000", "parse"]

_ITEM = b"\xfe\xff\x00\xe0"
_JPEG = b"\xff\xd8\xff"
_JPEG_2000 = b"\xff\x4f\xff\x51"
# start-of-frame markers of JPEG (ITU T.81, table B.1) and JPEG-LS (T.87); arithmetic coding is not decoded by anyone
_FRAMES = {
    0xC0: JPEGBaseline8Bit,
    0xC1: JPEGExtended12Bit,
    0xC2: JPEGExtended12Bit,
    0xC3: JPEGLosslessSV1,
    0xF7: JPEGLSNearLossless,
}


@dataclass(frozen=True)
class Codestream:
    """The head of a JPEG, JPEG-LS or JPEG 2000 frame.

    Attributes:
        syntax: a transfer syntax whose decoders read it.
        bits: precision of a sample.
        rows: height.
        columns: width.
        samples: channels.
        is_signed: whether samples are signed (JPEG 2000 only).
    """

    syntax: UID
    bits: int
    rows: int
    columns: int
    samples: int
    is_signed: bool = False


def fragments(value: bytes) -> list[bytes]:
    """The fragments of encapsulated pixel data without the offset table (PS3.5 A.4); the last may be cut off."""
    found = []
    position = 0
    while value[position : position + 4] == _ITEM and position + 8 <= len(value):
        (length,) = struct.unpack_from("<L", value, position + 4)
        found.append(value[position + 8 : position + 8 + length])
        position += 8 + length
    return found[1:]


def parse(frame: bytes) -> Codestream | None:
    """The head of a frame, ``None`` if it is none of these compressions or damaged."""
    head = None
    try:
        if frame[:3] == _JPEG:
            head = _parse_jpeg(frame)
        if is_jpeg_2000(frame):
            head = _parse_jpeg_2000(frame, frame.index(_JPEG_2000))
    except (struct.error, IndexError):
        return None
    return head if head is not None and _is_valid(head) else None


def is_jpeg_2000(frame: bytes) -> bool:
    """Whether it is JPEG 2000, bare or within the boxes of a JP2 file, sound or not."""
    start = frame.find(_JPEG_2000, 0, 4096)
    return start == 0 or (start > 0 and frame[4:8] == b"jP  ")


def _is_valid(head: Codestream) -> bool:
    sizes = (head.rows, head.columns)
    return all(1 <= size < 1 << 16 for size in sizes) and 2 <= head.bits <= 32 and head.samples in (1, 3, 4)


def _parse_jpeg(frame: bytes) -> Codestream | None:
    position = 2
    while position < len(frame):
        if frame[position] != 0xFF:
            return None
        marker = frame[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", frame, position + 2)
        if marker in _FRAMES:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", frame, position + 4)
            return Codestream(_FRAMES[marker], bits, rows, columns, samples)
        position += 2 + length
    return None


def _parse_jpeg_2000(frame: bytes, start: int) -> Codestream:
    # SIZ segment, ITU T.800 A.5.1: 38 bytes after its marker, then three a component
    right, lower, left, upper = struct.unpack_from(">LLLL", frame, start + 8)
    (samples,) = struct.unpack_from(">H", frame, start + 40)
    precision = frame[start + 42]
    return Codestream(JPEG2000, (precision & 0x7F) + 1, lower - upper, right - left, samples, bool(precision & 0x80))
