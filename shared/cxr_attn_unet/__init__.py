"""Attention U-Nets that segment the lungs, ribs, heart and clavicles in chest radiographs.

The rooms, from the ground up; each imports only from those above it in this list:

``former_names``, ``structures``, ``files``, ``system``, ``statistics``, ``figures``, ``bundle``, ``process``
    what knows nothing of radiographs' files.
:mod:`~cxr_attn_unet.io`, :mod:`~cxr_attn_unet.transforms`, :mod:`~cxr_attn_unet.networks`
    from a file to pixels, spacing and orientation; from pixels to the network's input; the networks.
:mod:`~cxr_attn_unet.datasets`, :mod:`~cxr_attn_unet.training`
    which radiographs to learn from; handlers, metrics and stages.
:mod:`~cxr_attn_unet.analysis`, :mod:`~cxr_attn_unet.output`, :mod:`~cxr_attn_unet.inference`
    measurements and quality control; files of results; bundles at work.
:mod:`~cxr_attn_unet.segment`, :mod:`~cxr_attn_unet.serve`
    the commands.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .former_names import MODULES as _FORMER_MODULES
from .former_names import FormerModules as _FormerModules

if TYPE_CHECKING:
    from .inference import Segmentation, Segmenter

__all__ = ["Segmentation", "Segmenter", "__version__"]

__version__ = "0.2.0"

_MODULES = (
    "analysis",
    "bundle",
    "datasets",
    "figures",
    "files",
    "former_names",
    "inference",
    "io",
    "networks",
    "output",
    "process",
    "segment",
    "statistics",
    "structures",
    "system",
    "training",
    "transforms",
)


def __getattr__(name: str) -> Any:
    # lets a config say "$import cxr_attn_unet" once and name any module, without importing all of them here
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in ("Segmentation", "Segmenter"):
        return getattr(import_module(f"{__name__}.inference"), name)
    if name in _FORMER_MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


_FormerModules.install()
