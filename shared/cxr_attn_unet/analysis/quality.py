"""Whether a picture is an upright frontal chest radiograph, and whether the masks found in it are plausible.

Two looks, both learnt from training radiographs by ``python -m cxr_attn_unet_dev.tools.fit_quality``: the picture,
small, is compared with the mean radiograph in all ways in which it may be turned, mirrored or inverted; and numbers
that describe the masks (areas, parts, sides, positions) and the networks' confidence must lie within the limits that
good radiographs keep.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from PIL import Image
from skimage.measure import label, regionprops

from .measurements import split_lungs, thoracic_diameter

__all__ = ["check", "describe", "features", "likenesses", "small"]

SIDE = 32  # of the picture that is compared with the mean radiograph
MASK_SIDE = 256
SMALLEST_PART = 0.1  # of a structure: a component that is counted
# what it means that a feature is below or above its limits; by its whole name or by what comes before the structure's
_WORDS = {
    "confidence": ("the network is unsure of the {}", ""),
    "area": ("{} unusually small in the picture", "{} unusually large in the picture"),
    "size": ("{} unusually small for these lungs", "{} unusually large for these lungs"),
    "row": ("{} unusually high for these lungs", "{} unusually low for these lungs"),
    "column": (
        "{} too far to the patient's right: rotated, mirrored or displaced",
        "{} too far to the patient's left: rotated, mirrored or displaced",
    ),
    "cut": ("", "lungs cut off at the picture's {}"),
    "lung_ratio": ("one lung much smaller than the other", ""),
    "lungs_shape": ("lungs unusually low for their width", "lungs unusually narrow for their height"),
    "lungs_parts": ("fewer than two lungs found", "lungs in several pieces"),
    "clavicles_parts": ("fewer than two clavicles found", "clavicles in several pieces"),
    "ribs_in_lungs": ("fewer ribs over the lungs than usual", "more ribs over the lungs than usual"),
    "heart_width": ("heart unusually narrow for the thorax", "heart unusually wide for the thorax"),
}
# how a picture lies that looks upright when turned counter-clockwise by 0, 90, 180 and 270 degrees
TURNS = (
    "upright",
    "rotated by 90 degrees clockwise",
    "rotated by 180 degrees",
    "rotated by 90 degrees counter-clockwise",
)


def small(pixels: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The picture letter-boxed to a square ``(side, side)``, grey between its 1st and 99th percentile, 0 to 1.

    Args:
        pixels: upright radiograph ``(rows, columns)`` on any scale.
        side: of the square in pixels.
    """
    scale = side / max(pixels.shape)
    width, height = (max(1, round(length * scale)) for length in reversed(pixels.shape))
    image = Image.fromarray(np.asarray(pixels, np.float32)).resize((width, height), Image.Resampling.BOX)
    grey = np.asarray(image)
    low, high = np.percentile(grey, (1, 99))
    boxed = np.full((side, side), np.nan, np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    boxed[top : top + height, left : left + width] = np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1)
    return boxed


def likenesses(picture: np.ndarray, mean: np.ndarray) -> dict[str, float]:
    """Correlation of a picture with the mean radiograph, as it is and turned by 90, 180 and 270 degrees.

    Args:
        picture: ``(side, side)``, see :func:`small`.
        mean: the mean of many.

    Returns:
        -1 to 1, by :data:`TURNS`; that of the inverted picture is the negative.
    """
    return {name: _correlation(np.rot90(picture, turns), mean) for turns, name in enumerate(TURNS)}


