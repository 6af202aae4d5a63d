"""What of a radiograph's header is carried over into a DICOM Segmentation, and what is left empty."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cxr_attn_unet.io import RadiographError
from cxr_attn_unet.output.dicom_seg import write_dicom_seg
from samples import picture, write_dicom

pytest.importorskip("highdicom")
PIXELS = picture()
MASKS = {"heart": PIXELS > 100}
IDENTITY = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4"}


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """Writes a segmentation of a file with the given header; returns what is in it, and the notes."""
    monkeypatch.setattr(pydicom.config.settings, "_writing_validation_mode", pydicom.config.IGNORE)

    def one(**tags):
        source = write_dicom(tmp_path / "a.dcm", PIXELS, bits=8, **(IDENTITY | tags))
        notes = write_dicom_seg(tmp_path / "a.seg.dcm", source, MASKS, "1")
        return pydicom.dcmread(tmp_path / "a.seg.dcm"), notes

    return one


BAD = [
    ("PatientSex", "MALE"),
    ("PatientSex", "m"),
    ("PatientBirthDate", "19500000"),
    ("PatientBirthDate", "01.02.1950"),
    ("PatientBirthTime", "25:00"),
    ("PatientAge", "45"),
    ("PatientWeight", "heavy"),
    ("PatientID", "x" * 80),
    ("PatientName", "a=b=c=d"),
    ("SmokingStatus", "perhaps not"),
    ("StudyDate", "2020/01/02"),
    ("StudyDate", "20200101-20200202"),
    ("StudyTime", "12:34:56"),
    ("StudyID", "y" * 20),
    ("StudyDescription", "z" * 80),
    ("AccessionNumber", "1" * 20),
    ("ReferringPhysicianName", "a=b=c=d"),
]


def write_as_text(tmp_path, name: str, value: str, kind: str | None = None):
    """A file whose element holds that text, whatever is allowed there."""
    path = write_dicom(tmp_path / "a.dcm", PIXELS, bits=8, **IDENTITY)
    data = pydicom.dcmread(path)
    kind = kind or pydicom.datadict.dictionary_VR(name)
    tag = pydicom.tag.Tag(name)
    raw = value.encode("latin-1")
    raw += b" " * (len(raw) % 2)
    data[tag] = pydicom.dataelem.RawDataElement(tag, kind, len(raw), raw, 0, False, True)
    data.save_as(path)
    return path


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_value_that_its_type_does_not_allow_is_left_empty(tmp_path, name, value):
    write_dicom_seg(tmp_path / "a.seg.dcm", write_as_text(tmp_path, name, value), MASKS, "1")
    assert not pydicom.dcmread(tmp_path / "a.seg.dcm").get(name)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_what_is_left_empty_is_noted(tmp_path, name, value):
    (note,) = write_dicom_seg(tmp_path / "a.seg.dcm", write_as_text(tmp_path, name, value), MASKS, "1")
    assert name in note


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_note_does_not_repeat_the_value(tmp_path, name, value):
    (note,) = write_dicom_seg(tmp_path / "a.seg.dcm", write_as_text(tmp_path, name, value), MASKS, "1")
    assert value not in note.partition(":")[2]


def test_a_date_under_another_type_is_checked_as_a_date(tmp_path):
    (note,) = write_dicom_seg(
        tmp_path / "a.seg.dcm", write_as_text(tmp_path, "StudyDate", "2020/01/02", "LO"), MASKS, "1"
    )
    assert "StudyDate" in note


GOOD = {
    "PatientSex": "F",
    "PatientBirthDate": "19500102",
    "PatientAge": "045Y",
    "PatientWeight": "70.5",
    "StudyDate": "20200102",
    "StudyTime": "123456.78",
    "StudyDescription": "Chest pa",
}


@pytest.mark.parametrize(("name", "value"), GOOD.items())
def test_a_good_value_is_carried_over(carried, name, value):
    assert str(carried(**{name: value})[0][name].value) == value


def test_good_values_are_not_noted(carried):
    assert carried(**GOOD)[1] == []


def test_a_bad_value_in_a_sequence_leaves_out_the_sequence(carried):
    item = Dataset()
    item.CodeValue = "x" * 40
    written, _ = carried(ProcedureCodeSequence=Sequence([item]))
    assert "ProcedureCodeSequence" not in written


def test_a_bad_value_that_is_not_of_patient_or_study_is_not_noted(carried):
    assert carried(ExposureTime="12", Manufacturer="z" * 80)[1] == []


@pytest.mark.parametrize(
    ("terms", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Müller^Jörg"),
        ("ISO_IR 6", "Doe^John"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        (["ISO_IR 6", "LATIN1"], "Doe^John"),
        ("no such set", "Doe^John"),
    ],
)
def test_names_are_readable_in_every_character_set(carried, terms, name):
    written, _ = carried(SpecificCharacterSet=terms, PatientName=name)
    assert str(written.PatientName) == name


def test_a_character_set_that_dicom_does_not_know_is_noted(carried):
    _, (note,) = carried(SpecificCharacterSet=["ISO_IR 6", "LATIN1"])
    assert "SpecificCharacterSet" in note


def test_letters_of_an_unknown_character_set_are_left_empty(tmp_path):
    path = write_as_text(tmp_path, "PatientName", "M\xfcller")
    data = pydicom.dcmread(path)
    data.SpecificCharacterSet = ["ISO_IR 6", "LATIN1"]
    data.save_as(path)
    write_dicom_seg(tmp_path / "a.seg.dcm", path, MASKS, "1")
    assert not pydicom.dcmread(tmp_path / "a.seg.dcm").PatientName


def test_a_uid_that_is_none_is_refused(carried):
    with pytest.raises(RadiographError, match=r"its StudyInstanceUID is no UID"):
        carried(StudyInstanceUID="1.2.abc")


def test_an_object_of_a_vendors_own_kind_is_refused(carried):
    with pytest.raises(RadiographError, match="vendor's own"):
        carried(SOPClassUID="1.2.840.113619.4.30")


def test_private_elements_are_not_carried_over(carried):
    data, _ = carried()
    assert not [element for element in data if element.tag.is_private]


def test_the_masks_are_those_given(carried):
    written, _ = carried(PatientSex="MALE")
    assert np.array_equal(written.pixel_array.astype(bool), MASKS["heart"])
