"""Parts of structures: masks of single ribs and of sides, how many there are, and whether ribs are numbered right.

Masks that are counted and compared are upright ``(rows, columns)``: head up, the patient's left on the picture's right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage
from skimage.measure import label

from ..io import right_and_left
from ..structures import LEFT, RIGHT, Code, Part, parts_of
from ..transforms import without_small_pieces
from .measurements import AREA, Measurement

__all__ = [
    "PART_MEASUREMENTS",
    "SURE",
    "UNCERTAIN",
    "PartMasks",
    "count_ribs",
    "divided",
    "is_pair",
    "measure_parts",
    "numbering_doubts",
    "sides_by_place",
    "without_specks",
]

SURE = "sure"
UNCERTAIN = "uncertain"
SIDES = (RIGHT, LEFT)
RIBS = "ribs"
COUNT = "count"
TEXT = "text"

# by structure, what is measured of its parts beyond the measurements of whole structures
PART_MEASUREMENTS: dict[str, tuple[Measurement, ...]] = {
    RIBS: (
        Measurement("ribs_right", "right ribs", 0, "Right ribs of which something was found", COUNT),
        Measurement("ribs_left", "left ribs", 0, "Left ribs of which something was found", COUNT),
        Measurement("ribs_numbering", "rib numbers", 0, "Whether the ribs' numbers are sure or uncertain", TEXT),
    ),
    "clavicles": (
        Measurement("right_clavicle_area", "right clavicle area", 0, "The patient's right", AREA),
        Measurement("left_clavicle_area", "left clavicle area", 0, "The patient's left", AREA),
    ),
}

# below this many pixels a piece is noise of the border, whatever the size of the part
SMALLEST_PIECE = 8
# of a part: smaller pieces that are not connected with it are specks; pieces that a heart or a tube cuts off are larger
SPECK = 0.02
# of the union: the rest belongs to no rib; borders alone leave up to a tenth, a rib more or less than that a twentieth
MOST_UNASSIGNED = 0.2
# the topmost rib of a chest that is seen whole is the first; the second where clavicle and first rib lie on each other
HIGHEST_NUMBER = 2
# of the picture's height: where a rib that is not the first reaches that close to its top, the first are outside
TOP_EDGE = 0.01
# of a rib's pixels: those nearest to the spine, its posterior end, which sits at a vertebra at the same height on both
# sides; the rest of a rib may be hidden on one side, by the heart or the diaphragm
POSTERIOR = 0.1
# of the distance of neighbouring ribs; by true masks of 75 projections the sides differ by .28 at most, and where one
# side is counted from the second rib by .61 at least
MOST_UNEVEN = 0.45
# of that distance: by so much the centre of a rib, of which a part is hidden, may lie above that of the rib before it
OUT_OF_ORDER = 0.25
# mean probability of the pixels of ribs: networks that hesitate between two numbers give each about a half; of the
# validation projections, those with all numbers right have .80 to .88, those with wrong ones .77 to .79 (one .83)
LEAST_PROBABILITY = 0.8
# numbers that both sides have, by which the spine is found
FEWEST_PAIRS = 2


@dataclass(frozen=True)
class _Piece:
    """What is not empty of a mask: from which row and column on, and the pixels of that box."""

    top: int
    left: int
    pixels: np.ndarray


class PartMasks(Mapping[str, np.ndarray]):
    """Masks of parts by name; only the box around each is kept, for two dozen whole masks would take gigabytes.

    Each mask that is asked for is made: ``(rows, columns)`` bool over the file's own pixels, as stored.

    Args:
        size: (rows, columns) of the masks.
        factor: by which masks are enlarged that were found in a reduced picture.
    """

    def __init__(self, size: tuple[int, int], factor: int = 1) -> None:
        self.size = size
        self._factor = factor
        self._pieces: dict[str, _Piece | None] = {}

    def add(self, name: str, mask: np.ndarray) -> None:
        """Keep the mask ``(rows, columns)`` of a part, over the reduced pixels."""
        rows = np.flatnonzero(mask.any(1))
        columns = np.flatnonzero(mask.any(0))
        if not rows.size:
            self._pieces[name] = None
            return
        top, foot = int(rows[0]), int(rows[-1]) + 1
        left, right = int(columns[0]), int(columns[-1]) + 1
        self._pieces[name] = _Piece(top, left, mask[top:foot, left:right].copy())

    def __getitem__(self, name: str) -> np.ndarray:
        """The whole mask of a part."""
        piece = self._pieces[name]
        mask = np.zeros(self.size, bool)
        if piece is None:
            return mask
        pixels = piece.pixels.repeat(self._factor, 0).repeat(self._factor, 1)
        top = piece.top * self._factor
        left = piece.left * self._factor
        # the last pixels of a reduced picture may reach beyond the file's
        inside = mask[top : top + pixels.shape[0], left : left + pixels.shape[1]]
        inside[:] = pixels[: inside.shape[0], : inside.shape[1]]
        return mask

    def __iter__(self) -> Iterator[str]:
        """The names, in the order of the network's channels."""
        return iter(self._pieces)

    def __len__(self) -> int:
        """The number of parts, found or not."""
        return len(self._pieces)

    @property
    def found(self) -> list[str]:
        """The names of the parts of which there is something."""
        return [name for name, piece in self._pieces.items() if piece is not None]


