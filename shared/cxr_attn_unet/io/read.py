"""Any supported file to a radiograph or a mask."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..files import as_path
from . import archive, dicom, jsrt, polygons, raster, volume
from .content import what_is
from .limits import limited_to
from .radiograph import Orientation, Radiograph, RadiographError, check_pixels

__all__ = [
    "Listing",
    "describe_ignored",
    "find_radiographs",
    "is_radiograph_file",
    "kind_of_file",
    "list_radiographs",
    "may_be_radiograph",
    "read_labels",
    "read_mask",
    "read_radiograph",
    "walk_radiographs",
]

FORMATS = "PNG, JPEG, JPEG 2000, TIFF, BMP, GIF, WebP, DICOM, NIfTI, MHA, MHD, NRRD and raw JSRT .IMG"
# which stand beside a header that names them, and are read with it
_PIXELS_OF_HEADERS = {".raw": (".mhd", ".nhdr"), ".zraw": (".mhd",)}


def _has_head(path: str) -> bool:
    base = path[: -len(".img")]
    return os.path.exists(base + ".hdr") or os.path.exists(base + ".HDR")


def _format(path: str) -> str:
    """``raster``, ``volume``, ``dicom``, ``jsrt``, ``archive``, or empty for what is none of them."""
    name = path.lower()
    if name.endswith(archive.SUFFIX):
        return "archive"
    if name.endswith(raster.SUFFIXES):
        return "raster"
    if name.endswith(".img"):
        return "volume" if _has_head(path) else "jsrt"
    if name.endswith((*volume.NIFTI_SUFFIXES, *volume.ITK_SUFFIXES)):
        return "volume"
    if name.endswith(dicom.SUFFIXES) or Path(path).name.upper() == "DICOMDIR" or dicom.is_dicom(path):
        return "dicom"
    return ""


def _require_file(path: str) -> None:
    if not os.path.exists(path):
        raise RadiographError(f"{path}: no such file. Check the path.")
    if not os.path.isfile(path):
        raise RadiographError(f"{path}: a folder, not a file. Give the radiograph itself.")
    if os.path.getsize(path) == 0:
        raise RadiographError(f"{path}: the file is empty. Copy or export it again.")


def read_radiograph(path: str | os.PathLike, max_pixels: int | None = None) -> Radiograph:
    """Read a radiograph of any supported format.

    PNG, JPEG, JPEG 2000, TIFF, BMP, GIF, WebP (8 and 16 bits, colours by luminance), DICOM, NIfTI, MHA, MHD, NRRD (one
    slice), raw JSRT ``.IMG``. Files without a known suffix are tried as DICOM, which may be in gzip (``.dcm.gz``). A
    ZIP archive is read if it holds one of them.

    Args:
        path: the file.
        max_pixels: the most pixels (rows x columns) that it may have by its header, before any of them is decoded; if
            not given that of the environment variable ``CXR_MAX_PIXELS``, or 100,000,000.

    Returns:
        the radiograph: pixels ``(rows, columns)`` float32 as stored but bone bright, spacing in mm, orientation.

    Raises:
        RadiographError: the file cannot be used as a radiograph, or its format needs a package that is not installed;
            the message names file, reason and remedy.
        ValueError: a limit below 1.
    """
    with limited_to(max_pixels):
        return _read(os.fspath(path))


def _read(path: str) -> Radiograph:
    _require_file(path)
    kind = _format(path)
    if kind == "archive":
        with archive.unpacked(path, _has_name_of_radiograph) as inner:
            try:
                return replace(_read(inner), path=path)
            except RadiographError as error:
                # the reader of the message has the archive, not the temporary file
                name = os.path.basename(inner)
                raise type(error)(str(error).replace(inner, f"{path}: {name}", 1)) from error
    if kind == "dicom":
        radiograph = dicom.read(path)
    elif kind == "raster":
        pixels, orientation, notes = raster.read(path)
        radiograph = Radiograph(pixels, path, None, orientation, notes=notes)
    elif kind == "volume":
        pixels, spacing, orientation, affine, notes = volume.read(path)
        source = "given" if spacing else None
        radiograph = Radiograph(pixels, path, spacing, orientation, affine, source, notes)
    elif kind == "jsrt":
        spacing = (jsrt.SPACING_MM, jsrt.SPACING_MM)
        pixels, notes = jsrt.read(path)
        radiograph = Radiograph(pixels, path, spacing, Orientation(), None, "detector", notes)
    else:
        what, remedy = what_is(path)
        if what:
            raise RadiographError(f"{path}: {what}, not a radiograph. {remedy}.")
        raise RadiographError(f"{path}: not a format that is read. Convert it to one of {FORMATS}.")
    check_pixels(radiograph.pixels, path)
    return radiograph


def read_labels(path: str | os.PathLike) -> np.ndarray:
    """Read a mask's or label map's own values, ``(rows, columns)``; ``FILE.json#INDEX`` for polygons.

    Raises:
        RadiographError: the file cannot be read as one.
    """
    path = os.fspath(path)
    if polygons.is_reference(path):
        kind = "polygons"
    else:
        _require_file(path)
        kind = _format(path)
    if kind == "raster":
        pixels = raster.read_labels(path)
    elif kind == "polygons":
        pixels = polygons.read(path)
    elif kind == "volume":
        pixels = volume.read(path)[0]
    else:
        raise RadiographError(f"{path}: not a format that masks are read from. Convert it to PNG or NIfTI.")
    if not np.isfinite((pixels.min(), pixels.max())).all():
        raise RadiographError(f"{path}: has values that are NaN or infinite. Export the mask again.")
    return pixels


def read_mask(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> np.ndarray:
    """Read a mask, or the union of several, such as left and right lung.

    Whatever is not zero is structure, so 0/1, 0/255 and a bit for each rib are the same; in JPEG and WebP files,
    which smear their edges, whatever is above half. An empty mask is not an error here.

    Args:
        paths: a file or several; ``FILE.json#INDEX`` for polygons, see :func:`.polygons.read`.

    Returns:
        ``(rows, columns)`` bool, in the files' own pixel layout.

    Raises:
        RadiographError: a file cannot be read as a mask, or the sizes differ.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    union: np.ndarray | None = None
    for entry in paths:
        path = os.fspath(entry)
        pixels = read_labels(path)
        mask = pixels > 127 if raster.is_lossy(path) else pixels != 0
        if union is not None and union.shape != mask.shape:
            raise RadiographError(
                f"{path}: {mask.shape[1]} x {mask.shape[0]} pixels, but {os.fspath(paths[0])} has "
                f"{union.shape[1]} x {union.shape[0]}. Masks that are joined must have one size."
            )
        union = mask if union is None else union | mask
    if union is None:
        raise RadiographError("no mask file was given. Name at least one.")
    return union


