"""Projective warps: the detector or the patient tilted against the beam."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import ensure_tuple_rep

__all__ = ["RandTiltd"]

TOO_STRONG = 0.5  # of both, the divisor could reach 0 in a corner


class RandTiltd(RandomizableTransform, MapTransform):
    """Tilt a picture about its rows and columns, so that one side is magnified more than the other.

    Lordotic and supine films magnify the upper or the lower chest, turned patients one lung. In coordinates from -1 to
    1, output ``(x, y)`` shows input ``(x, y) / (1 + a * x + b * y)``, which keeps the centre and straight lines. What
    lies outside the picture is 0.

    Args:
        keys: keys of images and masks ``(channels, rows, columns)``.
        prob: how often something is done.
        across: range of ``a``, below 0.5 in size.
        along: range of ``b``, below 0.5 in size.
        mode: ``bilinear``, or ``nearest`` for masks, which then get no new values; one for all keys or one for each.
        allow_missing_keys: do not raise for a missing key.

    Raises:
        ValueError: a range that would turn the picture inside out.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.3,
        across: tuple[float, float] = (-0.15, 0.15),
        along: tuple[float, float] = (-0.25, 0.25),
        mode: str | Sequence[str] = "bilinear",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        if max(abs(limit) for limit in (*across, *along)) >= TOO_STRONG:
            raise ValueError(
                f"across {across} and along {along} must be below {TOO_STRONG}, or the picture turns inside out."
            )
        self.across = across
        self.along = along
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self._across = 0.0
        self._along = 0.0

    def randomize(self, data: Any | None = None) -> None:
        """Draw whether something is done, and the tilt."""
        super().randomize(None)
        self._across = self.R.uniform(*self.across)
        self._along = self.R.uniform(*self.along)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        self.randomize()
        if not self._do_transform:
            return d
        for key, mode in self.key_iterator(d, self.mode):
            image = torch.as_tensor(d[key])
            grid = self._grid(image.shape[1], image.shape[2]).to(image)
            d[key] = F.grid_sample(image[None], grid, mode=mode, padding_mode="zeros", align_corners=False)[0]
        return d

    def _grid(self, rows: int, columns: int) -> torch.Tensor:
        """Where each output pixel looks in the input, ``(1, rows, columns, 2)`` as (x, y)."""
        y = (2 * torch.arange(rows) + 1) / rows - 1
        x = (2 * torch.arange(columns) + 1) / columns - 1
        y, x = torch.meshgrid(y, x, indexing="ij")
        divisor = 1 + self._across * x + self._along * y
        return torch.stack([x / divisor, y / divisor], dim=-1)[None]
