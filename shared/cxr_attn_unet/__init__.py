"""Attention U-Nets that segment the lungs, ribs, heart and clavicles in chest radiographs.

A radiograph passes through the package in one direction: :mod:`~cxr_attn_unet.io` (file to pixels, spacing and
orientation), :mod:`~cxr_attn_unet.transforms` (pixels to network input), :mod:`~cxr_attn_unet.networks`, and back over
the file's own pixels. :mod:`~cxr_attn_unet.datasets`, :mod:`~cxr_attn_unet.handlers`,
:mod:`~cxr_attn_unet.metrics` and :mod:`~cxr_attn_unet.figures` serve training and evaluation;
:class:`~cxr_attn_unet.segmenter.Segmenter` runs all bundles on a radiograph.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_MODULES = (
    "bundle",
    "datasets",
    "figures",
    "files",
    "handlers",
    "inference",
    "io",
    "measurements",
    "metrics",
    "networks",
    "precision",
    "quality",
    "report",
    "segmenter",
    "transforms",
    "views",
    "writers",
)
_CLASSES = {"Segmentation": "segmenter", "Segmenter": "segmenter"}


def __getattr__(name: str) -> Any:
    # lets a config say "$import cxr_attn_unet" once and name any module, without importing all of them here
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _CLASSES:
        return getattr(import_module(f"{__name__}.{_CLASSES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
