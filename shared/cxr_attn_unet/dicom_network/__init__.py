"""The commands ``cxr-attn-unet dicom``: radiographs in and results out, by DICOMweb and C-STORE."""

from .command import EXAMPLES, add_arguments, main
from .peers import PeerError
from .state import State, StateError

__all__ = ["EXAMPLES", "PeerError", "State", "StateError", "add_arguments", "main"]
