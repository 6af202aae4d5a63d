"""The radiograph with what was found in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..analysis.measurements import Diameter, heart_diameter, thoracic_diameter
from ..analysis.parts import UNCERTAIN
from ..figures import Name, annotated
from ..io import Radiograph
from ..structures import LEFT, Part, colour_of, parts_of

__all__ = ["Box", "Field", "draw_overlay", "names_of_parts", "shown_diameters", "upright_field"]

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
    diameters = shown_diameters(upright, measurements)
    lines = [(diameter.row, diameter.start, diameter.stop) for diameter in diameters.values()]
    ratio = measurements.get("cardiothoracic_ratio")
    note = "" if ratio is None else f"CTR {ratio:.2f}"
    names: list[Name] = []
    if parts and side >= SMALLEST_WITH_NAMES:
        for structure, named in parts.items():
            names.extend(names_of_parts(radiograph, structure, named, measurements, field).values())
    return annotated(pixels, upright, lines, note, side, names)


def shown_diameters(
    masks: Mapping[str, np.ndarray], measurements: Mapping[str, float | str | None]
) -> dict[str, Diameter]:
    """Both diameters of the cardiothoracic ratio by the name of their measurement; none where it was withheld.

    Args:
        masks: upright, ``(rows, columns)`` bool by structure.
        measurements: of the radiograph.
    """
    if measurements.get("cardiothoracic_ratio") is None:
        return {}
    found = {
        "heart_diameter": heart_diameter(masks["heart"]),
        "thoracic_diameter": thoracic_diameter(masks["lungs"]),
    }
    return {name: diameter for name, diameter in found.items() if diameter is not None}


def names_of_parts(
    radiograph: Radiograph,
    structure: str,
    masks: Mapping[str, np.ndarray],
    measurements: Mapping[str, float | str | None],
    field: Field | None = None,
) -> dict[str, Name]:
    """What is written beside the parts of a structure that were found, and where on the upright picture.

    Args:
        radiograph: as read.
        structure: such as ``ribs``.
        masks: by name of the part, ``(rows, columns)`` bool as stored.
        measurements: of the radiograph; where they call the ribs' numbers uncertain, names end in a question mark.
        field: the part of the picture that is shown; all of it if not given.
    """
    uncertain = measurements.get("ribs_numbering") == UNCERTAIN
    names = {}
    for part in parts_of(structure):
        if part.name not in masks:
            continue
        _, upright = upright_field(radiograph, {part.name: masks[part.name]}, field)
        mask = upright[part.name]
        if mask.any():
            names[part.name] = _name(structure, part, mask, uncertain)
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
