"""The radiograph with what was found in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..analysis.measurements import heart_diameter, thoracic_diameter
from ..analysis.parts import UNCERTAIN
from ..figures import Name, annotated
from ..io import Radiograph
from ..structures import LEFT, Part, colour_of, parts_of

__all__ = ["Box", "Field", "draw_overlay", "upright_field"]

SMALLEST_WITH_NAMES = 400  # side in pixels: on smaller pictures the names of parts would hide them

Box = tuple[int, int, int, int]  # (top, bottom, left, right): rows from top to before bottom, columns alike


@dataclass(frozen=True)
class Field:
    """The part of a picture that shows the radiograph, without frames.

    Attributes:
        box: in the radiograph's pixels as stored.
        pixels: in that box, ``(rows, columns)`` as stored, without padding values and hot pixels.
    """

    box: Box
    pixels: np.ndarray


def upright_field(
    radiograph: Radiograph, masks: Mapping[str, np.ndarray], field: Field | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The part of a picture that shows the radiograph, upright, with its masks.

    Args:
        radiograph: as read.
        masks: by structure, ``(rows, columns)`` as stored; may have a higher resolution than the radiograph.
        field: the part that shows the radiograph; all of it if not given.

    Returns:
        pixels ``(rows, columns)``, and masks ``(rows, columns)`` by structure.
    """
    apply = radiograph.orientation.apply
    rows, columns = radiograph.pixels.shape
    if field is None:
        return radiograph.upright(), {name: apply(mask) for name, mask in masks.items()}
    top, bottom, left, right = field.box
    cropped = {}
    for name, mask in masks.items():
        row_scale = mask.shape[0] / rows
        column_scale = mask.shape[1] / columns
        inside = mask[
            round(top * row_scale) : round(bottom * row_scale),
            round(left * column_scale) : round(right * column_scale),
        ]
        cropped[name] = apply(inside)
    return apply(field.pixels), cropped


def draw_overlay(
    radiograph: Radiograph,
    masks: Mapping[str, np.ndarray],
    measurements: Mapping[str, float | str | None],
    side: int = 1024,
    field: Field | None = None,
    parts: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> Image.Image:
    """The upright radiograph with outlines in fixed colours, both diameters of the ratio, and a legend.

    Ribs are named at their lateral end, such as R7, with a question mark where their numbers are uncertain; lungs and
    clavicles by their side, R or L.

    Args:
        radiograph: as read.
        masks: by structure, ``(rows, columns)`` bool over the file's own pixels, as stored.
        measurements: of which the cardiothoracic ratio is written; without it no diameters are drawn.
        side: of the square that the picture fits, in pixels.
        field: the part that is shown; all of it if not given.
        parts: by structure and name, masks as those of structures; named on pictures of 400 pixels and more.
    """
    pixels, upright = upright_field(radiograph, masks, field)
    lines: list[tuple[float, float, float]] = []
    note = ""
    ratio = measurements.get("cardiothoracic_ratio")
    if ratio is not None:
        for diameter in (heart_diameter(upright["heart"]), thoracic_diameter(upright["lungs"])):
            if diameter is not None:
                lines.append((diameter.row, diameter.start, diameter.stop))
        note = f"CTR {ratio:.2f}"
    names: list[Name] = []
    if parts and side >= SMALLEST_WITH_NAMES:
        uncertain = measurements.get("ribs_numbering") == UNCERTAIN
        for structure, named in parts.items():
            names.extend(_names(radiograph, structure, named, field, uncertain))
    return annotated(pixels, upright, lines, note, side, names)


def _names(
    radiograph: Radiograph, structure: str, masks: Mapping[str, np.ndarray], field: Field | None, uncertain: bool
) -> list[Name]:
    """The names of a structure's parts that are shown, in the field's pixels, upright."""
    names = []
    for part in parts_of(structure):
        if part.name not in masks:
            continue
        _, upright = upright_field(radiograph, {part.name: masks[part.name]}, field)
        mask = upright[part.name]
        if mask.any():
            names.append(_name(structure, part, mask, uncertain))
    return names


def _name(structure: str, part: Part, mask: np.ndarray, uncertain: bool) -> Name:
    """A rib's name beside its lateral end, that of another part in its middle."""
    colour = colour_of(structure)
    columns = np.flatnonzero(mask.any(0))
    if not part.number:
        rows = np.flatnonzero(mask.any(1))
        text = part.side.meaning[0] if part.side else part.title
        return Name(text, float(rows.mean()), float(columns.mean()), colour)
    text = f"{part.name}?" if uncertain else part.name
    # the patient's left is on the picture's right
    if part.side == LEFT:
        column, anchor = int(columns[-1]), "lm"
    else:
        column, anchor = int(columns[0]), "rm"
    return Name(text, float(np.flatnonzero(mask[:, column]).mean()), column, colour, anchor)
