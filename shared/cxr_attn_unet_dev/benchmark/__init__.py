"""Nine networks on four structures by the bundles' own configs: ``python -m cxr_attn_unet_dev.benchmark --help``."""

from .ablation import ablated
from .cells import Cell, Protocol, cells_of, load_protocol
from .costs import measure, measured_hours
from .run import run_cell

__all__ = ["Cell", "Protocol", "ablated", "cells_of", "load_protocol", "measure", "measured_hours", "run_cell"]
