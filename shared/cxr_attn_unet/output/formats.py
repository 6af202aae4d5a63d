"""The formats of one radiograph's results and of many, by the names that ``segment --format`` takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

from .. import __version__
from ..analysis.parts import UNCERTAIN
from ..figures import COLOURS, four_around
from ..files import radiograph_stem, written
from ..io import RadiographError
from ..io.dicom import is_dicom
from ..structures import colour_of, label_values, part_values
from .dicom_gsps import write_dicom_gsps
from .dicom_identity import REPRODUCIBLE
from .dicom_sc import write_dicom_sc
from .dicom_seg import check_codes, write_dicom_seg
from .dicom_sr import write_dicom_sr
from .masks import label_map, one_bit_png, part_label_map
from .nifti import save_nifti
from .overlay import draw_overlay, upright_field
from .result import SegmentedRadiograph

__all__ = [
    "COLLECTIONS",
    "FORMATS",
    "Format",
    "Saved",
    "SegmentedRadiograph",
    "check_formats",
    "file_names",
    "is_dicom_file",
    "save",
    "save_with_notes",
]

OVERLAY_SIDE = 1024
JPEG_QUALITY = 88
CORNERS = 4  # of the figure


@dataclass(frozen=True)
class Format:
    """A format of one radiograph's results.

    Attributes:
        description: for ``--help``.
        ending: of the file's name behind the stem; with ``{structure}`` in it, there is one file per structure.
        write: takes the results, a path by structure, or by ``""`` where there is one file, and the kind of UIDs;
            returns what was odd while it wrote, in words.
        packages: what it needs beyond the package's own dependencies.
        dicom_only: whether only DICOM radiographs have it.
        parts_ending: of the names of more files, where parts are wanted; with ``{structure}`` in it, and ``{part}`` if
            each part has a file.
        write_parts: takes the results and a path by (structure, part), the part empty where there is one file.
    """

    description: str
    ending: str
    write: Callable[[SegmentedRadiograph, Mapping[str, Path], str], list[str] | None]
    packages: tuple[str, ...] = ()
    dicom_only: bool = False
    parts_ending: str = ""
    write_parts: Callable[[SegmentedRadiograph, Mapping[tuple[str, str], Path]], None] | None = None


@dataclass(frozen=True)
class Collection:
    """A format of all radiographs together.

    Attributes:
        description: for ``--help``.
        file: its name.
        packages: what it needs beyond the package's own dependencies.
    """

    description: str
    file: str
    packages: tuple[str, ...]


def _write_png(result: SegmentedRadiograph, paths: Mapping[str, Path], _uids: str) -> None:
    for structure, path in paths.items():
        with written(path) as temporary:
            temporary.write_bytes(one_bit_png(result.masks[structure]))


def _write_png_of_parts(result: SegmentedRadiograph, paths: Mapping[tuple[str, str], Path]) -> None:
    for (structure, part), path in paths.items():
        with written(path) as temporary:
            temporary.write_bytes(one_bit_png(result.parts[structure][part]))


def _write_nifti(result: SegmentedRadiograph, paths: Mapping[str, Path], _uids: str) -> None:
    for structure, path in paths.items():
        save_nifti(result.masks[structure].astype(np.uint8), result.radiograph, path)


def _write_nifti_of_parts(result: SegmentedRadiograph, paths: Mapping[tuple[str, str], Path]) -> None:
    for (structure, part), path in paths.items():
        save_nifti(result.parts[structure][part].astype(np.uint8), result.radiograph, path)


def _write_label_map(result: SegmentedRadiograph, paths: Mapping[str, Path], _uids: str) -> None:
    picture = Image.fromarray(label_map(result.masks))
    # a palette shows the labels in colour; the values stay what they are
    palette = [0, 0, 0]
    names = dict.fromkeys([*label_values(), *label_values(result.masks)])
    for name in names:
        palette.extend(colour_of(name))
    picture.putpalette(palette)
    _save_picture(picture, paths[""], optimize=True)


def _write_label_map_of_parts(result: SegmentedRadiograph, paths: Mapping[tuple[str, str], Path]) -> None:
    for (structure, _), path in paths.items():
        picture = Image.fromarray(part_label_map(structure, result.parts[structure]))
        palette = [0, 0, 0]
        for value in part_values(structure).values():
            palette.extend(COLOURS[(value - 1) % len(COLOURS)])
        picture.putpalette(palette)
        _save_picture(picture, path, optimize=True)


def _write_label_map_nifti(result: SegmentedRadiograph, paths: Mapping[str, Path], _uids: str) -> None:
    save_nifti(label_map(result.masks), result.radiograph, paths[""])


def _write_label_map_nifti_of_parts(result: SegmentedRadiograph, paths: Mapping[tuple[str, str], Path]) -> None:
    for (structure, _), path in paths.items():
        save_nifti(part_label_map(structure, result.parts[structure]), result.radiograph, path)


def _write_dicom_seg(result: SegmentedRadiograph, paths: Mapping[str, Path], uids: str) -> list[str]:
    return _write_segmentation(result, paths[""], uids, "dicom-seg")


def _write_dicom_seg_plane(result: SegmentedRadiograph, paths: Mapping[str, Path], uids: str) -> list[str]:
    return _write_segmentation(result, paths[""], uids, "dicom-seg-plane")


def _write_segmentation(result: SegmentedRadiograph, path: Path, uids: str, form: str) -> list[str]:
    source = _dicom_source(result, form)
    uncertain = ["ribs"] if result.measurements.get("ribs_numbering") == UNCERTAIN else []
    return write_dicom_seg(
        path,
        source,
        result.masks,
        __version__,
        result.versions,
        result.parts,
        uncertain,
        checksums=result.checksums,
        identity=result.identity,
        uids=uids,
        nominal_plane=form == "dicom-seg-plane",
    )


def _write_dicom_sr(result: SegmentedRadiograph, paths: Mapping[str, Path], uids: str) -> list[str]:
    _dicom_source(result, "dicom-sr")
    return write_dicom_sr(paths[""], result, __version__, uids)


def _write_dicom_gsps(result: SegmentedRadiograph, paths: Mapping[str, Path], uids: str) -> list[str]:
    _dicom_source(result, "dicom-gsps")
    return write_dicom_gsps(paths[""], result, __version__, uids)


def _write_dicom_sc(result: SegmentedRadiograph, paths: Mapping[str, Path], uids: str) -> list[str]:
    _dicom_source(result, "dicom-sc")
    return write_dicom_sc(paths[""], result, _overlay(result), __version__, uids)


def _dicom_source(result: SegmentedRadiograph, form: str) -> str:
    """The DICOM file to which an object refers.

    Raises:
        RadiographError: the radiograph is of another kind.
    """
    source = result.radiograph.path
    if not is_dicom_file(source):
        raise RadiographError(f"{source}: not DICOM, which {form} needs. Choose another format.")
    return source


def _write_overlay(result: SegmentedRadiograph, paths: Mapping[str, Path], _uids: str) -> None:
    _save_picture(_overlay(result), paths[""], quality=JPEG_QUALITY)


def _overlay(result: SegmentedRadiograph) -> Image.Image:
    return draw_overlay(result.radiograph, result.masks, result.measurements, OVERLAY_SIDE, result.field, result.parts)


def _write_figure(result: SegmentedRadiograph, paths: Mapping[str, Path], _uids: str) -> None:
    shown = {structure: result.masks[structure] for structure in list(result.masks)[:CORNERS]}
    pixels, masks = upright_field(result.radiograph, shown, result.field)
    _save_picture(four_around(pixels, masks), paths[""], optimize=True)


def _save_picture(picture: Image.Image, path: Path, **options: int) -> None:
    kind = "JPEG" if path.suffix == ".jpg" else "PNG"
    with written(path) as temporary:
        picture.save(temporary, format=kind, **options)


FORMATS: dict[str, Format] = {
    "png": Format(
        "a one-bit mask per structure, STEM_STRUCTURE.png",
        "_{structure}.png",
        _write_png,
        parts_ending="_{structure}_parts/{part}.png",
        write_parts=_write_png_of_parts,
    ),
    "labelmap": Format(
        "one picture of labels, STEM_labels.png: 1 lungs, 2 heart, 3 ribs, 4 clavicles, later ones on top",
        "_labels.png",
        _write_label_map,
        parts_ending="_{structure}_parts.png",
        write_parts=_write_label_map_of_parts,
    ),
    "labelmap-nifti": Format(
        "the same labels as STEM_labels.nii.gz",
        "_labels.nii.gz",
        _write_label_map_nifti,
        parts_ending="_{structure}_parts.nii.gz",
        write_parts=_write_label_map_nifti_of_parts,
    ),
    "nifti": Format(
        "a mask per structure with spacing and orientation, STEM_STRUCTURE.nii.gz",
        "_{structure}.nii.gz",
        _write_nifti,
        parts_ending="_{structure}_parts/{part}.nii.gz",
        write_parts=_write_nifti_of_parts,
    ),
    "dicom-seg": Format(
        "a DICOM Segmentation, STEM.seg.dcm, of DICOM radiographs",
        ".seg.dcm",
        _write_dicom_seg,
        packages=("highdicom",),
        dicom_only=True,
    ),
    "dicom-seg-plane": Format(
        "the same with a nominal plane, STEM.plane.seg.dcm, for viewers such as OHIF that ask for one",
        ".plane.seg.dcm",
        _write_dicom_seg_plane,
        packages=("highdicom",),
        dicom_only=True,
    ),
    "dicom-sr": Format(
        "measurements as a DICOM Structured Report, STEM.sr.dcm, of DICOM radiographs",
        ".sr.dcm",
        _write_dicom_sr,
        packages=("highdicom",),
        dicom_only=True,
    ),
    "dicom-gsps": Format(
        "outlines and diameters as a DICOM presentation state, STEM.pr.dcm, of DICOM radiographs",
        ".pr.dcm",
        _write_dicom_gsps,
        packages=("highdicom",),
        dicom_only=True,
    ),
    "dicom-sc": Format(
        "the overlay as a DICOM Secondary Capture, STEM.sc.dcm, of DICOM radiographs",
        ".sc.dcm",
        _write_dicom_sc,
        packages=("highdicom",),
        dicom_only=True,
    ),
    "overlay": Format("the radiograph with outlines and diameters, STEM_overlay.jpg", "_overlay.jpg", _write_overlay),
    "figure": Format("the radiograph with a structure at each corner, STEM_figure.png", "_figure.png", _write_figure),
}
COLLECTIONS: dict[str, Collection] = {
    "coco": Collection("COCO JSON with run-length encoded masks, coco.json", "coco.json", ("pycocotools",)),
    "parquet": Collection(
        "measurements and run-length encoded masks in one table, segmentations.parquet",
        "segmentations.parquet",
        ("pycocotools", "pyarrow"),
    ),
}


def check_formats(formats: Sequence[str], structures: Sequence[str]) -> None:
    """Make sure, before hours are spent, that formats can be written for structures with what is installed.

    Args:
        formats: of :data:`FORMATS` and :data:`COLLECTIONS`.
        structures: those that will be segmented.

    Raises:
        ImportError: a package is missing; the message says how to get it.
        ValueError: an unknown format, or one that cannot hold one of the structures; the message names the remedy.
    """
    for name in formats:
        kind = FORMATS.get(name) or COLLECTIONS.get(name)
        if kind is None:
            raise ValueError(_unknown(name))
        for package in kind.packages:
            try:
                import_module(package)
            except ImportError as error:
                raise ImportError(
                    f"the format {name} needs {package}; install it: pip install 'cxr-attn-unet[formats]'"
                ) from error
    if {"dicom-seg", "dicom-seg-plane"} & set(formats):
        check_codes(structures)


def is_dicom_file(path: str | os.PathLike) -> bool:
    """Whether a segmentation object can refer to this file."""
    return os.path.isfile(path) and is_dicom(os.fspath(path))


def file_names(
    stem: str, structures: Sequence[str], form: str, parts: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """Names of the files that a format makes for one radiograph.

    Args:
        stem: the radiograph's.
        structures: those segmented.
        form: of :data:`FORMATS`.
        parts: by structure, the names of the parts that are told apart.

    Raises:
        ValueError: an unknown format, or one for collections.
    """
    return [*_names(stem, structures, form).values(), *_part_names(stem, parts or {}, form).values()]


def _part_names(stem: str, parts: Mapping[str, Sequence[str]], form: str) -> dict[tuple[str, str], str]:
    """Names of the files of parts by (structure, part); the part is empty where a structure has one file."""
    ending = FORMATS[form].parts_ending
    names = {}
    for structure, told_apart in parts.items():
        if "{part}" in ending:
            for part in told_apart:
                names[structure, part] = stem + ending.format(structure=structure, part=part)
        elif ending:
            names[structure, ""] = stem + ending.format(structure=structure)
    return names


def _names(stem: str, structures: Sequence[str], form: str) -> dict[str, str]:
    """The same by structure, or by ``""`` where there is one file."""
    if form in COLLECTIONS:
        raise ValueError(f"format {form} is a table of many radiographs; write it with the segment command")
    if form not in FORMATS:
        raise ValueError(_unknown(form))
    ending = FORMATS[form].ending
    if "{structure}" not in ending:
        return {"": stem + ending}
    return {structure: stem + ending.format(structure=structure) for structure in structures}


def _unknown(form: str) -> str:
    return f"format is {form!r}, must be one of {', '.join(FORMATS)}"


def save(
    result: SegmentedRadiograph,
    folder: str | os.PathLike,
    formats: Sequence[str] = ("png",),
    stem: str | None = None,
    uids: str = REPRODUCIBLE,
) -> list[Path]:
    """Write the results of a radiograph; each file appears whole or not at all.

    Args:
        result: what to write.
        folder: made if missing.
        formats: of :data:`FORMATS`.
        stem: start of the files' names; that of the radiograph if not given.
        uids: of DICOM objects: ``reproducible``, the same for the same results, or ``fresh``.

    Returns:
        the files.

    Raises:
        ValueError: an unknown format, or a structure that it cannot hold.
        RadiographError: a DICOM format for what is not DICOM, or has no UIDs.
        ImportError: the format needs a package that is not installed.
        OSError: cannot be written.
    """
    return save_with_notes(result, folder, formats, stem, uids).files


@dataclass(frozen=True)
class Saved:
    """What :func:`save_with_notes` wrote.

    Attributes:
        files: in the order of the formats.
        notes: what was odd while they were written, in words; empty if nothing.
    """

    files: list[Path]
    notes: list[str]


def save_with_notes(
    result: SegmentedRadiograph,
    folder: str | os.PathLike,
    formats: Sequence[str] = ("png",),
    stem: str | None = None,
    uids: str = REPRODUCIBLE,
) -> Saved:
    """As :func:`save`, and also says what was odd, such as header values that a format cannot hold."""
    if stem is None:
        stem = radiograph_stem(result.radiograph.path)
    saved = Saved([], [])
    for form in dict.fromkeys(formats):
        names = _names(stem, list(result.masks), form)
        paths = {structure: Path(folder) / name for structure, name in names.items()}
        notes = FORMATS[form].write(result, paths, uids)
        saved.files.extend(paths.values())
        # several DICOM formats say the same of one header
        saved.notes.extend(note for note in notes or () if note not in saved.notes)
        saved.files.extend(_save_parts(result, folder, form, stem))
    return saved


def _save_parts(result: SegmentedRadiograph, folder: str | os.PathLike, form: str, stem: str) -> list[Path]:
    """Write the files that a format has of parts alone; returns them."""
    write = FORMATS[form].write_parts
    if write is None or not result.parts:
        return []
    names = _part_names(stem, {structure: list(masks) for structure, masks in result.parts.items()}, form)
    paths = {key: Path(folder) / name for key, name in names.items()}
    write(result, paths)
    return list(paths.values())
