"""Through the Python API too, no warning and no log record quotes what a DICOM header says of a patient."""

import logging
import warnings

import pydicom
import pytest
from pydicom import config
from pydicom.datadict import DicomDictionary, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from chest import TWELVE
from cxr_attn_unet import Segmenter
from cxr_attn_unet.io import read_radiograph
from cxr_attn_unet.io.dicom.identifiers import read_identifiers
from cxr_attn_unet.output import FORMATS
from samples import write_dicom
from tiny_bundle import write_tiny_bundle

MARK = "ZQXJANE"
# by representation, a value that names a patient and that DICOM does not allow there
LONG = f"{MARK}\\\\^" + MARK * 20
WRONG = dict.fromkeys(("AE", "LO", "LT", "SH", "ST", "UC", "UT"), LONG)
WRONG |= dict.fromkeys(("DA", "TM", "DT", "AS"), MARK.lower()) | dict.fromkeys(("PN", "UI"), MARK)
# codes that are of the patient, not of the picture
CODES = ("PatientSex", "BodyPartExamined", "PatientSexNeutered", "ResponsiblePersonRole", "SmokingStatus", "Laterality")
# without which it would be no radiograph, or one of no study
NEEDED = ("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def named_all_over(path, **tags):
    """A radiograph whose texts, dates and codes all hold the name of a patient, in values that are not allowed."""
    data = pydicom.dcmread(write_dicom(path, TWELVE, StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid()))
    item = Dataset()
    for _, (representation, _, _, retired, keyword) in DicomDictionary.items():
        if retired or not keyword or keyword in NEEDED or tag_for_keyword(keyword) >> 16 < 8:
            continue
        if representation in WRONG or keyword in CODES:
            wrong = WRONG.get(representation, f"{MARK.lower()} {MARK}^{MARK}")
            for dataset in (data, item):
                dataset.add(pydicom.DataElement(keyword, representation, wrong, validation_mode=config.IGNORE))
    data.OtherPatientIDsSequence = Sequence([item])
    for keyword, value in tags.items():
        data.add(pydicom.DataElement(keyword, "CS", value, validation_mode=config.IGNORE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(path)
    return path


@pytest.fixture(scope="module")
def radiograph(tmp_path_factory):
    return named_all_over(tmp_path_factory.mktemp("radiographs") / "a.dcm")


@pytest.fixture(scope="module")
def of_a_wrong_alphabet(tmp_path_factory):
    return named_all_over(tmp_path_factory.mktemp("radiographs") / "b.dcm", SpecificCharacterSet=MARK)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    return Segmenter.from_bundles(
        bundles=write_tiny_bundle(tmp_path_factory.mktemp("bundles")).parent, device="cpu", trust=True
    )


@pytest.fixture
def said():
    """All that is warned of and logged during a test."""
    records = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: records.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield lambda: "\n".join([*records, *(str(warning.message) for warning in warned)])
    logging.getLogger().removeHandler(handler)


def quotes(text):
    return [line for line in text.splitlines() if MARK in line.upper()]


def test_pydicom_itself_quotes_it(radiograph, said):
    data = pydicom.dcmread(radiograph)
    _ = [data[tag].value for tag in data.keys()]  # noqa: SIM118 # the values themselves would be read by iteration
    assert quotes(said()) != []


def test_reading_quotes_nothing(radiograph, said):
    read_radiograph(radiograph)
    assert quotes(said()) == []


def test_reading_one_of_a_wrong_alphabet_quotes_nothing(of_a_wrong_alphabet, said):
    read_radiograph(of_a_wrong_alphabet)
    read_identifiers(of_a_wrong_alphabet)
    assert quotes(said()) == []


def test_segmenting_quotes_nothing(radiograph, segmenter, said):
    segmenter(radiograph)
    assert quotes(said()) == []


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_quotes_anything(form, radiograph, segmenter, said, tmp_path):
    for package in FORMATS[form].packages:
        pytest.importorskip(package)
    segmenter(radiograph).save(tmp_path, [form])
    assert quotes(said()) == []


def test_warnings_are_as_before_afterwards(radiograph, segmenter, said, tmp_path):
    segmenter(radiograph).save(tmp_path)
    warnings.warn("heard", stacklevel=1)
    logging.getLogger("pydicom").error("heard too")  # the level that the command leaves it
    assert said().endswith("heard too\nheard")
