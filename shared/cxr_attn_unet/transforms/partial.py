"""Masks that say nothing about some of their pixels: resized and cropped for training, one-hot for metrics."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import AsDiscrete, MapTransform, RandCropByPosNegLabeld
from monai.utils import ensure_tuple

from ..io import IGNORED
from .resize import resize, size_of_longest

__all__ = ["OneHotMaskd", "RandCropLabelledd", "ResizeMaskd"]

HALF = 0.5


class ResizeMaskd(MapTransform):
    """Scale a mask ``(1, rows, columns)`` like :class:`ResizeLongestd` its radiograph; its values stay what they are.

    A pixel of the smaller mask is ignored where at least half of what it covers is; otherwise it is structure where
    structure is at least half of the rest. Without ignored pixels this is a bilinear resize with a threshold of one
    half. The bits of parts in a second channel are those of the nearest
    pixel.

    Args:
        keys: keys of masks ``(1, rows, columns)`` of 0, 1 and :data:`~cxr_attn_unet.io.IGNORED`, or with a second
            channel of bits.
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
            mask = self._resized(d[key][:1])
            if len(d[key]) > 1:
                mask = torch.cat([mask, self._resized_bits(d[key][1:])])
            d[key] = mask
        return d

    def _resized(self, mask: torch.Tensor) -> torch.Tensor:
        size = size_of_longest(mask.shape[1:], self.spatial_size)
        ignored = mask == IGNORED
        if not ignored.any():
            return (resize(mask, size) >= HALF).to(torch.float32)
        structure_share = resize((mask == 1).to(torch.float32), size)
        ignored_share = resize(ignored.to(torch.float32), size)
        resized = (structure_share >= HALF * (1 - ignored_share)).to(torch.float32)
        resized[ignored_share >= HALF] = IGNORED
        return resized

    def _resized_bits(self, bits: torch.Tensor) -> torch.Tensor:
        size = size_of_longest(bits.shape[1:], self.spatial_size)
        plain = torch.as_tensor(np.asarray(bits))
        return F.interpolate(plain[None], size=size, mode="nearest-exact")[0]


class RandCropLabelledd(RandCropByPosNegLabeld):
    """MONAI's ``RandCropByPosNegLabeld`` whose patches have their centre on a pixel that is labelled.

    The label has the values 0, 1 and :data:`~cxr_attn_unet.io.IGNORED`; without ignored pixels, and where all are, this
    is MONAI's transform. Its ``image_key`` and ready-made indices have no use here.
    """

    def randomize(
        self, label: torch.Tensor | None = None, fg_indices: Any = None, bg_indices: Any = None, image: Any = None
    ) -> None:
        """Draw the centres of the patches.

        Args:
            label: ``(1, rows, columns)``.
            fg_indices: not used.
            bg_indices: not used.
            image: not used.
        """
        label = torch.as_tensor(label)[:1]
        labelled = label != IGNORED
        if not labelled.any():
            labelled = torch.ones_like(labelled)
        # MONAI takes the background where the "image" is above zero
        super().randomize(label=(label == 1).to(torch.float32), image=labelled.to(torch.float32))

    def __call__(self, data: Mapping[Hashable, torch.Tensor], lazy: bool | None = None) -> list:
        """A list of one item, cropped; a patch of the whole picture takes no time."""
        if tuple(data[self.label_key].shape[1:]) == ensure_tuple(self.cropper.spatial_size):
            return [dict(data) for _ in range(self.cropper.num_samples)]
        return super().__call__(data, lazy)


class OneHotMaskd(MapTransform):
    """One-hot predictions and references ``(classes, ...)`` whose every channel is 0 where the reference says nothing.

    That is how MONAI's metrics know pixels to ignore in one-hot references, and with the predictions treated alike, a
    metric that knows nothing of ignored pixels leaves them out as well.

    Args:
        keys: keys of masks ``(1, ...)`` of class numbers, the reference among them; further channels are left out.
        num_classes: how many, with the background.
        reference_key: key of the reference, which may have the value :data:`~cxr_attn_unet.io.IGNORED`.
        allow_missing_keys: do not raise for a missing key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        num_classes: int = 2,
        reference_key: str = "label",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference_key = reference_key
        self._one_hot = AsDiscrete(to_onehot=num_classes)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        labelled = torch.as_tensor(d[self.reference_key])[:1] != IGNORED
        all_labelled = bool(labelled.all())
        for key in self.key_iterator(d):
            one_hot = self._one_hot(d[key][:1].clamp(min=0))
            d[key] = one_hot if all_labelled else one_hot * labelled.to(one_hot.device)
        return d
