"""Whatever a file is called, and whatever its header says, results lie in the output folder."""

import csv

import pytest

from chest import TWELVE
from conftest import phantom
from cxr_attn_unet.__main__ import main
from cxr_attn_unet.segment.inputs import find_inputs
from samples import write_dicom, write_picture

NAMES = ["a..%2f..%2fb.png", "a\\..\\..\\b.png", "~.png", "$(touch b).png", "a\nb.png", "-o.png"]
ELSEWHERE = "../../../outside"


def files_in(folder):
    return {path for path in folder.rglob("*") if not path.is_dir()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Files before a run and after it, and its output folder: of files with names that lead elsewhere."""
    root = tmp_path_factory.mktemp("root")
    source = root / "deep" / "in"
    (source / "below").mkdir(parents=True)
    for index, name in enumerate(NAMES):
        write_picture(source / "below" / name, phantom(index)[0])
    uids = {"StudyInstanceUID": ELSEWHERE, "SeriesInstanceUID": ELSEWHERE, "SOPInstanceUID": ELSEWHERE}
    texts = {"PatientID": ELSEWHERE, "AccessionNumber": "/outside", "PatientName": f"{ELSEWHERE}^a"}
    write_dicom(source / "a.dcm", TWELVE, **uids, **texts)
    before = files_in(root)
    out = root / "deep" / "out"
    options = ["--structures", "heart", "--format", "png", "overlay", "--with-identifiers"]
    assert main(["segment", str(source), "-o", str(out), *options]) == 0
    return before, files_in(root), out


def test_nothing_is_written_outside_the_output_folder(run):
    before, after, out = run
    assert [path for path in after - before if not path.resolve().is_relative_to(out)] == []


def test_each_file_has_a_mask_of_its_own(run):
    assert len(list(run[2].rglob("*_heart.png"))) == len(NAMES) + 1


def test_each_file_has_its_row(run):
    with open(run[2] / "measurements.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(NAMES) + 1


@pytest.mark.parametrize("name", ["...png", "....png", "..png", ".png"])
def test_a_name_of_dots_alone_does_not_lead_out(name, tmp_path):
    (entry,) = find_inputs([tmp_path / name], tmp_path / "out").inputs
    masks = (tmp_path / "out" / f"{entry.stem}_heart.png", tmp_path / "out" / f"{entry.stem}_ribs_parts" / "R1.png")
    assert all(path.resolve().is_relative_to(tmp_path / "out") for path in masks)


def test_a_file_given_from_above_keeps_its_results_in_the_output_folder(tmp_path, monkeypatch):
    write_picture(tmp_path / "a.png", phantom(0)[0])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert [entry.stem for entry in find_inputs(["../a.png", "../here/../a.png"], "out").inputs] == ["a"]
