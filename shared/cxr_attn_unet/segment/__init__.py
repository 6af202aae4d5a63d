"""The command ``cxr-attn-unet segment``."""

from .command import EXAMPLES, add_arguments, add_segmenter_arguments, load_segmenter, main
from .inputs import Failure, FoundInputs, Input, find_inputs
from .job import segment_files

__all__ = [
    "EXAMPLES",
    "Failure",
    "FoundInputs",
    "Input",
    "add_arguments",
    "add_segmenter_arguments",
    "find_inputs",
    "load_segmenter",
    "main",
    "segment_files",
]
