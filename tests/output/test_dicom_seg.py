"""DICOM Segmentations, read back by pydicom and highdicom."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from cxr_attn_unet.io import NotARadiographError, RadiographError, read_radiograph
from cxr_attn_unet.output.dicom_seg import write_dicom_seg
from cxr_attn_unet.structures import REGISTRY
from samples import picture, write_dicom

hd = pytest.importorskip("highdicom")
CR = "1.2.840.10008.5.1.4.1.1.1"
PIXELS = picture()


@pytest.fixture
def source(tmp_path):
    def one(**tags):
        identity = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
        return write_dicom(tmp_path / "a.dcm", PIXELS, bits=8, **(identity | tags))

    return one


@pytest.fixture
def masks():
    """Four structures, none symmetric, two of which overlap."""
    found = {structure: np.zeros(PIXELS.shape, bool) for structure in REGISTRY}
    found["lungs"][10:60, 5:40] = True
    found["heart"][40:80, 30:70] = True
    found["clavicles"][3:9, 10:80] = True
    found["ribs"][::7, 3:] = True
    assert (found["lungs"] & found["heart"]).any()
    return found


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"SOPClassUID": CR, "Modality": "CR", "photometric": "MONOCHROME1"},
        {"FrameOfReferenceUID": "1.2.3", "PixelSpacing": [0.2, 0.2]},
        {"ImagerPixelSpacing": [0.1, 0.2], "PatientOrientation": ["R", "F"]},
    ],
    ids=["bare DX", "CR", "frame of reference", "detector spacing"],
)
def test_segments(source, masks, tags, tmp_path):
    path = tmp_path / "out" / "a.seg.dcm"
    write_dicom_seg(path, source(**tags), masks, "1.2.3", {"heart": "4.5.6"})
    original, segmentation = pydicom.dcmread(tmp_path / "a.dcm"), hd.seg.segread(path)
    assert segmentation.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"
    assert segmentation.SegmentationType == "BINARY"
    pixels = segmentation.get_pixels_by_source_instance([original.SOPInstanceUID])
    for number, (structure, mask) in enumerate(masks.items(), 1):
        assert np.array_equal(pixels[0, ..., number - 1], mask), structure
        described = segmentation.get_segment_description(number)
        known = REGISTRY[structure]
        label, code = known.title, known.code.value
        assert (described.segment_label, described.segmented_property_type.value) == (label, code)
        assert described.segmented_property_type.scheme_designator == "SCT"
        assert described.segmented_property_category.value == "123037004"
        (algorithm,) = described.SegmentationAlgorithmIdentificationSequence
        assert algorithm.AlgorithmName == f"cxr-attn-unet {structure}"
        assert algorithm.AlgorithmVersion == ("4.5.6" if structure == "heart" else "1.2.3")
    (referred,) = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert referred.ReferencedSOPInstanceUID == original.SOPInstanceUID
    assert referred.ReferencedSOPClassUID == original.SOPClassUID
    assert segmentation.StudyInstanceUID == original.StudyInstanceUID
    assert segmentation.SeriesInstanceUID != original.SeriesInstanceUID
    assert segmentation.SOPInstanceUID != original.SOPInstanceUID
    assert list((tmp_path / "out").iterdir()) == [path]


def test_identity_is_carried_over_and_nothing_invented(source, masks, tmp_path):
    known = {"PatientName": "Müller^Jörg", "PatientID": "007", "StudyDate": "20200102", "AccessionNumber": "A1"}
    write_dicom_seg(tmp_path / "a.seg.dcm", source(SpecificCharacterSet="ISO_IR 100", **known), masks, "1")
    written = pydicom.dcmread(tmp_path / "a.seg.dcm")
    assert {name: str(written[name].value) for name in known} == known
    for name in ("PatientSex", "PatientBirthDate", "StudyID", "ReferringPhysicianName"):
        assert name in written
        assert not written[name].value


def test_it_is_no_radiograph(source, masks, tmp_path):
    write_dicom_seg(tmp_path / "a.seg.dcm", source(), masks, "1")
    with pytest.raises(NotARadiographError, match="modality SEG"):
        read_radiograph(tmp_path / "a.seg.dcm")


def test_empty_masks_are_left_out(source, masks, tmp_path):
    masks["heart"][:] = False
    write_dicom_seg(tmp_path / "a.seg.dcm", source(), masks, "1")
    labels = [one.SegmentLabel for one in pydicom.dcmread(tmp_path / "a.seg.dcm").SegmentSequence]
    assert labels == ["Lungs", "Clavicles", "Ribs"]


@pytest.mark.parametrize(
    ("tags", "change", "error", "message"),
    [
        ({"StudyInstanceUID": ""}, {}, RadiographError, "has no StudyInstanceUID"),
        ({}, {"heart": np.ones((5, 5), bool)}, ValueError, r"mask of heart is \(5, 5\)"),
        ({}, {"spleen": np.ones(PIXELS.shape, bool)}, ValueError, "cannot name spleen: no SNOMED CT code"),
        ({}, None, RadiographError, "nothing was found"),
    ],
)
def test_what_cannot_be_written(source, masks, tmp_path, tags, change, error, message):
    given = {name: mask & False for name, mask in masks.items()} if change is None else masks | change
    with pytest.raises(error, match=message):
        write_dicom_seg(tmp_path / "out" / "a.seg.dcm", source(**tags), given, "1")
    assert not (tmp_path / "out").exists()


def test_masks_that_a_person_has_looked_at_are_semiautomatic(source, masks, tmp_path):
    for reviewed, kind in ((False, "AUTOMATIC"), (True, "SEMIAUTOMATIC")):
        path = tmp_path / f"{kind}.dcm"
        write_dicom_seg(path, source(), masks, "1", reviewed=reviewed)
        assert {segment.SegmentAlgorithmType for segment in pydicom.dcmread(path).SegmentSequence} == {kind}
