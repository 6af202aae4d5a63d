"""Activation checkpointing: less memory for a third more time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

__all__ = ["recompute_activations"]

Network = TypeVar("Network", bound=nn.Module)
ENCODER = "encoder"  # the networks' name of it


def recompute_activations(network: Network) -> Network:
    """Let a network compute the features inside its blocks again when their gradient is needed (Chen et al., 2016).

    Only what goes from block to block is kept in between, which makes the memory of a training step several times
    smaller. Losses, gradients and running statistics are the same to the bit. Nothing changes in evaluation.

    A block is a module with parts of its own that is neither a list of modules nor the whole encoder: a double
    convolution, a level of the decoder, a residual block.

    Args:
        network: changed in place: its blocks get another ``forward``. Names of weights do not change.

    Returns:
        the network.
    """
    for block in _blocks(network):
        # PyTorch calls the attribute of the module rather than its class's; a copy of the network has its own
        block.forward = partial(_recomputed, block)
    return network


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for name, child in module.named_children():
        if isinstance(child, (nn.ModuleList, nn.Sequential)) or name == ENCODER:
            yield from _blocks(child)
        elif any(True for _ in child.children()):
            yield child


def _recomputed(block: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    forward = type(block).forward
    if not (block.training and torch.is_grad_enabled()):
        return forward(block, *inputs)
    return checkpoint(forward, block, *inputs, use_reentrant=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    """What the first forward pass of a block runs in, and the second."""
    return nullcontext(), _without_statistics(block)


@contextmanager
def _without_statistics(block: nn.Module) -> Iterator[None]:
    # the first pass has already counted this batch
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, (_, batches) in zip(norms, before, strict=True):
        norm.momentum = 0.0
        norm.num_batches_tracked = None if batches is None else batches.clone()
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked = batches
