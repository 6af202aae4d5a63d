"""What this machine is, for the record of a measurement."""

from __future__ import annotations

import os
import platform
import resource
import sys

import torch

__all__ = ["hardware", "peak_memory", "processor"]


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
