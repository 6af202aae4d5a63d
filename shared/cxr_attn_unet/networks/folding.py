"""Batch normalisation folded into the convolutions before it: fewer operations for the same answer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .checkpoint import Network

__all__ = ["fold_batch_norm"]


def fold_batch_norm(network: Network) -> Network:
    """Fold each batch normalisation into the convolution right before it; equal up to rounding (about 1e-6).

    In a trained network, batch normalisation scales and shifts each channel by constants; so the convolution's weights
    are scaled, and it gets the shift as its bias. What is left is for inference only: it cannot be trained on, and its
    state dict has other names.

    Args:
        network: in evaluation mode; changed in place.

    Returns:
        ``network``.

    Raises:
        ValueError: the network is in training mode, in which the constants still change.
    """
    if network.training:
        raise ValueError("batch normalisation can be folded in evaluation mode only; call network.eval() first")
    for owner in list(network.modules()):
        for convolution, norm in list(_pairs(owner)):
            fused = fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, norm))
            setattr(owner, convolution, fused)
            setattr(owner, norm, nn.Identity())
    return network


def _pairs(owner: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of a convolution and the batch normalisation that follows it: neighbours in a sequence, conv1 and bn1."""
    children = dict(owner.named_children())
    names = list(children)
    if isinstance(owner, nn.Sequential):
        candidates = list(pairwise(names))
    else:
        candidates = [(name, name.replace("conv", "bn")) for name in names if name.startswith("conv")]
    for first, second in candidates:
        if isinstance(children.get(first), nn.Conv2d) and isinstance(children.get(second), nn.BatchNorm2d):
            yield first, second
