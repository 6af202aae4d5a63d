"""Measurements as a DICOM Structured Report (PS3.16 TID 1500, Measurement Report), through highdicom."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset

from ..analysis.measurements import Diameter, heart_diameter, thoracic_diameter
from ..files import written
from ..io.silence import without_warnings
from ..structures import LEFT, REGISTRY, RIGHT, Code
from .dicom_header import read_header, stated_orientation
from .dicom_identity import NAME, Uids, algorithm_parameters, device_uid, equipment
from .outlines import diameter_ends
from .result import SegmentedRadiograph, uids_of

if TYPE_CHECKING:
    import highdicom as hd

__all__ = ["SCHEME", "write_dicom_sr"]

FORMAT = "dicom-sr"
# a coding scheme of our own, for what no public one names
SCHEME = "99CXR_ATTN_UNET"
RATIO = ("cardiothoracic_ratio", "Cardiothoracic ratio")
CONFIDENCE = ("expected_dice", "Confidence: expected Dice coefficient")
QUALITY = ("quality_control", "Quality control")
USUAL = ("nothing_unusual", "Nothing unusual noticed")
UNUSUAL = ("unusual", "Something unusual noticed, see comments")
COMMENT = ("121106", "DCM", "Comment")
DIAMETER = ("81827009", "SCT", "Diameter")
AREA = ("42798000", "SCT", "Area")
MAXIMUM = ("56851009", "SCT", "Maximum")
CHEST_RADIOGRAPHY = ("399208008", "SCT", "Plain chest X-ray")
THORAX = Code("51185008", "Thorax")
NO_UNIT = ("1", "UCUM", "no units")
# by the units that measure() writes
UNITS = {
    "mm": ("mm", "UCUM", "millimeter"),
    "mm2": ("mm2", "UCUM", "square millimeter"),
    "px": ("{pixels}", "UCUM", "Pixels"),
}
WHERE_TRUE = {
    "patient": "millimetres at the patient, corrected by the stated magnification",
    "calibrated": "millimetres at the patient, by the stated calibration",
    "detector": "millimetres at the detector, larger than in the patient by the magnification",
    "given": "millimetres by a pixel spacing of unknown place",
}


@without_warnings()
def write_dicom_sr(path: str | os.PathLike, result: SegmentedRadiograph, version: str, uids: str) -> list[str]:
    """Write what was measured in a DICOM radiograph, as a Comprehensive SR document.

    One group for heart and thorax (ratio, diameters with their end points), one for each structure and each lung (area,
    confidence, algorithm), one for quality control (a code, and each warning as text). DICOM PS3.3 A.35.3.

    Args:
        path: file to write.
        result: of a DICOM radiograph.
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
    report = _Report(result, header, version, own)
    document = hd.sr.ComprehensiveSR(
        evidence=[header],
        content=report.content()[0],
        series_instance_uid=own("series"),
        series_number=1,
        sop_instance_uid=own("instance"),
        instance_number=1,
        is_complete=True,
        series_description="Measurements of chest radiograph",
        coding_schemes=[_scheme()],
        **equipment(version, result.versions, result.checksums),
    )
    with written(Path(path)) as temporary:
        document.save_as(temporary)
    return notes


