"""From a file to a radiograph: pixels with bone bright, their spacing, and which way is up."""

from .partial import IGNORED, read_partial_mask
from .parts import UNKNOWN, read_parts, right_and_left
from .radiograph import NotARadiographError, Orientation, Radiograph, RadiographError
from .read import (
    Listing,
    describe_ignored,
    find_radiographs,
    is_radiograph_file,
    kind_of_file,
    list_radiographs,
    may_be_radiograph,
    read_labels,
    read_mask,
    read_radiograph,
    walk_radiographs,
)
from .readers import MaskReader, RadiographReader

__all__ = [
    "IGNORED",
    "UNKNOWN",
    "Listing",
    "MaskReader",
    "NotARadiographError",
    "Orientation",
    "Radiograph",
    "RadiographError",
    "RadiographReader",
    "describe_ignored",
    "find_radiographs",
    "is_radiograph_file",
    "kind_of_file",
    "list_radiographs",
    "may_be_radiograph",
    "read_labels",
    "read_mask",
    "read_partial_mask",
    "read_parts",
    "read_radiograph",
    "right_and_left",
    "walk_radiographs",
]
