"""Film curves: radiographs that were exposed too little or too much, or stored with few grey levels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

__all__ = ["RandFilmCurved"]


class RandFilmCurved(RandomizableTransform, MapTransform):
    """Send an image through the characteristic curve of a film, steep in the middle and flat at both ends.

    The curve is Hurter and Driffield's, as a logistic function ``1 / (1 + exp(-slope * (x - middle)))`` scaled to give
    0 for 0 and 1 for 1. A low middle makes all but the lungs white, a high one all but the bones black.

    Args:
        keys: keys of images of values 0 to 1, any shape.
        prob: how often something is done.
        slope: range of the slope; 1 is almost a straight line, 12 almost a threshold.
        middle: range of the middle.
        posterise: how often, of the images that are changed, few grey levels are left.
        levels: range of their number.
        allow_missing_keys: do not raise for a missing key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        slope: tuple[float, float] = (2.0, 9.0),
        middle: tuple[float, float] = (0.15, 0.85),
        posterise: float = 0.1,
        levels: tuple[int, int] = (16, 48),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.slope = slope
        self.middle = middle
        self.posterise = posterise
        self.levels = levels
        self._slope = 1.0
        self._middle = 0.5
        self._levels = 0

    def randomize(self, data: Any | None = None) -> None:
        """Draw whether something is done, and the curve."""
        super().randomize(None)
        self._slope = self.R.uniform(*self.slope)
        self._middle = self.R.uniform(*self.middle)
        number = int(self.R.randint(self.levels[0], self.levels[1] + 1))
        self._levels = number if self.R.rand() < self.posterise else 0

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        self.randomize()
        if not self._do_transform:
            return d
        for key in self.key_iterator(d):
            d[key] = self._developed(torch.as_tensor(d[key]))
        return d

    def _developed(self, image: torch.Tensor) -> torch.Tensor:
        ends = torch.tensor([0.0, 1.0], dtype=image.dtype, device=image.device)
        low, high = torch.sigmoid(self._slope * (ends - self._middle))
        developed = (torch.sigmoid(self._slope * (image - self._middle)) - low) / (high - low)
        if self._levels:
            steps = self._levels - 1
            developed = (developed * steps).round() / steps
        return developed
