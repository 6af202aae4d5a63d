"""Progress on the terminal."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine
from ignite.handlers import ProgressBar as IgniteProgressBar

from ...bundle import shows_progress

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
        super().__init__(**{"desc": description, "disable": not shows_progress(), "persist": False, **kwargs})

    def attach(self, engine: Engine, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Register with an engine, as MONAI does with the handlers of a config."""
        kwargs.setdefault("output_transform", _loss)
        super().attach(engine, *args, **kwargs)
