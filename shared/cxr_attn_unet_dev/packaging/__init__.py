"""Sharing the bundles: self-contained zips, the model zoo's rules, an index of one's own, the Hugging Face hub.

``python -m cxr_attn_unet_dev.packaging --help``
"""

from .hub import push
from .index import build_index
from .package import package_bundle, record_release, unpack
from .rules import check

__all__ = ["build_index", "check", "package_bundle", "push", "record_release", "unpack"]
