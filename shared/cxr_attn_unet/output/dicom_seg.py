"""DICOM Segmentation objects, through highdicom."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.uid import generate_uid

from ..files import written
from ..io import RadiographError
from ..io.dicom import read_dataset
from ..structures import REGISTRY
from .dicom_header import carry_over

if TYPE_CHECKING:
    import highdicom as hd

__all__ = ["check_codes", "write_dicom_seg"]

ANATOMICAL_STRUCTURE = ("123037004", "SCT", "Anatomical Structure")  # category, PS3.16 CID 7150
ARTIFICIAL_INTELLIGENCE = ("123109", "DCM", "Artificial Intelligence")
NAME = "cxr-attn-unet"


def check_codes(structures: Iterable[str]) -> None:
    """Make sure that each structure has a code by which a DICOM object can name it.

    Raises:
        ValueError: one has none; the message names the remedy.
    """
    without = [name for name in structures if name not in REGISTRY or REGISTRY[name].code is None]
    if without:
        raise ValueError(
            f"dicom-seg cannot name {', '.join(without)}: no SNOMED CT code is known. Add one in "
            "cxr_attn_unet/structures.py, choose other --structures, or leave dicom-seg out of --format."
        )


def write_dicom_seg(
    path: str | os.PathLike,
    source: str | os.PathLike,
    masks: Mapping[str, np.ndarray],
    version: str,
    versions: Mapping[str, str] | None = None,
) -> list[str]:
    """Write the masks of a radiograph as one binary Segmentation, one segment per structure; overlaps are kept.

    Patient and study are those of the source, whose instance is referred to. Structures of which nothing was found are
    left out. DICOM PS3.3 A.51.

    Args:
        path: file to write.
        source: the DICOM radiograph.
        masks: by structure, ``(rows, columns)`` bool over the source's stored pixels.
        version: of this package.
        versions: by structure, of the weights.

    Returns:
        what was not carried over from the source because it breaks the rules of DICOM, in words; empty if nothing.

    Raises:
        RadiographError: the source lacks a UID, a mask has another size, or there is nothing to write.
        ValueError: a mask of a structure that has no code here.
    """
    data = read_dataset(source)
    header, notes = carry_over(data, source)
    check_codes(masks)
    found = {structure: mask for structure, mask in masks.items() if mask.any()}
    if not found:
        raise RadiographError(f"{source}: nothing was found in it, so there is no segmentation to write.")
    size = (data.get("Rows"), data.get("Columns"))
    for structure, mask in found.items():
        if mask.shape != size:
            raise RadiographError(
                f"{source}: the mask of {structure} is {mask.shape} (rows, columns), but the header says {size}. "
                "Choose another format than dicom-seg."
            )
    segmentation = _segmentation(header, found, version, versions or {})
    with written(Path(path)) as temporary:
        segmentation.save_as(temporary)
    return notes


def _segmentation(
    header: pydicom.Dataset, masks: Mapping[str, np.ndarray], version: str, versions: Mapping[str, str]
) -> Any:
    """The object of masks ``(rows, columns)``, none of them empty."""
    import highdicom as hd  # an extra

    descriptions = []
    for number, structure in enumerate(masks, 1):
        descriptions.append(_description(number, structure, versions.get(structure, version)))
    segmentation = hd.seg.Segmentation(
        [header],
        np.stack(list(masks.values()), -1)[None].astype(np.uint8),
        hd.seg.SegmentationTypeValues.BINARY,
        descriptions,
        series_instance_uid=generate_uid(),
        series_number=1,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=NAME,
        manufacturer_model_name=NAME,
        software_versions=version,
        device_serial_number="none",  # required; software has none
        content_label="CHEST_ANATOMY",
    )
    segmentation.SeriesDescription = "Lungs, heart, clavicles and ribs"
    return segmentation


def _description(number: int, structure: str, version: str) -> hd.seg.SegmentDescription:
    """The segment of a structure.

    Raises:
        ValueError: the structure has no code.
    """
    import highdicom as hd

    known = REGISTRY[structure]
    if known.code is None:
        raise ValueError(f"dicom-seg cannot name {structure}: no SNOMED CT code is known.")
    algorithm = hd.AlgorithmIdentificationSequence(
        f"{NAME} {structure}", hd.sr.CodedConcept(*ARTIFICIAL_INTELLIGENCE), version
    )
    return hd.seg.SegmentDescription(
        number,
        known.title,
        hd.sr.CodedConcept(*ANATOMICAL_STRUCTURE),
        hd.sr.CodedConcept(known.code.value, "SCT", known.code.meaning),
        hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm,
        display_color=hd.color.CIELabColor.from_rgb(*known.colour),
    )
