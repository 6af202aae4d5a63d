"""A smooth picture with the greys of a chest radiograph, and how close a picture that was read is to it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cxr_attn_unet.io import Radiograph, read_radiograph
from samples import write_dicom

ROWS, COLUMNS = 160, 128
ALL = (slice(None), slice(None))
# where the tests do not put padding
INNER = (slice(20, 140), slice(16, 112))


def chest(rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Two dark lungs in a grey body with a bright spine beside dark air: float 0 to 1, no flip maps it onto itself."""
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    y /= rows
    x /= columns

    def blob(row, column, height, width):
        return 1 / (1 + np.exp(12 * (((y - row) / height) ** 2 + ((x - column) / width) ** 2 - 1)))

    body = blob(0.6, 0.5, 0.7, 0.48)
    lungs = np.maximum(blob(0.45, 0.3, 0.3, 0.13), blob(0.42, 0.7, 0.26, 0.12))
    spine = np.exp(-(((x - 0.5) / 0.05) ** 2))
    picture = 0.05 + body * (0.6 + 0.15 * y + 0.12 * spine - 0.45 * lungs) + 0.04 * np.sin(9 * x) * np.cos(7 * y)
    return (picture - picture.min()) / np.ptp(picture)


TRUTH = chest()
TWELVE = np.round(TRUTH * 4095).astype(np.uint16)
NEGATIVE = 4095 - TWELVE
SIGNED = TWELVE.astype(np.int16) - 2048


def shown(pixels: np.ndarray) -> np.ndarray:
    """As the networks see it: from the 1st to the 99th percentile."""
    low, high = np.percentile(pixels, (1, 99))
    return ((pixels - low) / (high - low)).clip(0, 1)


def difference(radiograph: Radiograph, where: tuple[slice, slice] = ALL) -> float:
    """Mean absolute difference to the plain picture, both as the networks see them; .3 and more if it is inverted."""
    return float(np.abs(shown(radiograph.pixels[where]) - shown(TRUTH[where])).mean())


def read(
    folder: Path, stored: np.ndarray = TWELVE, photometric: str = "MONOCHROME2", bits: int = 12, **tags
) -> Radiograph:
    """Write stored values as DICOM and read them back."""
    return read_radiograph(write_dicom(folder / "a.dcm", stored, photometric, bits, **tags))


def patched(path: Path, old: bytes, new: bytes) -> Path:
    """Replace a value that can be written by one of the same length that cannot."""
    assert len(old) == len(new)
    # not among the digits of a UID, which are drawn at random
    alone = re.compile(rb"(?<![0-9.])" + re.escape(old) + rb"(?![0-9.])")
    content, count = alone.subn(lambda _: new, path.read_bytes())
    assert count == 1
    path.write_bytes(content)
    return path


def table(data: bytes | np.ndarray, descriptor: list[int], representation: str = "OW") -> Sequence:
    """A sequence of one lookup table with data and descriptor as they are given."""
    item = Dataset()
    item.add_new(0x00283002, "US", [value % 65536 for value in descriptor])
    if representation == "US":
        data = [int(value) for value in data]
    item.add_new(0x00283006, representation, data)
    item.ModalityLUTType = "US"
    return Sequence([item])
