"""MONAI transforms for what MONAI's own do not know about radiographs: loading, frames, orientation, devices."""

from .devices import RandDevicesd, RandPacemakerd
from .exposure import RandFilmCurved
from .fade import RandFadeStructured
from .field import CropToFieldd, clean_field, field_box, scaled_box
from .in_memory import PictureInMemoryd, to_rows_columns
from .load import LoadMaskd, LoadRadiographd, to_meta_tensor
from .move import RandMoveStructured
from .orient import OrientUprightd
from .partial import OneHotMaskd, RandCropLabelledd, ResizeMaskd
from .parts import LabelSidesd, RandMirrord
from .percentiles import FastPercentilesd
from .projective import RandTiltd
from .resize import ResizeLongestd
from .sharpen import RandSharpend
from .specks import RemoveSpecksd, without_small_pieces
from .split_parts import SplitPartsd

__all__ = [
    "CropToFieldd",
    "FastPercentilesd",
    "LabelSidesd",
    "LoadMaskd",
    "LoadRadiographd",
    "OneHotMaskd",
    "OrientUprightd",
    "PictureInMemoryd",
    "RandCropLabelledd",
    "RandDevicesd",
    "RandFadeStructured",
    "RandFilmCurved",
    "RandMirrord",
    "RandMoveStructured",
    "RandPacemakerd",
    "RandSharpend",
    "RandTiltd",
    "RemoveSpecksd",
    "ResizeLongestd",
    "ResizeMaskd",
    "SplitPartsd",
    "clean_field",
    "field_box",
    "scaled_box",
    "to_meta_tensor",
    "to_rows_columns",
    "without_small_pieces",
]
