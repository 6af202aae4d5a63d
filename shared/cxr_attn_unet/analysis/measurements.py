"""What a radiologist measures on a frontal radiograph, from masks.

All functions take upright masks ``(rows, columns)``: head up, the patient's left on the picture's right. Lengths and
areas are in pixels unless a spacing is given; of a detector's own spacing they are at the detector, larger than in the
patient by the magnification (about 1.05 to 1.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from skimage.measure import label, regionprops

__all__ = [
    "AREA",
    "LENGTH",
    "MEASUREMENTS",
    "NO_UNIT",
    "Diameter",
    "Measurement",
    "box_of",
    "clavicle_asymmetry",
    "heart_diameter",
    "measure",
    "midline",
    "split_lungs",
    "thoracic_diameter",
    "withheld",
]

LENGTH = "length"
AREA = "area"
NO_UNIT = "none"


@dataclass(frozen=True)
class Measurement:
    """What is known of a measurement.

    Attributes:
        name: its key in what :func:`measure` returns, and its column in tables.
        label: what people read.
        decimals: digits after the point that are worth showing.
        definition: in a sentence.
        kind: :data:`LENGTH` or :data:`AREA`, which carry the unit that :func:`measure` says, or :data:`NO_UNIT`.
    """

    name: str
    label: str
    decimals: int
    definition: str
    kind: str = NO_UNIT


_ALL = (
    Measurement(
        "cardiothoracic_ratio",
        "CTR",
        3,
        "Greatest horizontal diameter of the heart over that of the thorax",
    ),
    Measurement(
        "heart_diameter",
        "heart diameter",
        0,
        "From the heart's rightmost to its leftmost point, horizontally",
        LENGTH,
    ),
    Measurement(
        "thoracic_diameter",
        "thoracic diameter",
        0,
        "From the right lung's outermost to the left lung's outermost point, horizontally",
        LENGTH,
    ),
    Measurement("heart_area", "heart area", 0, "Area of the heart's silhouette", AREA),
    Measurement("lungs_area", "lung area", 0, "Area of both lung fields", AREA),
    Measurement("right_lung_area", "right lung area", 0, "The patient's right, on the picture's left", AREA),
    Measurement("left_lung_area", "left lung area", 0, "The patient's left, on the picture's right", AREA),
    Measurement("lung_ratio", "left/right lung", 3, "Area of the left over that of the right lung field"),
    Measurement("lung_coverage", "lung coverage", 3, "Share of the picture that the lung fields take up"),
    Measurement(
        "clavicle_asymmetry",
        "clavicle asymmetry",
        3,
        "0: clavicles' medial ends equally far from the midline; -1, 1: one on it",
    ),
)
MEASUREMENTS: dict[str, Measurement] = {measurement.name: measurement for measurement in _ALL}
SMALLEST_PART = 0.1  # of the lungs: a component that counts as a lung
JOINED = 0.8  # width over height from which a component is both lungs; a single one has about 0.5
MIDDLE = (0.3, 0.7)  # of its width: where it is cut
UPPER = (0.1, 0.5)  # of the lungs' height: where their outer borders are the rib cage's
# what is left empty where a structure is not reliable
WITHHELD = {
    "heart": ("cardiothoracic_ratio", "heart_diameter"),
    "lungs": ("cardiothoracic_ratio", "thoracic_diameter"),
}


@dataclass(frozen=True)
class Diameter:
    """A horizontal line on an upright picture: from column ``start`` to column ``stop``, both included.

    Attributes:
        row: its level; the mean of both ends' if they lie on different ones.
        start: the leftmost column.
        stop: the rightmost column.
    """

    row: float
    start: int
    stop: int

    @property
    def length(self) -> int:
        """In columns."""
        return self.stop - self.start + 1


def heart_diameter(heart: np.ndarray) -> Diameter | None:
    """Greatest horizontal extent of the heart: the greatest distances to the right and left of the midline, added.

    Danzer, The cardiothoracic ratio, Am J Med Sci 157 (1919). The two ends usually lie on different levels.

    Args:
        heart: upright mask ``(rows, columns)``.

    Returns:
        ``None`` if the mask is empty.
    """
    return _greatest_extent(heart)


def thoracic_diameter(lungs: np.ndarray) -> Diameter | None:
    """Greatest horizontal extent of the lungs: the thorax's greatest inner diameter, each side where it is widest.

    Danzer (1919) measures between the ribs' inner margins; the lung fields end there. As with the heart, both sides'
    greatest distances to the midline are added: of a patient who leans, or whose diaphragms stand unequally high, the
    two sides are widest on different levels, and no single level shows all of the thorax.

    Args:
        lungs: upright mask ``(rows, columns)`` of both lungs.

    Returns:
        ``None`` if the mask is empty.
    """
    return _greatest_extent(lungs)


def _greatest_extent(mask: np.ndarray) -> Diameter | None:
    """From the leftmost to the rightmost column of a mask; ``None`` if it is empty."""
    columns = np.flatnonzero(mask.any(0))
    if not columns.size:
        return None
    start = int(columns[0])
    stop = int(columns[-1])
    level = (np.flatnonzero(mask[:, start]).mean() + np.flatnonzero(mask[:, stop]).mean()) / 2
    return Diameter(float(level), start, stop)


def midline(lungs: np.ndarray) -> float | None:
    """Column of the thorax's midline: the median of the middle between the lungs' outer borders in their upper half.

    There the borders are the rib cage's; further down, heart and diaphragm make them uneven.

    Args:
        lungs: upright mask ``(rows, columns)`` of both lungs.

    Returns:
        ``None`` if the mask is empty.
    """
    rows, first, last = _borders(lungs)
    if not rows.size:
        return None
    height = rows[-1] - rows[0] + 1
    upper = (rows >= rows[0] + UPPER[0] * height) & (rows <= rows[0] + UPPER[1] * height)
    if not upper.any():
        upper = np.ones_like(upper)
    return float(np.median((first[upper] + last[upper]) / 2))


def split_lungs(lungs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The patient's right and left lung.

    Components go to the side on which their centre lies. One that is both lungs, joined, is cut at the column in its
    middle that has least of it.

    Args:
        lungs: upright mask ``(rows, columns)`` of both lungs.

    Returns:
        right lung (on the picture's left) and left lung, masks ``(rows, columns)``; either may be empty.
    """
    lungs = np.asarray(lungs, bool)
    if not lungs.any():
        return lungs, lungs.copy()
    inside = box_of(lungs)
    right = np.zeros_like(lungs)
    right[inside] = _right_of(lungs[inside], lungs.shape[1] / 2 - inside[1].start)
    return right, lungs & ~right


