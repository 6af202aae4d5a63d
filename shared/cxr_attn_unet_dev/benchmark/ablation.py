"""Attention networks with a part of every gate taken out, to see what that part is worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from cxr_attn_unet.networks import Gate, SegmentationNetwork, build_network

__all__ = ["PARTS", "ablated"]


class _Ones(nn.Module):
    """Channel weights that weigh nothing: ``(N, c, H, W) -> (N, c, 1, 1)`` of ones."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(x[:, :, :1, :1])


class _Nothing(nn.Module):
    """In the place of a transposed convolution: zeros of the shape that it would give."""

    def __init__(self, upsample: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.channels = upsample.out_channels
        self.stride = upsample.stride

    def forward(self, g: torch.Tensor) -> torch.Tensor:
        rows, columns = (side * stride for side, stride in zip(g.shape[2:], self.stride, strict=True))
        return g.new_zeros(len(g), self.channels, rows, columns)


# what can be left out, by name: the gate's module that is replaced, and what replaces it
PARTS: dict[str, tuple[str, Callable[[Any], nn.Module]]] = {
    "channel_attention": ("channel", lambda _: _Ones()),
    "gate_below": ("upsample", _Nothing),
}


def ablated(without: str, name: str, **options: Any) -> SegmentationNetwork:
    """A network of :func:`~cxr_attn_unet.networks.build_network` whose gates lack a part.

    In a config it takes the place of ``build_network``, so in the benchmark
    ``--variant without_gate_below --set network_def#_target_ '"cxr_attn_unet_dev.benchmark.ablated"'
    --set network_def#without '"gate_below"'``.

    Args:
        without: ``channel_attention`` (the channels' weights are one) or ``gate_below`` (zeros instead of ``up(g)``).
        name: of the network, as for ``build_network``.
        **options: of the network, as for ``build_network``.

    Raises:
        ValueError: an unknown part, or a network whose gates do not have it.
    """
    if without not in PARTS:
        raise ValueError(f"without is '{without}', must be one of: {', '.join(PARTS)}")
    network = build_network(name, **options)
    attribute, replacement = PARTS[without]
    gates = [module for module in network.modules() if isinstance(module, Gate) and hasattr(module, attribute)]
    if not gates:
        part = without.replace("_", " ")
        raise ValueError(f"the gates of {name} have no {part} to leave out; take an attention network")
    for gate in gates:
        setattr(gate, attribute, replacement(getattr(gate, attribute)))
    # so that nobody takes its weights for those of the whole network
    network.options = {**network.options, f"without_{without}": True}
    return network
