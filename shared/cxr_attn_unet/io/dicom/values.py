"""From stored values to those that are shown: modality LUT, VOI LUT or window, polarity, padding."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset
from scipy import ndimage
from scipy.special import expit

from . import tags
from .luts import LookupTable, read_table

__all__ = ["padding", "shown"]

# the share of the field's pixels that a window or table must leave between its black and its white. Windows that clip
# the air beside the patient and the collimator leave more; see tests/io/test_dicom_windows.py
LEAST_INSIDE = 0.6
# pixels that are enough for percentiles and shares
_SAMPLE = 1 << 20
# a value at the end of the data that fills more than this is a plateau (collimator, frame, burnt-out air), no tissue
_PLATEAU = 0.005
# a value whose distance to all others is more than this share of their range cannot be a part of the picture
_APART = 0.25
# values further than this many times the range of the middle nine tenths beyond it are faulty pixels
_FENCE = 1.5
_LEAST_NEIGHBOURS = 4  # of 8, without which a faulty pixel is not alone
_LEAST_PADDING = 0.002
_MOST_PADDING = 0.95

_Range = tuple[float, float]


@dataclass(frozen=True)
class _Window:
    center: float
    width: float
    function: str

    def ends(self) -> tuple[float, float]:
        """Values that are shown black and white."""
        if self.function == "LINEAR":
            half = (self.width - 1) / 2
            return self.center - 0.5 - half, self.center - 0.5 + half
        half = self.width / 2
        if self.function == "SIGMOID":
            half = self.width  # there it has reached .02 and .98
        return self.center - half, self.center + half

    def __call__(self, values: np.ndarray) -> np.ndarray:
        if self.function == "SIGMOID":
            return expit(4 * (values - self.center) / self.width)
        low, high = self.ends()
        return np.clip(values, low, high)

    def __str__(self) -> str:
        return f"center {self.center:g}, width {self.width:g}"


def shown(stored: np.ndarray, dataset: Dataset, padded: np.ndarray | None, notes: list[str]) -> np.ndarray:
    """Values ``(rows, columns)`` float32, bone bright.

    For presentation: modality LUT or rescale slope, VOI LUT or window, inverted where low values are white
    (``MONOCHROME1``, or ``PresentationLUTShape`` INVERSE; PS3.3 C.7.6.3.1.2, C.11.1, C.11.2, C.11.6). A table or
    window is used only where it leaves a picture; otherwise the values are taken as they are, with a note. For
    processing: no VOI; the logarithm of linear detector values (Beer-Lambert), bone bright by the pixel intensity
    relationship sign (PS3.3 C.8.11.3.1.2) where there is one.

    Args:
        stored: the stored values, ``(rows, columns)``.
        dataset: the header.
        padded: bool ``(rows, columns)``, where there is no picture; such pixels get the darkest value.
        notes: takes what was odd.
    """
    used = None if padded is None else ~padded
    if tags.text(dataset, "PresentationIntentType").upper() == "FOR PROCESSING":
        values = _for_processing(stored, dataset, used, notes)
    else:
        values = _for_presentation(stored, dataset, used, notes)
    if used is not None:
        values = np.where(used, values, values[used].min())
    return values.astype(np.float32, copy=False)


def padding(stored: np.ndarray, dataset: Dataset, notes: list[str]) -> np.ndarray | None:
    """Where there is no picture: bool ``(rows, columns)``, or ``None``.

    By ``PixelPaddingValue`` and ``PixelPaddingRangeLimit`` (PS3.3 C.7.5.1.1.2), of values that reach the picture's edge
    or are apart from all others. Also a constant at the end of what the pixels can hold that does both, if the header
    does not call it padding.

    Args:
        stored: all bits of the stored values, ``(rows, columns)``.
        dataset: the header.
        notes: takes what was odd.
    """
    if stored.dtype.kind not in "iu":
        return None
    limits = _stated_padding(stored.dtype, dataset)
    candidates = [limits] if limits else []
    candidates += [(value, value) for value in _extremes(stored, dataset)]
    padded = np.zeros(stored.shape, bool)
    for low, high in candidates:
        equal = (stored >= low) & (stored <= high)
        if not _is_solid(equal):
            continue
        is_stated = (low, high) == limits
        rest = stored[~equal & ~padded]
        if not rest.size:
            continue
        apart = _is_apart(low, high, rest)
        if is_stated and not apart:
            equal = _reaching_the_edge(equal)
        elif not is_stated and not (apart and equal.mean() > _LEAST_PADDING and _edge(equal).any()):
            continue
        padded |= equal
    if not padded.any():
        return None
    if padded.mean() > _MOST_PADDING:
        notes.append(f"nearly all pixels have the value of {tags.named('PixelPaddingValue')}; taken as picture")
        return None
    return padded


def _stated_padding(dtype: np.dtype, dataset: Dataset) -> tuple[int, int] | None:
    stated = [tags.number(dataset, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not math.isfinite(stated[0]):
        return None
    if not math.isfinite(stated[1]):
        stated[1] = stated[0]
    # whether the header wrote them signed or not, they are bits of the pixels' size
    ends = [_as_stored(value, dtype) for value in stated]
    return min(ends), max(ends)


def _as_stored(value: float, dtype: np.dtype) -> int:
    """The bits of a whole number as a pixel has them: 65535 is -1 where pixels are signed words."""
    size = 8 * dtype.itemsize
    bits = int(value) & ((1 << size) - 1)
    if dtype.kind == "i" and bits >> (size - 1):
        return bits - (1 << size)
    return bits


def _extremes(stored: np.ndarray, dataset: Dataset) -> list[int]:
    limits = np.iinfo(stored.dtype)
    ends = {limits.min, limits.max, 0xFFFF, 0x7FFF, -0x8000}
    bits = tags.number(dataset, "BitsStored")
    if 0 < bits < limits.bits:
        ends |= {2 ** int(bits) - 1, 2 ** (int(bits) - 1) - 1, -(2 ** (int(bits) - 1))}
    return sorted({int(stored.min()), int(stored.max())} & ends)


def _is_apart(low: int, high: int, rest: np.ndarray) -> bool:
    least, most = int(rest.min()), int(rest.max())
    gap = max(least - high, low - most)
    return gap > _APART * (most - least) + 1


def _is_solid(mask: np.ndarray) -> bool:
    """Whether it has areas: faulty pixels, which are scattered, are no padding."""
    if not mask.any():
        return False
    return bool(ndimage.binary_opening(mask, np.ones((3, 3))).sum() > mask.sum() / 2)


def _edge(mask: np.ndarray) -> np.ndarray:
    return np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])


def _reaching_the_edge(mask: np.ndarray) -> np.ndarray:
    labels, _ = ndimage.label(mask)
    return mask & np.isin(labels, np.unique(_edge(labels)))


def _for_presentation(stored: np.ndarray, dataset: Dataset, used: np.ndarray | None, notes: list[str]) -> np.ndarray:
    values, possible = _modality(_as_float(stored), dataset, used, notes)
    values, windowed = _voi(values, dataset, used, possible, notes)
    if not windowed:
        values = _without_outliers(values, used)
    return _inverted(values, used) if _is_inverse(dataset, notes) else values


def _for_processing(stored: np.ndarray, dataset: Dataset, used: np.ndarray | None, notes: list[str]) -> np.ndarray:
    sign = tags.number(dataset, "PixelIntensityRelationshipSign")
    values = _as_float(stored)
    if sign in (1, -1):
        # +1: lower values where fewer X-rays arrive, that is behind bone; of the stored values, before any slope
        dark = sign == 1
    else:
        values, _ = _modality(values, dataset, used, notes)
        dark = _is_monochrome1(dataset)
    if dark and tags.text(dataset, "PixelIntensityRelationship").upper() == "LIN":
        values = np.log(np.maximum(values - min(_lowest(values, used), 0.0), 1.0))
    values = _without_outliers(values, used)
    return _inverted(values, used) if dark else values


def _as_float(stored: np.ndarray) -> np.ndarray:
    """Half as much memory where that holds each value exactly."""
    return stored.astype(np.float32 if stored.dtype.itemsize <= 2 else np.float64)


def _lowest(values: np.ndarray, used: np.ndarray | None) -> float:
    return float(values.min() if used is None else values[used].min())


def _inverted(values: np.ndarray, used: np.ndarray | None) -> np.ndarray:
    return (values.max() if used is None else values[used].max()) - values


def _sample(values: np.ndarray, used: np.ndarray | None) -> np.ndarray:
    """Values where there is a picture, as many as statistics need: every nth row and column, flat."""
    step = max(1, int(math.sqrt(values.size / _SAMPLE)))
    sampled = values[::step, ::step]
    if used is None:
        return sampled.ravel()
    return sampled[used[::step, ::step]]


def _is_monochrome1(dataset: Dataset) -> bool:
    return tags.text(dataset, "PhotometricInterpretation").upper().replace(" ", "") == "MONOCHROME1"


def _is_inverse(dataset: Dataset, notes: list[str]) -> bool:
    if _is_monochrome1(dataset):
        return True
    if tags.text(dataset, "PresentationLUTShape").upper() != "INVERSE":
        return False
    notes.append(f"{tags.named('PresentationLUTShape')} is INVERSE in a MONOCHROME2 picture; inverted as it says")
    return True


def _modality(
    values: np.ndarray, dataset: Dataset, used: np.ndarray | None, notes: list[str]
) -> tuple[np.ndarray, _Range | None]:
    """The values after the modality's table or slope, and the range that they could take, if that is known."""
    possible = _stored_range(dataset)
    items = tags.items(dataset, "ModalityLUTSequence")
    if items:
        output = _looked_up(values, items[0], used, possible, "ModalityLUTSequence", notes)
        if output is not None:
            return output, None
    if items or tags.has(dataset, "ModalityLUTSequence"):
        notes.append(f"{tags.named('ModalityLUTSequence')} holds no table that fits the pixels; ignored")
        return values, possible
    slope = _coefficient(dataset, "RescaleSlope", 1.0, notes)
    intercept = _coefficient(dataset, "RescaleIntercept", 0.0, notes)
    if possible is not None:
        ends = sorted(slope * end + intercept for end in possible)
        possible = (ends[0], ends[1])
    return values * slope + intercept, possible


