"""What this machine is, for the record of a measurement."""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path

import torch

__all__ = ["free_memory", "hardware", "peak_memory", "processor", "usable_cores"]

CGROUP = Path("/sys/fs/cgroup")  # of a container: what it may use of its machine


def hardware() -> str:
    """What this runs on, in a few words."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"{os.cpu_count()} CPU cores, {platform.machine()}"


def processor() -> str:
    """What the CPU calls itself."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or "unknown processor"


def peak_memory() -> int:
    """Most memory used so far, in bytes: of the GPU, or of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    in_bytes = sys.platform == "darwin"
    return most if in_bytes else most * 1024


def usable_cores() -> int:
    """Cores that this process may use: not those that a batch system or a container keeps from it."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota, _, period = _text_of(CGROUP / "cpu.max").partition(" ")
    if quota.isdigit():
        cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores


def free_memory() -> int | None:
    """Bytes of memory that are free, no more than a container's limit; ``None`` where the system does not say."""
    free = None
    for line in _text_of(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit = _text_of(CGROUP / "memory.max")
    if limit.isdigit():
        free = int(limit) if free is None else min(free, int(limit))
    return free


def _text_of(path: Path) -> str:
    """What a file of the system says; empty if it is not there."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