def is_pair(parts: Sequence[Part]) -> bool:
    """Whether parts are the right and the left one of an organ, between which every pixel of it is divided."""
    return len(parts) == 2 and {part.side for part in parts} == set(SIDES) and not any(part.number for part in parts)


def without_specks(mask: np.ndarray) -> np.ndarray:
    """A mask without its small pieces.

    Args:
        mask: of a part, ``(rows, columns)`` bool.

    Returns:
        ``(rows, columns)`` bool without the pieces of less than :data:`SMALLEST_PIECE` pixels or :data:`SPECK` of it;
        the mask itself if there are none.
    """
    return without_small_pieces(mask, SPECK, SMALLEST_PIECE)


def sides_by_place(mask: np.ndarray) -> np.ndarray:
    """The pixels of a picture, each to the nearer one of two organs that come as a pair.

    Where there is one piece only, or both run together, the middle of the picture divides them.

    Args:
        mask: of both, upright, ``(rows, columns)`` bool.

    Returns:
        ``(2, rows, columns)`` bool: the patient's right side, then the left one.
    """
    pair = right_and_left(mask)
    if pair is None:
        is_right = np.broadcast_to(np.arange(mask.shape[1]) < mask.shape[1] / 2, mask.shape)
    else:
        to_right, to_left = (ndimage.distance_transform_edt(~one) for one in pair)
        is_right = to_right <= to_left
    return np.stack([is_right, ~is_right])


