"""A data set shared out among the processes of ``torchrun``."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from monai.data import DistributedSampler
from torch.utils.data import Dataset

from ..datasets import DatasetError

__all__ = ["SectionSampler"]


class SectionSampler(DistributedSampler):
    """``monai.data.DistributedSampler`` that says which section of the data is too small for the processes.

    Args:
        dataset: the radiographs of one section.
        section: its name, such as ``validation``.
        kwargs: for ``DistributedSampler``.

    Raises:
        DatasetError: fewer radiographs than processes.
    """

    def __init__(self, dataset: Dataset, section: str, **kwargs: Any) -> None:
        processes = kwargs.get("num_replicas") or dist.get_world_size()
        radiographs = len(dataset)  # type: ignore[arg-type]
        if radiographs < processes:
            raise DatasetError(
                f"{section}: {radiographs} radiographs for {processes} processes. Start at most as many processes as "
                f"there are radiographs in this section, or give it more."
            )
        super().__init__(dataset, **kwargs)
