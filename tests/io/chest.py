"""A smooth picture with the greys of a chest radiograph, and how close a picture that was read is to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cxr_attn_unet.io import Radiograph, read_radiograph
from samples import write_dicom

ROWS, COLUMNS = 160, 128


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
# where the tests put padding or faulty pixels, and where not
INNER = (slice(20, 140), slice(16, 112))


def shown(pixels: np.ndarray) -> np.ndarray:
    """As the networks see it: from the 1st to the 99th percentile."""
    low, high = np.percentile(pixels, (1, 99))
    return ((pixels - low) / (high - low)).clip(0, 1)


def difference(radiograph: Radiograph, where: tuple[slice, slice] = (slice(None), slice(None))) -> float:
    """Mean absolute difference to the plain picture, both as the networks see them."""
    return float(np.abs(shown(radiograph.pixels[where]) - shown(TRUTH[where])).mean())


def read(
    path: Path, stored: np.ndarray = TWELVE, photometric: str = "MONOCHROME2", bits: int = 12, **tags
) -> Radiograph:
    """Write stored values as DICOM and read them back."""
    return read_radiograph(write_dicom(path / "a.dcm", stored, photometric, bits, **tags))
