"""The part of a picture that shows the radiograph: without frames, padding values and hot pixels.

A radiograph may lie in a black, white or grey frame, a film with its own black border in a white one, or fill a third
of a picture that is empty otherwise. Frames spoil the percentiles by which grey values are scaled, and make the anatomy
small.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys, convert_to_dst_type
from PIL import Image, ImageFilter
from scipy import ndimage
from skimage.morphology import convex_hull_image

__all__ = ["Box", "CropToFieldd", "clean_field", "field_box", "scaled_box"]

Box = tuple[int, int, int, int]  # (top, bottom, left, right): rows from top to before bottom, columns alike

GRID = 256  # longer side of the copy in which frames are looked for, in pixels
NARROWEST = 0.02  # of the side: a frame that is cut; the black rows below JSRT's films have up to .016
SMOOTHEST_NOISE = 0.006  # median deviation within a frame, of the range of grey values; air beside a patient has more
DIFFERENT = 0.012  # of the range of grey values: what is not the frame
SMALLEST_PIECE = 0.1  # of the largest piece of the picture: less is a letter or a marker in the frame
LEAST_FIELD = 0.02  # of the picture: less within a frame is no radiograph
DEEPEST = 6  # frames within frames
WIDEST_RIM = 0.03  # of the side: the glow along the edge of a film
BRIGHT_RIM = 0.5  # of the range of grey values: by how much the outermost line of a glow is brighter than the film
FADED_RIM = 0.25  # the same, where the glow ends
ISOLATED = 0.25  # of the range of grey values: by how much a hot pixel differs from its neighbours
FEWEST_HOT = 0.005  # share of hot pixels that the percentiles do not leave out by themselves
FEWEST_PADDED = 0.002  # share of pixels with a padding value
LEAST_WEDGE = 0.005  # share of the field that a tilted film leaves to its frame


def field_box(pixels: np.ndarray) -> Box:
    """The box that is left when constant borders are peeled off, one inside the other.

    A side is cut where its border has one value, up to faint noise and the artefacts of JPEG, over at least 2 % of the
    picture's side. Letters and markers in the border do not hold it; larger pieces of the picture do, so black air
    beside the patient stays where the patient reaches the picture's edge.

    Args:
        pixels: radiograph ``(rows, columns)`` on any scale.

    Returns:
        (top, bottom, left, right); all of the picture if it has no such border.
    """
    return _peeled(pixels)[0]


def clean_field(pixels: np.ndarray) -> tuple[np.ndarray, Box]:
    """The field, with hot pixels and padding values replaced; percentiles of grey values are to be taken of it.

    - More than .5 % of hot pixels (a pixel far from the median of its neighbours) are replaced by that median.
    - A padding value (the same extreme value in many pixels, with a gap to all others that is wider than their own
      range) is replaced by the lowest of the others; so is what a tilted film leaves of its frame.

    Args:
        pixels: radiograph ``(rows, columns)`` on any scale.

    Returns:
        the field, and its box in ``pixels``, see :func:`field_box`. Without frame, padding and hot pixels, the field
        is ``pixels`` itself.
    """
    box, frame = _peeled(pixels)
    field = _inside(pixels, box)
    cooled = _without_hot_pixels(field)
    if cooled is not field:
        # hot pixels hid the range of grey values, and thereby a frame
        inner, inner_frame = _peeled(cooled)
        field, box = _inside(cooled, inner), _nested(box, inner)
        frame = frame if inner_frame is None else inner_frame
    padded = _without_padding(field)
    if padded is not field:
        inner, inner_frame = _peeled(padded)
        field, box = _inside(padded, inner), _nested(box, inner)
        frame = inner_frame
    if frame is not None:
        field = _without_wedges(field, frame)
    return field, box


def scaled_box(box: Box, size: Sequence[int], other: Sequence[int]) -> Box:
    """A box in the pixels of another resolution of the same picture.

    Args:
        box: (top, bottom, left, right).
        size: (rows, columns) of the picture that it was found in.
        other: (rows, columns) of the other one.
    """
    rows, columns = other[0] / size[0], other[1] / size[1]
    top, left = round(box[0] * rows), round(box[2] * columns)
    return top, max(top + 1, round(box[1] * rows)), left, max(left + 1, round(box[3] * columns))


class CropToFieldd(MapTransform, InvertibleTransform):
    """Leave out constant borders, and replace padding values and hot pixels, see :func:`clean_field`.

    A radiograph without them stays as it is, bit by bit. The inverse puts any number of channels back over the whole
    picture, zero outside the field.

    Args:
        keys: keys of tensors ``(channels, rows, columns)``; masks may have another resolution than the radiograph.
        source_key: key of the radiograph, among ``keys``; it decides what is cut, and it alone is cleaned.
        allow_missing_keys: do not raise for a missing key.
    """

    def __init__(self, keys: KeysCollection, source_key: str = "image", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.source_key = source_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        source = torch.as_tensor(d[self.source_key])
        size = tuple(source.shape[1:])
        pixels = _array(source)
        field, box = clean_field(pixels)
        for key in self.key_iterator(d):
            whole = tuple(d[key].shape[1:])
            own = scaled_box(box, size, whole)
            if key == self.source_key:
                if field is not pixels:
                    d[key] = convert_to_dst_type(np.ascontiguousarray(field)[None], d[key])[0]
            elif own != (0, whole[0], 0, whole[1]):
                d[key] = d[key][:, own[0] : own[1], own[2] : own[3]].contiguous()
            self.push_transform(d, key, extra_info={"box": own, "size": whole})
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys as they were before."""
        d = dict(data)
        for key in self.key_iterator(d):
            extra = self.pop_transform(d, key)[TraceKeys.EXTRA_INFO]
            top, bottom, left, right = (int(edge) for edge in extra["box"])
            rows, columns = (int(side) for side in extra["size"])
            if (top, bottom, left, right) == (0, rows, 0, columns):
                continue
            whole = d[key].new_zeros((len(d[key]), rows, columns))
            whole[:, top:bottom, left:right] = d[key]
            d[key] = convert_to_dst_type(whole, d[key])[0]
        return d


