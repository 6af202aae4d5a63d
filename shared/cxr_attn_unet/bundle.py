"""Where the bundles are, and what their configs call around a run: checks, errors, processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType

import torch
import torch.distributed as dist

from .former_names import setting

__all__ = [
    "BUNDLES_VARIABLE",
    "bundles_folder",
    "cause_of",
    "check_bundle_root",
    "end_processes",
    "is_main_process",
    "process_device",
    "process_device_ids",
    "say_cause_last",
    "setting",
    "shipped_bundles",
    "shows_progress",
    "start_processes",
]

BUNDLES_VARIABLE = "CXR_BUNDLES"

# what Gloo and NCCL say when another process is gone
_LOST = ("Connection reset by peer", "Connection closed by peer", "remote process exited")
_WRAPPERS = ("Failed to evaluate ConfigExpression", "Failed to instantiate component", "applying transform")


def bundles_folder() -> Path:
    """The folder of the bundles: ``CXR_BUNDLES``, that of the installed package, or that of the repository.

    Raises:
        FileNotFoundError: none of them is there.
    """
    named = os.environ.get(BUNDLES_VARIABLE)
    places = _own_places()
    where = ""
    if named:
        places = [Path(named)]
        where = f" at {named}"
    for folder in places:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"the bundles with the weights were not found{where}; name the folder that holds heart_attn_unet and the "
        f"others with --bundles or {BUNDLES_VARIABLE}"
    )


def _own_places() -> list[Path]:
    """Where the bundles of the repository, or of the installed package, are."""
    package = Path(__file__).resolve().parent
    return [package.parents[1] / "bundles", package.parent / "cxr_attn_unet_bundles"]


def shipped_bundles() -> list[Path]:
    """Folders of the bundles that came with this package, whatever ``CXR_BUNDLES`` says."""
    configs = [path for place in _own_places() for path in sorted(place.glob("*/configs/inference.json"))]
    return [path.parents[1] for path in configs]


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


def cause_of(error: BaseException) -> BaseException:
    """The error inside those that MONAI wraps around whatever a config's expression or a transform raises."""
    while error.__cause__ is not None and isinstance(error, RuntimeError) and str(error).startswith(_WRAPPERS):
        error = error.__cause__
    return error


def say_cause_last() -> None:
    """From here on, an error that ends the program also says last what caused it, see :func:`cause_of`.

    A program that has its own way to report errors (``sys.excepthook``) keeps it.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.__excepthook__(kind, error, trace)
    cause = cause_of(error)
    if cause is not error:
        print(f"\nCaused by {type(cause).__name__}: {cause}", file=sys.stderr)
    if dist.is_initialized() and any(words in str(cause) for words in _LOST):
        print(
            "\nAnother process of this run has ended, and this one ends with it. The other's own error is above, or "
            "the system has killed it (memory?). Continue after the last epoch with --resume true.",
            file=sys.stderr,
        )


def is_main_process() -> bool:
    """Whether this process is the only one, or the first of those that ``torchrun`` started."""
    return not dist.is_initialized() or dist.get_rank() == 0


def shows_progress() -> bool:
    """Whether to show progress bars: in the main process, on a terminal; in a log each refresh would be a line."""
    return is_main_process() and sys.stderr.isatty()


def start_processes() -> None:
    """Join the processes that ``torchrun`` started: NCCL on GPUs, Gloo where there are none.

    Raises:
        RuntimeError: not started by ``torchrun``.
    """
    if "LOCAL_RANK" not in os.environ:
        raise RuntimeError(
            "multi_gpu_*.json needs one process per GPU. Start them with: torchrun --standalone --nproc_per_node=2 -m "
            "monai.bundle run training --config_file \"['configs/train.json','configs/multi_gpu_train.json']\""
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def end_processes() -> None:
    """Leave the processes that :func:`start_processes` joined; nothing to do where there is one process."""
    if dist.is_initialized():
        dist.destroy_process_group()


def process_device() -> torch.device:
    """The device of this process of ``torchrun``: its own GPU, or the CPU where there are none."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device("cpu")


def process_device_ids(device: torch.device | str) -> list[torch.device] | None:
    """``device_ids`` of ``DistributedDataParallel``: the GPU of this process; ``None`` on a CPU."""
    chosen = torch.device(device)
    return None if chosen.type == "cpu" else [chosen]
