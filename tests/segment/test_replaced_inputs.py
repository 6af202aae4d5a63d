"""A radiograph whose file is replaced while it is worked on."""

import os

import pytest

from cxr_attn_unet.inference import Segmenter
from cxr_attn_unet.io import RadiographError
from cxr_attn_unet.segment.inputs import Input
from cxr_attn_unet.segment.journal import Journal
from cxr_attn_unet.segment.pipeline import Pipeline
from cxr_attn_unet.segment.record import file_state, make_record
from cxr_attn_unet.segment.settings import Settings
from cxr_attn_unet.segment.steps import _check_unchanged, open_input
from cxr_attn_unet.segment.tables import _identifiers
from cxr_attn_unet.structures import part_names
from part_bundles import lung_masks, picture_of, write_bundle
from samples import write_dicom

PIXELS = picture_of(lung_masks(), part_names("lungs"))


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    bundle = write_bundle(tmp_path_factory.mktemp("bundles"), "lungs")
    return Segmenter.from_bundles(bundles=bundle.parent, device="cpu")


@pytest.fixture
def entry(tmp_path):
    path = tmp_path / "in" / "a.dcm"
    path.parent.mkdir()
    write_dicom(path, PIXELS, bits=8, PatientID="before")
    return Input(str(path), "a", "a.dcm")


def replace_file(entry):
    write_dicom(entry.path, PIXELS[::-1], bits=8, PatientID="after")
    os.utime(entry.path, ns=(1, 1))  # also where the clock of the disk is coarse, or goes backwards


@pytest.fixture
def replaced(segmenter, entry, tmp_path):
    """The folder of the results of a radiograph that was replaced before they were all written."""
    settings = Settings.of(segmenter, tmp_path / "out", ["png"], True)
    journal = Journal(tmp_path / "out" / ".segment" / "journal.jsonl")
    opened = open_input(entry, None)
    (found,) = segmenter.segment([opened.radiograph])
    replace_file(entry)
    with pytest.raises(RadiographError, match=r"a\.dcm: was changed while it was worked on\. Run the same command"):
        Pipeline(segmenter, settings, journal)._write(opened, found)
    return tmp_path / "out"


def test_its_results_are_removed(replaced):
    assert [path for path in replaced.rglob("*") if path.is_file() and path.suffix != ".jsonl"] == []


def test_it_is_not_recorded(replaced):
    assert Journal(replaced / ".segment" / "journal.jsonl").get("a") is None


def test_a_file_that_is_as_it_was_is_no_error(entry):
    _check_unchanged(entry, file_state(entry.path))


def test_a_file_that_is_gone_was_changed(entry):
    state = file_state(entry.path)
    os.unlink(entry.path)
    with pytest.raises(RadiographError, match="was changed while it was worked on"):
        _check_unchanged(entry, state)


@pytest.mark.parametrize(("is_replaced", "patient"), [(False, "before"), (True, None)])
def test_the_patient_of_another_file_is_not_put_beside_its_measurements(segmenter, entry, is_replaced, patient):
    opened = open_input(entry, None)
    (found,) = segmenter.segment([opened.radiograph])
    record = make_record(entry, opened.state, "x", found, [], [], False)
    if is_replaced:
        replace_file(entry)
    assert _identifiers(record).get("patient_id") == patient
