"""DICOM radiographs (CR, DX, secondary capture), through pydicom."""

from .read import SUFFIXES, is_dicom, read, read_dataset

__all__ = ["SUFFIXES", "is_dicom", "read", "read_dataset"]
