"""The radiograph with what was found in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..analysis.measurements import heart_diameter, thoracic_diameter
from ..figures import annotated
from ..io import Radiograph

__all__ = ["Box", "Field", "draw_overlay", "upright_field"]

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
) -> Image.Image:
    """The upright radiograph with outlines in fixed colours, both diameters of the ratio, and a legend.

    Args:
        radiograph: as read.
        masks: by structure, ``(rows, columns)`` bool over the file's own pixels, as stored.
        measurements: of which the cardiothoracic ratio is written; without it no diameters are drawn.
        side: of the square that the picture fits, in pixels.
        field: the part that is shown; all of it if not given.
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
    return annotated(pixels, upright, lines, note, side)
