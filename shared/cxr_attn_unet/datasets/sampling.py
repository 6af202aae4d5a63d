"""Which radiographs are seen, and how often, when several data sets are trained on together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .checks import DatasetError
from .load import split_of

__all__ = ["every", "repeated", "without_lungs_behind_heart"]


def repeated(items: Sequence[dict[str, Any]], times: Mapping[str, int]) -> list[dict[str, Any]]:
    """Items of small data sets several times over, so that an epoch shows them as often as those of large ones.

    Args:
        items: of a data list's section.
        times: how often each data set's items are listed, by its name; once for those not named.

    Raises:
        DatasetError: a data set is named that no item is of.
    """
    _require_known(items, times)
    several: list[dict[str, Any]] = []
    for item in items:
        several += [item] * times.get(item.get("dataset", "list"), 1)
    return several


def every(items: Sequence[dict[str, Any]], steps: Mapping[str, int]) -> list[dict[str, Any]]:
    """Every so many of the items of large data sets, to validate quickly while training.

    Args:
        items: of a data list's section.
        steps: of each data set one in so many items is taken, by its name; all of those not named.

    Raises:
        DatasetError: a data set is named that no item is of.
    """
    _require_known(items, steps)
    seen: dict[str, int] = {}
    taken: list[dict[str, Any]] = []
    for item in items:
        name = item.get("dataset", "list")
        index = seen.get(name, 0)
        seen[name] = index + 1
        if index % steps.get(name, 1) == 0:
            taken.append(item)
    return taken


def without_lungs_behind_heart(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items without those in whose lung masks the lungs go on behind the heart, while nearly all others end at it.

    They are those that ``splits/*.json`` name as ``lungs_behind_heart``, of Montgomery and Shenzhen and of Wingspan.
    Both ways to draw are found in the field; a network that is trained on both draws something between them.

    Args:
        items: of a data list's section.
    """
    behind = set()
    for dataset in {item.get("dataset", "list") for item in items}:
        split = split_of(dataset) or {}
        behind |= {(dataset, image_id) for image_id in split.get("lungs_behind_heart", ())}
    return [item for item in items if (item.get("dataset", "list"), item.get("id")) not in behind]


def _require_known(items: Sequence[dict[str, Any]], names: Mapping[str, int]) -> None:
    known = {item.get("dataset", "list") for item in items}
    unknown = sorted(set(names) - known)
    if unknown:
        raise DatasetError(
            f"{', '.join(unknown)}: no radiographs of this data set here, only of {', '.join(sorted(known))}. "
            "Correct the name."
        )
