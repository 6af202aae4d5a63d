"""Decodes frames in a process of its own, for decoders that end their process when a frame is damaged.

Run as a script by :mod:`.decoders`, it needs nothing of this package. For each DICOM file that it is sent on its
standard input (8 bytes of length, then the file) it answers on its standard output with one byte, 1 if it was decoded,
8 bytes of length, and an array as of ``numpy.save`` or the reason in UTF-8.
"""

from __future__ import annotations

import io
import os
import re
import struct
import sys
import warnings
from importlib.util import find_spec
from typing import IO, Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

__all__ = ["decode", "first_line", "receive", "send"]

_HEAD = struct.Struct("<?Q")


def send(stream: IO[bytes], good: bool, content: bytes) -> None:
    """Write one message."""
    stream.write(_HEAD.pack(good, len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[bool, bytes]:
    """Read one message.

    Raises:
        EOFError: the other side has ended.
    """
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError
    good, length = _HEAD.unpack(head)
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return good, content


def decode(file: bytes) -> np.ndarray:
    """The pixels of a DICOM file by GDCM, or else by libjpeg (pylibjpeg-libjpeg).

    Raises:
        RuntimeError: neither is installed, or could decode it.
    """
    dataset = pydicom.dcmread(io.BytesIO(file))
    reasons = []
    for package, decoder in (("gdcm", _gdcm), ("libjpeg", _libjpeg)):
        if find_spec(package) is None:
            continue
        try:
            return decoder(dataset)
        except Exception as error:
            reasons.append(first_line(error))
    raise RuntimeError("; ".join(reasons) or "no decoder for it is installed")


def first_line(error: Exception) -> str:
    """The reason in an error of one or many lines."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    line = lines[0]
    if len(lines) > 1 and line.endswith(":"):  # pydicom 3 lists the reason of each plugin below
        line = lines[1].strip()
    return re.sub(r" ?<_io.BytesIO[^>]*>", "", line)


def _libjpeg(dataset: Dataset) -> np.ndarray:
    if pydicom.__version__.startswith("2."):
        dataset.convert_pixel_data("pylibjpeg")
    else:
        dataset.pixel_array_options(decoding_plugin="pylibjpeg")
    return dataset.pixel_array


def _gdcm(dataset: Dataset) -> np.ndarray:
    """Without pydicom 3's handler, which refuses JPEG Extended of 12 bits that GDCM decodes well."""
    import gdcm

    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    sequence = gdcm.SequenceOfFragments.New()
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(_frame(dataset.PixelData))
    sequence.AddFragment(fragment)
    element.SetValue(sequence.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    image.SetDataElement(element)
    photometric = gdcm.PhotometricInterpretation.GetPIType(str(dataset.PhotometricInterpretation))
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(photometric))
    if dataset.SamplesPerPixel > 1:
        image.SetPlanarConfiguration(0)
    syntax = gdcm.TransferSyntax.GetTSType(str(dataset.file_meta.TransferSyntaxUID))
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    kind = [dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit]
    image.SetPixelFormat(gdcm.PixelFormat(*kind, dataset.PixelRepresentation))
    buffer = image.GetBuffer()
    if buffer is None:
        raise RuntimeError("GDCM found no picture in it")
    content = buffer.encode("utf-8", "surrogateescape")  # GDCM gives char* as str
    letter = "i" if dataset.PixelRepresentation else "u"
    pixels = np.frombuffer(content, f"<{letter}{dataset.BitsAllocated // 8}")
    shape: list[Any] = [dataset.Rows, dataset.Columns]
    if dataset.SamplesPerPixel > 1:
        shape.append(dataset.SamplesPerPixel)
    return pixels.reshape(shape)


def _frame(value: bytes) -> bytes:
    """The one fragment after the empty offset table."""
    (length,) = struct.unpack_from("<L", value, 12)
    return value[16 : 16 + length]


def main() -> None:
    """Answer until the other side ends."""
    warnings.simplefilter("ignore")
    # GDCM prints to standard output and error, from C++: let that go nowhere, the answers a way of their own
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    while True:
        try:
            _, file = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            buffer = io.BytesIO()
            np.save(buffer, decode(file))
        except Exception as error:
            send(answers, False, str(error).encode())
        else:
            send(answers, True, buffer.getvalue())


if __name__ == "__main__":
    main()
