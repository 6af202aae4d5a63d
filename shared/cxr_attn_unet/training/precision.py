"""Half precision where it pays."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import SimpleInferer

__all__ = ["BFloat16Inferer", "half_precision_pays"]


def half_precision_pays(device: torch.device | str) -> bool:
    """Whether training in half precision is faster: on GPUs, and on CPUs that multiply bfloat16 (AVX512-BF16, AMX)."""
    if torch.device(device).type != "cpu":
        return True
    # PyTorch has no public name for these yet
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)


class BFloat16Inferer(SimpleInferer):
    """Forward pass in bfloat16 under autocast, logits in float32.

    MONAI's trainer has its own mixed precision, for CUDA alone; this is for a CPU, where bfloat16, which keeps the
    range of float32, needs no scaling of gradients.

    Args:
        enabled: otherwise a plain forward pass.
    """

    def __init__(self, enabled: bool = True) -> None:
        super().__init__()
        self.enabled = enabled

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.enabled:
            return super().__call__(inputs, network, *args, **kwargs)
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
            return super().__call__(inputs, network, *args, **kwargs).float()
