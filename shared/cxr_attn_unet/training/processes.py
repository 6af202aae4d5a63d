"""Several processes of ``torchrun`` that train as one: radiographs shared out, batch statistics and losses joined."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from monai.data import DistributedSampler
from monai.utils import convert_to_tensor
from torch import nn
from torch.utils.data import Dataset, RandomSampler

from ..datasets import DatasetError

__all__ = ["JointBatchNorm2d", "SectionSampler", "with_joint_batch_norm"]


class SectionSampler(DistributedSampler):
    """``monai.data.DistributedSampler`` in the order of a run of one process.

    A shuffled epoch takes the order that ``DataLoader(shuffle=True)`` of the first process would have drawn, so that
    the batches of all processes together hold the radiographs of one batch of one process. It also says which section
    of the data is too small for the processes.

    Args:
        dataset: the radiographs of one section.
        section: its name, such as ``validation``.
        shuffle: draw a new order for each epoch.
        kwargs: for ``DistributedSampler``.

    Raises:
        DatasetError: fewer radiographs than processes.
    """

    def __init__(self, dataset: Dataset, section: str, shuffle: bool = False, **kwargs: Any) -> None:
        processes = kwargs.get("num_replicas") or dist.get_world_size()
        radiographs = len(dataset)  # type: ignore[arg-type]
        if radiographs < processes:
            raise DatasetError(
                f"{section}: {radiographs} radiographs for {processes} processes. Start at most as many processes as "
                f"there are radiographs in this section, or give it more."
            )
        self.shuffled = shuffle
        # the base class shares out places in the order that is drawn here
        super().__init__(dataset, shuffle=False, **kwargs)

    def __iter__(self) -> Iterator[int]:
        """The radiographs of this process in this epoch, by number."""
        places = super().__iter__()
        if not self.shuffled:
            yield from places
            return
        orders = [list(RandomSampler(self.dataset))]  # type: ignore[arg-type]
        dist.broadcast_object_list(orders, src=0)
        for place in places:
            yield orders[0][place]


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class JointBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with the statistics of the batches of all processes, as ``torch.nn.SyncBatchNorm``.

    That one is for GPUs alone; this one is for CPUs. In evaluation, and where there is one process, it is
    ``torch.nn.BatchNorm2d``.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W) -> (N, C, H, W)``; all processes must call it equally often."""
        if not self.training or not dist.is_initialized():
            return super().forward(input)
        # the sums below have no metadata of radiographs, which MONAI's tensors would look for when they are sliced
        values = convert_to_tensor(input, track_meta=False).float()
        channels = values.shape[1]
        count = values.numel() / channels
        sums = torch.cat([values.sum((0, 2, 3)), values.new_tensor([count])])
        totals = _SumOverProcesses.apply(sums)
        number = totals[-1].detach()
        mean = totals[:-1] / number
        # mean first, then the squares around it: their difference would lose digits
        centred = values - mean.view(1, -1, 1, 1)
        variance = _SumOverProcesses.apply(centred.square().sum((0, 2, 3))) / number
        if self.track_running_stats:
            with torch.no_grad():
                self._update_running(mean, variance * number / (number - 1).clamp(min=1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(input.dtype)

    def _update_running(self, mean: torch.Tensor, unbiased_variance: torch.Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(unbiased_variance, share)


def with_joint_batch_norm(network: nn.Module) -> nn.Module:
    """A network whose batch normalisation takes the statistics of all processes: on GPUs PyTorch's own, else ours.

    Args:
        network: changed in place unless it is itself a batch normalisation.
    """
    if torch.cuda.is_available():
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    if type(network) is nn.BatchNorm2d:
        joint = JointBatchNorm2d(network.num_features, network.eps, network.momentum)
        joint.load_state_dict(network.state_dict())
        return joint
    for name, child in network.named_children():
        setattr(network, name, with_joint_batch_norm(child))
    return network
