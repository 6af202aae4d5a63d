"""The overlay as a DICOM Secondary Capture, for viewers that show nothing else, through highdicom."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset

from ..files import written
from ..io import Orientation
from ..io.silence import without_warnings
from .dicom_header import read_header, set_laterality, stated_orientation
from .dicom_identity import NAME, equipment
from .result import SegmentedRadiograph, uids_of

__all__ = ["write_dicom_sc"]

FORMAT = "dicom-sc"
LONGEST_DESCRIPTION = 1024  # characters
FRONTAL = ("L", "F")  # patient's left at the right, feet below
PROCESSED = "121322"  # DCM: source image for image processing operation


@without_warnings()
def write_dicom_sc(
    path: str | os.PathLike, result: SegmentedRadiograph, picture: Image.Image, version: str, uids: str
) -> list[str]:
    """Write the upright overlay of a DICOM radiograph as a picture in colours.

    It carries no pixel spacing, so that nobody measures on a reduced copy. DICOM PS3.3 A.8.1.

    Args:
        path: file to write.
        result: of a DICOM radiograph.
        picture: the overlay, RGB.
        version: of this package.
        uids: of :data:`~cxr_attn_unet.output.dicom_identity.UIDS`.

    Returns:
        what was not carried over from the source because it breaks the rules of DICOM, in words; empty if nothing.

    Raises:
        RadiographError: the source lacks a UID, or a mask has another size.
        ValueError: an unknown kind of UIDs.
    """
    import highdicom as hd  # an extra

    header, notes = read_header(result.radiograph.path, result.masks, FORMAT)
    own = uids_of(result, header, FORMAT, version, uids)
    capture = hd.sc.SCImage(
        np.asarray(picture.convert("RGB")),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=FRONTAL,
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=own("series"),
        series_number=1,
        sop_instance_uid=own("instance"),
        instance_number=1,
        patient_id=header.PatientID,
        patient_name=header.PatientName,
        patient_birth_date=header.PatientBirthDate,
        patient_sex=header.PatientSex,
        accession_number=header.AccessionNumber,
        study_id=header.StudyID,
        study_date=header.StudyDate,
        study_time=header.StudyTime,
        referring_physician_name=header.ReferringPhysicianName,
        specific_character_set=header.get("SpecificCharacterSet"),
        series_description="Overlay of chest radiograph",
        **equipment(version, result.versions, result.checksums),
    )
    capture.copy_patient_and_study_information(header)
    set_laterality(header, capture)
    capture.ConversionType = "WSD"  # made by a workstation
    capture["PatientOrientation"].value = _orientation(header, result.radiograph.orientation)
    if header.get("BurnedInAnnotation") in ("YES", "NO"):
        capture.BurnedInAnnotation = header.BurnedInAnnotation
    capture.SourceImageSequence = [_source(header)]
    capture.DerivationDescription = _description(result, version)
    with written(Path(path)) as temporary:
        capture.save_as(temporary)
    return notes


def _orientation(header: Dataset, orientation: Orientation) -> list[str] | None:
    """Of the picture: upright if the radiograph says how it lies; else what it says; empty if it says nothing."""
    stated = stated_orientation(header)
    if len(stated) != 2:
        return None
    if orientation != Orientation() or stated == FRONTAL:
        return list(FRONTAL)
    return list(stated)


def _source(header: Dataset) -> Dataset:
    """A reference to the radiograph, with what it was for."""
    import highdicom as hd

    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    purpose = hd.sr.CodedConcept(PROCESSED, "DCM", "Source image for image processing operation")
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item


def _description(result: SegmentedRadiograph, version: str) -> str:
    """Software and weights in words."""
    parts = [f"{NAME} {version}"]
    for structure, of_weights in result.versions.items():
        checksum = result.checksums.get(structure)
        text = f"{structure} {of_weights}"
        if checksum:
            text += f" sha256:{checksum}"
        parts.append(text)
    return "; ".join(parts)[:LONGEST_DESCRIPTION]
