"""Show a radiograph upright to the network, and take its mask back to the file's own layout."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys

__all__ = ["OrientUprightd"]


class OrientUprightd(MapTransform, InvertibleTransform):
    r"""Turn ``(channels, columns, rows)``, MONAI's layout, into an upright ``(channels, rows, columns)``.

    MONAI hands pictures over with the columns first, so a network that sees its tensors as they come sees every
    radiograph lying on its side. Beyond that transposition a file may be stored rotated or mirrored (a DICOM
    ``PatientOrientation`` of R\F, a NIfTI affine, an EXIF tag); the reader says so in the metadata ``upright``:
    (transpose, flip rows, flip columns), applied in that order to the stored ``(rows, columns)``. Data without it is
    taken to be stored upright. Exactly invertible; the inverse serves any number of channels.

    Args:
        keys: keys of ``MetaTensor`` of shape ``(channels, columns, rows)``.
        allow_missing_keys: do not raise for a missing key.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        for key in self.key_iterator(d):
            meta = getattr(d[key], "meta", {})
            upright = [bool(flag) for flag in meta.get("upright", (False, False, False))]
            d[key] = _to_upright(d[key], upright)
            self.push_transform(d, key, extra_info={"upright": upright})
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys as they were before."""
        d = dict(data)
        for key in self.key_iterator(d):
            upright = self.pop_transform(d, key)[TraceKeys.EXTRA_INFO]["upright"]
            d[key] = _from_upright(d[key], upright)
        return d


def _flips(upright: Sequence[bool]) -> list[int]:
    return [axis for axis, flip in ((1, upright[1]), (2, upright[2])) if flip]


def _to_upright(image: torch.Tensor, upright: Sequence[bool]) -> torch.Tensor:
    # stored (rows, columns) is the transpose of MONAI's layout; a transposed file needs that twice, so not at all
    image = image if upright[0] else image.transpose(1, 2)
    return image.flip(_flips(upright)).contiguous() if any(upright[1:]) else image.contiguous()


def _from_upright(image: torch.Tensor, upright: Sequence[bool]) -> torch.Tensor:
    image = image.flip(_flips(upright)) if any(upright[1:]) else image
    return image.contiguous() if upright[0] else image.transpose(1, 2).contiguous()