def features(pixels: np.ndarray, masks: Mapping[str, np.ndarray], confidences: Mapping[str, float]) -> dict[str, float]:
    """Numbers that are alike in good radiographs.

    Args:
        pixels: upright radiograph ``(rows, columns)``.
        masks: upright masks ``(rows, columns)`` by structure.
        confidences: by structure, 0 to 1.

    Returns:
        by name; those of structures that are not given, or of which nothing was found, are left out.
    """
    values: dict[str, float] = {f"confidence_{name}": value for name, value in confidences.items()}
    masks = {name: _shrunk(mask) for name, mask in masks.items()}
    for name, mask in masks.items():
        values[f"area_{name}"] = float(mask.mean())
    lungs = masks.get("lungs")
    if lungs is None or not lungs.any():
        return values
    rows, columns = np.flatnonzero(lungs.any(1)), np.flatnonzero(lungs.any(0))
    top, height = rows[0], rows[-1] - rows[0] + 1
    left, width = columns[0], columns[-1] - columns[0] + 1
    right_lung, left_lung = split_lungs(lungs)
    areas = sorted((float(right_lung.sum()), float(left_lung.sum())))
    values["lung_ratio"] = areas[0] / areas[1]
    values["lungs_shape"] = height / width
    values["lungs_parts"] = float(_parts(lungs))
    edges = {"top": lungs[0], "foot": lungs[-1], "left": lungs[:, 0], "right": lungs[:, -1]}
    for name, edge in edges.items():
        values[f"cut_{name}"] = float(edge.sum()) / (width if name in ("top", "foot") else height)
    for name in ("heart", "clavicles", "ribs"):
        mask = masks.get(name)
        if mask is None or not mask.any():
            continue
        at = np.argwhere(mask).mean(0)
        values[f"row_{name}"] = (at[0] - top) / height
        values[f"column_{name}"] = (at[1] - left) / width
        values[f"size_{name}"] = float(mask.sum() / lungs.sum())
    if "ribs" in masks:
        values["ribs_in_lungs"] = float((masks["ribs"] & lungs).sum() / lungs.sum())
    if "clavicles" in masks:
        values["clavicles_parts"] = float(_parts(masks["clavicles"]))
    heart, thorax = masks.get("heart"), thoracic_diameter(lungs)
    if heart is not None and heart.any() and thorax:
        across = np.flatnonzero(heart.any(0))
        values["heart_width"] = float((across[-1] - across[0] + 1) / thorax.length)
    return values


def check(pixels: np.ndarray, masks: Mapping[str, np.ndarray], confidences: Mapping[str, float]) -> list[str]:
    """What is amiss with a picture or with the masks found in it, in words; empty if nothing.

    Arguments as of :func:`features`.
    """
    learnt = _learnt()
    return describe(
        likenesses(small(pixels), learnt["mean"]), features(pixels, masks, confidences), learnt, list(masks)
    )


def describe(
    likeness: Mapping[str, float], values: Mapping[str, float], learnt: Mapping[str, Any], structures: Sequence[str]
) -> list[str]:
    """The warnings of :func:`check`.

    Args:
        likeness: see :func:`likenesses`.
        values: see :func:`features`.
        learnt: ``likeness``, the least that good radiographs have, and ``limits``, (least, most) of each feature.
        structures: those that were looked for.
    """
    turn = max(likeness, key=lambda name: abs(likeness[name]))
    inverted = likeness[turn] < 0
    if abs(likeness[turn]) < learnt["likeness"]:
        return [f"does not look like a frontal chest radiograph (likeness {abs(likeness[turn]):.2f})"]
    amiss = [*([turn] if turn != TURNS[0] else []), *(["inverted, bone is dark"] if inverted else [])]
    if amiss:
        return [f"looks {' and '.join(amiss)}"]
    warnings = [f"no {name} found" for name in structures if not values.get(f"area_{name}")]
    for name, (least, most) in learnt["limits"].items():
        value = values.get(name)
        if value is None or least <= value <= most:
            continue
        kind, _, structure = name.partition("_")
        if kind == "area" and not value:
            continue  # said above
        low, high = _WORDS.get(name) or _WORDS[kind]
        text = (low if value < least else high).format(structure.replace("_", " "))
        warnings.append(f"{text} ({value:.2f}; usual {least:.2f} to {most:.2f})")
    return warnings


@cache
def _learnt() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("quality.json").read_text(encoding="utf-8")
    learnt = json.loads(text)
    return learnt | {"mean": np.array(learnt["mean"], np.float32) / 255}


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    seen = np.isfinite(first) & np.isfinite(second)
    if seen.sum() < 2 or not first[seen].std() or not second[seen].std():
        return 0.0
    return float(np.corrcoef(first[seen], second[seen])[0, 1])


def _shrunk(mask: np.ndarray) -> np.ndarray:
    step = max(1, -(-max(mask.shape) // MASK_SIDE))
    return mask[::step, ::step]


def _parts(mask: np.ndarray) -> int:
    return sum(region.area >= SMALLEST_PART * mask.sum() for region in regionprops(label(mask, connectivity=2)))
