"""Sharpening at the size of organs, which the software of digital detectors does to radiographs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.networks.layers import GaussianFilter
from monai.transforms import MapTransform, RandomizableTransform

__all__ = ["RandSharpend"]

PIXELS = 3.0  # standard deviation of the blur, in pixels of the picture that is blurred


class RandSharpend(RandomizableTransform, MapTransform):
    """Add to an image what a wide blur takes away from it: ``image + strength * (image - blurred)``.

    MONAI's ``RandGaussianSharpend`` with a narrow first blur does the same in ten times the time: its kernel is as wide
    as the picture. Here, a smaller picture is blurred and enlarged.

    Args:
        keys: keys of images ``(C, H, W)``, values 0 to 1; those of the result may lie outside.
        prob: how often something is done.
        sigma: range of the blur's standard deviation, pixels.
        strength: range of the strength.
        allow_missing_keys: do not raise for a missing key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        sigma: tuple[float, float] = (8.0, 32.0),
        strength: tuple[float, float] = (0.3, 4.0),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.sigma = sigma
        self.strength = strength
        self._sigma = sigma[0]
        self._strength = 0.0

    def randomize(self, data: Any | None = None) -> None:
        """Draw whether something is done, and how much."""
        super().randomize(None)
        self._sigma = self.R.uniform(*self.sigma)
        self._strength = self.R.uniform(*self.strength)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        self.randomize()
        if not self._do_transform:
            return d
        for key in self.key_iterator(d):
            image = torch.as_tensor(d[key])
            d[key] = image + self._strength * (image - _blurred(image, self._sigma))
        return d


def _blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """An image ``(C, H, W)`` after a Gaussian blur; beyond its border it goes on as at it."""
    factor = max(1.0, sigma / PIXELS)
    size = [math.ceil(side / factor) for side in image.shape[1:]]
    small = F.interpolate(image[None], size, mode="area")
    # a little of the blur is in the reduction and in the enlargement
    reach = math.ceil(4 * sigma / factor)
    padded = F.pad(small, [reach] * 4, mode="replicate")
    blurred = GaussianFilter(2, sigma / factor)(padded)[..., reach:-reach, reach:-reach]
    return F.interpolate(blurred, image.shape[1:], mode="bilinear", align_corners=False)[0]
