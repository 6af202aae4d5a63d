"""DICOM Segmentation objects, through highdicom."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.uid import UID

from ..files import written
from ..io import RadiographError
from ..io.silence import without_warnings
from ..structures import REGISTRY, Code, parts_of
from .dicom_header import copy_geometry, read_header, without
from .dicom_identity import NAME, REPRODUCIBLE, Uids, algorithm_parameters, equipment

if TYPE_CHECKING:
    import highdicom as hd

__all__ = ["check_codes", "write_dicom_seg"]

ANATOMICAL_STRUCTURE = ("123037004", "SCT", "Anatomical Structure")  # category, PS3.16 CID 7150
ARTIFICIAL_INTELLIGENCE = ("123109", "DCM", "Artificial Intelligence")
FORMAT = "dicom-seg"
PLANE_FORMAT = "dicom-seg-plane"
UNCERTAIN_NAME = "Which one it is, is uncertain"


@dataclass(frozen=True)
class _Segment:
    """A mask with what DICOM says of it.

    Attributes:
        mask: ``(rows, columns)`` bool, not empty.
        structure: that it is, or is a part of.
        label: for people.
        code: what it is.
        side: right or left; ``None`` for what has none.
        comment: more for people; none if empty.
    """

    mask: np.ndarray
    structure: str
    label: str
    code: Code
    side: Code | None = None
    comment: str = ""


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


@without_warnings()
def write_dicom_seg(
    path: str | os.PathLike,
    source: str | os.PathLike,
    masks: Mapping[str, np.ndarray],
    version: str,
    versions: Mapping[str, str] | None = None,
    parts: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    uncertain: Collection[str] = (),
    checksums: Mapping[str, str] | None = None,
    identity: str = "",
    uids: str = REPRODUCIBLE,
    nominal_plane: bool = False,
    reviewed: bool = False,
) -> list[str]:
    """Write the masks of a radiograph as one binary Segmentation, one segment per structure; overlaps are kept.

    Each part that was found is a segment too, behind those of structures: its code, such as that of the seventh rib,
    with the side as modifier.

    Patient and study are those of the source, whose instance is referred to. Structures of which nothing was found are
    left out. DICOM PS3.3 A.51.

    Args:
        path: file to write.
        source: the DICOM radiograph.
        masks: by structure, ``(rows, columns)`` bool over the source's stored pixels.
        version: of this package.
        versions: by structure, of the weights.
        parts: by structure and name, masks as those of structures.
        uncertain: structures whose parts may be taken for one another; their segments' descriptions say so.
        checksums: by structure, the SHA-256 of the weights.
        identity: of weights and settings.
        uids: of :data:`~cxr_attn_unet.output.dicom_identity.UIDS`.
        nominal_plane: say that the pixels lie in a plane through the origin, columns to the left and rows to the back,
            1 mm thick. A projection has no plane; some viewers, OHIF 3.13 among them, show no segmentation without one,
            and take the radiograph itself to lie there.
        reviewed: a person has looked at the masks and may have changed them: they are said to be semi-automatic.

    Returns:
        what was not carried over from the source because it breaks the rules of DICOM, in words; empty if nothing.

    Raises:
        RadiographError: the source lacks a UID, a mask has another size, or there is nothing to write.
        ValueError: a mask of a structure that has no code here, or an unknown kind of UIDs.
    """
    check_codes(masks)
    header, notes = read_header(source, masks, FORMAT)
    found = {structure: mask for structure, mask in masks.items() if mask.any()}
    if not found:
        raise RadiographError(f"{source}: nothing was found in it, so there is no segmentation to write.")
    segments = [*_segments_of_structures(found), *_segments_of_parts(parts or {}, uncertain)]
    made = _Made(version, versions or {}, checksums or {}, identity, reviewed)
    content = {f"{segment.structure} {segment.label} {segment.comment}": segment.mask for segment in segments}
    own = Uids(uids, header, PLANE_FORMAT if nominal_plane else FORMAT, version, identity, content)
    segmentation = _segmentation(header, segments, made, own)
    if nominal_plane:
        _set_nominal_plane(segmentation, header)
    with written(Path(path)) as temporary:
        segmentation.save_as(temporary)
    return notes


def _segments_of_structures(masks: Mapping[str, np.ndarray]) -> list[_Segment]:
    """Those of masks that are not empty.

    Raises:
        ValueError: a structure has no code.
    """
    segments = []
    for structure, mask in masks.items():
        known = REGISTRY[structure]
        if known.code is None:
            raise ValueError(f"dicom-seg cannot name {structure}: no SNOMED CT code is known.")
        segments.append(_Segment(mask, structure, known.title, known.code))
    return segments


def _segments_of_parts(parts: Mapping[str, Mapping[str, np.ndarray]], uncertain: Collection[str]) -> list[_Segment]:
    """Those of parts that were found."""
    segments = []
    for structure, masks in parts.items():
        comment = UNCERTAIN_NAME if structure in uncertain else ""
        for part in parts_of(structure):
            mask = masks.get(part.name)
            if mask is not None and mask.any():
                segments.append(_Segment(mask, structure, part.title, part.code, part.side, comment))
    return segments


@dataclass(frozen=True)
class _Made:
    """What made the masks.

    Attributes:
        version: of this package.
        versions: by structure, of the weights.
        checksums: by structure, the SHA-256 of the weights.
        identity: of weights and settings.
        reviewed: whether a person had a hand in them.
    """

    version: str
    versions: Mapping[str, str]
    checksums: Mapping[str, str]
    identity: str
    reviewed: bool


def _segmentation(header: pydicom.Dataset, segments: Iterable[_Segment], made: _Made, uids: Uids) -> Any:
    """The object of segments."""
    import highdicom as hd  # an extra

    descriptions = []
    masks = []
    for number, segment in enumerate(segments, 1):
        descriptions.append(_description(number, segment, made))
        masks.append(segment.mask)
    # highdicom does not read back measures of pixels without the thickness of a slice, which a projection has not
    segmentation = hd.seg.Segmentation(
        [without(header, ["PixelSpacing"])],
        np.stack(masks, -1)[None].astype(np.uint8),
        hd.seg.SegmentationTypeValues.BINARY,
        descriptions,
        series_instance_uid=uids("series"),
        series_number=1,
        sop_instance_uid=uids("instance"),
        instance_number=1,
        content_label="CHEST_ANATOMY",
        **equipment(made.version, made.versions, made.checksums),
    )
    _set_dimensions(segmentation, uids("dimensions"))
    copy_geometry(header, segmentation)
    segmentation.SeriesDescription = "Lungs, heart, clavicles and ribs"
    return segmentation


def _set_nominal_plane(segmentation: pydicom.Dataset, header: pydicom.Dataset) -> None:
    """Add the functional groups of a plane, see :func:`write_dicom_seg`; PS3.3 C.7.6.16.2.1, 2.3 and 2.4."""
    measures, orientation, position = (pydicom.Dataset() for _ in range(3))
    spacing = header.get("ImagerPixelSpacing") or header.get("PixelSpacing") or header.get("NominalScannedPixelSpacing")
    measures.PixelSpacing = spacing or [1, 1]
    measures.SliceThickness = measures.SpacingBetweenSlices = 1
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    position.ImagePositionPatient = [0, 0, 0]
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    shared.PlanePositionSequence = [position]


def _set_dimensions(segmentation: pydicom.Dataset, uid: UID) -> None:
    """Give the object's one dimension organisation another UID, in all places that name it."""
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def _description(number: int, segment: _Segment, made: _Made) -> hd.seg.SegmentDescription:
    """The description of a segment."""
    import highdicom as hd

    algorithm = hd.AlgorithmIdentificationSequence(
        f"{NAME} {segment.structure}",
        hd.sr.CodedConcept(*ARTIFICIAL_INTELLIGENCE),
        made.versions.get(segment.structure, made.version),
        parameters=algorithm_parameters(segment.structure, made.version, made.checksums, made.identity),
    )
    types = hd.seg.SegmentAlgorithmTypeValues
    description = hd.seg.SegmentDescription(
        number,
        segment.label,
        hd.sr.CodedConcept(*ANATOMICAL_STRUCTURE),
        _concept(segment.code),
        types.SEMIAUTOMATIC if made.reviewed else types.AUTOMATIC,
        algorithm,
    )
    _set_display_colour(description, segment.structure)
    if segment.side is not None:
        # PS3.3 C.8.20.2: a modifier is an item inside the type's own item; highdicom has no argument for it
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [_concept(segment.side)]
    if segment.comment:
        description.SegmentDescription = segment.comment
    return description


def _set_display_colour(description: pydicom.Dataset, structure: str) -> None:
    """Say in what colour a segment is shown; highdicom 0.22, which MONAI Label's pydicom 2 needs, converts none."""
    import highdicom as hd

    if hasattr(hd.color.CIELabColor, "from_rgb"):
        colour = hd.color.CIELabColor.from_rgb(*REGISTRY[structure].colour)
        description.RecommendedDisplayCIELabValue = list(colour.value)


def _concept(code: Code) -> hd.sr.CodedConcept:
    import highdicom as hd

    return hd.sr.CodedConcept(code.value, "SCT", code.meaning)
