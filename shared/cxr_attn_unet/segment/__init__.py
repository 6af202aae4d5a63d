"""The command ``cxr-attn-unet segment``."""

from .command import EXAMPLES, add_arguments, main
from .inputs import Failure, FoundInputs, Input, find_inputs
from .job import segment_files

__all__ = [
    "EXAMPLES",
    "Failure",
    "FoundInputs",
    "Input",
    "add_arguments",
    "find_inputs",
    "main",
    "segment_files",
]
