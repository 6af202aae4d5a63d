"""Half precision and memory layout where they pay."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from monai.inferers import SimpleInferer
from torch import nn

from .processes import with_joint_batch_norm
from .recompute import recompute_activations

__all__ = [
    "BFloat16Inferer",
    "DepthwiseConv2d",
    "half_precision_pays",
    "on_cpu",
    "on_cuda",
    "on_device",
    "with_depthwise_in_float32",
]

Network = TypeVar("Network", bound=nn.Module)


def half_precision_pays(device: torch.device | str) -> bool:
    """Whether training in half precision is faster: on GPUs, and on CPUs that multiply bfloat16 (AVX512-BF16, AMX)."""
    if torch.device(device).type != "cpu":
        return True
    # PyTorch has no public name for these yet
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)


def on_cuda(amp: bool, device: torch.device | str) -> bool:
    """Whether MONAI's own mixed precision, which is for CUDA alone, trains in half precision.

    Args:
        amp: whether half precision is wanted.
        device: that of the training.
    """
    return amp and torch.device(device).type == "cuda"


def on_cpu(amp: bool, device: torch.device | str) -> bool:
    """Whether :class:`BFloat16Inferer` trains in half precision.

    Args:
        amp: whether half precision is wanted.
        device: that of the training.
    """
    return amp and torch.device(device).type == "cpu"


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution in float32, in the midst of a network that trains in half precision.

    On CPUs the gradient of a depthwise convolution takes four to six times as long in bfloat16 as in float32. What
    enters in half precision leaves in half precision.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W) -> (N, C, H', W')``."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float()).to(input.dtype)


def with_depthwise_in_float32(network: Network) -> Network:
    """Make each depthwise convolution of a network a :class:`DepthwiseConv2d`.

    Args:
        network: changed in place; the names of its state stay as they are.

    Returns:
        the network.
    """
    for module in network.modules():
        if type(module) is nn.Conv2d and module.groups == module.in_channels > 1:
            # the class alone differs, so weights, hooks and optimisers stay as they are
            module.__class__ = DepthwiseConv2d
    return network


def on_device(
    network: Network, device: torch.device | str, amp: bool, synchronised: bool = False, checkpointing: bool = False
) -> Network:
    """Move a network to its device, in the memory layout in which it trains fastest.

    Args:
        network: changed in place, except for its batch normalisation if ``synchronised``.
        device: where to.
        amp: whether it trains in half precision; channels then come last in memory, and on a CPU depthwise
            convolutions keep float32.
        synchronised: take the statistics of batch normalisation over the batches of all processes.
        checkpointing: compute activations again rather than keep them, see
            :func:`~cxr_attn_unet.training.recompute.recompute_activations`.

    Returns:
        the network.
    """
    if synchronised:
        network = with_joint_batch_norm(network)  # type: ignore[assignment]
    if checkpointing:
        network = recompute_activations(network)
    if on_cpu(amp, device):
        network = with_depthwise_in_float32(network)
    layout = torch.channels_last if amp else torch.contiguous_format
    return network.to(device, memory_format=layout)  # type: ignore[call-overload]


class BFloat16Inferer(SimpleInferer):
    """Forward pass in bfloat16 under autocast, logits in float32.

    MONAI's trainer has its own mixed precision, for CUDA alone; this is for a CPU, where bfloat16, which keeps the
    range of float32, needs no scaling of gradients.

    Args:
        enabled: otherwise a plain forward pass.
    """

    def __init__(self, enabled: bool = True) -> None:
        super().__init__()
        self.enabled = enabled

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """Logits of ``inputs`` in float32."""
        if not self.enabled:
            return super().__call__(inputs, network, *args, **kwargs)
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
            return super().__call__(inputs, network, *args, **kwargs).float()
