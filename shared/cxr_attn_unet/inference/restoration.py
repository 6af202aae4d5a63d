"""From probabilities at a network's size to masks over the file's pixels: a bundle's postprocessing, sooner.

The steps of a bundle, one after the other, enlarge each class, turn it into the file's layout, and look for components
and holes among all of the file's pixels. Here only the structure's probability is enlarged, it becomes a mask before it
is turned, and components and holes are looked for in the mask's own box. The mask is the same, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    FillHolesd,
    Invertd,
    InvertibleTransform,
    KeepLargestConnectedComponentd,
)
from skimage.measure import label

from ..analysis.measurements import box_of
from ..io import Orientation
from ..transforms import (
    CropToFieldd,
    OrientUprightd,
    RemoveSpecksd,
    ResizeLongestd,
    SplitPartsd,
    without_small_pieces,
)

__all__ = ["Restoration", "largest_components", "within_box", "without_holes"]


@dataclass(frozen=True)
class Restoration:
    """What brings a structure's probabilities back over the file's pixels and makes a mask of them.

    Attributes:
        resizing: the steps of the preprocessing from the one that resizes on; they begin with the field's own pixels.
        cropping: the step before them.
        smallest_piece: share of the mask that a piece of it has at least to be kept; 0 for all.
        components: how many of the mask's largest components are kept; ``None`` for all.
        fills_holes: whether holes are filled.
    """

    resizing: tuple[Callable, ...]
    cropping: CropToFieldd
    smallest_piece: float
    components: int | None
    fills_holes: bool

    @classmethod
    def of(cls, preprocessing: Compose, postprocessing: Sequence[Callable]) -> Restoration | None:
        """That of a bundle; ``None`` where its steps are not those of the bundles here, and must be taken as they are.

        Args:
            preprocessing: what follows the reading of a file.
            postprocessing: what precedes the writing of one.
        """
        before = preprocessing.transforms
        kinds = [type(step) for step in before[:3]]
        if kinds != [OrientUprightd, CropToFieldd, ResizeLongestd]:
            return None
        steps = [step for step in postprocessing if not isinstance(step, SplitPartsd)]
        if not _gives_most_likely_class(steps[:3], before):
            return None
        smallest_piece = 0.0
        components: int | None = None
        fills_holes = False
        for step in steps[3:]:
            if isinstance(step, RemoveSpecksd) and components is None and not fills_holes:
                smallest_piece = step.share
            elif _keeps_largest(step) and not fills_holes:
                components = step.converter.num_components  # type: ignore[attr-defined]
            elif _fills_all_holes(step):
                fills_holes = True
            else:
                return None
        return cls(tuple(before[2:]), before[1], smallest_piece, components, fills_holes)

    def mask(self, image: MetaTensor, probability: torch.Tensor, limit: float, orientation: Orientation) -> np.ndarray:
        """The mask ``(rows, columns)`` bool over the pixels as stored.

        Args:
            image: preprocessed, with the operations to invert.
            probability: of the structure, ``(rows, columns)`` at the network's size.
            limit: the mask is where the probability is greater.
            orientation: of the radiograph.
        """
        field = (self._in_field(image, probability)[0] > limit).cpu().numpy()
        inside = within_box(field, self._cleaned)
        return orientation.undo(self._in_picture(image, inside))

    def _cleaned(self, mask: np.ndarray) -> np.ndarray:
        if self.smallest_piece:
            mask = without_small_pieces(mask, self.smallest_piece)
        if self.components is not None:
            mask = largest_components(mask, self.components)
        if self.fills_holes:
            mask = without_holes(mask)
        return mask

    def _in_field(self, image: MetaTensor, probability: torch.Tensor) -> torch.Tensor:
        """Probabilities ``(1, rows, columns)`` over the field's own pixels, upright."""
        values = MetaTensor(probability[None], meta=dict(image.meta), applied_operations=list(image.applied_operations))
        data: dict[Any, Any] = {"image": values}
        for step in reversed(self.resizing):
            if isinstance(step, InvertibleTransform):
                data = step.inverse(data)
        return data["image"].as_tensor()

    def _in_picture(self, image: MetaTensor, field: np.ndarray) -> np.ndarray:
        """A mask of the field, over the whole picture, upright."""
        # the crop is the step before the first of those that were inverted
        operations = list(image.applied_operations)[:2]
        values = MetaTensor(torch.from_numpy(field)[None], meta=dict(image.meta), applied_operations=operations)
        return self.cropping.inverse({"image": values})["image"][0].as_tensor().numpy()


def _gives_most_likely_class(steps: Sequence[Callable], before: Sequence[Callable]) -> bool:
    """Whether steps are softmax, the inverse of others without rounding, and the most likely class."""
    if [type(step) for step in steps] != [Activationsd, Invertd, AsDiscreted]:
        return False
    activation, inverse, decision = (vars(step) for step in steps)
    # a file was read first
    inverted = inverse["transform"].transforms[1:]
    return (
        activation["softmax"] == (True,)
        and [id(step) for step in inverted] == [id(step) for step in before]
        and inverse["nearest_interp"] == (False,)
        and decision["argmax"] == (True,)
    )


def _keeps_largest(step: Callable) -> bool:
    """Whether a step keeps the largest components of a mask, neighbours across corners included."""
    if not isinstance(step, KeepLargestConnectedComponentd):
        return False
    converter = step.converter
    return not converter.applied_labels and converter.connectivity is None and not converter.is_onehot


def _fills_all_holes(step: Callable) -> bool:
    """Whether a step fills all holes of a mask, to which no way leads across corners either."""
    return isinstance(step, FillHolesd) and not step.converter.applied_labels and step.converter.connectivity is None


def within_box(mask: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A mask of which the box that holds all of it was changed.

    Args:
        mask: ``(rows, columns)`` bool.
        change: takes the mask in its box, and gives another one of that size.
    """
    if not mask.any():
        return mask
    box = box_of(mask)
    changed = np.zeros_like(mask)
    changed[box] = change(mask[box])
    return changed


def largest_components(mask: np.ndarray, count: int) -> np.ndarray:
    """The largest components of a mask; pixels that touch at a corner belong together.

    Args:
        mask: ``(rows, columns)`` bool.
        count: how many are kept.
    """
    labels, found = label(mask, connectivity=2, return_num=True)
    if found <= count:
        return mask
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    kept = np.zeros(len(areas), bool)
    kept[np.argsort(areas)[::-1][:count]] = True
    return kept[labels]


def without_holes(mask: np.ndarray) -> np.ndarray:
    """A mask with its holes filled: what is not mask, and from where no way leads to the border, not across corners.

    Args:
        mask: ``(rows, columns)`` bool.
    """
    labels, found = label(~mask, connectivity=2, return_num=True)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    hole = np.ones(found + 1, bool)
    hole[border] = False
    hole[0] = False
    if not hole.any():
        return mask
    return mask | hole[labels]
