"""MONAI transforms for what MONAI's own do not know about radiographs: how they load, and which way is up."""

from .fade import RandFadeStructured
from .load import LoadMaskd, LoadRadiographd
from .orient import OrientUprightd
from .resize import ResizeLongestd

__all__ = ["LoadMaskd", "RandFadeStructured", "LoadRadiographd", "OrientUprightd", "ResizeLongestd"]