def box_of(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns that a mask ``(rows, columns)`` reaches that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _right_of(lungs: np.ndarray, middle_of_picture: float) -> np.ndarray:
    """The right lung of a mask ``(rows, columns)`` bool that is not empty; the picture's middle is a column of it."""
    parts, count = label(lungs, connectivity=2, return_num=True)
    pixels = np.stack([np.bincount(column, minlength=count + 1) for column in parts.T], 1)[1:]  # of parts, by column
    areas = pixels.sum(1)
    centres = pixels @ np.arange(lungs.shape[1]) / areas
    order = np.argsort(-areas, kind="stable")
    # of many small pieces, none of which counts as a lung, the largest decides
    large = [part for part in order if areas[part] >= SMALLEST_PART * areas.sum()] or order[:1]
    if len(large) > 1:
        is_right = centres < centres[large[:2]].mean()
        return np.concatenate([[False], is_right])[parts]
    box = box_of(parts == large[0] + 1)
    if _is_single(box):
        # the picture's middle is all there is to say of its side
        return lungs if centres[large[0]] < middle_of_picture else np.zeros_like(lungs)
    right = lungs.copy()
    right[:, _thinnest_column(lungs, box) :] = False
    return right


def _is_single(box: tuple[slice, slice]) -> bool:
    """Whether a box of rows and columns is as narrow as a single lung's."""
    rows, columns = box
    return columns.stop - columns.start < JOINED * (rows.stop - rows.start)


def _thinnest_column(lungs: np.ndarray, box: tuple[slice, slice]) -> int:
    """The column in the middle of a box of rows and columns that has least of the lungs."""
    left, right = box[1].start, box[1].stop
    low = left + round(MIDDLE[0] * (right - left))
    high = left + round(MIDDLE[1] * (right - left))
    filled = lungs[:, low : high + 1].sum(0)
    return low + int(np.median(np.flatnonzero(filled == filled.min())))


def clavicle_asymmetry(clavicles: np.ndarray, lungs: np.ndarray) -> float | None:
    """How unevenly far the medial ends of the clavicles lie from the midline: (right - left) / (right + left).

    In a patient who is not rotated, the medial ends are equally far from the spinous processes; here the midline is
    that between the lungs' outer borders (:func:`midline`). Positive: the right clavicle's end is farther away.

    Args:
        clavicles: upright mask ``(rows, columns)``.
        lungs: upright mask ``(rows, columns)`` of both lungs.

    Returns:
        -1 to 1; ``None`` if a clavicle or the lungs are missing.
    """
    centre = midline(lungs)
    regions = sorted(regionprops(label(clavicles, connectivity=2)), key=lambda region: -region.area)[:2]
    if centre is None or len(regions) < 2:
        return None
    right, left = sorted(regions, key=lambda region: region.centroid[1])
    if not right.centroid[1] < centre < left.centroid[1]:
        return None
    to_right = centre - (right.bbox[3] - 1)
    to_left = left.bbox[1] - centre
    total = abs(to_right) + abs(to_left)
    if not total:
        return 0.0
    return float(np.clip((to_right - to_left) / total, -1, 1))


def measure(
    masks: Mapping[str, np.ndarray], spacing: tuple[float, float] | None = None
) -> dict[str, float | str | None]:
    """All measurements that the given structures allow, by the names in :data:`MEASUREMENTS`.

    Args:
        masks: upright masks ``(rows, columns)`` of one size, by structure: lungs, heart, clavicles, ribs.
        spacing: (row, column) distance of pixels in mm, if known.

    Returns:
        numbers; ``None`` for what cannot be measured. Lengths are in ``length_unit``, mm or px; areas in
        ``area_unit``, mm2 or px.
    """
    row_mm, column_mm = spacing or (1.0, 1.0)
    values: dict[str, float | str | None] = dict.fromkeys(MEASUREMENTS)
    heart = masks.get("heart")
    lungs = masks.get("lungs")
    clavicles = masks.get("clavicles")
    across_heart = None if heart is None else heart_diameter(heart)
    across_thorax = None if lungs is None else thoracic_diameter(lungs)
    if heart is not None and across_heart is not None:
        values["heart_diameter"] = across_heart.length * column_mm
        values["heart_area"] = float(np.count_nonzero(heart)) * row_mm * column_mm
    if lungs is not None and across_thorax is not None:
        values["thoracic_diameter"] = across_thorax.length * column_mm
        values.update(_lung_areas(lungs, row_mm * column_mm))
    if across_heart is not None and across_thorax is not None:
        values["cardiothoracic_ratio"] = across_heart.length / across_thorax.length
    if clavicles is not None and lungs is not None:
        values["clavicle_asymmetry"] = clavicle_asymmetry(clavicles, lungs)
    values["length_unit"] = "mm" if spacing else "px"
    values["area_unit"] = "mm2" if spacing else "px"
    return values


def withheld(values: Mapping[str, float | str | None], unreliable: Iterable[str]) -> dict[str, float | str | None]:
    """Measurements without the cardiothoracic ratio and its diameters where heart or lungs are not reliable.

    Areas stay: they are those of the mask, right or wrong.

    Args:
        values: see :func:`measure`.
        unreliable: structures whose masks are not reliable, see :func:`cxr_attn_unet.analysis.quality.assess`.
    """
    left = dict(values)
    for structure in unreliable:
        for name in WITHHELD.get(structure, ()):
            left[name] = None
    return left


def _lung_areas(lungs: np.ndarray, area: float) -> dict[str, float | None]:
    """Measurements of the lungs' areas; ``area`` is that of a pixel."""
    right, left = (float(np.count_nonzero(lung)) for lung in split_lungs(lungs))
    return {
        "right_lung_area": right * area,
        "left_lung_area": left * area,
        "lungs_area": (right + left) * area,
        "lung_ratio": left / right if right and left else None,
        "lung_coverage": (right + left) / lungs.size,
    }


def _borders(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that have something of a mask, and the first and last column of it there."""
    mask = np.asarray(mask, bool)
    rows = np.flatnonzero(mask.any(1))
    inside = mask[rows]
    return rows, inside.argmax(1), mask.shape[1] - 1 - inside[:, ::-1].argmax(1)
