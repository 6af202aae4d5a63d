"""Whether a picture is an upright frontal chest radiograph, and whether the masks found in it are plausible.

Three checks, all learnt from training radiographs by ``python -m cxr_attn_unet_dev.tools.fit_quality``. A small copy of
the picture is compared with the mean radiograph in all ways in which it may be turned or inverted. Features that
describe the masks (areas, parts, sides, positions) and the networks' confidence must lie within the limits that good
radiographs keep; what does not is unusual. Heart and lungs must lie within those that hearts and lungs have at all
(:mod:`cxr_attn_unet.analysis.anatomy`); what does not is not reliable, and nothing should be measured on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from PIL import Image
from skimage.measure import label, regionprops

from . import anatomy
from .anatomy import Extent, shrunk

__all__ = [
    "TURNS",
    "Assessment",
    "assess",
    "check",
    "describe",
    "features",
    "implausible",
    "letter_boxed",
    "similarities",
]

SIDE = 32  # of the picture that is compared with the mean radiograph
SMALLEST_PART = 0.1  # of a structure: a component that is counted


@dataclass(frozen=True)
class Assessment:
    """What quality control says of a radiograph.

    Attributes:
        warnings: what is amiss, in words; empty if nothing.
        unreliable: by structure, why nothing should be measured on its mask.
    """

    warnings: list[str]
    unreliable: dict[str, str]


@dataclass(frozen=True)
class _Words:
    """What it means that a feature is below or above its limits; ``{}`` stands for the structure."""

    low: str
    high: str


# by a feature's whole name, or by what comes before the structure's
_WORDS = {
    "confidence": _Words("the network is unsure of the {}", ""),
    "area": _Words("{} unusually small in the picture", "{} unusually large in the picture"),
    "size": _Words("{} unusually small for these lungs", "{} unusually large for these lungs"),
    "row": _Words("{} unusually high for these lungs", "{} unusually low for these lungs"),
    "column": _Words(
        "{} too far to the patient's right: rotated, mirrored or displaced",
        "{} too far to the patient's left: rotated, mirrored or displaced",
    ),
    "cut": _Words("", "lungs cut off at the picture's {}"),
    "lung_ratio": _Words("one lung much smaller than the other", ""),
    "lungs_shape": _Words("lungs unusually low for their width", "lungs unusually narrow for their height"),
    "lungs_parts": _Words("fewer than two lungs found", "lungs in several pieces"),
    "clavicles_parts": _Words("fewer than two clavicles found", "clavicles in several pieces"),
    "ribs_in_lungs": _Words("fewer ribs over the lungs than usual", "more ribs over the lungs than usual"),
    "lungs_solidity": _Words("lungs unusually frayed or notched", ""),
    "heart_width": _Words("heart unusually narrow for the thorax", "heart unusually wide for the thorax"),
    "heart_solidity": _Words("heart with an unusual notch", ""),
    "heart_shape": _Words("heart unusually narrow for its height", "heart unusually flat for its width"),
    "heart_side": _Words(
        "heart too far to the patient's right: rotated, mirrored or displaced",
        "heart too far to the patient's left: rotated, mirrored or displaced",
    ),
    "kept": _Words("{} found in scattered pieces", ""),
}
PLACED_BY_LUNGS = ("heart", "clavicles", "ribs")
UPRIGHT = "upright"
RATIO_WITHHELD = "cardiothoracic ratio withheld"
# how a picture lies that looks upright when turned counter-clockwise by 0, 90, 180 and 270 degrees
TURNS = (
    UPRIGHT,
    "rotated by 90 degrees clockwise",
    "rotated by 180 degrees",
    "rotated by 90 degrees counter-clockwise",
)


def letter_boxed(pixels: np.ndarray, side: int = SIDE) -> np.ndarray:
    """A small copy of the picture, letter-boxed to a square, with its 1st percentile at 0 and its 99th at 1.

    Args:
        pixels: upright radiograph ``(rows, columns)`` on any scale.
        side: of the square in pixels.

    Returns:
        ``(side, side)`` float32 from 0 to 1; NaN beside the picture.
    """
    scale = side / max(pixels.shape)
    height = max(1, round(pixels.shape[0] * scale))
    width = max(1, round(pixels.shape[1] * scale))
    image = Image.fromarray(np.asarray(pixels, np.float32)).resize((width, height), Image.Resampling.BOX)
    grey = np.asarray(image)
    low, high = np.percentile(grey, (1, 99))
    boxed = np.full((side, side), np.nan, np.float32)
    top = (side - height) // 2
    left = (side - width) // 2
    boxed[top : top + height, left : left + width] = np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1)
    return boxed


def similarities(picture: np.ndarray, mean: np.ndarray) -> dict[str, float]:
    """Correlation of a picture with the mean radiograph, as it is and turned by 90, 180 and 270 degrees.

    Args:
        picture: ``(side, side)``, see :func:`letter_boxed`.
        mean: the mean of many.

    Returns:
        -1 to 1, by :data:`TURNS`; that of the inverted picture is the negative.
    """
    return {name: _correlation(np.rot90(picture, turns), mean) for turns, name in enumerate(TURNS)}


def features(
    masks: Mapping[str, np.ndarray], confidences: Mapping[str, float], kept: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Numbers that are alike in good radiographs.

    Args:
        masks: upright masks ``(rows, columns)`` by structure.
        confidences: by structure, 0 to 1, as the network gives them.
        kept: by structure, the share of the mask that postprocessing kept, if it is known.

    Returns:
        by name; those of structures that are not given, or of which nothing was found, are left out.
    """
    values: dict[str, float] = {f"confidence_{name}": value for name, value in confidences.items()}
    small = {name: shrunk(mask) for name, mask in masks.items()}
    for name, mask in small.items():
        values[f"area_{name}"] = float(mask.mean())
    values.update({f"kept_{name}": share for name, share in (kept or {}).items() if values.get(f"area_{name}")})
    if values.get("area_heart"):
        values.update(anatomy.heart_shape(masks["heart"]))
    lungs = small.get("lungs")
    if lungs is None or not lungs.any():
        return values
    values.update(_lung_features(lungs))
    for name in PLACED_BY_LUNGS:
        if name in small and small[name].any():
            values.update(_placed_by_lungs(name, small[name], lungs))
    if "ribs" in small:
        values["ribs_in_lungs"] = float((small["ribs"] & lungs).sum() / lungs.sum())
    if "clavicles" in small:
        values["clavicles_parts"] = float(_parts(small["clavicles"]))
    if values.get("area_heart"):
        # not shrunk, so that a limit of the ratio is one of the ratio that is measured
        values.update(anatomy.heart_place(masks["heart"], masks["lungs"]))
    return values


