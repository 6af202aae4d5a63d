"""The command ``cxr-attn-unet serve``: a small HTTP service and a page to look at one radiograph."""

from .command import EXAMPLES, add_arguments, main

__all__ = ["EXAMPLES", "add_arguments", "main"]
