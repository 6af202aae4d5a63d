"""Data sets as their owners distribute them, turned into data lists for MONAI.

``load_data(dataset_dir, structure)`` is what the bundles call. On the command line::

    python -m cxr_attn_unet.datasets --dataset_dir DIR --structure heart --output list.json --sheet sheet.png
"""

from .cache import DecodedDataset
from .checks import DatasetError, check_items
from .load import LAYOUTS, data_folder, find_items, inspect_data, load_data, names_of, split_items
from .sampling import every, repeated, without_lungs_behind_heart

__all__ = [
    "LAYOUTS",
    "DatasetError",
    "DecodedDataset",
    "check_items",
    "data_folder",
    "every",
    "find_items",
    "inspect_data",
    "load_data",
    "names_of",
    "repeated",
    "split_items",
    "without_lungs_behind_heart",
]
