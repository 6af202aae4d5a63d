"""What a stopped run remembers."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from cxr_attn_unet.segment.inputs import Input
from cxr_attn_unet.segment.journal import Journal
from cxr_attn_unet.segment.record import Record, file_state
from cxr_attn_unet.segment.settings import Settings, is_finished
from samples import picture, write_picture


def record(stem: str = "a", **changes) -> Record:
    whole = Record(
        path=f"/in/{stem}.png",
        stem=stem,
        identity="x",
        state=(10, 20),
        files=(f"{stem}_heart.png",),
        rows=128,
        columns=96,
        spacing=(0.5, 0.25),
        spacing_source="detector",
        measurements={"heart_area": 12.5, "area_unit": "mm2", "lung_ratio": None},
        confidences={"heart": 0.9},
        agreements={},
        warnings=("Röntgen 胸部",),
        rle={"heart": {"size": [128, 96], "counts": "abc", "area": 3, "bbox": [0.0, 0.0, 1.0, 3.0]}},
    )
    return replace(whole, **changes)


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "own" / "journal.jsonl")


def test_a_record_is_read_back_as_it_was(journal):
    journal.add(record())
    assert Journal(journal.path).get("a") == record()


def test_a_record_without_spacing_and_masks_is_read_back_as_it_was(journal):
    plain = record(spacing=None, spacing_source=None, rle=None)
    journal.add(plain)
    assert Journal(journal.path).get("a") == plain


def test_names_that_are_no_utf_8_are_read_back_as_they_were(journal):
    odd = record(path=os.fsdecode(b"/in/\xff.png"))
    journal.add(odd)
    assert Journal(journal.path).get("a") == odd


def test_the_last_record_counts(journal):
    journal.add(record(identity="first"))
    journal.add(record(identity="second"))
    assert Journal(journal.path).get("a").identity == "second"


def test_a_withdrawn_record_is_gone(journal):
    journal.add(record())
    journal.withdraw("a")
    assert journal.get("a") is None


def test_a_withdrawn_record_is_gone_in_the_next_run(journal):
    journal.add(record())
    journal.withdraw("a")
    assert Journal(journal.path).get("a") is None


def test_a_record_after_a_withdrawal_counts(journal):
    journal.add(record(identity="first"))
    journal.withdraw("a")
    journal.add(record(identity="second"))
    assert Journal(journal.path).get("a").identity == "second"


def test_withdrawing_what_is_not_there_writes_nothing(journal):
    journal.withdraw("a")
    assert not journal.path.exists()


def test_half_a_last_line_is_dropped(journal):
    journal.add(record())
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + whole[: len(whole) // 2])
    Journal(journal.path)
    assert journal.path.read_bytes() == whole


def test_what_follows_half_a_line_can_be_read(journal):
    journal.add(record())
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + whole[: len(whole) // 2])
    Journal(journal.path).add(record("b"))
    assert [one.stem for one in Journal(journal.path).records(["a", "b"])] == ["a", "b"]


def changed(line: bytes) -> bytes:
    """The same line with another measurement."""
    assert b"12.5" in line
    return line.replace(b"12.5", b"92.5")


def test_a_changed_line_is_noticed(journal):
    journal.add(record())
    journal.path.write_bytes(changed(journal.path.read_bytes()))
    again = Journal(journal.path)
    assert (again.get("a"), again.damaged) == (None, 1)


def test_what_came_before_a_changed_line_is_forgotten_for_it_may_have_been_withdrawn(journal):
    for stem in "abc":
        journal.add(record(stem))
    first, second, third = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(first + changed(second) + third)
    assert [one.stem for one in Journal(journal.path).records("abc")] == ["c"]


def test_a_line_of_a_former_version_takes_its_own_record_with_it(journal):
    for stem in "ab":
        journal.add(record(stem))
    with open(journal.path, "a") as file:
        file.write(json.dumps(VERSION_0_1_0) + "\n")
    again = Journal(journal.path)
    assert [one.stem for one in again.records("ab")] == ["b"]
    assert again.damaged == 0


VERSION_0_1_0 = {
    "path": "a.png",
    "stem": "a",
    "identity": "x",
    "mark": [10, 20],
    "files": ["out/a_heart.png"],
    "rows": 128,
    "columns": 96,
    "spacing": None,
    "measurements": {},
    "confidences": {"heart": 0.9},
    "agreements": {},
    "warnings": [],
}


@pytest.mark.parametrize(
    "line",
    [
        json.dumps(VERSION_0_1_0),
        json.dumps({"version": 99, "stem": "a"}),
        json.dumps({"version": 3, "stem": "a"}),
        json.dumps({"version": 3, "withdrawn": ["a"]}),
        "[1, 2]",
        "no JSON",
        "",
    ],
    ids=["0.1.0", "of the future", "incomplete", "odd withdrawal", "list", "text", "empty"],
)
def test_lines_that_are_not_understood_are_passed_over(journal, line):
    journal.path.parent.mkdir()
    journal.path.write_text(line + "\n")
    journal.add(record("b"))
    assert [one.stem for one in Journal(journal.path).records(["a", "b"])] == ["b"]


@pytest.fixture
def finished(tmp_path, journal):
    """An input whose results are there, with settings that ask for them."""
    path = str(write_picture(tmp_path / "a.png", picture()))
    entry = Input(path, "a", "a.png")
    settings = Settings(tmp_path, ("heart",), {"heart": "1"}, "x", report=False)
    (tmp_path / "a_heart.png").write_bytes(b"mask")
    journal.add(record(path=path, state=file_state(path), rle=None))
    return entry, settings


def test_results_that_are_there_are_finished(finished, journal):
    entry, settings = finished
    assert is_finished(entry, journal, settings)


def test_a_relative_path_is_the_same_file(finished, journal, tmp_path, monkeypatch):
    entry, settings = finished
    monkeypatch.chdir(tmp_path)
    assert is_finished(replace(entry, path="a.png"), journal, settings)


@pytest.mark.parametrize(
    "change",
    [{"identity": "y"}, {"formats": ("nifti",)}, {"formats": ("png", "coco")}, {"report": True}],
    ids=["other weights", "other format", "masks in a table", "report"],
)
def test_other_settings_are_not_finished(finished, journal, change):
    entry, settings = finished
    assert not is_finished(entry, journal, replace(settings, **change))


def test_a_changed_file_is_not_finished(finished, journal):
    entry, settings = finished
    os.utime(entry.path, ns=(0, 0))
    assert not is_finished(entry, journal, settings)


def test_a_missing_file_is_not_finished(finished, journal):
    entry, settings = finished
    Path(entry.path).unlink()
    assert not is_finished(entry, journal, settings)


def test_missing_results_are_not_finished(finished, journal, tmp_path):
    entry, settings = finished
    (tmp_path / "a_heart.png").unlink()
    assert not is_finished(entry, journal, settings)


def test_results_of_another_file_of_that_name_are_not_finished(finished, journal, tmp_path):
    entry, settings = finished
    other = tmp_path / "other" / "a.png"
    other.parent.mkdir()
    write_picture(other, picture())
    os.utime(other, ns=(file_state(entry.path)[1],) * 2)
    assert not is_finished(replace(entry, path=str(other)), journal, settings)