def _stored_range(dataset: Dataset) -> _Range | None:
    bits = tags.number(dataset, "BitsStored")
    if not 1 <= bits <= 16:
        return None
    count = 2.0**bits
    lowest = -count / 2 if tags.number(dataset, "PixelRepresentation") == 1 else 0.0
    return lowest, lowest + count - 1


def _coefficient(dataset: Dataset, keyword: str, default: float, notes: list[str]) -> float:
    value = tags.number(dataset, keyword)
    if math.isfinite(value) and not (keyword == "RescaleSlope" and value == 0):
        return value
    if keyword in dataset:
        notes.append(f"{tags.named(keyword)} is {tags.stated(dataset, keyword)}; {default:g} was taken")
    return default


def _voi(
    values: np.ndarray, dataset: Dataset, used: np.ndarray | None, possible: _Range | None, notes: list[str]
) -> tuple[np.ndarray, bool]:
    """The values through the first table or window that works, and whether there was one."""
    items = tags.items(dataset, "VOILUTSequence")
    for item in items:
        output = _looked_up(values, item, used, possible, "VOILUTSequence", notes)
        if output is not None:
            return output, True
    if items or tags.has(dataset, "VOILUTSequence"):
        notes.append(f"{tags.named('VOILUTSequence')} holds no table that fits the pixels; ignored")
    for window in _windows(dataset, notes):
        reason = _why_useless(window, values, used)
        if not reason:
            return window(values), True
        notes.append(f"the window ({window}) {reason}; ignored")
    direction = [read_table(item) for item in items]
    if direction and direction[0] is not None and direction[0].falls:
        return -values, False
    return values, False


