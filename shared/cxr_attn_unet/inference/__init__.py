"""Bundles at work: all of them on one radiograph, or one of them on a folder."""

from .folder import (
    AtomicPNGWriter,
    FolderError,
    FolderEvaluator,
    MaskLayout,
    TolerantDataset,
    collate_readable,
    radiographs_in,
    to_columns_rows,
)
from .segmentation import Segmentation
from .segmenter import Segmenter
from .test_time_augmentation import VIEWS, TestTimeAugmentationInferer

__all__ = [
    "VIEWS",
    "AtomicPNGWriter",
    "FolderError",
    "FolderEvaluator",
    "MaskLayout",
    "Segmentation",
    "Segmenter",
    "TestTimeAugmentationInferer",
    "TolerantDataset",
    "collate_readable",
    "radiographs_in",
    "to_columns_rows",
]
