"""Any number of radiographs through Ray Data: ``cxr-attn-unet segment --ray``."""

from .job import segment_in_bulk
from .listing import with_slash
from .plan import Wanted

__all__ = ["Wanted", "segment_in_bulk", "with_slash"]