def _array(source: torch.Tensor) -> np.ndarray:
    plain = source.as_tensor() if hasattr(source, "as_tensor") else source
    return plain[0].detach().cpu().numpy()


def _inside(pixels: np.ndarray, box: Box) -> np.ndarray:
    if box == (0, pixels.shape[0], 0, pixels.shape[1]):
        return pixels
    return pixels[box[0] : box[1], box[2] : box[3]]


def _nested(outer: Box, inner: Box) -> Box:
    """The inner box, which is counted from the outer one's corner, counted from the picture's corner."""
    return outer[0] + inner[0], outer[0] + inner[1], outer[2] + inner[2], outer[2] + inner[3]


def _peeled(pixels: np.ndarray) -> tuple[Box, float | None]:
    """The box without borders, and the value of the border that was peeled off last."""
    box: Box = (0, pixels.shape[0], 0, pixels.shape[1])
    frame: float | None = None
    for _ in range(DEEPEST):
        inner, value = _peeled_once(_inside(pixels, box))
        if value is None:
            break
        frame = value
        box = _nested(box, inner)
    if frame is not None:
        box = _without_rim(pixels, box)
    return box, frame


def _without_rim(pixels: np.ndarray, box: Box) -> Box:
    """The box without the glow along a film's cut edges, which a network takes for something else without the frame."""
    field = _inside(pixels, box)
    scale = _range(_small(field)[0])
    if not scale:
        return box
    edges = list(box)
    for side, edge in enumerate(box):
        whole = (0, pixels.shape[0], 0, pixels.shape[1])[side]
        if edge == whole:
            continue
        lines = (field, field[::-1], field.T, field.T[::-1])[side]
        depth = round(WIDEST_RIM * len(lines))
        medians = np.median(lines[: depth + 1, ::4], axis=1)
        brighter = (medians - medians[-1]) / scale
        if brighter[0] > BRIGHT_RIM:
            width = int(np.flatnonzero(brighter > FADED_RIM)[-1]) + 1
            inwards = 1 if side in (0, 2) else -1
            edges[side] = edge + inwards * width
    return edges[0], edges[1], edges[2], edges[3]


def _peeled_once(pixels: np.ndarray) -> tuple[Box, float | None]:
    """The box without the outermost border, and the value of that border; ``None`` if there is none."""
    rows, columns = pixels.shape
    whole: Box = (0, rows, 0, columns)
    small, step = _small(pixels)
    if min(small.shape) < 8:
        return whole, None
    scale = _range(small)
    if not scale:
        return whole, None
    edges = list(whole)
    frame = None
    # one line inside, for a line drawn around the picture, or one between two frames, is neither
    lines = (small[1], small[-2], small[:, 1], small[:, -2])
    boxes: dict[float, tuple[Box, float] | None] = {}
    for side, line in enumerate(lines):
        value = float(np.median(line))
        noise = float(np.median(np.abs(line - value)))
        if noise > SMOOTHEST_NOISE * scale:
            continue
        if value not in boxes:
            boxes[value] = _content(small, value, max(DIFFERENT * scale, 6 * noise))
        found = boxes[value]
        if found is None:
            continue
        content, tolerance = found
        edge = _refined(pixels, content, step, side, value, tolerance)
        length = rows if side < 2 else columns
        if abs(edge - whole[side]) >= NARROWEST * length:
            edges[side] = edge
            frame = value
    if frame is None:
        return whole, None
    box = (edges[0], edges[1], edges[2], edges[3])
    inner = _inside(pixels, box)
    # a spot, or a patch of one value
    if inner.size < LEAST_FIELD * pixels.size or not _range(_small(inner)[0]):
        return whole, None
    return box, frame


