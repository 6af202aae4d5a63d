"""Nothing that names a patient leaves the DICOM header, unless it is asked for."""

import csv
import gzip
import logging
import warnings

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from chest import TWELVE
from cxr_attn_unet.__main__ import main
from cxr_attn_unet.io import RadiographError, read_radiograph
from cxr_attn_unet.output import COLLECTIONS, FORMATS
from samples import write_dicom

MARK = "ZQXJANE"
NUMBER = "77315523"
DATE = "19230417"
MARKS = [MARK, MARK.lower(), NUMBER, DATE]
# by representation, a value that is allowed there and that nothing else holds
VALUES = {
    "AE": MARK,
    "DA": DATE,
    "LO": f"{MARK} LO",
    "LT": f"{MARK} LT",
    "PN": f"{MARK}^PN",
    "SH": f"{MARK} SH",
    "ST": f"{MARK} ST",
    "UC": f"{MARK} UC",
    "UT": f"{MARK} UT",
    "IS": NUMBER,
    "TM": "112233",
}
# of the picture itself, which would be none with such values
TECHNICAL = ("NumberOfFrames", "SpecificCharacterSet")


def filled(path, **tags):
    """A radiograph with a mark in every text element that DICOM has, and in a sequence."""
    elements = {}
    for _, (representation, multiplicity, _, retired, keyword) in DicomDictionary.items():
        if representation not in VALUES or retired or not keyword or keyword in TECHNICAL:
            continue
        if multiplicity.startswith("1"):
            elements[keyword] = VALUES[representation]
    data = pydicom.dcmread(write_dicom(path, TWELVE, **tags))
    for keyword, value in elements.items():
        # what is below is of the file, or of messages
        if pydicom.datadict.tag_for_keyword(keyword) >> 16 >= 8:
            setattr(data, keyword, value)
    item = Dataset()
    item.PatientName = VALUES["PN"]
    item.PatientID = VALUES["LO"]
    data.OtherPatientIDsSequence = Sequence([item])
    data.StudyInstanceUID, data.SeriesInstanceUID = f"1.2.{NUMBER}.1", f"1.2.{NUMBER}.2"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.{NUMBER}.3"
    data.PatientSex = "F"
    data.save_as(path)
    return path


def contents(folder):
    """By name, the bytes of every file, unpacked where a format packs them."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        elif path.suffix in (".png", ".jpg"):
            with Image.open(path) as picture:
                content += repr(picture.info).encode()
        elif path.suffix == ".parquet":
            import pyarrow.parquet

            content += repr(pyarrow.parquet.read_table(path).to_pylist()).encode()
        found[path.relative_to(folder).as_posix()] = content
    return found


def marked(content):
    return [mark for mark in MARKS if mark.encode() in content]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of the results in every format, and all that was said: of a good file, a damaged one and a CT."""
    for package in ("highdicom", "pyarrow", "pycocotools"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("identifiers")
    good = filled(folder / "a.dcm")
    damaged = filled(folder / "b.dcm")
    damaged.write_bytes(damaged.read_bytes()[:-2000])
    slice_of_ct = filled(folder / "c.dcm", Modality="CT")
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    with warnings.catch_warnings(record=True) as warned, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", (folder / "stderr.txt").open("w"))
        patch.setattr("sys.stdout", (folder / "stdout.txt").open("w"))
        files = [str(path) for path in (good, damaged, slice_of_ct)]
        options = ["--structures", "heart", "--format", *FORMATS, *COLLECTIONS]
        status = main(["segment", *files, "-o", str(folder / "out"), *options])
        said += [str(warning.message) for warning in warned]
        patch.undo()
    logging.getLogger().removeHandler(handler)
    assert status == 1
    return folder, "\n".join(said)


def test_the_source_has_the_marks(run):
    assert set(marked((run[0] / "a.dcm").read_bytes())) == {MARK, NUMBER, DATE}


def test_no_result_but_those_in_dicom_names_a_patient(run):
    found = contents(run[0] / "out")
    named = [name for name, content in found.items() if marked(content)]
    assert named == ["a.plane.seg.dcm", "a.pr.dcm", "a.sc.dcm", "a.seg.dcm", "a.sr.dcm"]


def test_every_format_was_written(run):
    names = set(contents(run[0] / "out"))
    assert {"a_heart.png", "a_heart.nii.gz", "a_labels.png", "a_overlay.jpg", "a_figure.png", "coco.json"} < names


def test_nothing_that_was_said_names_a_patient(run):
    folder, said = run
    spoken = said.encode() + (folder / "stderr.txt").read_bytes() + (folder / "stdout.txt").read_bytes()
    assert marked(spoken) == []


def test_failures_are_told_without_a_name(run):
    rows = list(csv.DictReader((run[0] / "out" / "failures.csv").open()))
    assert [marked(row["reason"].encode()) for row in rows] == [[], []]


def test_identifiers_are_in_the_tables_when_asked_for(run):
    out = run[0] / "out"
    options = ["--structures", "heart", "--with-identifiers", "--no-report"]
    assert main(["segment", str(run[0] / "a.dcm"), "-o", str(out.with_name("named")), *options]) == 0
    (row,) = csv.DictReader((out.with_name("named") / "measurements.csv").open())
    assert (row["patient_id"], row["sop_instance_uid"]) == (VALUES["LO"], f"1.2.{NUMBER}.3")


def test_burned_in_text_is_a_warning(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", TWELVE, BurnedInAnnotation="YES")
    assert [note for note in read_radiograph(path).notes if "BurnedInAnnotation (0028,0301) is YES" in note]


def test_pixels_without_text_are_none(tmp_path):
    assert read_radiograph(write_dicom(tmp_path / "a.dcm", TWELVE, BurnedInAnnotation="NO")).notes == ()


@pytest.mark.parametrize("name", ["StudyInstanceUID", "SOPInstanceUID"])
def test_a_uid_that_is_a_name_is_not_told(name, tmp_path):
    pytest.importorskip("highdicom")
    from cxr_attn_unet.output.dicom_seg import write_dicom_seg

    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), name: MARK}
    path = write_dicom(tmp_path / "a.dcm", TWELVE, **uids)
    with pytest.raises(RadiographError, match=f"its {name} is no UID") as caught:
        write_dicom_seg(tmp_path / "b.dcm", path, {"heart": np.ones(TWELVE.shape, bool)}, "1")
    assert marked(str(caught.value).encode()) == []
