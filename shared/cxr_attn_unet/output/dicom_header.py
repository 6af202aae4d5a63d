"""Patient and study of a DICOM file, for objects that are derived from it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from pydicom import config
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.uid import UID
from pydicom.valuerep import DA, DT, TM, validate_value

from ..io import RadiographError
from ..io.dicom import read_dataset
from ..io.limits import limited_to
from ..io.silence import without_warnings

__all__ = ["carry_over", "copy_geometry", "read_header", "set_laterality", "stated_orientation", "without"]

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
# A projection has no planes; with the position of one, highdicom would ask for spacing and thickness of slices.
LEFT_OUT = (
    "ImageCenterPointCoordinatesSequence",
    "ImageOrientationPatient",
    "ImageOrientationSlide",
    "ImagePositionPatient",
)
# what a viewer needs to lay an object over a radiograph; the first one may be empty, the others not
GEOMETRY = (
    "PatientOrientation",
    "FrameOfReferenceUID",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "PixelSpacing",
    "PixelSpacingCalibrationType",
    "PixelSpacingCalibrationDescription",
    "EstimatedRadiographicMagnificationFactor",
)
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
SEXES = ("M", "F", "O")
PATIENT_GROUPS = (0x0010, 0x0012)  # patient, clinical trial
# of the study, in other groups
STUDY = (
    "AccessionNumber",
    "AdmissionID",
    "AdmittingDiagnosesDescription",
    "ConsultingPhysicianName",
    "NameOfPhysiciansReadingStudy",
    "PhysiciansOfRecord",
    "ProcedureCodeSequence",
    "ReasonForVisit",
    "ReferencedStudySequence",
    "ReferringPhysicianName",
    "RequestingService",
    "ServiceEpisodeDescription",
    "ServiceEpisodeID",
    "StudyDate",
    "StudyDescription",
    "StudyID",
    "StudyTime",
)
TEXTS = ("AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UI", "UT")
DATES = {"DA": DA, "DT": DT, "TM": TM}
NUMBERS = ("DS", "IS")
UTF_8 = "ISO_IR 192"
UNDECODABLE = "\ufffd"  # what stands for bytes that the character set does not have

logger = logging.getLogger(__name__)


@without_warnings()
def read_header(path: str | os.PathLike, masks: Mapping[str, np.ndarray], form: str) -> tuple[Dataset, list[str]]:
    """The header of a DICOM radiograph to which an object refers, see :func:`carry_over`.

    Args:
        path: the file.
        masks: by structure, ``(rows, columns)`` over the file's own pixels.
        form: the object's format, for messages.

    Raises:
        RadiographError: it has no UIDs to refer to, or a mask has another size.
    """
    # which was within the limit when it was segmented
    with limited_to(sys.maxsize):
        source = read_dataset(path)
    header, notes = carry_over(source, path)
    size = (header.get("Rows"), header.get("Columns"))
    for structure, mask in masks.items():
        if mask.shape != size:
            raise RadiographError(
                f"{path}: the mask of {structure} is {mask.shape} (rows, columns), but the header says {size}. "
                f"Choose another format than {form}."
            )
    return header, notes


def copy_geometry(header: Dataset, target: Dataset, names: Sequence[str] = GEOMETRY) -> None:
    """Copy what says how the radiograph's pixels lie in the patient, as far as the radiograph has it.

    Args:
        header: see :func:`carry_over`.
        target: an object over the same pixels.
        names: keywords.
    """
    for name in names:
        if header.get(name):
            target[name] = header[name]
    if len(stated_orientation(header)) != 2:
        target.PatientOrientation = None


def stated_orientation(header: Dataset) -> tuple[str, ...]:
    """The values of PatientOrientation; two where it is what the standard asks for."""
    value = header.get("PatientOrientation")
    if not value:
        return ()
    if isinstance(value, str):
        return (value,)
    return tuple(str(one) for one in value)


def without(header: Dataset, names: Collection[str]) -> Dataset:
    """A copy of a header without some elements, given by keyword."""
    copy = Dataset()
    copy.file_meta = header.file_meta
    for element in header:
        if element.keyword not in names:
            copy.add(element)
    return copy


def set_laterality(header: Dataset, target: Dataset) -> None:
    """Laterality of a series, which must be there; empty unless the radiograph states one: a chest has both sides."""
    value = header.get("Laterality")
    target.Laterality = value if value in ("R", "L") else None


def carry_over(source: Dataset, path: str | os.PathLike) -> tuple[Dataset, list[str]]:
    """The header of a radiograph, with nothing in it that breaks the rules of DICOM.

    A value that its type does not allow (sex ``MALE``, a date ``01.02.1950``) is left empty, for its meaning can only
    be guessed. So is text of a character set that DICOM does not know, unless it is plain ASCII.

    Args:
        source: as read from the file.
        path: the file, for messages.

    Returns:
        the header, and what was left empty of patient and study, in words. The values themselves are not among the
        words: they may name a patient.

    Raises:
        RadiographError: it has no UIDs to refer to.
    """
    _check_identity(source, path)
    unknown_characters = not _knows_characters(source)
    header = Dataset()
    header.file_meta = getattr(source, "file_meta", FileMetaDataset())
    empty: list[str] = []
    for tag in source.keys():  # noqa: SIM118 - iterating a dataset would read every value
        if tag.is_private or _keyword(tag) in PIXELS:
            continue
        element = _sound_element(source, tag, unknown_characters)
        if element is not None:
            header.add(element)
        elif _is_of_patient_or_study(tag):
            empty.append(_keyword(tag))
    for name in MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, None)
    for name in LEFT_OUT:
        header.pop(name, None)
    if not header.get("FrameOfReferenceUID"):
        header.pop("FrameOfReferenceUID", None)
    _set_characters(header)
    notes = []
    if empty:
        notes.append(f"left empty in DICOM results, for DICOM does not allow the value: {', '.join(empty)}")
    return header, notes


def _check_identity(source: Dataset, path: str | os.PathLike) -> None:
    lacking = [name for name in IDENTITY if not source.get(name)]
    if lacking:
        raise RadiographError(
            f"{path}: has no {', '.join(lacking)}, to which a DICOM result must refer. Export it again from the "
            "archive, or choose formats that do not begin with dicom."
        )
    for name in IDENTITY:
        if not _is_sound(source[name], unknown_characters=False):
            raise RadiographError(
                f"{path}: its {name} is no UID, to which a DICOM result must refer. Export it again from the archive, "
                "or choose formats that do not begin with dicom."
            )
    if UID(source.SOPClassUID).is_private:
        raise RadiographError(
            f"{path}: its kind of object (SOPClassUID {source.SOPClassUID}) is one of its vendor's own, to which no "
            "DICOM result can refer. Choose formats that do not begin with dicom."
        )


def _knows_characters(source: Dataset) -> bool:
    terms = source.get("SpecificCharacterSet") or ""
    if isinstance(terms, str):
        terms = [terms]
    return all(term in python_encoding for term in terms)


def _sound_element(source: Dataset, tag: BaseTag, unknown_characters: bool) -> DataElement | None:
    """An element of a dataset, ``None`` if its value breaks the rules."""
    try:
        element = source[tag]
        if _is_sound(element, unknown_characters):
            return element
    except Exception as error:  # whatever pydicom meets in a damaged value
        logger.debug(f"{tag}: {type(error).__name__}")  # its text may hold the value
    return None


def _is_sound(element: DataElement, unknown_characters: bool) -> bool:
    """Whether a value, and all in it if it is a sequence, is what its type allows."""
    if element.VR == "SQ":
        return all(_is_sound_item(item, unknown_characters) for item in element.value)
    if element.keyword == "SpecificCharacterSet" and unknown_characters:
        return False
    types = {element.VR}
    if dictionary_has_tag(element.tag):
        types.add(dictionary_VR(element.tag))  # a file may say another one
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    for value in values:
        if value is None or value == "":
            continue
        if element.keyword == "PatientSex" and value not in SEXES:
            return False
        if not all(_fits(str(value), kind) for kind in types):
            return False
        if unknown_characters and not str(value).isascii():
            return False
    return True


def _is_sound_item(item: Dataset, unknown_characters: bool) -> bool:
    return all(_is_sound(element, unknown_characters) for element in item)


def _fits(text: str, kind: str) -> bool:
    """Whether a value's text is allowed in a type; binary values are not looked at."""
    try:
        if kind in NUMBERS:
            float(text)
        elif kind in DATES:
            DATES[kind](text)
            validate_value(kind, text, config.RAISE)
        elif kind in TEXTS:
            validate_value(kind, text, config.RAISE)
    except ValueError:
        return False
    return UNDECODABLE not in text


def _is_of_patient_or_study(tag: BaseTag) -> bool:
    return tag.group in PATIENT_GROUPS or _keyword(tag) in (*STUDY, "SpecificCharacterSet")


def _keyword(tag: BaseTag) -> str:
    return keyword_for_tag(tag) or str(tag)


def _set_characters(header: Dataset) -> None:
    """Leave the character set as it is where highdicom takes it; else UTF-8, which holds all text."""
    import highdicom as hd  # an extra

    term = header.get("SpecificCharacterSet")
    if not term:
        header.pop("SpecificCharacterSet", None)
        return
    alone = {value.value for value in hd.SpecificCharacterSetValues if not value.value.startswith("ISO 2022")}
    if not isinstance(term, str) or term not in alone:
        header.SpecificCharacterSet = UTF_8
