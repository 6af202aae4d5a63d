"""Results as files: masks, label maps, NIfTI, DICOM, figures of one radiograph; COCO, Parquet, a report of many."""

from .coco import MaskedImage, write_coco
from .dicom_identity import FRESH, REPRODUCIBLE, UIDS
from .formats import (
    COLLECTIONS,
    FORMATS,
    Saved,
    check_formats,
    file_names,
    is_dicom_file,
    save,
    save_with_notes,
)
from .masks import label_map, one_bit_png, part_label_map
from .nifti import geometry, save_nifti
from .overlay import Box, Field, draw_overlay, names_of_parts, shown_diameters, upright_field
from .parquet import write_parquet
from .report import Column, Entry, write_report
from .result import SegmentedRadiograph
from .rle import decode, encode

__all__ = [
    "COLLECTIONS",
    "FORMATS",
    "FRESH",
    "REPRODUCIBLE",
    "UIDS",
    "Box",
    "Column",
    "Entry",
    "Field",
    "MaskedImage",
    "Saved",
    "SegmentedRadiograph",
    "check_formats",
    "decode",
    "draw_overlay",
    "encode",
    "file_names",
    "geometry",
    "is_dicom_file",
    "label_map",
    "names_of_parts",
    "one_bit_png",
    "part_label_map",
    "save",
    "save_nifti",
    "save_with_notes",
    "shown_diameters",
    "upright_field",
    "write_coco",
    "write_parquet",
    "write_report",
]
