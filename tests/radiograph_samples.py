"""Small radiographs that tests write in any format, each so that one picture must come back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless, generate_uid

DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"


def asymmetric_radiograph(shape: tuple[int, int] = (96, 128)) -> np.ndarray:
    """``(rows, columns)`` uint8 from 0 to 255, bone bright; no rotation, reflection or inversion of it is alike.

    A dark lung on each side of a bright spine, and a blob of its own size and brightness in each corner. Smooth, so
    that lossy formats keep it.
    """
    y, x = np.meshgrid(np.linspace(0, 1, shape[0]), np.linspace(0, 1, shape[1]), indexing="ij")

    def blob(row: float, column: float, size: float) -> np.ndarray:
        return np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * size**2))

    picture = (
        0.9 * np.exp(-((x - 0.5) ** 2) / 0.01) + 0.4 * y - 0.5 * blob(0.5, 0.25, 0.12) - 0.4 * blob(0.5, 0.75, 0.1)
    )
    picture += 0.8 * blob(0.1, 0.1, 0.05) - 0.6 * blob(0.1, 0.9, 0.07) + 0.5 * blob(0.9, 0.1, 0.09)
    return scaled(picture, 255).astype(np.uint8)


def scaled(picture: np.ndarray, highest: float) -> np.ndarray:
    """Stretched to whole numbers from 0 to ``highest``, float64."""
    picture = picture.astype(np.float64)
    return np.round((picture - picture.min()) / np.ptp(picture) * highest)


def write_dicom(
    path: Path,
    array: np.ndarray,
    photometric: str = "MONOCHROME2",
    bits_stored: int | None = None,
    compression: str | None = None,
    **elements: Any,
) -> Path:
    """Write a DX file.

    Args:
        path: the file.
        array: stored values ``(rows, columns)`` or, in colour, ``(rows, columns, 3)``, of 8 or 16 bits; signed if its
            type is.
        photometric: PhotometricInterpretation.
        bits_stored: all that the type has unless given.
        compression: ``rle``, ``jpeg`` (8-bit grey, lossy) or none.
        elements: further elements by keyword; ``None`` removes one.
    """
    bits = 8 * array.dtype.itemsize
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = DX_FOR_PRESENTATION
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality = "DX"
    dataset.PhotometricInterpretation = photometric
    dataset.SamplesPerPixel = 1 if array.ndim == 2 else array.shape[2]
    if array.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = array.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored = bits, bits_stored or bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    data = np.ascontiguousarray(array).tobytes()
    if compression == "jpeg":
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "JPEG", quality=98)
        data = encapsulate([buffer.getvalue()])
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.add_new("PixelData", "OB" if bits == 8 else "OW", data + b"\0" * (len(data) % 2))
    dataset["PixelData"].is_undefined_length = compression == "jpeg"
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    if int(pydicom.__version__.split(".")[0]) < 3:
        dataset.is_little_endian, dataset.is_implicit_VR = True, False
        options = {"write_like_original": False}
    else:
        options = {"enforce_file_format": True}
    if compression == "rle":
        dataset.compress(RLELossless)
    dataset.save_as(path, **options)
    return path


def lut_item(table: np.ndarray, first: int = 0) -> Dataset:
    """An item of a modality or VOI LUT sequence with 16-bit entries."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(table), first, 16])
    item.add_new("LUTData", "OW", table.astype("<u2").tobytes())
    return item


def write_img(path: Path, picture: np.ndarray) -> Path:
    """Write a raw JSRT file from a ``(2048, 2048)`` picture with bone bright, values from 0 to 4095."""
    (4095 - picture.astype(np.int64)).astype(">u2").tofile(path)
    return path


def write_nifti(path: Path, data: np.ndarray, affine: np.ndarray | None = None, coded: bool = True) -> Path:
    """Write ``data[i, j]`` or ``data[i, j, k]``; ``coded=False`` leaves both orientation codes at 0."""
    image = nib.Nifti1Image(data, np.eye(4) if affine is None else affine)
    if not coded:
        image.set_sform(None, 0)
        image.set_qform(None, 0)
    nib.save(image, path)
    return path
