"""Files of one radiograph."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from PIL import Image

from .. import __version__
from ..figures import colour_of, four_around
from ..files import radiograph_stem, written
from ..io import Radiograph, RadiographError
from ..io.dicom import is_dicom
from .dicom_seg import write_dicom_seg

if TYPE_CHECKING:
    from ..segmenter import Segmentation

__all__ = [
    "COLLECTIONS",
    "FORMATS",
    "LABELS",
    "check_packages",
    "file_names",
    "geometry",
    "is_dicom_file",
    "label_map",
    "save",
    "save_nifti",
]

# of label maps; where structures overlap, the one further down in this list is what is seen
LABELS = {"lungs": 1, "heart": 2, "ribs": 3, "clavicles": 4}
FORMATS = {
    "png": "a one-bit mask a structure, STEM_STRUCTURE.png",
    "labelmap": "one picture of labels, STEM_labels.png: 1 lungs, 2 heart, 3 ribs, 4 clavicles, later ones on top",
    "labelmap-nifti": "the same labels as STEM_labels.nii.gz",
    "nifti": "a mask a structure with spacing and orientation, STEM_STRUCTURE.nii.gz",
    "dicom-seg": "a DICOM Segmentation, STEM.seg.dcm, of DICOM radiographs",
    "overlay": "the radiograph with outlines and diameters, STEM_overlay.jpg",
    "figure": "the radiograph with a structure at each corner, STEM_figure.png",
}
# of all radiographs together
COLLECTIONS = {
    "coco": "COCO JSON with run-length encoded masks, coco.json",
    "parquet": "measurements and run-length encoded masks in one table, segmentations.parquet",
}
PACKAGES = {"dicom-seg": ("highdicom",), "coco": ("pycocotools",), "parquet": ("pycocotools", "pyarrow")}
OVERLAY_SIDE = 1024
JPEG_QUALITY = 88


def check_packages(formats: Sequence[str]) -> None:
    """Make sure, before hours are spent, that what formats need is installed.

    Raises:
        ImportError: it is not; the message says how to get it.
    """
    for form in formats:
        for package in PACKAGES.get(form, ()):
            try:
                import_module(package)
            except ImportError as error:
                raise ImportError(
                    f"the format {form} needs {package}; install it: pip install 'cxr-attn-unet[formats]'"
                ) from error


def is_dicom_file(path: str | os.PathLike) -> bool:
    """Whether a segmentation object can refer to this file."""
    return os.path.isfile(path) and is_dicom(os.fspath(path))


def file_names(stem: str, structures: Sequence[str], form: str) -> list[str]:
    """Names of the files that a format makes for one radiograph.

    Args:
        stem: the radiograph's.
        structures: those segmented.
        form: of :data:`FORMATS`.

    Raises:
        ValueError: an unknown format, or one for collections.
    """
    names = {
        "png": [f"{stem}_{structure}.png" for structure in structures],
        "labelmap": [f"{stem}_labels.png"],
        "labelmap-nifti": [f"{stem}_labels.nii.gz"],
        "nifti": [f"{stem}_{structure}.nii.gz" for structure in structures],
        "dicom-seg": [f"{stem}.seg.dcm"],
        "overlay": [f"{stem}_overlay.jpg"],
        "figure": [f"{stem}_figure.png"],
    }
    if form in COLLECTIONS:
        raise ValueError(f"format {form} is a table of many radiographs; write it with the segment command")
    if form not in names:
        raise ValueError(f"format is {form!r}, must be one of {', '.join(FORMATS)}")
    return names[form]


def save(
    segmentation: Segmentation, folder: str | os.PathLike, formats: Sequence[str], stem: str | None = None
) -> list[Path]:
    """Write a segmentation, see :meth:`cxr_attn_unet.segmenter.Segmentation.save`."""
    radiograph, masks = segmentation.radiograph, segmentation.masks
    stem = radiograph_stem(radiograph.path) if stem is None else stem
    files: list[Path] = []
    for form in dict.fromkeys(formats):
        paths = [Path(folder) / name for name in file_names(stem, list(masks), form)]
        if form == "png":
            for path, mask in zip(paths, masks.values(), strict=True):
                with written(path) as temporary:
                    temporary.write_bytes(one_bit_png(mask))
        elif form == "nifti":
            for path, mask in zip(paths, masks.values(), strict=True):
                save_nifti(mask.astype(np.uint8), radiograph, path)
        elif form == "labelmap":
            picture = Image.fromarray(label_map(masks))
            # a palette shows the labels in colour; the values stay what they are
            picture.putpalette([0, 0, 0, *(channel for name in LABELS for channel in colour_of(name))])
            _save_picture(picture, paths[0], optimize=True)
        elif form == "labelmap-nifti":
            save_nifti(label_map(masks), radiograph, paths[0])
        elif form == "dicom-seg":
            if not is_dicom_file(radiograph.path):
                raise RadiographError(f"{radiograph.path}: not DICOM, which dicom-seg needs. Choose another format.")
            write_dicom_seg(paths[0], radiograph.path, masks, __version__, segmentation.versions)
        elif form == "overlay":
            _save_picture(segmentation.plot(OVERLAY_SIDE), paths[0], quality=JPEG_QUALITY)
        else:
            upright = {structure: segmentation.upright(structure) for structure in list(masks)[:4]}
            _save_picture(four_around(radiograph.upright(), upright), paths[0], optimize=True)
        files += paths
    return files


def label_map(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """``(rows, columns)`` uint8 of the values in :data:`LABELS`; structures of your own count on from there."""
    names = [name for name in LABELS if name in masks] + [name for name in masks if name not in LABELS]
    labels = np.zeros(next(iter(masks.values())).shape, np.uint8)
    own = len(LABELS)
    for name in names:
        own += name not in LABELS
        labels[masks[name]] = LABELS.get(name, own)
    return labels


def one_bit_png(mask: np.ndarray) -> bytes:
    """A PNG of one bit a pixel. Pillow filters its rows, which makes a mask's file a fifth larger (PNG, 9.1 and 12.8).

    Args:
        mask: ``(rows, columns)`` bool.
    """
    rows = np.packbits(mask, axis=1)
    unfiltered = np.pad(rows, ((0, 0), (1, 0))).tobytes()  # each row starts with its filter: 0, none
    head = struct.pack(">IIBBBBB", mask.shape[1], mask.shape[0], 1, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(unfiltered, 9)), (b"IEND", b"")):
        png += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return png


def _save_picture(picture: Image.Image, path: Path, **options: object) -> None:
    with written(path) as temporary:
        picture.save(temporary, format="JPEG" if path.suffix == ".jpg" else "PNG", **options)


def geometry(radiograph: Radiograph) -> np.ndarray:
    """Affine ``(4, 4)`` in RAS from (column, row, 0) to mm: the file's own, or what ITK gives files that have none."""
    if radiograph.affine is not None:
        return radiograph.affine
    # a picture, or a DICOM radiograph without a position: columns run to the left, rows to the back
    row, column = radiograph.spacing or (1.0, 1.0)
    return np.diag((-column, -row, 1.0, 1.0))


def save_nifti(values: np.ndarray, radiograph: Radiograph, path: Path) -> None:
    """Write values ``(rows, columns)`` as a single slice over the radiograph, with its spacing and orientation."""
    image = nib.Nifti1Image(np.ascontiguousarray(values.T[..., None]), geometry(radiograph))
    image.header.set_xyzt_units("mm")
    with written(path) as temporary:
        nib.save(image, temporary)
