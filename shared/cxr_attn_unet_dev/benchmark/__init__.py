"""Nine networks on four structures by the bundles' own configs: ``python -m cxr_attn_unet_dev.benchmark --help``."""

from .ablation import ablated
from .cells import Cell, Scale, cells_of, load_scale
from .measure import measure, measured_hours
from .run import run_cell

__all__ = ["Cell", "Scale", "ablated", "cells_of", "load_scale", "measure", "measured_hours", "run_cell"]
