"""MONAI transforms for what MONAI's own do not know about radiographs: how they load, and which way is up."""

from .fade import RandFadeStructured
from .load import LoadMaskd, LoadRadiographd, to_meta_tensor
from .orient import OrientUprightd
from .resize import ResizeLongestd

__all__ = ["LoadMaskd", "LoadRadiographd", "OrientUprightd", "RandFadeStructured", "ResizeLongestd", "to_meta_tensor"]
