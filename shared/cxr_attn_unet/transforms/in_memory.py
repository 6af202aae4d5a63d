"""Pictures that another program has read and hands over in memory."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

__all__ = ["PictureInMemoryd", "to_rows_columns"]


class PictureInMemoryd(MapTransform):
    """In the place of :class:`~cxr_attn_unet.transforms.LoadRadiographd`: a picture that is there already.

    Gives ``(1, columns, rows)`` float32, as that does. Nothing is known of the file's header, so the picture must be
    upright and bone bright, on any scale.

    Args:
        keys: keys of tensors or arrays ``(columns, rows)``, with a further axis of length one at either end where
            there is one, as MONAI Deploy's ``DICOMSeriesToVolumeOperator`` has it.
        allow_missing_keys: do not raise for a missing key.

    Raises:
        ValueError: neither two axes nor a third of length one.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        for key in self.key_iterator(d):
            picture = torch.as_tensor(d[key])
            meta = dict(picture.meta) if isinstance(picture, MetaTensor) else {}
            d[key] = MetaTensor(_with_one_channel(_plain(picture)), meta=meta)
        return d


def _plain(picture: torch.Tensor) -> torch.Tensor:
    return picture.as_tensor() if isinstance(picture, MetaTensor) else picture


def _with_one_channel(picture: torch.Tensor) -> torch.Tensor:
    """``(1, columns, rows)`` float32.

    Raises:
        ValueError: it has no two axes besides those of length one.
    """
    shape = tuple(picture.shape)
    if len(shape) == 3 and shape[-1] == 1:
        picture = picture[..., 0]
    elif len(shape) == 3 and shape[0] == 1:
        picture = picture[0]
    if picture.ndim != 2:
        raise ValueError(f"a picture in memory has the shape {shape}, must be (columns, rows) of one slice, in grey")
    return picture[None].float().contiguous()


def to_rows_columns(mask: torch.Tensor) -> torch.Tensor:
    """A mask ``(1, columns, rows)`` of any type to ``(1, rows, columns)`` uint8."""
    return mask.transpose(1, 2).to(torch.uint8).contiguous()
