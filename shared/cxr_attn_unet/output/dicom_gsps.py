"""Outlines and diameters as a DICOM Grayscale Softcopy Presentation State, through highdicom."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from ..analysis.measurements import heart_diameter, thoracic_diameter
from ..files import written
from ..io import RadiographError
from ..io.silence import without_warnings
from ..structures import colour_of
from .dicom_header import read_header, set_laterality, without
from .dicom_identity import equipment
from .outlines import diameter_ends, outlines
from .result import SegmentedRadiograph, uids_of

__all__ = ["write_dicom_gsps"]

FORMAT = "dicom-gsps"
DIAMETERS = "DIAMETERS"
WHITE = (255, 255, 255)
LONGEST_CODE = 16  # characters of a layer's name
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
WINDOW = ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction")
RESCALE = ("RescaleSlope", "RescaleIntercept", "RescaleType")


@without_warnings()
def write_dicom_gsps(path: str | os.PathLike, result: SegmentedRadiograph, version: str, uids: str) -> list[str]:
    """Write how a viewer shows a DICOM radiograph with outlines, one layer per structure, and both diameters.

    Grey values are shown as the radiograph's own header says. DICOM PS3.3 A.33.1.

    Args:
        path: file to write.
        result: of a DICOM radiograph.
        version: of this package.
        uids: of :data:`~cxr_attn_unet.output.dicom_identity.UIDS`.

    Returns:
        what was not carried over from the source because it breaks the rules of DICOM, in words; empty if nothing.

    Raises:
        RadiographError: the source lacks a UID, has colours, a mask has another size, or there is nothing to show.
        ValueError: an unknown kind of UIDs.
    """
    import highdicom as hd  # an extra

    header, notes = read_header(result.radiograph.path, result.masks, FORMAT)
    if header.get("SamplesPerPixel", 1) != 1:
        raise RadiographError(
            f"{result.radiograph.path}: is stored in colours, of which there is no grey presentation. Choose dicom-sc."
        )
    own = uids_of(result, header, FORMAT, version, uids)
    shown = _without_useless_values(header)
    annotations = _annotations(shown, result)
    if not annotations:
        raise RadiographError(f"{result.radiograph.path}: nothing was found in it, so there is nothing to outline.")
    state = hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=[shown],
        series_instance_uid=own("series"),
        series_number=1,
        sop_instance_uid=own("instance"),
        instance_number=1,
        content_label="CHEST_OUTLINES",
        content_description="Outlines and diameters",
        graphic_layers=[layer for layer, _ in annotations],
        graphic_annotations=[annotation for _, annotation in annotations],
        presentation_lut_transformation=_polarity(shown),
        series_description="Outlines of chest radiograph",
        **equipment(version, result.versions, result.checksums),
    )
    set_laterality(header, state)
    _set_pixel_shape(state, result.radiograph.spacing)
    if header.get("ModalityLUTSequence"):
        state.ModalityLUTSequence = header.ModalityLUTSequence
    with written(Path(path)) as temporary:
        state.save_as(temporary)
    return notes


def _without_useless_values(header: Dataset) -> Dataset:
    """The header without windows and slopes that mean nothing, which would be copied."""
    useless: list[str] = []
    if not _has_window(header):
        useless.extend(WINDOW)
    elif header.get("VOILUTFunction") not in FUNCTIONS:
        useless.append("VOILUTFunction")
    if header.get("ModalityLUTSequence") or not _has_slope(header):
        useless.extend(RESCALE)
    return without(header, useless)


def _has_window(header: Dataset) -> bool:
    centers = _numbers(header, "WindowCenter")
    widths = _numbers(header, "WindowWidth")
    return bool(widths) and len(centers) == len(widths) and min(widths) >= 1


def _has_slope(header: Dataset) -> bool:
    slopes = _numbers(header, "RescaleSlope")
    return len(slopes) == 1 and slopes[0] != 0 and len(_numbers(header, "RescaleIntercept")) == 1


def _numbers(header: Dataset, name: str) -> list[float]:
    """Finite values of an element; none if one is no number."""
    values = header.get(name)
    if values is None or values == "":
        return []
    numbers = [float(value) for value in (values if hasattr(values, "__iter__") else [values])]
    return numbers if all(math.isfinite(number) for number in numbers) else []


def _polarity(header: Dataset) -> Any:
    """A presentation state overrides what the image says of black and white, so it must say the same."""
    import highdicom as hd

    inverse = header.PhotometricInterpretation == "MONOCHROME1" or header.get("PresentationLUTShape") == "INVERSE"
    shape = hd.PresentationLUTShapeValues.INVERSE if inverse else hd.PresentationLUTShapeValues.IDENTITY
    return hd.PresentationLUTTransformation(presentation_lut_shape=shape)


def _set_pixel_shape(state: Dataset, spacing: tuple[float, float] | None) -> None:
    """Say how large pixels are, in mm, where that is known; else they are square."""
    if spacing is None:
        return
    (area,) = state.DisplayedAreaSelectionSequence
    del area.PresentationPixelAspectRatio
    area.PresentationPixelSpacing = [float(f"{value:.6g}") for value in spacing]


def _annotations(header: Dataset, result: SegmentedRadiograph) -> list[tuple[Any, Any]]:
    """Layer and annotation of each structure that was found, and of the diameters."""
    found: list[tuple[Any, Any]] = []
    for structure, mask in result.masks.items():
        lines = [_line(outline) for outline in outlines(mask)]
        if lines:
            found.append(_layer(header, structure, len(found) + 1, colour_of(structure), lines))
    lines, texts = _diameters(result)
    if lines:
        found.append(_layer(header, DIAMETERS, len(found) + 1, WHITE, lines, texts))
    return found


def _layer(
    header: Dataset,
    name: str,
    order: int,
    colour: tuple[int, int, int],
    lines: list[Any],
    texts: list[Any] | None = None,
) -> tuple[Any, Any]:
    import highdicom as hd

    layer = hd.pr.GraphicLayer(
        name.upper()[:LONGEST_CODE],
        order,
        description=name.capitalize(),
        display_color=hd.color.CIELabColor.from_rgb(*colour),
    )
    annotation = hd.pr.GraphicAnnotation(
        referenced_images=[header], graphic_layer=layer, graphic_objects=lines, text_objects=texts
    )
    return layer, annotation


def _line(points: Any) -> Any:
    """A line through points ``(points, 2)``, (column, row) as stored."""
    import highdicom as hd

    return hd.pr.GraphicObject(hd.pr.GraphicTypeValues.POLYLINE, points, hd.pr.AnnotationUnitsValues.PIXEL)


def _diameters(result: SegmentedRadiograph) -> tuple[list[Any], list[Any] | None]:
    """The lines of both diameters and the ratio's text; nothing where it was not measured."""
    import highdicom as hd

    ratio = result.measurements.get("cardiothoracic_ratio")
    if ratio is None:
        return [], None
    radiograph = result.radiograph
    shape = next(iter(result.masks.values())).shape
    lines = []
    anchor = (0.0, 0.0)
    upright = radiograph.orientation.apply
    for diameter in (
        heart_diameter(upright(result.masks["heart"])),
        thoracic_diameter(upright(result.masks["lungs"])),
    ):
        if diameter is not None:
            ends = diameter_ends(diameter, radiograph.orientation, (shape[0], shape[1]))
            lines.append(_line(ends))
            anchor = (float(ends[0, 0]), float(ends[0, 1]))
    text = hd.pr.TextObject(
        f"CTR {float(ratio):.2f}",
        hd.pr.AnnotationUnitsValues.PIXEL,
        anchor_point=anchor,
        anchor_point_visible=False,
    )
    return lines, [text]
