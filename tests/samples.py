"""Radiographs that tests write themselves: one asymmetric picture in every form that is read."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

DX = "1.2.840.10008.5.1.4.1.1.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"


def picture(rows: int = 128, columns: int = 96) -> np.ndarray:
    """8-bit values from 0 to 255 that no flip, rotation or transposition maps onto themselves."""
    y, x = np.mgrid[:rows, :columns] / np.array([rows, columns]).reshape(2, 1, 1)
    ground = 0.25 + 0.35 * y + 0.15 * x
    ground[(y > 0.1) & (y < 0.25) & (x > 0.7) & (x < 0.9)] = 1.0  # a bright mark near the upper right corner
    ground[(y > 0.6) & (y < 0.9) & (x > 0.1) & (x < 0.2)] = 0.0  # a dark one at the lower left
    return np.round(ground * 255).astype(np.uint8)


def write_dicom(path: Path, stored: np.ndarray, photometric: str = "MONOCHROME2", bits: int = 12, **tags) -> Path:
    """A DX file of the given stored values; ``tags`` are set on the data set as they are."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = tags.get("SOPClassUID", DX)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.Modality = "DX"
    data.PhotometricInterpretation = photometric
    data.SamplesPerPixel = 1
    data.Rows, data.Columns = stored.shape[-2:]
    signed = np.issubdtype(stored.dtype, np.signedinteger)
    data.BitsAllocated = 8 if bits <= 8 else 16
    data.BitsStored = bits
    data.HighBit = bits - 1
    data.PixelRepresentation = int(signed)
    kind = f"{'int' if signed and bits > 8 else 'uint'}{data.BitsAllocated}"
    data.PixelData = np.ascontiguousarray(stored.astype(kind)).tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    if pydicom.__version__.startswith("2"):
        data.is_little_endian, data.is_implicit_VR = True, False
        data.save_as(path, write_like_original=False)
    else:
        data.save_as(path, enforce_file_format=True)
    return path


def voi_lut(values: np.ndarray) -> Sequence:
    """A VOI lookup table sequence of 16-bit entries, the first for stored value 0."""
    table = Dataset()
    table.LUTDescriptor = [len(values), 0, 16]
    table.LUTData = values.astype("<u2").tobytes()
    return Sequence([table])


def write_img(path: Path, values: np.ndarray) -> Path:
    """Raw JSRT: 8-bit bone-bright values on a 2048 x 2048 grid of whole blocks, 12 bits, dark is high, big-endian."""
    rows, columns = values.shape
    blocks = values.astype(np.float64).repeat(2048 // rows, 0).repeat(2048 // columns, 1)
    (4095 - np.round(blocks * 4095 / 255)).astype(">u2").tofile(path)
    return path


def write_nifti(path: Path, values: np.ndarray, affine: np.ndarray | None) -> Path:
    """NIfTI whose first axis are the columns, with a third axis of length one; no affine, no orientation codes."""
    nib.save(nib.Nifti1Image(np.ascontiguousarray(values.T[..., None]), affine), path)
    return path


def write_picture(path: Path, values: np.ndarray, mode: str = "L") -> Path:
    """8-bit values through Pillow in the given mode; ``I;16`` stretches them to 16 bits."""
    if mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16) * 257)
    elif mode == "P":
        # a palette out of order, so that indices are not grey values
        order = np.random.default_rng(0).permutation(256).astype(np.uint8)
        image = Image.fromarray(np.argsort(order)[values].astype(np.uint8)).convert("P")
        image.putpalette(np.repeat(order, 3).tolist())
    else:
        image = Image.fromarray(values).convert(mode)
        if mode in ("LA", "RGBA"):
            image.putalpha(128)
    image.save(path, quality=98)  # which only JPEG heeds
    return path
