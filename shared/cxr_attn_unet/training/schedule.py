"""From settings at the head of a config to what components take: steps, averages, starting weights, patches."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from pathlib import Path
from typing import TypeVar

import torch

from ..networks import load_weights

__all__ = ["ema_momentum", "patch_size", "start_from", "total_steps"]

Network = TypeVar("Network", bound=torch.nn.Module)
LARGEST_MOMENTUM = 0.999  # below 1, which Ignite's EMAHandler refuses: the average is then all but the weights


def total_steps(epochs: int, loader: Sized) -> int:
    """Number of steps of the optimiser in a whole run.

    Args:
        epochs: of the run.
        loader: gives the batches of one epoch.
    """
    return epochs * len(loader)


def ema_momentum(share: float, steps: int) -> float:
    """Momentum of Ignite's ``EMAHandler``: the share of the new weights in the exponential average after each step.

    Args:
        share: of the run's steps over which the weights are averaged, about; 0 for the weights as they are.
        steps: of the whole run.

    Returns:
        above 0, at most 0.999.
    """
    averaged = max(1.0, share * steps)
    return min(LARGEST_MOMENTUM, 1 / averaged)


def start_from(network: Network, weights: str | Path | None) -> Network:
    """Load the weights from which a training starts, if any are named.

    Args:
        network: changed in place.
        weights: file of :func:`~cxr_attn_unet.networks.load_weights`; ``None`` for random weights.

    Returns:
        the network.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not weights of this network.
    """
    return load_weights(network, weights) if weights else network


def patch_size(shares: Sequence[float], image_size: int) -> list[int]:
    """Columns and rows of the patches that a network is trained on, in pixels.

    Args:
        shares: of the picture's two sides, above 0 to 1.
        image_size: side of the picture, in pixels.
    """
    return [round(share * image_size) for share in shares]
