"""Two attention U-Nets in one network: outlines of a structure from many pixels, the names of its parts from fewer."""

import torch
import torch.nn.functional as F
from torch import nn

from .attention_unet import ThreeHeadAttentionUNet
from .blocks import SegmentationNetwork
from .efficientnet_unet import EfficientNetParts

PARTS_SCALE = 0.75  # of the image's sides: that much of it the network of the parts sees
PARTS_WIDTH = 0.75  # of the width


class TwoScaleAttentionUNet(SegmentationNetwork):
    """The structure by a Three-Head Attention U-Net, its parts by an EfficientNet one that sees a smaller image.

    Where a rib ends is seen in many pixels by a network with few channels for each; which of 24 ribs it is, in the
    whole picture by a deep one. No part lies outside the structure: a part's logit is at most the structure's, the
    fuzzy intersection of Zadeh (1965).

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits: background, structure, and its parts, if any.
        width: channels of the structure's network at its finest level; the parts' has three quarters of it.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 2, width: int = 16):
        super().__init__(in_channels, out_channels, width, multiple=16)
        self.structure = ThreeHeadAttentionUNet(in_channels, min(out_channels, 2), width)
        self.parts_scale = PARTS_SCALE
        self.parts: nn.Module = nn.Identity()
        if out_channels > 2:
            self.parts = EfficientNetParts(in_channels, out_channels - 2, max(2, round(PARTS_WIDTH * width)))

    def without_parts(self) -> SegmentationNetwork:
        """See :meth:`SegmentationNetwork.without_parts`."""
        return self.structure

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """See :meth:`SegmentationNetwork.logits`."""
        structure = self.structure(image)
        if self.out_channels <= 2:
            return structure
        smaller = F.interpolate(image, scale_factor=self.parts_scale, mode="bilinear", align_corners=False)
        parts = F.interpolate(self.parts(smaller), size=image.shape[2:], mode="bilinear", align_corners=False)
        most = structure[:, 1:2] - structure[:, 0:1]
        return torch.cat([structure, torch.minimum(parts, most)], dim=1)
