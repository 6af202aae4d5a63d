"""Labels of parts of structures beside their masks: single ribs, right and left organs.

A label with parts has two channels: the mask, and in each pixel the bits of the parts that lie there, in the order of
:func:`cxr_attn_unet.structures.parts_of`, or :data:`~cxr_attn_unet.io.UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from ..io import UNKNOWN, right_and_left
from ..structures import mirrored_order, parts_of

__all__ = ["LabelSidesd", "RandMirrord"]

PAIR = 2


class LabelSidesd(MapTransform):
    """Tell the right organ of a pair from the left one, in labels whose parts are not known.

    Args:
        keys: keys of upright labels ``(2, rows, columns)``; others, and structures that are no pair, stay as they are.
        structure: its name.
        allow_missing_keys: do not raise for a missing key.
    """

    def __init__(self, keys: KeysCollection, structure: str, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.is_pair = len(parts_of(structure)) == PAIR

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        for key in self.key_iterator(d):
            label = d[key]
            if self.is_pair and len(label) > 1 and bool((label[1] == UNKNOWN).all()):
                d[key] = self._with_sides(label)
        return d

    def _with_sides(self, label: torch.Tensor) -> torch.Tensor:
        sides = right_and_left(np.asarray(label[0]) == 1)
        if sides is None:
            return label
        right, left = sides
        labelled = label.clone()
        labelled[1] = torch.from_numpy(right + 2.0 * left).to(labelled.dtype)
        return labelled


class RandMirrord(RandomizableTransform, MapTransform):
    """Mirror radiographs and labels right to left; what was a left part is then a right one.

    Args:
        keys: keys of images and labels ``(channels, rows, columns)``.
        label_key: key of the label, whose second channel, if there is one, holds the bits of parts.
        structure: its name.
        prob: how often.
        allow_missing_keys: do not raise for a missing key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        structure: str,
        label_key: str = "label",
        prob: float = 0.5,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.label_key = label_key
        self.order = mirrored_order(parts_of(structure))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return d
        for key in self.key_iterator(d):
            d[key] = torch.flip(d[key], dims=[-1])
            if key == self.label_key and len(d[key]) > 1:
                d[key][1] = _reordered(d[key][1], self.order)
        return d


def _reordered(bits: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    """Bits in which bit i is what bit ``order[i]`` was; unknown ones stay so."""
    known = bits >= 0
    before = bits.long()
    after = torch.zeros_like(before)
    for place, source in enumerate(order):
        after |= (before >> source & 1) << place
    return torch.where(known, after.to(bits.dtype), bits)
