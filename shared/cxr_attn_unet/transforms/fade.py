"""Fade or strengthen a structure's contrast, for networks trained on pictures that show it too well."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type
from scipy import ndimage

__all__ = ["RandFadeStructured", "structure_layer"]

_SMALLEST_WEIGHT = 0.02


def structure_layer(image: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """What a structure adds to a picture, estimated from the pixels around it.

    The background under the structure is found by normalised convolution (Knutsson and Westin, CVPR 1993),
    ``b = G(image * (1 - mask)) / G(1 - mask)``; the layer is ``(image - b) * mask``, the mask's edge softened by a
    pixel. It is 0 where there is hardly anything around to estimate the background from.

    Args:
        image: ``(rows, columns)``.
        mask: 0 and 1, of the same shape.
        sigma: of the Gaussian ``G``, in pixels; about the structure's own thickness.

    Returns:
        the layer, of the image's shape; the image less the layer is the picture without the structure.
    """
    outside = 1 - mask
    weight = ndimage.gaussian_filter(outside, sigma)
    background = ndimage.gaussian_filter(image * outside, sigma) / np.maximum(weight, _SMALLEST_WEIGHT)
    background = np.where(weight > _SMALLEST_WEIGHT, background, image)
    return (image - background) * ndimage.gaussian_filter(mask, 1.0)


class RandFadeStructured(RandomizableTransform, MapTransform):
    """Mix a structure with what would be seen without it, by a factor drawn at random.

    Bone is strong in radiographs rendered from CT and faint at the high voltages of chest radiography. With the mask
    known, the image becomes ``image - f * layer``, with the layer of :func:`structure_layer`.

    Args:
        keys: keys of images ``(1, rows, columns)``.
        label_key: key of the mask, 0 and 1, of the same shape; negative values, which say nothing, count as 0.
        prob: how often something is done.
        factor: range of ``f``: 1 takes the structure away, 0 changes nothing, negative values strengthen it.
        sigma: of the Gaussian ``G``, in pixels; about the structure's own thickness.
        allow_missing_keys: do not raise for a missing key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        prob: float = 0.5,
        factor: tuple[float, float] = (-0.3, 0.8),
        sigma: float = 8.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.label_key = label_key
        self.factor = factor
        self.sigma = sigma
        self._factor = 0.0

    def randomize(self, data: Any | None = None) -> None:
        """Draw whether something is done, and the factor."""
        super().randomize(None)
        self._factor = self.R.uniform(*self.factor)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        self.randomize()
        if not self._do_transform or not self._factor:
            return d
        mask = np.asarray(torch.as_tensor(d[self.label_key]).cpu(), dtype=np.float32)[0].clip(min=0)
        if not mask.any():
            return d
        for key in self.key_iterator(d):
            image = np.asarray(torch.as_tensor(d[key]).cpu(), dtype=np.float32)[0]
            faded = image - self._factor * structure_layer(image, mask, self.sigma)
            d[key] = convert_to_dst_type(faded[None], d[key])[0]
        return d