def is_radiograph_file(path: str | os.PathLike) -> bool:
    """Whether a file looks like a radiograph, by its suffix or DICOM's preamble; it is not read any further.

    A ZIP archive does if a file in it does by its name.
    """
    path = os.fspath(path)
    name = path.lower()
    if name.endswith((".hdr", ".img")):
        # of a pair, the .img stands for both; of other .img files only those of JSRT's size are radiographs
        return name.endswith(".img") and os.path.isfile(path) and (_has_head(path) or jsrt.is_raw(path))
    if name.endswith(archive.SUFFIX):
        return bool(archive.members(path, _has_name_of_radiograph))
    return bool(_format(path)) and Path(path).name.upper() != "DICOMDIR"


def may_be_radiograph(name: str) -> bool:
    """Whether a file may be a radiograph, by its name alone; for places where looking into each file takes too long.

    Besides the known suffixes those count that DICOM files often have: none, or the last number of a UID.
    """
    base = os.path.basename(name)
    suffix = os.path.splitext(base)[1].lower()
    if suffix == ".hdr" or base.upper() == "DICOMDIR":
        return False  # of a pair, the .img stands for both
    if suffix in (archive.SUFFIX, ".img") or _has_name_of_radiograph(base):
        return True
    return not suffix or suffix[1:].isdigit()


