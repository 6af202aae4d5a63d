"""Move a structure within the picture, for networks that have seen it in one place only."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type
from scipy import ndimage

from .fade import structure_layer

__all__ = ["RandMoveStructured"]

_SMALLEST_PIECE = 0.1  # of the largest; what is smaller stays where it is


class RandMoveStructured(RandomizableTransform, MapTransform):
    """Take a structure's pieces out of the picture and put them in elsewhere, moved and turned.

    In radiographs of patients who lie or lean back, clavicles are projected above the lungs. Radiographs of standing
    patients never show that. With the mask known, what each piece adds to the picture (:func:`structure_layer`) is
    taken away, shifted, turned about the piece's centre, and added again; the mask moves with it.

    Args:
        image_key: key of the image ``(1, rows, columns)``.
        label_key: key of the label ``(1 or 2, rows, columns)``: the mask, 0 and 1, with negative values for what it
            says nothing about, which stay where they are; and the bits of parts, which move with their piece.
        prob: how often something is done.
        down: range of the shift downwards, the same for all pieces, as a share of the rows; negative values are up.
        apart: each piece is shifted by up to this much more, in each direction, as a share of the rows.
        turn: each piece is turned by up to this many degrees, either way.
        sigma: see :func:`structure_layer`.
    """

    def __init__(
        self,
        image_key: str = "image",
        label_key: str = "label",
        prob: float = 0.5,
        down: tuple[float, float] = (-0.12, 0.04),
        apart: float = 0.02,
        turn: float = 15.0,
        sigma: float = 16.0,
    ) -> None:
        MapTransform.__init__(self, [image_key, label_key])
        RandomizableTransform.__init__(self, prob)
        self.image_key = image_key
        self.label_key = label_key
        self.down = down
        self.apart = apart
        self.turn = turn
        self.sigma = sigma

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with image and label transformed."""
        d = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return d
        image = np.asarray(torch.as_tensor(d[self.image_key]).cpu(), dtype=np.float32)[0].copy()
        label = np.asarray(torch.as_tensor(d[self.label_key]).cpu(), dtype=np.float32).copy()
        mask = (label[0] == 1).astype(np.float32)
        pieces = _pieces(mask)
        if not pieces:
            return d
        rows = len(image)
        shared = self.R.uniform(*self.down)
        layer = structure_layer(image, mask, self.sigma)
        moved = []
        for piece in pieces:
            own = self.R.uniform(-self.apart, self.apart, size=2)
            shift = rows * np.array([shared + own[0], own[1]])
            angle = np.radians(self.R.uniform(-self.turn, self.turn))
            # the softened edge belongs to the piece too
            around = ndimage.binary_dilation(piece, iterations=3)
            moved.append((piece, around, _placed(piece, shift, angle)))
        for piece, around, _ in moved:
            image[around] -= layer[around]
            label[0][piece] = 0
            label[1:, piece] = 0
        for piece, around, place in moved:
            image += ndimage.affine_transform(layer * around, **place, order=1)
            here = ndimage.affine_transform(piece.astype(np.float32), **place, order=0) > 0
            for channel, values in enumerate(_label_of(d, self.label_key)):
                carried = ndimage.affine_transform(values * piece, **place, order=0)
                label[channel][here & (label[0] >= 0)] = carried[here & (label[0] >= 0)]
        d[self.image_key] = convert_to_dst_type(image[None], d[self.image_key])[0]
        d[self.label_key] = convert_to_dst_type(label, d[self.label_key])[0]
        return d


def _label_of(data: Mapping[Hashable, Any], key: str) -> np.ndarray:
    return np.asarray(torch.as_tensor(data[key]).cpu(), dtype=np.float32)


def _pieces(mask: np.ndarray) -> list[np.ndarray]:
    """The mask's pieces that are not small beside the largest."""
    numbers, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, numbers, range(1, count + 1))
    return [numbers == number for number, size in enumerate(sizes, 1) if size >= _SMALLEST_PIECE * max(sizes)]


def _placed(piece: np.ndarray, shift: np.ndarray, angle: float) -> dict[str, np.ndarray]:
    """Arguments of ``ndimage.affine_transform``: turned about the piece's centre, then shifted."""
    centre = np.array(ndimage.center_of_mass(piece))
    back = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return {"matrix": back, "offset": centre - back @ (centre + shift)}
