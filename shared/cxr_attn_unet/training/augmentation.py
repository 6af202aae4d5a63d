"""Augmentation of whole batches on the device of the training, so that a GPU does not wait for the CPU's cores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from monai.engines.utils import default_prepare_batch
from monai.transforms import (
    RandAdjustContrastd,
    RandAffined,
    RandCoarseDropoutd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    ScaleIntensityRangePercentilesd,
)

from ..transforms import RandSharpend

__all__ = ["BatchAugmentation", "of_items"]

# what a batch goes through as a whole rather than its radiographs one by one
OF_BATCHES = (
    RandAdjustContrastd,
    RandAffined,
    RandCoarseDropoutd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandSharpend,
    ScaleIntensityRangePercentilesd,
)


def of_items(transforms: Sequence[Callable], batched: bool) -> list[Callable]:
    """The random transforms of ``train.json`` that radiographs go through one by one, on the CPU.

    Args:
        transforms: all of them.
        batched: whether :class:`BatchAugmentation` does its part; otherwise all of them remain.
    """
    return [transform for transform in transforms if not (batched and isinstance(transform, OF_BATCHES))]


class BatchAugmentation:
    """``prepare_batch`` of MONAI's trainer that augments the batch once it is on the device, by kornia.

    Turning, shearing, shifting and zooming (image and mask alike), contrast, sharpening at the size of organs,
    smoothing, noise and holes, in the ranges of the transforms of ``train.json`` that :func:`of_items` leaves out, and
    then the grey values between the 1st and 99th percentile to [0, 1]. Random numbers are PyTorch's.

    Args:
        enabled: otherwise the batch is only moved.
        augmentation: strength of turning, shearing and shifting.
        zoom: range of sizes, as in ``train.json``.

    Raises:
        ImportError: ``enabled`` without kornia.
    """

    def __init__(self, enabled: bool, augmentation: float, zoom: Sequence[float]) -> None:
        self.steps: tuple[Any, list[Callable[[torch.Tensor], torch.Tensor]]] | None = None
        if not enabled:
            return
        try:
            import kornia.augmentation as kornia
        except ImportError as error:
            raise ImportError(
                "batch_augmentation needs kornia: pip install 'cxr-attn-unet[batched]', or leave it off"
            ) from error
        # MONAI scales the grid that is sampled, kornia the picture
        scale = (1 / (1 + zoom[1]), 1 / (1 + zoom[0]))
        shear = math.degrees(math.atan(0.1 * augmentation))
        affine = kornia.AugmentationSequential(
            kornia.RandomAffine(
                degrees=math.degrees(0.3 * augmentation),
                translate=(0.12 * augmentation, 0.12 * augmentation),
                scale=(*scale, *scale),
                shear=torch.tensor([[-shear, shear], [-shear, shear]]),
                p=0.9,
            ),
            data_keys=["input", "mask"],
            extra_args={kornia.container.augment.DataKey.MASK: {"resample": "nearest", "align_corners": None}},
        )
        grey: list[Callable[[torch.Tensor], torch.Tensor]] = [
            kornia.RandomGamma((0.45, 2.2), p=0.6),
            _sharpen,
            kornia.RandomGaussianBlur(7, (0.5, 1.5), p=0.2),
            kornia.RandomGaussianNoise(std=0.04, p=0.3),
            kornia.RandomErasing(scale=(1 / 32**2, 1 / 6**2), ratio=(0.5, 2.0), p=0.2),
            _between_percentiles,
        ]
        self.steps = affine, grey

    def __call__(
        self, batchdata: Any, device: torch.device | str | None = None, non_blocking: bool = False, **kwargs: Any
    ) -> Any:
        """Images ``(N, 1, H, W)`` in [0, 1] and masks ``(N, C, H, W)`` on the device."""
        pair = default_prepare_batch(batchdata, device, non_blocking, **kwargs)
        image, label = cast("tuple[torch.Tensor, torch.Tensor]", pair)
        if self.steps is None:
            return image, label
        affine, grey = self.steps
        image, mask = affine(image.clamp(0, 1), label.float())
        for step in grey:
            image = step(image)
        return image, mask.to(label.dtype)


def _sharpen(image: torch.Tensor) -> torch.Tensor:
    """Half of the images, by what a blur of 1/32 to 1/8 of their side takes away, 0.3 to 4 times."""
    from kornia.filters import gaussian_blur2d

    number, side = len(image), image.shape[-1]
    sigma = side * torch.empty(number, 1).uniform_(1 / 32, 1 / 8).expand(-1, 2)
    strength = torch.empty(number, 1, 1, 1).uniform_(0.3, 4) * (torch.rand(number, 1, 1, 1) < 0.5)
    taps = 2 * (side // 4) + 1
    blurred = gaussian_blur2d(image, taps, sigma.to(image), border_type="replicate")
    return image + strength.to(image) * (image - blurred)


def _between_percentiles(image: torch.Tensor) -> torch.Tensor:
    """Grey values from the 1st to the 99th percentile of each image to [0, 1]."""
    ends = torch.quantile(image.flatten(1).float(), image.new_tensor([0.01, 0.99], dtype=torch.float32), dim=1)
    low, high = ends[..., None, None, None]
    return ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