def divided(first: np.ndarray, second: np.ndarray, union: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of an organ that comes in pairs, each to the side that is more probable.

    A speck of one side within the other, see :func:`without_specks`, goes to the other.

    Args:
        first: probabilities of a side, ``(rows, columns)``.
        second: those of the other.
        union: mask ``(rows, columns)`` of the organ.

    Returns:
        masks ``(rows, columns)`` of both sides, which add up to the union.
    """
    mine = union & (first >= second)
    mine = _moved_specks(mine, union & ~mine)
    theirs = _moved_specks(union & ~mine, mine)
    return union & ~theirs, theirs


def _moved_specks(mask: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A mask without its specks that touch the other."""
    specks = mask & ~without_specks(mask)
    if not specks.any():
        return mask
    pieces, count = label(specks, connectivity=2, return_num=True)
    touching = np.zeros(count + 1, bool)
    touching[np.unique(pieces[ndimage.binary_dilation(other)])] = True
    touching[0] = False
    return mask & ~touching[pieces]


def count_ribs(found: Sequence[str]) -> dict[str, int]:
    """``{"ribs_right": number, "ribs_left": number}`` of the ribs that were found.

    Args:
        found: their names, such as ``R7``.
    """
    ribs = [part for part in parts_of(RIBS) if part.name in found]
    return {f"ribs_{side.meaning.lower()}": sum(rib.side == side for rib in ribs) for side in SIDES}


def measure_parts(
    parts: Mapping[str, PartMasks], doubts: Sequence[str] = (), spacing: tuple[float, float] | None = None
) -> dict[str, float | str | None]:
    """What is measured of parts: see :data:`PART_MEASUREMENTS`; and the areas of both lungs, by their own masks.

    Args:
        parts: by structure.
        doubts: about the ribs' numbers, see :func:`numbering_doubts`.
        spacing: (row, column) distance of pixels in mm, if known; without it, areas are in pixels.
    """
    values: dict[str, float | str | None] = {}
    row_mm, column_mm = spacing or (1.0, 1.0)
    for structure, masks in parts.items():
        if structure == RIBS:
            values.update(count_ribs(masks.found))
            values["ribs_numbering"] = _numbering(masks.found, doubts)
        elif is_pair(parts_of(structure)):
            for name, mask in masks.items():
                values[f"{name}_area"] = float(np.count_nonzero(mask)) * row_mm * column_mm
    if "lungs" in parts:
        right = values["right_lung_area"]
        left = values["left_lung_area"]
        values["lung_ratio"] = left / right if right and left else None  # type: ignore[operator]
    return values


def _numbering(found: Sequence[str], doubts: Sequence[str]) -> str | None:
    if not found:
        return None
    return UNCERTAIN if doubts else SURE


@dataclass(frozen=True)
class _Rib:
    """Where a rib lies on an upright picture.

    Attributes:
        part: which one it is.
        row: of its centre.
        end_row: of its posterior end.
        end_column: of its posterior end.
        top: its first row.
        pixels: their number.
    """

    part: Part
    row: float
    end_row: float
    end_column: float
    top: int
    pixels: int


def numbering_doubts(
    ribs: Mapping[str, np.ndarray], union: np.ndarray, probabilities: Mapping[str, float]
) -> list[str]:
    """Why the numbers of ribs are uncertain.

    Args:
        ribs: upright masks ``(rows, columns)`` of the ribs that were found, by name.
        union: upright mask ``(rows, columns)`` of all ribs.
        probabilities: of each rib, the mean over its pixels, 0 to 1.

    Returns:
        reasons in words; empty where there is none, or no rib.
    """
    places = [_place(part, ribs[part.name]) for part in parts_of(RIBS) if part.name in ribs and ribs[part.name].any()]
    if not places:
        return []
    doubts = []
    for side in SIDES:
        doubts.extend(_doubts_of_side(side, [rib for rib in places if rib.part.side == side], union.shape[0]))
    doubts.extend(_uneven_sides(places))
    doubts.extend(_unassigned(ribs, union))
    doubts.extend(_improbable(places, probabilities))
    return doubts


def _place(part: Part, mask: np.ndarray) -> _Rib:
    rows, columns = np.nonzero(mask)
    # the patient's left is on the picture's right: there, the spine is where columns are low
    from_spine = columns if part.side == LEFT else -columns
    end = from_spine <= np.quantile(from_spine, POSTERIOR)
    return _Rib(
        part,
        row=float(rows.mean()),
        end_row=float(rows[end].mean()),
        end_column=float(columns[end].mean()),
        top=int(rows[0]),
        pixels=len(rows),
    )


def _doubts_of_side(side: Code, ribs: Sequence[_Rib], rows: int) -> list[str]:
    """Doubts about the ribs of a side, which are in the order of their numbers, in a picture of so many rows."""
    name = side.meaning.lower()
    if not ribs:
        return [f"no {name} rib was found"]
    doubts = []
    numbers = [rib.part.number for rib in ribs]
    missing = sorted(set(range(numbers[0], numbers[-1])).difference(numbers))
    if missing:
        doubts.append(f"{name} rib {_listed(missing)} missing between others")
    steps = [lower.row - upper.row for upper, lower in pairwise(ribs)]
    if steps and min(steps) < -OUT_OF_ORDER * float(np.median(np.abs(steps))):
        doubts.append(f"{name} ribs are not in the order of their numbers")
    if numbers[0] > HIGHEST_NUMBER:
        doubts.append(f"the topmost {name} rib found is number {numbers[0]}")
    if numbers[0] > 1 and min(rib.top for rib in ribs) < TOP_EDGE * rows:
        doubts.append(f"the first {name} ribs may lie outside the picture")
    return doubts


def _listed(numbers: Sequence[int]) -> str:
    return " and ".join(str(number) for number in numbers)


def _uneven_sides(ribs: Sequence[_Rib]) -> list[str]:
    """A doubt where right and left ribs of a number leave the spine on other levels; the chest may lean."""
    right = {rib.part.number: rib for rib in ribs if rib.part.side == RIGHT}
    left = {rib.part.number: rib for rib in ribs if rib.part.side == LEFT}
    both = sorted(right.keys() & left.keys())
    if len(both) < FEWEST_PAIRS:
        return []
    middle_rows = np.array([(right[number].end_row + left[number].end_row) / 2 for number in both])
    middle_columns = np.array([(right[number].end_column + left[number].end_column) / 2 for number in both])
    if not np.ptp(middle_rows):
        return []
    # the spine runs through the middle between both ribs of a number: columns per row
    slope = float(np.polyfit(middle_rows, middle_columns, 1)[0])
    levels = [_levels(side, slope) for side in (right, left)]
    distance = _rib_distance(levels)
    differences = [levels[0][number] - levels[1][number] for number in both]
    if distance and abs(float(np.median(differences))) > MOST_UNEVEN * distance:
        return ["right and left ribs of a number leave the spine on different levels"]
    return []


def _levels(ribs: Mapping[int, _Rib], slope: float) -> dict[int, float]:
    """How far down the spine each rib leaves it, by number; the spine moves ``slope`` columns per row."""
    length = float(np.hypot(1, slope))
    return {number: (rib.end_row + slope * rib.end_column) / length for number, rib in ribs.items()}


def _rib_distance(levels: Sequence[Mapping[int, float]]) -> float:
    """Median distance of neighbouring ribs along the spine; 0 where there are no neighbours."""
    distances = []
    for side in levels:
        for upper, lower in pairwise(sorted(side)):
            distances.append(abs(side[lower] - side[upper]) / (lower - upper))
    return float(np.median(distances)) if distances else 0.0


def _unassigned(ribs: Mapping[str, np.ndarray], union: np.ndarray) -> list[str]:
    total = np.count_nonzero(union)
    if not total:
        return []
    assigned = np.zeros_like(union)
    for mask in ribs.values():
        assigned |= mask
    share = 1 - np.count_nonzero(assigned & union) / total
    if share > MOST_UNASSIGNED:
        return [f"{share:.0%} of the ribs have no number"]
    return []


def _improbable(ribs: Sequence[_Rib], probabilities: Mapping[str, float]) -> list[str]:
    pixels = [rib.pixels for rib in ribs]
    mean = float(np.average([probabilities[rib.part.name] for rib in ribs], weights=pixels))
    if mean < LEAST_PROBABILITY:
        return [f"their mean probability is {mean:.2f}"]
    return []
