"""One number for each posterior rib, from what a network says of its pixels and of the ribs above, below and opposite.

A network that was trained on projections may give one real rib two numbers. Between spine and the middle of the lung
the posterior ribs lie one below the other, like the rungs of a ladder. They are followed there from column to column;
then the numbers are chosen that grow downwards, one by one, and that the network finds most probable on both sides
(dynamic programming over the ribs of a side).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["NUMBERS", "Numbering", "Rib", "Side", "followed", "numbered", "sides_of", "with_one_number_each"]

NUMBERS = 12
LEAST = 0.02  # added to probabilities, so that one pixel cannot rule out a number
LIMIT = 0.5  # of the probability of a rib
LEAST_CERTAIN = -0.55  # mean logarithm of the numbers' probabilities
MOST_CHANGED = 0.03  # share of a side's pixels that get another number
HIGHEST_CORRECTED = 4  # the posterior ends of the first three lie under the clavicles and the first ribs' front

# of the width from the spine to the lateral border of the ribs
FOLLOWED = 0.55
PROLONGED = 0.65  # further out ribs are seen from the side, and lie on each other
REFERENCE = 0.4  # where the level of a rib is told
SHORTEST_PIECE = 0.08
SHORTEST = 0.18
LONGEST_GAP = 0.3

# of the usual height of a stripe
HEIGHTS = (0.35, 1.7)  # others are borders, or two ribs that cross
OFFSET = 0.6  # between two pieces of one rib, prolonged to the middle of the gap between them
FEWEST_STRIPES = 4  # in a column that shows ribs
FEWEST_RIBS = 4  # of a side, to be numbered
STEEPEST_RISE = -0.45  # rows a column, away from the spine: what rises more is an anterior rib
BEND = 0.5  # most between the slopes of two pieces of one rib
END = 25  # columns of a piece that tell its slope, of the some 130 from the spine to the side
FEWEST_COLUMNS = 6  # of a piece

# costs, in the natural logarithm of a probability
SAME_NUMBER = 3.0  # two pieces of one rib that were not joined
SAME_NUMBER_APART = 12.0
WIDE_GAP = 0.8
SKIPPED = 3.0
SKIPPED_AT_ALL = 0.5
LEFT_OUT = 6.0
OPPOSITE = 0.5  # weight of the rib on the other side at the same level
SAME_LEVEL = 0.33  # of the distance between ribs
MOST_SHIFT = 0.45  # of the distance between ribs, by which one side lies higher than the other
SHIFT_COST = 0.12


@dataclass(frozen=True)
class Rib:
    """A posterior rib between spine and the middle of the lung, the spine at column 0.

    Attributes:
        stripes: first row and row after the last one, by column.
        level: row at the reference column.
        beyond: how it goes on to the side, like ``stripes``.
    """

    stripes: dict[int, tuple[int, int]]
    level: float
    beyond: dict[int, tuple[int, int]]

    def mask(self, shape: tuple[int, ...], prolonged: bool = False) -> np.ndarray:
        """Its pixels, ``(rows, columns)`` bool; also how it goes on to the side, if asked for."""
        mask = np.zeros(shape, bool)
        for column, (first, end) in {**self.stripes, **(self.beyond if prolonged else {})}.items():
            mask[first:end, column] = True
        return mask


@dataclass(frozen=True)
class Side:
    """Views of one side of a chest, mirrored where needed so that the spine is at column 0.

    Attributes:
        region: where this side is the more probable one, ``(rows, columns)`` bool.
        parts: probabilities of its numbers, ``(12, rows, columns)``.
        ribs: its posterior ribs, from the top.
        outwards: index that mirrors arrays ``(..., rows, columns)`` in the same way.
        numbers: index of its numbers among the parts of both sides.
    """

    region: np.ndarray
    parts: np.ndarray
    ribs: list[Rib]
    outwards: tuple
    numbers: slice


def sides_of(parts: np.ndarray, mask: np.ndarray) -> tuple[Side, Side]:
    """The right and the left side of a chest.

    Args:
        parts: probabilities of R1 to R12 and L1 to L12, upright, ``(24, rows, columns)``.
        mask: of all ribs, ``(rows, columns)`` bool.
    """
    right, left = slice(0, NUMBERS), slice(NUMBERS, None)
    is_right = parts[right].sum(0) > parts[left].sum(0)
    sides = []
    for numbers, region in ((right, is_right), (left, ~is_right)):
        # the patient's right is on the picture's left
        outwards = np.s_[..., ::-1] if numbers is right else np.s_[..., :]
        ribs = followed((mask & region)[outwards])
        sides.append(Side(region[outwards], parts[numbers][outwards], ribs, outwards, numbers))
    return sides[0], sides[1]


@dataclass(frozen=True)
class Numbering:
    """Ribs with one number for each posterior rib.

    Attributes:
        parts: probabilities of R1 to R12 and L1 to L12, ``(24, rows, columns)``.
        doubts: why numbers are uncertain, in words; empty where there is no reason.
    """

    parts: np.ndarray
    doubts: tuple[str, ...]


def with_one_number_each(parts: np.ndarray, any_rib: np.ndarray) -> Numbering:
    """Single ribs of which each posterior one from the fourth on has one number.

    In its pixels, the probability of that number is the highest of its own and its neighbours', which are 0 there.

    Args:
        parts: probabilities of R1 to R12 and L1 to L12, upright, ``(24, rows, columns)``.
        any_rib: probability of any rib, ``(rows, columns)``.
    """
    mask = any_rib >= LIMIT
    changed = parts.copy()
    doubts = []
    right, left = sides_of(parts, mask)
    for name, side, other in (("right", right, left), ("left", left, right)):
        numbers, certainty = numbered(side.ribs, side.parts, other.ribs, other.parts)
        own = changed[side.numbers][side.outwards]  # a view
        for rib, number in zip(side.ribs, numbers, strict=False):
            if number is None or number < HIGHEST_CORRECTED:
                continue
            pixels = rib.mask(mask.shape, prolonged=True)
            close = slice(number - 2, number + 1)
            highest = own[close].max(0)[pixels]
            own[close, pixels] = 0
            own[number - 1, pixels] = highest
        seen = side.region & mask[side.outwards]
        other_number = own.argmax(0)[seen] != side.parts.argmax(0)[seen]
        if not numbers:
            doubts.append(f"too few {name} ribs are seen behind the lung to be counted")
        elif certainty < LEAST_CERTAIN or other_number.mean() > MOST_CHANGED:
            doubts.append(f"the {name} ribs fit no sequence of numbers well")
    return Numbering(changed, tuple(doubts))


def followed(shadow: np.ndarray) -> list[Rib]:
    """The posterior ribs of a side, from the top.

    Args:
        shadow: ``(rows, columns)`` bool of all ribs of the side, upright, the spine at column 0.
    """
    all_stripes = {column: _stripes(shadow[:, column]) for column in range(shadow.shape[1])}
    with_ribs = [column for column, stripes in all_stripes.items() if len(stripes) >= FEWEST_STRIPES]
    if len(with_ribs) < END:
        return []
    start = with_ribs[0]
    width = float(np.quantile(np.nonzero(shadow)[1], 0.995)) - start
    end = int(start + FOLLOWED * width)
    stripes = {column: all_stripes[column] for column in range(start, end)}
    height = float(np.median([last - first for column in stripes.values() for first, last in column]))
    pieces = _pieces(stripes, height)
    pieces = [piece for piece in pieces if len(piece) >= max(FEWEST_COLUMNS, SHORTEST_PIECE * (end - start))]
    ribs = []
    for piece in _joined(pieces, height, LONGEST_GAP * (end - start)):
        line = _line(piece)
        if len(piece) >= SHORTEST * (end - start) and line[0] >= STEEPEST_RISE:
            beyond = _beyond(piece, shadow, int(start + PROLONGED * width))
            ribs.append(Rib(piece, float(np.polyval(line, start + REFERENCE * (end - start))), beyond))
    return sorted(ribs, key=lambda rib: rib.level)


def _stripes(column: np.ndarray) -> list[tuple[int, int]]:
    """First row and row after the last one of each run of ``True``."""
    steps = np.diff(np.concatenate([[0], column.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True))


def _pieces(stripes: dict[int, list[tuple[int, int]]], height: float) -> list[dict[int, tuple[int, int]]]:
    """Stripes of neighbouring columns that overlap, as far as they do not part or meet."""
    open_pieces: list[dict[int, tuple[int, int]]] = []
    pieces = []
    for column, there in stripes.items():
        usual = [one for one in there if HEIGHTS[0] * height <= one[1] - one[0] <= HEIGHTS[1] * height]
        going_on = []
        taken = set()
        for piece in open_pieces:
            nexts = [one for one in usual if _overlap(piece[column - 1], one)]
            if len(nexts) == 1 and nexts[0] not in taken:
                piece[column] = nexts[0]
                taken.add(nexts[0])
                going_on.append(piece)
            else:
                pieces.append(piece)
        going_on += [{column: one} for one in usual if one not in taken]
        open_pieces = going_on
    return pieces + open_pieces


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    common = min(one[1], other[1]) - max(one[0], other[0])
    return common > 0.5 * min(one[1] - one[0], other[1] - other[0])


def _middles(piece: dict[int, tuple[int, int]], columns: list[int]) -> np.ndarray:
    return np.array([(piece[column][0] + piece[column][1]) / 2 for column in columns])


def _line(piece: dict[int, tuple[int, int]], columns: list[int] | None = None) -> np.ndarray:
    """Slope and offset of the line through a piece, or some columns of it."""
    columns = sorted(piece) if columns is None else columns
    return np.polyfit(columns, _middles(piece, columns), 1)


def _joined(
    pieces: list[dict[int, tuple[int, int]]], height: float, longest_gap: float
) -> list[dict[int, tuple[int, int]]]:
    """Pieces of which one prolongs the other in one, the longest first."""
    ribs: list[dict[int, tuple[int, int]]] = []
    for piece in sorted(pieces, key=len, reverse=True):
        for rib in ribs:
            if _prolongs(piece, rib, height, longest_gap):
                rib.update(piece)
                break
        else:
            ribs.append(dict(piece))
    return ribs


def _prolongs(
    piece: dict[int, tuple[int, int]], rib: dict[int, tuple[int, int]], height: float, longest_gap: float
) -> bool:
    inner, outer = (piece, rib) if max(piece) < min(rib) else (rib, piece)
    before, after = max(inner), min(outer)
    if not 0 < after - before <= longest_gap:
        return False
    slope_before, offset_before = _line(inner, sorted(inner)[-END:])
    slope_after, offset_after = _line(outer, sorted(outer)[:END])
    middle = (before + after) / 2
    apart = abs(slope_before * middle + offset_before - slope_after * middle - offset_after)
    return apart < OFFSET * height and abs(slope_before - slope_after) < BEND


def _beyond(piece: dict[int, tuple[int, int]], shadow: np.ndarray, end: int) -> dict[int, tuple[int, int]]:
    """How a rib goes on to the side: of the shadow what lies in the band that its last columns point to."""
    stripes = dict(piece)
    height = float(np.median([last - first for first, last in piece.values()]))
    beyond: dict[int, tuple[int, int]] = {}
    for column in range(max(piece) + 1, end):
        middle = float(np.polyval(_line(stripes, sorted(stripes)[-END:]), column))
        first, last = max(0, round(middle - height / 2)), round(middle + height / 2)
        rows = np.flatnonzero(shadow[first:last, column])
        if not rows.size:
            break
        stripes[column] = beyond[column] = (first + int(rows[0]), first + int(rows[-1]) + 1)
    return beyond


def numbered(
    ribs: list[Rib], probabilities: np.ndarray, opposite: list[Rib], opposite_probabilities: np.ndarray
) -> tuple[list[int | None], float]:
    """The numbers of a side's posterior ribs.

    Args:
        ribs: of :func:`followed`.
        probabilities: ``(12, rows, columns)`` of the numbers, the spine at column 0.
        opposite: posterior ribs of the other side.
        opposite_probabilities: of its numbers.

    Returns:
        a number for each rib, 1 to 12, or ``None`` for what fits no sequence; and how sure they are: the mean logarithm
        of their probabilities. No number where there are too few ribs.
    """
    if len(ribs) < FEWEST_RIBS:
        return [], -np.inf
    own = _scores(ribs, probabilities)
    both = own.copy()
    if len(opposite) >= FEWEST_RIBS:
        both += _of_the_other_side(ribs, opposite, _scores(opposite, opposite_probabilities))
    numbers = _most_probable(both, np.array([rib.level for rib in ribs]))
    sure = float(np.mean([own[rib, number] for rib, number in enumerate(numbers) if number is not None]))
    return [None if number is None else number + 1 for number in numbers], sure


def _scores(ribs: list[Rib], probabilities: np.ndarray) -> np.ndarray:
    """``(ribs, 12)``: mean logarithm of each number's probability, each column the same weight."""
    scores = np.zeros((len(ribs), NUMBERS))
    logarithms = np.log(probabilities + LEAST)
    for row, rib in enumerate(ribs):
        columns = [logarithms[:, first:end, column].mean(1) for column, (first, end) in rib.stripes.items()]
        scores[row] = np.mean(columns, axis=0)
    return scores