def _scheme() -> Any:
    """What our coding scheme is."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return CodingSchemeIdentificationItem(SCHEME, name=f"Measurements of {NAME}", responsible_organization=NAME)


def _concept(value: str, scheme: str, meaning: str) -> hd.sr.CodedConcept:
    import highdicom as hd

    return hd.sr.CodedConcept(value, scheme, meaning)


def _own_concept(code: tuple[str, str]) -> hd.sr.CodedConcept:
    """A code of our own scheme."""
    value, meaning = code
    return _concept(value, SCHEME, meaning)


def _anatomy(code: Code) -> hd.sr.CodedConcept:
    return _concept(code.value, "SCT", code.meaning)


class _Report:
    """The content of one report.

    Args:
        result: what was found.
        header: of the radiograph.
        version: of this package.
        uids: of the object.
    """

    def __init__(self, result: SegmentedRadiograph, header: Dataset, version: str, uids: Uids) -> None:
        self._result = result
        self._header = header
        self._version = version
        self._uids = uids

    def content(self) -> Any:
        """The document's tree."""
        import highdicom as hd

        return hd.sr.MeasurementReport(
            observation_context=self._observer(),
            procedure_reported=_concept(*CHEST_RADIOGRAPHY),
            imaging_measurements=[*self._heart_and_thorax(), *self._structures(), *self._lungs(), self._quality()],
            referenced_images=self._library(),
        )

    def _observer(self) -> Any:
        """This software as the one who observed."""
        import highdicom as hd
        from pydicom.sr.codedict import codes  # thousands of names

        device = hd.sr.DeviceObserverIdentifyingAttributes(
            uid=device_uid(self._version), name=NAME, manufacturer_name=NAME, model_name=f"{NAME} {self._version}"
        )
        context = hd.sr.ObserverContext(codes.DCM.Device, device)
        return hd.sr.ObservationContext(observer_device_context=context)

    def _library(self) -> list[Dataset] | None:
        """The radiograph for the image library; none where it lacks what highdicom describes there."""
        has_spacing = bool(self._header.get("ImagerPixelSpacing"))
        if has_spacing and len(stated_orientation(self._header)) == 2:
            return [self._header]
        return None

    def _heart_and_thorax(self) -> list[Any]:
        """Ratio and diameters; no group where neither can be measured."""
        values = self._result.measurements
        found = []
        ratio = values.get("cardiothoracic_ratio")
        if ratio is not None:
            found.append(self._measurement(_own_concept(RATIO), ratio, NO_UNIT))
        for key, site, diameter in self._diameters():
            length = values.get(key)
            if length is None or diameter is None:
                continue
            unit = UNITS[str(values["length_unit"])]
            ends = diameter_ends(diameter, self._result.radiograph.orientation, self._shape)
            found.append(self._measurement(_concept(*DIAMETER), length, unit, site, ends))
        if not found:
            return []
        return [self._group("heart and thorax", THORAX, found)]

    def _diameters(self) -> list[tuple[str, Code, Diameter | None]]:
        """Name of the measurement, place, and line on the upright picture."""
        upright = self._result.radiograph.orientation.apply
        masks = self._result.masks
        lines: list[tuple[str, Code, Diameter | None]] = []
        if "heart" in masks:
            lines.append(("heart_diameter", Code("80891009", "Heart"), heart_diameter(upright(masks["heart"]))))
        if "lungs" in masks:
            lines.append(("thoracic_diameter", THORAX, thoracic_diameter(upright(masks["lungs"]))))
        return lines

    def _structures(self) -> list[Any]:
        """A group for each structure of which something was found and that has a code."""
        groups = []
        for structure, mask in self._result.masks.items():
            known = REGISTRY.get(structure)
            if known is None or known.code is None or not mask.any():
                continue
            measurements = [self._area(float(np.count_nonzero(mask)) * self._pixel_area)]
            confidence = self._result.confidences.get(structure)
            if confidence is not None:
                measurements.append(self._measurement(_own_concept(CONFIDENCE), confidence, NO_UNIT))
            groups.append(self._group(structure, known.code, measurements, structure))
        return groups

    def _lungs(self) -> list[Any]:
        """A group for each lung that has an area."""
        groups = []
        lung = REGISTRY["lungs"].code
        for key, side in (("right_lung_area", RIGHT), ("left_lung_area", LEFT)):
            area = self._result.measurements.get(key)
            if area and lung is not None:
                groups.append(self._group(f"{side.meaning.lower()} lung", lung, [self._area(area)], "lungs", side))
        return groups

    def _quality(self) -> Any:
        """Whether anything was unusual, and what."""
        import highdicom as hd

        warnings = self._result.warnings
        verdict = UNUSUAL if warnings else USUAL
        evaluation = hd.sr.QualitativeEvaluation(_own_concept(QUALITY), _own_concept(verdict))
        group = hd.sr.MeasurementsAndQualitativeEvaluations(
            self._tracking("quality"),
            qualitative_evaluations=[evaluation],
            source_images=[self._source(hd.sr.SourceImageForMeasurementGroup)],
        )
        for warning in warnings:
            comment = hd.sr.TextContentItem(
                _concept(*COMMENT), warning, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS
            )
            group[0].ContentSequence.append(comment)
        return group

    def _group(
        self,
        name: str,
        finding: Code,
        measurements: list[Any],
        structure: str | None = None,
        side: Code | None = None,
    ) -> Any:
        """Measurements of one thing, with the algorithm that found it."""
        import highdicom as hd

        laterality = None if side is None else _anatomy(side)
        return hd.sr.MeasurementsAndQualitativeEvaluations(
            self._tracking(name),
            finding_type=_anatomy(finding),
            algorithm_id=self._algorithm(structure),
            finding_sites=[hd.sr.FindingSite(_anatomy(finding), laterality)],
            measurements=measurements,
            source_images=[self._source(hd.sr.SourceImageForMeasurementGroup)],
        )

    def _tracking(self, name: str) -> Any:
        import highdicom as hd

        return hd.sr.TrackingIdentifier(uid=self._uids(f"group {name}"), identifier=name)

    def _algorithm(self, structure: str | None) -> Any:
        """The network of a structure; the package where several structures are measured together."""
        import highdicom as hd

        result = self._result
        involved = list(result.versions) if structure is None else [structure]
        parameters: list[str] = []
        for name in involved:
            described = algorithm_parameters(name, self._version, result.checksums, result.identity)
            parameters.extend(f"{name}: {key}={value}" for key, value in described.items())
        where = WHERE_TRUE.get(result.radiograph.spacing_source or "")
        if where:
            parameters.append(f"lengths and areas: {where}")
        name = NAME if structure is None else f"{NAME} {structure}"
        version = self._version if structure is None else result.versions.get(structure, self._version)
        return hd.sr.AlgorithmIdentification(name, version, parameters)

    def _area(self, area: Any) -> Any:
        unit = UNITS[str(self._result.measurements["area_unit"])]
        return self._measurement(_concept(*AREA), area, unit)

    def _measurement(
        self,
        name: hd.sr.CodedConcept,
        value: Any,
        unit: tuple[str, str, str],
        site: Code | None = None,
        ends: np.ndarray | None = None,
    ) -> Any:
        """A number; with the two ends of a line ``(2, 2)``, (column, row) as stored, the greatest at its place."""
        import highdicom as hd

        if ends is None or site is None:
            return hd.sr.Measurement(name, round(float(value), 4), _concept(*unit))
        line = hd.sr.CoordinatesForMeasurement(
            hd.sr.GraphicTypeValues.POLYLINE, ends, self._source(hd.sr.SourceImageForRegion)
        )
        return hd.sr.Measurement(
            name,
            round(float(value), 4),
            _concept(*unit),
            derivation=_concept(*MAXIMUM),
            finding_sites=[hd.sr.FindingSite(_anatomy(site))],
            referenced_coordinates=[line],
        )

    def _source(self, kind: Any) -> Any:
        """A reference to the radiograph."""
        return kind(self._header.SOPClassUID, self._header.SOPInstanceUID)

    @property
    def _shape(self) -> tuple[int, int]:
        return int(self._header.Rows), int(self._header.Columns)

    @property
    def _pixel_area(self) -> float:
        """Of one pixel, in the unit of the measured areas."""
        spacing = self._result.radiograph.spacing
        if spacing is None or self._result.measurements["area_unit"] == "px":
            return 1.0
        return spacing[0] * spacing[1]
