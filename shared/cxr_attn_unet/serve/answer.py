"""From a segmentation to what clients get: the content of the answer, the picture's numbers, the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..analysis.measurements import AREA, LENGTH, MEASUREMENTS, Measurement
from ..analysis.parts import PART_MEASUREMENTS
from ..figures import Name
from ..inference import Segmentation
from ..io import RadiographError
from ..output import is_dicom_file, names_of_parts, save_with_notes, shown_diameters
from ..output.outlines import outlines
from ..structures import REGISTRY, colour_of, parts_of
from .content import Anchor, Line, Measured, PartFound, Picture, Result, StructureFound, Text

__all__ = ["PIXELS", "RESULT", "STEM", "css_colour", "title_of", "write_answer"]

STEM = "radiograph"  # of all files, for the name that an upload had may be a patient's
RESULT = "result.json"
PIXELS = "pixels.bin"
FORMATS = ("png", "labelmap", "overlay")
DICOM_FORMATS = ("dicom-seg", "dicom-sr")
PICTURE_SIDE = 2048  # pixels: screens show no more
DEEPEST = 65535
ANCHORS: dict[str, Anchor] = {"l": "start", "m": "middle", "r": "end"}
UNITS = {"mm": "mm", "mm2": "mm²", "px": "px"}
# of pixels: finer than a screen shows, and a tenth of the points
TOLERANCE = 0.75


def write_answer(found: Segmentation, folder: Path, with_dicom: bool) -> Result:
    """Write the files of a result, ``result.json`` and ``pixels.bin`` into a folder.

    Args:
        found: what was found.
        folder: of this radiograph alone.
        with_dicom: whether the packages for DICOM results are there.

    Returns:
        the content of ``result.json``.

    Raises:
        OSError: cannot be written.
    """
    is_dicom = is_dicom_file(found.radiograph.path)
    formats = [*FORMATS, *(DICOM_FORMATS if is_dicom and with_dicom else ())]
    names, notes = _write_files(found, folder, formats)
    pixels, picture = _picture(found)
    (folder / PIXELS).write_bytes(pixels.tobytes())
    result = _result(found, picture, is_dicom, names, notes)
    (folder / RESULT).write_text(result.model_dump_json(), encoding="utf-8")
    return result


def _write_files(found: Segmentation, folder: Path, formats: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the files that were written, and what was odd; a format that this radiograph cannot have is odd."""
    names: list[str] = []
    notes: list[str] = []
    for form in formats:
        try:
            saved = save_with_notes(found, folder, [form], STEM)
        except RadiographError as error:
            notes.append(f"no {form}: {str(error).removeprefix(f'{found.radiograph.path}: ')}")
            continue
        names.extend(path.relative_to(folder).as_posix() for path in saved.files)
        notes.extend(note for note in saved.notes if note not in notes)
    return names, notes


def _picture(found: Segmentation) -> tuple[np.ndarray, Picture]:
    """The upright radiograph as ``(rows, columns)`` uint16 of bounded size, and what its numbers mean."""
    # padding and hot pixels are left out of the range, frames are shown all the same
    shown = found.field.pixels if found.field is not None else found.radiograph.pixels
    low, high = float(shown.min()), float(shown.max())
    window_low, window_high = (float(value) for value in np.percentile(shown, (1, 99)))
    pixels = found.radiograph.upright()
    factor = -(-max(pixels.shape) // PICTURE_SIDE)
    if factor > 1:
        pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels, np.float32)).reduce(factor))
    share = np.clip((pixels - low) / max(high - low, 1e-12), 0, 1)
    numbers = np.round(share * DEEPEST).astype("<u2")
    rows, columns = numbers.shape
    picture = Picture(
        rows=rows, columns=columns, low=low, high=high, window_low=window_low, window_high=max(window_high, window_low)
    )
    return numbers, picture


def _result(
    found: Segmentation, picture: Picture, is_dicom: bool, files: Sequence[str], notes: Sequence[str]
) -> Result:
    rows, columns = next(iter(found.masks.values())).shape
    upright = {structure: found.upright(structure) for structure in found.masks}
    upright_rows, upright_columns = next(iter(upright.values())).shape
    lines = [
        Line(name=name, y=diameter.row + 0.5, x1=diameter.start, x2=diameter.stop + 1)
        for name, diameter in shown_diameters(upright, found.measurements).items()
    ]
    return Result(
        rows=rows,
        columns=columns,
        upright_rows=upright_rows,
        upright_columns=upright_columns,
        spacing=found.radiograph.spacing,
        spacing_source=found.radiograph.spacing_source if found.radiograph.spacing else None,
        dicom=is_dicom,
        picture=picture,
        structures=[_structure(found, structure, mask) for structure, mask in upright.items()],
        diameters=lines,
        measurements=_measured(found.measurements),
        warnings=[*found.warnings, *notes],
        files=list(files),
    )


def _structure(found: Segmentation, structure: str, mask: np.ndarray) -> StructureFound:
    return StructureFound(
        name=structure,
        title=title_of(structure),
        colour=css_colour(structure),
        confidence=found.confidences[structure],
        unreliable=found.unreliable.get(structure, ""),
        outlines=_outlines(mask),
        parts=_parts(found, structure),
    )


def _parts(found: Segmentation, structure: str) -> list[PartFound]:
    masks = found.parts.get(structure, {})
    names = names_of_parts(found.radiograph, structure, masks, found.measurements)
    parts = []
    for part in parts_of(structure):
        if part.name in names:
            lines = _outlines(found.upright(structure, part.name))
            parts.append(PartFound(name=part.name, title=part.title, outlines=lines, label=_text(names[part.name])))
    return parts


def _text(name: Name) -> Text:
    return Text(text=name.text, x=name.column + 0.5, y=name.row + 0.5, anchor=ANCHORS[name.anchor[0]])


def _outlines(mask: np.ndarray) -> list[list[tuple[float, float]]]:
    lines = outlines(mask, TOLERANCE)
    return [[(round(float(x), 1), round(float(y), 1)) for x, y in line] for line in lines]


def _measured(values: Mapping[str, float | str | None]) -> list[Measured]:
    known: dict[str, Measurement] = dict(MEASUREMENTS)
    for measurements in PART_MEASUREMENTS.values():
        known |= {measurement.name: measurement for measurement in measurements}
    units = {
        LENGTH: UNITS.get(str(values.get("length_unit")), ""),
        AREA: UNITS.get(str(values.get("area_unit")), ""),
    }
    return [
        Measured(
            name=name,
            label=measurement.label,
            value=values[name],
            unit=units.get(measurement.kind, ""),
            decimals=measurement.decimals,
            definition=measurement.definition,
        )
        for name, measurement in known.items()
        if name in values
    ]


def css_colour(structure: str) -> str:
    """The colour of a structure as CSS has it."""
    return "#{:02x}{:02x}{:02x}".format(*colour_of(structure))


def title_of(structure: str) -> str:
    """A structure's name as people write it."""
    known = REGISTRY.get(structure)
    return structure.capitalize() if known is None else known.title