def _lung_features(lungs: np.ndarray) -> dict[str, float]:
    """Shape, sides and cut borders of the lungs."""
    extent = Extent.of(lungs)
    return anatomy.lungs_shape(lungs) | {
        "lungs_parts": float(_parts(lungs)),
        "cut_top": float(lungs[0].sum()) / extent.width,
        "cut_foot": float(lungs[-1].sum()) / extent.width,
        "cut_left": float(lungs[:, 0].sum()) / extent.height,
        "cut_right": float(lungs[:, -1].sum()) / extent.height,
    }


def _placed_by_lungs(name: str, mask: np.ndarray, lungs: np.ndarray) -> dict[str, float]:
    """Where a structure lies in the box around the lungs, 0 to 1, and its size compared with theirs."""
    extent = Extent.of(lungs)
    row, column = np.argwhere(mask).mean(0)
    return {
        f"row_{name}": float((row - extent.top) / extent.height),
        f"column_{name}": float((column - extent.left) / extent.width),
        f"size_{name}": float(mask.sum() / lungs.sum()),
    }


def check(pixels: np.ndarray, masks: Mapping[str, np.ndarray], confidences: Mapping[str, float]) -> list[str]:
    """The warnings of :func:`assess`."""
    return assess(pixels, masks, confidences).warnings


def assess(
    pixels: np.ndarray,
    masks: Mapping[str, np.ndarray],
    confidences: Mapping[str, float],
    expected: Mapping[str, float] | None = None,
    kept: Mapping[str, float] | None = None,
) -> Assessment:
    """What is amiss with a picture or with the masks found in it.

    Args:
        pixels: upright radiograph ``(rows, columns)``, without frames.
        masks: upright masks by structure, of any resolution over the same field of view.
        confidences: by structure, 0 to 1, as the network gives them.
        expected: by structure, the Dice to expect of its mask, if it is known.
        kept: by structure, the share of the mask that postprocessing kept, if it is known.
    """
    learnt = _learnt()
    similarity = similarities(letter_boxed(pixels), learnt["mean"])
    values = features(masks, confidences, kept)
    warnings = describe(similarity, values, learnt, list(masks))
    picture = _amiss_with_picture(similarity, learnt["similarity"])
    if picture:
        reasons = dict.fromkeys(masks, picture)
    else:
        reasons = anatomy.unreliable(values, learnt["anatomy"], expected)
        warnings = [f"{name} not reliable: {reason}" for name, reason in reasons.items()] + [
            warning for warning in warnings if not _said_by(warning, reasons)
        ]
    measurable = values.get("heart_width") is not None
    if measurable and any(name in reasons for name in ("heart", "lungs")):
        warnings.append(RATIO_WITHHELD)
    return Assessment(warnings, reasons)


