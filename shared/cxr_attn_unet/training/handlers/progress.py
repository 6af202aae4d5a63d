"""Progress on the terminal."""

from __future__ import annotations

import sys
from typing import Any

import torch
from ignite.engine import Engine
from ignite.handlers import ProgressBar as IgniteProgressBar

__all__ = ["ProgressBar"]


def _loss(output: Any) -> dict[str, float]:
    first = output[0] if isinstance(output, list) and output else output
    return {"loss": float(first["loss"])} if isinstance(first, dict) and "loss" in first else {}


class ProgressBar(IgniteProgressBar):
    """Ignite's progress bar over the batches of an epoch, with the loss where there is one.

    Only the first process of a distributed run shows it, and only on a terminal: in a log file each refresh would be
    a line of its own.

    Args:
        description: left of the bar, may use ``{epoch}`` and the like.
        kwargs: for ``ignite.handlers.ProgressBar``.
    """

    def __init__(self, description: str = "", **kwargs: Any) -> None:
        first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
        disable = not (first and sys.stderr.isatty())
        super().__init__(**{"desc": description, "disable": disable, "persist": False, **kwargs})

    def attach(self, engine: Engine, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        kwargs.setdefault("output_transform", _loss)
        super().attach(engine, *args, **kwargs)
