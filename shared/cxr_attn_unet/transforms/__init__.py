"""MONAI transforms for what MONAI's own do not know about radiographs: loading, frames, and which way is up."""

from .fade import RandFadeStructured
from .field import CropToFieldd, clean_field, field_box, scaled_box
from .load import LoadMaskd, LoadRadiographd, to_meta_tensor
from .orient import OrientUprightd
from .partial import OneHotMaskd, RandCropLabelledd, ResizeMaskd
from .resize import ResizeLongestd

__all__ = [
    "CropToFieldd",
    "LoadMaskd",
    "LoadRadiographd",
    "OneHotMaskd",
    "OrientUprightd",
    "RandCropLabelledd",
    "RandFadeStructured",
    "ResizeLongestd",
    "ResizeMaskd",
    "clean_field",
    "field_box",
    "scaled_box",
    "to_meta_tensor",
]