def _of_the_other_side(ribs: list[Rib], opposite: list[Rib], scores: np.ndarray) -> np.ndarray:
    """What the ribs of the other side at the same levels say, ``(ribs, 12)``; 0 where there is none."""
    levels = np.array([rib.level for rib in ribs])
    others = np.array([rib.level for rib in opposite])
    distance = _distance(levels)

    def cost(shift: float) -> float:
        nearest = np.abs(others + shift - levels[:, None]).min(1)
        return float(np.minimum(nearest, distance / 2).mean() + SHIFT_COST * abs(shift))

    shift = min(np.linspace(-MOST_SHIFT, MOST_SHIFT, 19) * distance, key=cost)
    added = np.zeros((len(ribs), NUMBERS))
    for row, level in enumerate(levels):
        away = np.abs(others + shift - level)
        if away.min() < SAME_LEVEL * distance:
            added[row] = OPPOSITE * scores[away.argmin()]
    return added


def _distance(levels: np.ndarray) -> float:
    """The usual distance of neighbouring ribs, rows."""
    return max(1.0, float(np.median(np.diff(levels))))


def _most_probable(scores: np.ndarray, levels: np.ndarray) -> list[int | None]:
    """Indices of the numbers, which do not fall downwards, with the highest sum of scores less costs.

    ``None`` is what fits no sequence, such as the front of another rib.
    """
    usual = _distance(levels)
    best = np.full(scores.shape, -np.inf)
    came_from: dict[tuple[int, int], tuple[int, int]] = {}
    for rib in range(len(scores)):
        best[rib] = scores[rib] - LEFT_OUT * rib
        for earlier in range(rib):
            gap = float(levels[rib] - levels[earlier]) / usual
            between = rib - earlier - 1
            reached = best[earlier][None, :] - _costs(gap) - LEFT_OUT * between + scores[rib][:, None]
            source = reached.argmax(1)
            for number in np.flatnonzero(reached.max(1) > best[rib]):
                best[rib, number] = reached[number, source[number]]
                came_from[rib, int(number)] = (earlier, int(source[number]))
    left_out_below = LEFT_OUT * np.arange(len(scores))[::-1]
    last, number = np.unravel_index(int((best - left_out_below[:, None]).argmax()), best.shape)
    numbers: list[int | None] = [None] * len(scores)
    place: tuple[int, int] | None = (int(last), int(number))
    while place is not None:
        numbers[place[0]] = place[1]
        place = came_from.get(place)
    return numbers


def _costs(gap: float) -> np.ndarray:
    """What it costs to go on from one number (column) to another (row) across a gap, in usual distances of ribs."""
    costs = np.full((NUMBERS, NUMBERS), np.inf)
    for number in range(NUMBERS):
        for before in range(number + 1):
            steps = number - before
            if steps == 0:
                costs[number, before] = SAME_NUMBER + SAME_NUMBER_APART * max(0.0, gap - 0.5)
            elif steps == 1:
                costs[number, before] = WIDE_GAP * max(0.0, gap - 1.5)
            else:
                costs[number, before] = SKIPPED * abs(steps - max(1.0, gap)) + SKIPPED_AT_ALL
    return costs
