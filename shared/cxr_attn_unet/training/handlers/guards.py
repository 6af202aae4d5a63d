"""Reproducible epochs, and an early end of a run that has gone wrong."""

from __future__ import annotations

import math
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd
from monai.utils import set_determinism

__all__ = ["SeedEachEpoch", "StopOnNaN"]


class SeedEachEpoch:
    """Seed everything random from ``seed`` and the epoch's number as the epoch starts.

    Shuffling and augmentation of epoch n then do not depend on what came before it, so a resumed run continues as the
    uninterrupted one would have. Processes of a distributed run augment differently.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Register with an engine, as MONAI does with the handlers of a config."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """What is done at each event."""
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        # distinct for every (epoch, rank) of up to 1000 processes
        seed = (self.seed + 1000 * engine.state.epoch + rank) % 2**32
        cudnn = torch.backends.cudnn
        benchmark = cudnn.benchmark
        deterministic = cudnn.deterministic
        set_determinism(seed=seed)  # which changes both
        cudnn.benchmark = benchmark
        cudnn.deterministic = deterministic
        # transforms in this process; workers follow torch's seed
        set_rnd(engine.data_loader.dataset, seed=seed)  # type: ignore[attr-defined]


class StopOnNaN:
    """Raise as soon as the training loss is not finite, naming epoch, iteration and files.

    Raises:
        FloatingPointError: the loss is NaN or infinite. The last checkpoint is from before.
    """

    def attach(self, engine: Engine) -> None:
        """Register with an engine, as MONAI does with the handlers of a config."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """What is done at each event."""
        output: Any = engine.state.output
        first = output[0] if isinstance(output, list) else output
        loss = float(first["loss"])
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} in epoch {engine.state.epoch}, iteration {engine.state.iteration}. "
                "Resume from the last checkpoint with a lower --learning_rate, or start again with another --seed."
            )
