"""Results as files: masks, label maps, DICOM segmentations and pictures of one radiograph, tables of many."""

from .collections import write_coco, write_parquet
from .one import (
    COLLECTIONS,
    FORMATS,
    LABELS,
    check_packages,
    file_names,
    geometry,
    is_dicom_file,
    label_map,
    save,
    save_nifti,
)
from .rle import decode, encode

__all__ = [
    "COLLECTIONS",
    "FORMATS",
    "LABELS",
    "check_packages",
    "decode",
    "encode",
    "file_names",
    "geometry",
    "is_dicom_file",
    "label_map",
    "save",
    "save_nifti",
    "write_coco",
    "write_parquet",
]
