"""What the processes of a distributed run have to agree on."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from ignite.engine import Engine
from monai.engines.utils import IterationEvents

__all__ = ["JointLoss"]


class JointLoss:
    """Report the mean loss of all processes, in each of them, instead of that of a process's own part of the batch.

    Logs then show what one process would show with the whole batch, and a loss that is not finite stops all of them.
    The gradients are not changed: ``DistributedDataParallel`` averages those.
    """

    def attach(self, engine: Engine) -> None:
        """Register with an engine, as MONAI does with the handlers of a config."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """What is done at each event."""
        output: Any = engine.state.output
        mean = output["loss"].detach().clone()
        dist.all_reduce(mean)
        output["loss"] = mean / dist.get_world_size()
