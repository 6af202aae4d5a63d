"""The command ``cxr-attn-unet segment``."""

from .command import EXAMPLES, add_arguments, main
from .inputs import Input, find_inputs
from .job import segment_files

__all__ = ["EXAMPLES", "Input", "add_arguments", "find_inputs", "main", "segment_files"]
