"""The radiograph with what was found in it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from ..analysis.measurements import heart_diameter, thoracic_diameter
from ..figures import annotated
from ..io import Radiograph

__all__ = ["draw_overlay"]


def draw_overlay(
    radiograph: Radiograph,
    masks: Mapping[str, np.ndarray],
    measurements: Mapping[str, float | str | None],
    side: int = 1024,
) -> Image.Image:
    """The upright radiograph with outlines in fixed colours, both diameters of the ratio, and a legend.

    Args:
        radiograph: as read.
        masks: by structure, ``(rows, columns)`` bool over the file's own pixels, as stored.
        measurements: of which the cardiothoracic ratio is written; without it no diameters are drawn.
        side: of the square that the picture fits, in pixels.
    """
    upright = {structure: radiograph.orientation.apply(mask) for structure, mask in masks.items()}
    lines: list[tuple[float, float, float]] = []
    note = ""
    ratio = measurements.get("cardiothoracic_ratio")
    if ratio is not None:
        for diameter in (heart_diameter(upright["heart"]), thoracic_diameter(upright["lungs"])):
            if diameter is not None:
                lines.append((diameter.row, diameter.start, diameter.stop))
        note = f"CTR {ratio:.2f}"
    return annotated(radiograph.upright(), upright, lines, note, side)