def _has_name_of_radiograph(name: str) -> bool:
    suffixes = (*raster.SUFFIXES, *volume.NIFTI_SUFFIXES, *volume.ITK_SUFFIXES, *dicom.SUFFIXES)
    return name.lower().endswith(suffixes)


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        radiographs: paths of the files that look like radiographs, sorted.
        ignored: how many other files there are by kind, which is the suffix in lower case, ``DICOMDIR``, or
            ``without suffix``; those of hidden files and of pixels that belong to a header are left out.
    """

    radiographs: list[str]
    ignored: Mapping[str, int]

    def describe_ignored(self) -> str:
        """Such as ``12 files ignored: 9 .txt, 3 .xml``; empty if there are none."""
        return describe_ignored(self.ignored)


def describe_ignored(ignored: Mapping[str, int]) -> str:
    """Numbers of ignored files by kind in words, the most frequent first; empty if there are none."""
    total = sum(ignored.values())
    if not total:
        return ""
    kinds = sorted(ignored, key=lambda kind: (-ignored[kind], kind))
    files = "file" if total == 1 else "files"
    return f"{total} {files} ignored: {', '.join(f'{ignored[kind]} {kind}' for kind in kinds)}"


def list_radiographs(folder: str | os.PathLike) -> list[str]:
    """All radiographs under a folder, sorted; as :func:`find_radiographs`, which also counts the other files.

    Raises:
        RadiographError: no such folder.
    """
    return find_radiographs(folder).radiographs


def find_radiographs(folder: str | os.PathLike) -> Listing:
    """All radiographs under a folder, and how many other files there are; hidden files and folders are passed over.

    Symbolic links are followed, each folder is entered once.

    Raises:
        RadiographError: no such folder.
    """
    ignored: Counter[str] = Counter()
    radiographs = sorted(walk_radiographs(folder, ignored))
    return Listing(radiographs, dict(ignored))


def walk_radiographs(folder: str | os.PathLike, ignored: Counter[str] | None = None) -> Iterator[str]:
    """As :func:`find_radiographs`, a folder at a time, so that no more names than a folder has are in memory.

    Args:
        folder: where to look, with all subfolders.
        ignored: where other files are counted by kind, see :class:`Listing`.

    Raises:
        RadiographError: no such folder.
    """
    try:
        root = as_path(folder)
    except ValueError as error:
        raise RadiographError(str(error)) from error
    if not root.is_dir():
        raise RadiographError(f"{folder}: no such folder. Name the folder of the radiographs with --dataset_dir.")
    for path in _files_under(root):
        if is_radiograph_file(path):
            yield path
        elif ignored is not None and not _belongs_to_header(path):
            ignored[kind_of_file(path)] += 1


def _files_under(root: Path) -> Iterator[str]:
    entered: set[str] = set()
    for parent, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(parent)
        if real in entered:
            folders.clear()  # a link that leads back, or to where another has led
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (os.path.join(parent, name) for name in sorted(files) if not name.startswith("."))
        yield from (path for path in paths if os.path.isfile(path))


def _belongs_to_header(path: str) -> bool:
    """Whether a file holds the pixels of a header beside it, or is the header of pixels beside it."""
    base, suffix = os.path.splitext(path)
    if suffix.lower() == ".hdr":
        return os.path.exists(f"{base}.img") or os.path.exists(f"{base}.IMG")
    return any(os.path.exists(base + header) for header in _PIXELS_OF_HEADERS.get(suffix.lower(), ()))


def kind_of_file(path: str) -> str:
    """What files are counted by that are of no kind that is read, see :class:`Listing`."""
    name = os.path.basename(path)
    if name.upper() == "DICOMDIR":
        return "DICOMDIR"
    return os.path.splitext(name)[1].lower() or "without suffix"
