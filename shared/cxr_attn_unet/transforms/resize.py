"""Resize without aliasing, fast enough for detectors of twenty megapixels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys, convert_to_dst_type

__all__ = ["ResizeLongestd", "resize", "size_of_longest"]


class ResizeLongestd(MapTransform, InvertibleTransform):
    """Scale ``(channels, rows, columns)`` so that its longer side has a given length, without distorting it.

    Bilinear, with PyTorch's anti-aliasing where it shrinks. MONAI's ``Resized`` filters the whole picture at its full
    size first, which takes seconds for a 4020 x 4892 radiograph; this takes a tenth of one. The inverse scales any
    number of channels back to the exact size from before.

    Args:
        keys: keys of tensors of shape ``(channels, rows, columns)``.
        spatial_size: length of the longer side in pixels.
        allow_missing_keys: do not raise for a missing key.
    """

    def __init__(self, keys: KeysCollection, spatial_size: int, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.spatial_size = spatial_size

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        for key in self.key_iterator(d):
            size = [int(side) for side in d[key].shape[1:]]
            d[key] = resize(d[key], size_of_longest(size, self.spatial_size))
            self.push_transform(d, key, extra_info={"size": size})
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys as they were before."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = resize(d[key], self.pop_transform(d, key)[TraceKeys.EXTRA_INFO]["size"])
        return d


def size_of_longest(size: Sequence[int], longest: int) -> list[int]:
    """The size (rows, columns) whose longer side is ``longest``, in the proportions of ``size``."""
    scale = longest / max(size)
    return [max(1, round(side * scale)) for side in size]


def resize(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Scale ``(channels, rows, columns)`` to ``size``, bilinear, anti-aliased where it shrinks; float32."""
    plain = torch.as_tensor(image, dtype=torch.float32)
    plain = plain.as_tensor() if hasattr(plain, "as_tensor") else plain
    size = [int(side) for side in size]
    resized = F.interpolate(plain[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    return convert_to_dst_type(resized, image, dtype=torch.float32)[0]
