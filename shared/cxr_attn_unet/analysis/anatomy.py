"""Numbers that describe shape and place of heart and lungs, and what they say about whether a mask can be right.

A network may draw a heart of two lobes, half a heart, or one where no heart lies, and be sure of it. Such a mask is
told from a heart by its shape and by where it lies between the lungs; the limits are those of hearts that people drew
(``python -m cxr_attn_unet_dev.tools.fit_quality``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from skimage.morphology import convex_hull_image

from .measurements import heart_diameter, midline, split_lungs, thoracic_diameter

__all__ = ["RATIOS", "Extent", "heart_place", "heart_shape", "lungs_shape", "shrunk", "unreliable"]

MASK_SIDE = 256  # of the copy on which shapes are looked at, in pixels
RATIOS = (0.25, 0.80)  # cardiothoracic ratios that hearts have
LEAST_KEPT = 0.7  # of a heart before postprocessing: what lies in its largest component
LEAST_DICE = {"heart": 0.7, "lungs": 0.7}  # to expect, below which nothing is measured on a mask


@dataclass(frozen=True)
class _Reasons:
    """Why a mask cannot be right whose feature is below or above its limits."""

    low: str
    high: str


# by structure and feature; what is named first is said first
_REASONS: dict[str, dict[str, _Reasons]] = {
    "heart": {
        "heart_solidity": _Reasons("two lobes or a deep notch", ""),
        "kept_heart": _Reasons("several separate pieces", ""),
        "heart_shape": _Reasons("far too narrow for its height", "far too flat for its width"),
        "heart_width": _Reasons("far too narrow for the thorax", "far too wide for the thorax"),
        "size_heart": _Reasons("far too small for the lungs", "far too large for the lungs"),
        "heart_side": _Reasons(
            "its left part is missing, or it lies on the patient's right",
            "its right part is missing, or it lies too far to the patient's left",
        ),
        "column_heart": _Reasons("too far to the patient's right", "too far to the patient's left"),
        "row_heart": _Reasons("too high in the thorax", "too low in the thorax"),
    },
    "lungs": {
        "lungs_solidity": _Reasons("frayed or deeply notched", ""),
        "lung_ratio": _Reasons("one lung is missing or is cut short", ""),
        "lungs_shape": _Reasons("far too low for their width", "far too narrow for their height"),
        "cut_left": _Reasons("", "cut off at the picture's left"),
        "cut_right": _Reasons("", "cut off at the picture's right"),
    },
}


@dataclass(frozen=True)
class Extent:
    """The box around a mask, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def of(cls, mask: np.ndarray) -> Extent:
        """That of a mask ``(rows, columns)`` that is not empty."""
        rows = np.flatnonzero(mask.any(1))
        columns = np.flatnonzero(mask.any(0))
        return cls(int(rows[0]), int(columns[0]), int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1))


def shrunk(mask: np.ndarray) -> np.ndarray:
    """A mask ``(rows, columns)`` at a resolution at which shapes are looked at."""
    step = max(1, -(-max(mask.shape) // MASK_SIDE))
    return mask[::step, ::step]


def heart_shape(heart: np.ndarray) -> dict[str, float]:
    """What the heart's outline alone tells.

    Args:
        heart: upright mask ``(rows, columns)`` that is not empty.

    Returns:
        ``heart_solidity``, its area over that of its convex hull, and ``heart_shape``, its width over its height.
    """
    extent = Extent.of(heart)
    return {"heart_solidity": _solidity(shrunk(heart)), "heart_shape": extent.width / extent.height}


def heart_place(heart: np.ndarray, lungs: np.ndarray) -> dict[str, float]:
    """What the heart's place between the lungs tells.

    Args:
        heart: upright mask ``(rows, columns)`` that is not empty.
        lungs: of the same size, not empty.

    Returns:
        ``heart_width``, the cardiothoracic ratio, and ``heart_side``, the share of the heart on the patient's left of
        the lungs' midline.
    """
    values: dict[str, float] = {}
    across_heart = heart_diameter(heart)
    across_thorax = thoracic_diameter(lungs)
    if across_heart is not None and across_thorax is not None:
        values["heart_width"] = across_heart.length / across_thorax.length
    centre = midline(lungs)
    if centre is not None:
        values["heart_side"] = float(heart[:, round(centre) :].sum() / heart.sum())
    return values


def lungs_shape(lungs: np.ndarray) -> dict[str, float]:
    """What the lungs' outlines tell.

    Args:
        lungs: upright mask ``(rows, columns)`` of both lungs, not empty.

    Returns:
        ``lungs_solidity``, the area over that of the convex hull, of the lung that has less; ``lung_ratio``, the area
        of the smaller over that of the larger lung, 0 where one is missing; ``lungs_shape``, height over width of both.
    """
    extent = Extent.of(lungs)
    sides = split_lungs(lungs)
    smaller, larger = sorted(float(side.sum()) for side in sides)
    return {
        "lungs_solidity": min(_solidity(side) for side in sides if side.any()),
        "lung_ratio": smaller / larger,
        "lungs_shape": extent.height / extent.width,
    }


def unreliable(
    values: Mapping[str, float],
    limits: Mapping[str, Sequence[float]],
    expected: Mapping[str, float] | None = None,
) -> dict[str, str]:
    """Which of heart and lungs cannot be as they were drawn, and why.

    Where the lungs are not reliable, nothing is said of the heart's place between them.

    Args:
        values: see :func:`cxr_attn_unet.analysis.quality.features`.
        limits: (least, most) of each feature that hearts and lungs have.
        expected: by structure, the Dice to expect of its mask, 0 to 1, if it is known.

    Returns:
        by structure, the reason in words that follow "not reliable:"; empty if nothing is wrong.
    """
    reasons: dict[str, str] = {}
    for structure in ("lungs", "heart"):
        if not values.get(f"area_{structure}"):
            continue
        reason = _reason(structure, values, _without_place(limits, reasons))
        if not reason and (expected or {}).get(structure, 1.0) < LEAST_DICE[structure]:
            reason = "the network is unsure of it"
        if reason:
            reasons[structure] = reason
    return reasons


def _without_place(limits: Mapping[str, Sequence[float]], reasons: Mapping[str, str]) -> dict[str, Sequence[float]]:
    """The limits that may be applied: those of the heart's place only if the lungs are reliable."""
    applied = {**limits, "kept_heart": (LEAST_KEPT, 1.0), "heart_width": RATIOS}
    if "lungs" not in reasons:
        return applied
    own = ("heart_solidity", "heart_shape", "kept_heart")
    return {name: limit for name, limit in applied.items() if name in own}


def _reason(structure: str, values: Mapping[str, float], limits: Mapping[str, Sequence[float]]) -> str:
    """The first reason why a structure cannot be right; empty if there is none."""
    for name, words in _REASONS[structure].items():
        value = values.get(name)
        if value is None or name not in limits:
            continue
        least, most = limits[name]
        if value < least and words.low:
            return words.low
        if value > most and words.high:
            return words.high
    return ""


def _solidity(mask: np.ndarray) -> float:
    """Area over that of the convex hull; 1 for what is convex."""
    return float(mask.sum() / convex_hull_image(mask).sum())
