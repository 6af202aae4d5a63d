"""What a bundle's config asks before it starts and after it ends."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.distributed as dist

__all__ = ["check_bundle_root", "end_processes", "start_processes"]


def check_bundle_root(bundle_root: str | os.PathLike) -> None:
    """Make sure that ``bundle_root`` is a bundle, before anything is written under it.

    Raises:
        FileNotFoundError: it is not; the message names the remedy.
    """
    if not (Path(bundle_root) / "configs" / "metadata.json").is_file():
        raise FileNotFoundError(
            f"bundle_root '{bundle_root}' ({Path(bundle_root).resolve()}) is not a bundle: it has no "
            "configs/metadata.json. Run this from inside the bundle's folder, or name the folder with --bundle_root."
        )


def start_processes() -> None:
    """Join the processes that ``torchrun`` started: NCCL on GPUs, Gloo where there are none.

    Raises:
        RuntimeError: not started by ``torchrun``.
    """
    if "LOCAL_RANK" not in os.environ:
        raise RuntimeError(
            "multi_gpu_*.json needs one process a GPU. Start them with: torchrun --standalone --nproc_per_node=2 -m "
            "monai.bundle run training --config_file \"['configs/train.json','configs/multi_gpu_train.json']\""
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def end_processes() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()