def _small(pixels: np.ndarray) -> tuple[np.ndarray, int]:
    """Every n-th pixel, the median of nine of them, and n. Lone bright pixels vanish, edges stay where they are."""
    step = max(1, -(-max(pixels.shape) // GRID))
    sample = np.ascontiguousarray(pixels[::step, ::step], dtype=np.float32)
    return _median(sample), step


def _median(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels, np.float32)).filter(ImageFilter.MedianFilter(3)))


def _range(values: np.ndarray) -> float:
    """From the 1st to the 99th percentile, of all values but padding."""
    for value, _, _ in _padding(values):
        values = values[values != value]
    low, high = np.percentile(values, (1, 99))
    if high > low:
        return float(high - low)
    return float(np.ptp(values))


def _content(small: np.ndarray, value: float, tolerance: float) -> tuple[Box, float] | None:
    """Box of the large pieces that differ from a frame's value, with the tolerance; ``None`` if nothing does."""
    pieces, count = ndimage.label(np.abs(small - value) > tolerance, np.ones((3, 3)))
    if not count:
        return None
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    large = (areas >= SMALLEST_PIECE * areas.max())[pieces]
    large &= pieces > 0
    rows, columns = np.flatnonzero(large.any(1)), np.flatnonzero(large.any(0))
    return (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1), tolerance


def _refined(pixels: np.ndarray, content: Box, step: int, side: int, value: float, tolerance: float) -> int:
    """An edge of a box in the small copy, to the line in the picture where the share of other pixels jumps."""
    length = pixels.shape[0] if side < 2 else pixels.shape[1]
    middle = content[side] * step
    start, stop = max(0, middle - 2 * step), min(length, middle + 2 * step)
    if side < 2:
        across = slice(content[2] * step, content[3] * step)
        lines = pixels[start:stop, across]
    else:
        across = slice(content[0] * step, content[1] * step)
        lines = pixels[across, start:stop].T
    shares = (np.abs(lines - value) > tolerance).mean(1)
    inside = np.flatnonzero(shares >= 0.5 * shares.max())
    if side in (0, 2):
        return start + int(inside[0])
    return start + int(inside[-1]) + 1


def _without_hot_pixels(pixels: np.ndarray) -> np.ndarray:
    step = max(1, max(pixels.shape) // GRID)
    rows, columns = pixels.shape
    centre = pixels[1 : rows - 1 : step, 1 : columns - 1 : step]
    around = np.stack(
        [
            pixels[0 : rows - 2 : step, 1 : columns - 1 : step],
            pixels[2:rows:step, 1 : columns - 1 : step],
            pixels[1 : rows - 1 : step, 0 : columns - 2 : step],
            pixels[1 : rows - 1 : step, 2:columns:step],
        ]
    )
    around.sort(axis=0)
    median = (around[1] + around[2]) / 2
    limit = ISOLATED * _range(median)
    if (np.abs(centre - median) > limit).mean() < FEWEST_HOT:
        return pixels
    smooth = _median(pixels)
    hot = np.abs(pixels - smooth) > limit
    if hot.mean() < FEWEST_HOT:  # coarse noise rather than lone pixels
        return pixels
    return np.where(hot, smooth, pixels)


def _without_padding(pixels: np.ndarray) -> np.ndarray:
    step = max(1, max(pixels.shape) // GRID)
    for value, gap, low in _padding(pixels[::step, ::step]):
        # what lies within half of the gap is padding, too: a JPEG smears it
        pixels = np.where(np.abs(pixels - value) < gap / 2, np.float32(low), pixels)
    return pixels


def _padding(values: np.ndarray) -> list[tuple[float, float, float]]:
    """Values that are padding, each with the gap to all others and the lowest of the others, their 1st percentile."""
    found = []
    for value in (float(values.max()), float(values.min())):
        others = values[values != value]
        if not len(others) or len(others) > (1 - FEWEST_PADDED) * values.size:
            continue
        lowest, low, high, highest = np.percentile(others, (0.1, 1, 99, 99.9))
        gap = float(max(value - highest, lowest - value))
        if gap > high - low > 0:
            found.append((value, gap, float(low)))
            values = others
    return found


def _without_wedges(pixels: np.ndarray, frame: float) -> np.ndarray:
    """Without what a tilted film leaves of its frame in its box: what lies around the film's convex hull."""
    small, step = _small(pixels)
    same = np.abs(small - frame) <= DIFFERENT * _range(small)
    if not same.any() or same.all():
        return pixels
    outside = ~convex_hull_image(~same)
    if outside.mean() < LEAST_WEDGE:
        return pixels
    wedges = ndimage.binary_dilation(outside, np.ones((3, 3))).repeat(step, 0).repeat(step, 1)
    wedges = wedges[: pixels.shape[0], : pixels.shape[1]]
    low = np.percentile(small[~outside], 1)
    filled = wedges & (np.abs(pixels - frame) <= DIFFERENT * _range(small))
    return np.where(filled, np.float32(low), pixels)