def implausible(
    masks: Mapping[str, np.ndarray],
    kept: Mapping[str, float] | None = None,
    expected: Mapping[str, float] | None = None,
) -> dict[str, str]:
    """Which of heart and lungs cannot be as they were drawn, see :func:`cxr_attn_unet.analysis.anatomy.unreliable`.

    Args:
        masks: upright masks ``(rows, columns)`` by structure.
        kept: by structure, the share of the mask that postprocessing kept, if it is known.
        expected: by structure, the Dice to expect of its mask, if it is known.
    """
    return anatomy.unreliable(features(masks, {}, kept), _learnt()["anatomy"], expected)


def _said_by(warning: str, reasons: Mapping[str, str]) -> bool:
    """Whether a warning is about the shape of a structure of which worse is said."""
    return any(warning.startswith(f"{name} unusually") for name in reasons)


def describe(
    similarity: Mapping[str, float], values: Mapping[str, float], learnt: Mapping[str, Any], structures: Sequence[str]
) -> list[str]:
    """The warnings of :func:`check`.

    Args:
        similarity: see :func:`similarities`.
        values: see :func:`features`.
        learnt: ``similarity``, the least that good radiographs have, and ``limits``, (least, most) of each feature.
        structures: those that were looked for.
    """
    picture = _amiss_with_picture(similarity, learnt["similarity"])
    if picture:
        return [picture]
    warnings = [f"no {name} found" for name in structures if not values.get(f"area_{name}")]
    for name, (least, most) in learnt["limits"].items():
        value = values.get(name)
        if value is not None and not least <= value <= most:
            warnings.extend(_outside_limits(name, value, least, most))
    return warnings


def _amiss_with_picture(similarity: Mapping[str, float], least: float) -> str:
    """What is wrong with the picture as a whole, in words; empty if nothing.

    Args:
        similarity: see :func:`similarities`.
        least: that good radiographs have.
    """
    turn = max(similarity, key=lambda name: abs(similarity[name]))
    if abs(similarity[turn]) < least:
        return f"does not look like a frontal chest radiograph (similarity {abs(similarity[turn]):.2f})"
    amiss = []
    if turn != UPRIGHT:
        amiss.append(turn)
    if similarity[turn] < 0:
        amiss.append("inverted, bone is dark")
    return f"looks {' and '.join(amiss)}" if amiss else ""


def _outside_limits(name: str, value: float, least: float, most: float) -> list[str]:
    """The warning of a feature outside its limits; none where an area of nothing is said already."""
    kind, _, structure = name.partition("_")
    if kind == "area" and not value:
        return []
    words = _WORDS.get(name) or _WORDS[kind]
    text = words.low if value < least else words.high
    text = text.format(structure.replace("_", " "))
    if kind in ("confidence", "kept"):  # a number that no table shows
        return [text]
    if name == "heart_width" and not anatomy.RATIOS[0] <= value <= anatomy.RATIOS[1]:
        return [text]  # a ratio that no heart has is not written anywhere
    return [f"{text} ({value:.2f}; usual {least:.2f} to {most:.2f})"]


@cache
def _learnt() -> dict[str, Any]:
    """The limits that good radiographs keep, with their mean from 0 to 1."""
    text = resources.files(__package__).joinpath("quality.json").read_text(encoding="utf-8")
    learnt = json.loads(text)
    return learnt | {"mean": np.array(learnt["mean"], np.float32) / 255}


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's, where both are finite; 0 where one is constant."""
    seen = np.isfinite(first) & np.isfinite(second)
    if seen.sum() < 2 or not first[seen].std() or not second[seen].std():
        return 0.0
    return float(np.corrcoef(first[seen], second[seen])[0, 1])


def _parts(mask: np.ndarray) -> int:
    return sum(region.area >= SMALLEST_PART * mask.sum() for region in regionprops(label(mask, connectivity=2)))
