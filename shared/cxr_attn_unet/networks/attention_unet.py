"""The U-Net skeleton, and the networks that are this skeleton with a gate in each skip."""

import inspect
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from ..former_names import renamed_parameter
from .blocks import DecoderLevel, DoubleConv, SegmentationNetwork, check_options
from .gates import GATES, PassGate


class GatedUNet(SegmentationNetwork):
    """U-Net (Ronneberger et al., MICCAI 2015) of four levels with a gate in every skip.

    Channels are ``width * 2**(l - 1)`` at level l = 1..4 and ``16 * width`` at the bottleneck. The gate of level 4
    gets the bottleneck as ``g``, every other one the output of the gate below.

    Args:
        in_channels, out_channels, width: as in :class:`SegmentationNetwork`.
        make_gate: called with the channels of each level; returns a :class:`~.gates.Gate`.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int, make_gate: Callable[[int], nn.Module]):
        channels = [width * 2**level for level in range(5)]
        super().__init__(in_channels, out_channels, width, multiple=16)
        self.encoder = nn.ModuleList(
            DoubleConv(below, above) for below, above in zip([in_channels, *channels[:3]], channels[:4], strict=True)
        )
        self.bottleneck = DoubleConv(channels[3], channels[4])
        # Deepest level first, in the order of the forward pass.
        self.decoder = nn.ModuleList(DecoderLevel(2 * c, c, c, make_gate(c)) for c in channels[3::-1])
        self.square_only = any(getattr(level.gate, "square_only", False) for level in self.decoder)
        self.head = nn.Conv2d(width, out_channels, kernel_size=1)

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """See :meth:`SegmentationNetwork.logits`."""
        x = image
        skips: list[torch.Tensor] = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottleneck(x)
        g = x
        for level in self.decoder:
            x, g = level(x, skips.pop(), g)
        return self.head(x)


class UNet(GatedUNet):
    """U-Net (Ronneberger et al., MICCAI 2015): ``(N, in_channels, H, W)`` in [0, 1] to logits, any H and W.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        width: channels at the finest level.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 2, width: int = 64):
        super().__init__(in_channels, out_channels, width, PassGate)


class AttentionUNet(GatedUNet):
    """The U-Net with any registered gate in its skips.

    Args:
        gate: name of the gate, a key of ``GATES``.
        in_channels: channels of the image.
        out_channels: channels of the logits.
        width: channels at the finest level.
        gate_options: keyword options of the gate, such as ``scale_attention`` of the spatial ones.

    Raises:
        ValueError: no gate of that name.
        TypeError: the gate has no such option.
    """

    @renamed_parameter("scale", "scale_attention")
    def __init__(self, gate: str, in_channels: int = 1, out_channels: int = 2, width: int = 64, **gate_options):
        if gate not in GATES:
            raise ValueError(f"unknown gate {gate!r}; the gates are: {', '.join(GATES)}")
        gate_class = GATES[gate]
        check_options(f"gate {gate!r}", list(inspect.signature(gate_class).parameters)[1:], gate_options)
        super().__init__(in_channels, out_channels, width, lambda channels: gate_class(channels, **gate_options))
        self.options = gate_options


class ThreeHeadAttentionUNet(AttentionUNet):
    """U-Net with :class:`~.gates.ThreeHeadGate` in its skips; any H and W.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        width: channels at the finest level.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 2, width: int = 64):
        super().__init__("three_head", in_channels, out_channels, width)


class SpatialAttentionUNet(AttentionUNet):
    """U-Net with :class:`~.gates.SpatialGate` in its skips; square images only.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        width: channels at the finest level.
        scale_attention: divide each gate's matrix product by ``sqrt(H * W)`` of its features before the softmax.
    """

    @renamed_parameter("scale", "scale_attention")
    def __init__(self, in_channels: int = 1, out_channels: int = 2, width: int = 64, scale_attention: bool = False):
        super().__init__("spatial", in_channels, out_channels, width, scale_attention=scale_attention)


class DoubleSpatialAttentionUNet(AttentionUNet):
    """U-Net with :class:`~.gates.DoubleSpatialGate` in its skips; square images only.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        width: channels at the finest level.
        scale_attention: divide each gate's matrix products by ``sqrt(H * W)`` of its features before the softmax.
    """

    @renamed_parameter("scale", "scale_attention")
    def __init__(self, in_channels: int = 1, out_channels: int = 2, width: int = 64, scale_attention: bool = False):
        super().__init__("double_spatial", in_channels, out_channels, width, scale_attention=scale_attention)


class FullSpatialAttentionUNet(AttentionUNet):
    """U-Net with :class:`~.gates.FullSpatialGate` in its skips; any H and W.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        width: channels at the finest level.
        scale_attention: divide each gate's matrix product by ``sqrt(H * W)`` of its features before the softmax.
    """

    @renamed_parameter("scale", "scale_attention")
    def __init__(self, in_channels: int = 1, out_channels: int = 2, width: int = 64, scale_attention: bool = False):
        super().__init__("full_spatial", in_channels, out_channels, width, scale_attention=scale_attention)
