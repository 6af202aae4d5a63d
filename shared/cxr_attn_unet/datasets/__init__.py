"""Data sets as their owners distribute them, turned into data lists for MONAI.

``load_data(dataset_dir, structure)`` is what the bundles call. On the command line::

    python -m cxr_attn_unet.datasets --dataset_dir DIR --structure heart
"""

from .checks import DatasetError, check_items
from .load import find_items, load_data, split_items

__all__ = ["DatasetError", "check_items", "find_items", "load_data", "split_items"]
