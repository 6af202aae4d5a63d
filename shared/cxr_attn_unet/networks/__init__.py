"""The segmentation networks: radiographs ``(N, 1, H, W)`` in [0, 1] to logits ``(N, 2, H, W)``.

``build_network`` makes any of them by name; each is a class too, for a MONAI config's ``_target_``. A new gate is a
class in ``gates.py``; its network is a subclass of :class:`AttentionUNet` and a line in ``NETWORKS``.
"""

import inspect

from ..former_names import renamed_parameter
from .attention_unet import (
    AttentionUNet,
    DoubleSpatialAttentionUNet,
    FullSpatialAttentionUNet,
    SpatialAttentionUNet,
    ThreeHeadAttentionUNet,
    UNet,
)
from .blocks import SegmentationNetwork, check_options
from .checkpoint import load_weights, save_weights
from .efficientnet_unet import EfficientNetAttentionUNet
from .encoder_unets import ResNetUNet18, ResNetUNet34, ResNetUNet50, SwinUNetBase
from .folding import fold_batch_norm
from .gates import GATES, Gate, register_gate
from .two_scale_unet import TwoScaleAttentionUNet

# those of the published comparison
COMPARED: dict[str, type[SegmentationNetwork]] = {
    "unet": UNet,
    "resnet_unet_18": ResNetUNet18,
    "resnet_unet_34": ResNetUNet34,
    "resnet_unet_50": ResNetUNet50,
    "swin_unet_base": SwinUNetBase,
    "three_head_attention_unet": ThreeHeadAttentionUNet,
    "spatial_attention_unet": SpatialAttentionUNet,
    "double_spatial_attention_unet": DoubleSpatialAttentionUNet,
    "full_spatial_attention_unet": FullSpatialAttentionUNet,
}
NETWORKS: dict[str, type[SegmentationNetwork]] = {
    **COMPARED,
    "efficientnet_attention_unet": EfficientNetAttentionUNet,
    "two_scale_attention_unet": TwoScaleAttentionUNet,
}
for _name, _class in NETWORKS.items():
    _class.registered_name = _name  # type: ignore[attr-defined]


@renamed_parameter("scale", "scale_attention")
def build_network(
    name: str, in_channels: int = 1, out_channels: int = 2, width: int = 64, **options
) -> SegmentationNetwork:
    """Build a network by its published name, with random weights.

    Args:
        name: a key of ``NETWORKS``.
        in_channels: channels of the image.
        out_channels: channels of the logits.
        width: channels at the finest level; 64 in the published work, less for a smaller network.
        options: ``scale_attention`` (bool, default False) of the three spatial attention networks: divide the gates'
            matrix product by ``sqrt(H * W)`` before the softmax; False suits every network. ``encoder_weights``
            (default None) of the ResNet networks: the path of a torchvision state dict, or "imagenet"; of the
            EfficientNet network alike. ``gate`` of the latter: a key of ``GATES``.

    Returns:
        The network; ``network(image)`` takes ``(N, in_channels, H, W)`` with values in [0, 1] and returns logits
        ``(N, out_channels, H, W)``.

    Raises:
        ValueError: unknown name, or a number that the architecture does not allow.
        TypeError: the network has no such option.

    Example:
        >>> import torch
        >>> network = build_network("full_spatial_attention_unet", width=8, scale_attention=True)
        >>> network(torch.rand(1, 1, 50, 70)).shape
        torch.Size([1, 2, 50, 70])
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; the networks are: {', '.join(NETWORKS)}")
    network_class = NETWORKS[name]
    common = ("in_channels", "out_channels", "width")
    allowed = [option for option in inspect.signature(network_class).parameters if option not in common]
    if not options.get("scale_attention", True) and "scale_attention" not in allowed:
        # what has no such gates does not scale them; lets a config set it for any network
        del options["scale_attention"]
    check_options(f"network {name!r}", allowed, options)
    return network_class(in_channels=in_channels, out_channels=out_channels, width=width, **options)


__all__ = [
    "COMPARED",
    "GATES",
    "NETWORKS",
    "AttentionUNet",
    "DoubleSpatialAttentionUNet",
    "EfficientNetAttentionUNet",
    "FullSpatialAttentionUNet",
    "Gate",
    "ResNetUNet18",
    "ResNetUNet34",
    "ResNetUNet50",
    "SegmentationNetwork",
    "SpatialAttentionUNet",
    "SwinUNetBase",
    "ThreeHeadAttentionUNet",
    "TwoScaleAttentionUNet",
    "UNet",
    "build_network",
    "fold_batch_norm",
    "load_weights",
    "register_gate",
    "save_weights",
]
