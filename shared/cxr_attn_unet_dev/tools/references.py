"""Radiographs of data sets with the masks that people drew or CTs gave, and how well found masks agree with these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxr_attn_unet.datasets import DatasetError, load_data

from .calibrate import dice, read_case
from .fit_quality import drawn

__all__ = ["dice_with_reference", "items_by_dataset", "items_of_any", "training_items"]


def items_by_dataset(
    dataset_dir: Sequence[str], structure: str, section: str, count: int, seed: int = 0
) -> dict[str, list[Mapping[str, Any]]]:
    """Radiographs with a reference mask of a structure, by the name of their data set.

    Args:
        dataset_dir: data sets, or folders that hold data sets; those without masks of the structure are passed over.
        structure: such as ``heart``.
        section: of their splits, such as ``validation``.
        count: the most of each data set; they are drawn where there are more.
        seed: of the draw.

    Raises:
        DatasetError: none of them has masks of the structure.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    problems = []
    for place in dataset_dir:
        try:
            items = load_data(place, structure, check=False)[section]
        except DatasetError as error:
            problems.append(str(error))
            continue
        for item in items:
            found.setdefault(item["dataset"], []).append(item)
    if not found:
        raise DatasetError("\n".join(problems) or f"no radiographs with masks of {structure}")
    return {name: drawn(items, count, seed) for name, items in found.items()}


def items_of_any(dataset_dir: str, structures: Sequence[str], section: str) -> Sequence[Mapping[str, Any]]:
    """Radiographs of a data set, whatever it has masks of.

    Args:
        dataset_dir: its folder.
        structures: the first of them counts of which it has masks.
        section: of its split, such as ``validation``.

    Raises:
        DatasetError: it has masks of none of them.
    """
    for structure in structures[:-1]:
        try:
            return load_data(dataset_dir, structure, check=False)[section]
        except DatasetError:
            continue
    return load_data(dataset_dir, structures[-1], check=False)[section]


def training_items(
    dataset_dir: Sequence[str], structures: Sequence[str], count: int, seed: int
) -> list[Mapping[str, Any]]:
    """Training radiographs of data sets, whatever they have masks of.

    Args:
        dataset_dir: their folders.
        structures: the first of them counts of which a data set has masks.
        count: the most of each; they are drawn where there are more.
        seed: of the draw.

    Raises:
        DatasetError: one of them has masks of none of the structures.
    """
    items: list[Mapping[str, Any]] = []
    for place in dataset_dir:
        items += drawn(items_of_any(place, structures, "training"), count, seed)
    return items


def dice_with_reference(mask: np.ndarray, item: Mapping[str, Any]) -> float:
    """Dice of a found mask with the reference, over the radiograph's pixels of which the reference says something.

    Args:
        mask: ``(rows, columns)`` bool, upright, over the radiograph's own pixels.
        item: of :func:`items_by_dataset`.

    Raises:
        RadiographError: radiograph or reference cannot be read.
    """
    return dice(mask, read_case(item).truth)