def _looked_up(
    values: np.ndarray,
    item: Dataset,
    used: np.ndarray | None,
    possible: _Range | None,
    keyword: str,
    notes: list[str],
) -> np.ndarray | None:
    """Through the table; ``None`` if that leaves no picture, wherever the table begins."""
    table = read_table(item)
    if table is None:
        return None
    first = table.first % 0x10000
    signed = first - 0x10000 if first >= 0x8000 else first
    lowest = int(_lowest(values, used))
    starts = [first, lowest]
    if signed != first and (table.first < 0 or lowest < 0):
        starts.insert(0, signed)
    if possible is not None and len(table.entries) == possible[1] - possible[0] + 1:
        starts.insert(0, int(possible[0]))  # an entry for every value that there can be: it begins with the lowest
    for start in starts:
        moved = replace(table, first=start)
        output = moved(values)
        if _inside(output, values, used, *_ends_of(moved)) < LEAST_INSIDE:
            continue
        if start not in (first, signed):
            notes.append(
                f"{tags.named(keyword)} begins at {table.first}, which does not fit the pixels; {start} was taken"
            )
        if table.is_short:
            notes.append(
                f"{tags.named(keyword)} has {len(table.entries)} entries, not {table.stated}; it was continued"
            )
        return output
    return None


def _ends_of(table: LookupTable) -> tuple[float, float]:
    low, high = float(table.entries.min()), float(table.entries.max())
    if table.is_short and table.falls:
        return -math.inf, high
    if table.is_short:
        return low, math.inf
    return low, high


