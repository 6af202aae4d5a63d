"""DICOM Segmentation objects, through highdicom."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import generate_uid

from ..files import written
from ..io import RadiographError
from ..structures import REGISTRY

__all__ = ["check_codes", "write_dicom_seg"]

ANATOMICAL_STRUCTURE = ("123037004", "SCT", "Anatomical Structure")  # category, PS3.16 CID 7150
IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
# of type 2: must be there, may be empty
MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
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
) -> None:
    """Write the masks of a radiograph as one binary Segmentation, one segment per structure; overlaps are kept.

    Patient and study are those of the source, whose instance is referred to. Structures of which nothing was found are
    left out. DICOM PS3.3 A.51.

    Args:
        path: file to write.
        source: the DICOM radiograph.
        masks: by structure, ``(rows, columns)`` bool over the source's stored pixels.
        version: of this package.
        versions: by structure, of the weights.

    Raises:
        RadiographError: the source lacks a UID, or there is nothing to write.
        ValueError: a mask of another size, or of a structure that has no code here.
    """
    import highdicom as hd  # an extra

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that break the standard and do not matter here
        data = pydicom.dcmread(source)
        lacking = [name for name in IDENTITY if not data.get(name)]
        if lacking:
            raise RadiographError(
                f"{source}: has no {', '.join(lacking)}, to which a segmentation must refer. Export it anew, or choose "
                "another format than dicom-seg."
            )
        for name in MAY_BE_EMPTY:
            if name not in data:
                setattr(data, name, None)
        # A projection has no planes. With a frame of reference, their positions would be asked for; with a spacing,
        # highdicom writes measures that it does not read back without a slice's thickness. The source has both.
        for name in ("FrameOfReferenceUID", "PixelSpacing"):
            data.pop(name, None)
        check_codes(masks)
        found = {structure: mask for structure, mask in masks.items() if mask.any()}
        if not found:
            raise RadiographError(f"{source}: nothing was found in it, so there is no segmentation to write.")
        size = (int(data.Rows), int(data.Columns))
        for structure, mask in found.items():
            if mask.shape != size:
                raise ValueError(f"the mask of {structure} is {mask.shape}, but {source} is {size} (rows, columns)")
        descriptions = []
        for number, structure in enumerate(found, 1):
            known = REGISTRY[structure]
            code = known.code
            algorithm = hd.AlgorithmIdentificationSequence(
                f"{NAME} {structure}",
                hd.sr.CodedConcept("123109", "DCM", "Artificial Intelligence"),
                (versions or {}).get(structure, version),
            )
            descriptions.append(
                hd.seg.SegmentDescription(
                    number,
                    known.title,
                    hd.sr.CodedConcept(*ANATOMICAL_STRUCTURE),
                    hd.sr.CodedConcept(code.value, "SCT", code.meaning),
                    hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                    algorithm,
                    display_color=hd.color.CIELabColor.from_rgb(*known.colour),
                )
            )
        segmentation = hd.seg.Segmentation(
            [data],
            np.stack(list(found.values()), -1)[None].astype(np.uint8),
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
        with written(Path(path)) as temporary:
            segmentation.save_as(temporary)