def _windows(dataset: Dataset, notes: list[str]) -> list[_Window]:
    centers = tags.numbers(dataset, "WindowCenter")
    widths = tags.numbers(dataset, "WindowWidth")
    function = tags.text(dataset, "VOILUTFunction").upper() or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        notes.append(f"{tags.named('VOILUTFunction')} is {function}, which is not known; LINEAR was taken")
        function = "LINEAR"
    if len(centers) != len(widths):
        notes.append(f"{len(centers)} values of WindowCenter and {len(widths)} of WindowWidth")
    return [_Window(center, width, function) for center, width in zip(centers, widths, strict=False)]


def _why_useless(window: _Window, values: np.ndarray, used: np.ndarray | None) -> str:
    if not (math.isfinite(window.center) and math.isfinite(window.width)):
        return "is not made of numbers"
    if window.width < 1 if window.function == "LINEAR" else window.width <= 0:
        return "cannot be so narrow (WindowWidth (0028,1051))"
    inside = _inside(values, values, used, *window.ends())
    if inside == 0:
        return "lies outside of the pixels' values"
    if inside < LEAST_INSIDE:
        return f"leaves {inside:.0%} of the picture between black and white"
    return ""


def _inside(output: np.ndarray, values: np.ndarray, used: np.ndarray | None, low: float, high: float) -> float:
    """Share of pixels whose output lies between ``low`` and ``high``, plateaus at the ends of ``values`` left out."""
    picture = _sample(values, used)
    output = _sample(output, used)
    tissue = np.ones(picture.shape, bool)
    for end in (picture.min(), picture.max()):
        plateau = picture == end
        if plateau.mean() > _PLATEAU:
            tissue &= ~plateau
    if not tissue.any():
        return 0.0
    return float(((output > low) & (output < high))[tissue].mean())


def _without_outliers(values: np.ndarray, used: np.ndarray | None) -> np.ndarray:
    """Faulty pixels, far outside of the picture's values, get the median of their neighbours.

    Where there are only such around them, as in a metal marker, they get the nearest value within.
    """
    low, high = np.percentile(_sample(values, used), (5, 95))
    fence = _FENCE * (high - low)
    is_outlier = (values < low - fence) | (values > high + fence)
    if used is not None:
        is_outlier &= used
    if low == high or not is_outlier.any():
        return values
    within = values[~is_outlier if used is None else used & ~is_outlier]
    clipped = np.clip(values, within.min(), within.max())
    rows, columns = np.nonzero(is_outlier)
    around = np.pad(np.where(is_outlier, np.nan, values), 1, constant_values=np.nan)
    neighbours = np.stack([around[rows + i, columns + j] for i in range(3) for j in range(3)])
    isolated = np.isfinite(neighbours).sum(0) >= _LEAST_NEIGHBOURS
    rows, columns = rows[isolated], columns[isolated]
    clipped[rows, columns] = np.nanmedian(neighbours[:, isolated], 0)
    return clipped
