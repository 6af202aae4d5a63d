"""300 damaged files: each is read to a valid picture or refused by name, and none gives another picture silently."""

from pathlib import Path

import numpy as np
import pytest

import damaged
from samples import picture, write_picture

NUMBER = 300


@pytest.fixture(scope="module")
def found():
    return list(damaged.outcomes(NUMBER))


def test_every_damaged_file_is_read_or_refused_by_name(found):
    assert [one for one in found if one["outcome"].startswith("FAULT")] == []


def test_every_kind_of_file_was_damaged(found):
    assert {one["kind"] for one in found} == {kind.name for kind in damaged.kinds()}
    assert len(found) == NUMBER


@pytest.mark.parametrize("outcome", ["refused", "same", "noted", "changed"])
def test_damage_has_every_outcome(found, outcome):
    assert outcome in {one["outcome"] for one in found}


@pytest.fixture
def sample(tmp_path):
    return damaged.make_png(picture(64, 48), "L")(tmp_path / "a.png")


def judged(tmp_path, sample, read):
    """What is said of a reader that is given a file whose name alone has changed."""
    kind = damaged.Kind("a.png", lambda path: sample, read)
    original = damaged.read_picture(write_picture(tmp_path / "a.png", picture(64, 48)))[0]
    return damaged.outcome(kind, sample, original, tmp_path / "a.png", [damaged.Edit(8, 0, b"")])


def test_another_picture_without_a_note_is_a_fault(tmp_path, sample):
    assert judged(tmp_path, sample, lambda path: (np.eye(64, 48), False)).startswith("FAULT: another picture")


def test_another_picture_with_a_note_is_none(tmp_path, sample):
    assert judged(tmp_path, sample, lambda path: (np.eye(64, 48), True)) == "noted"


def test_an_error_that_does_not_name_the_file_is_a_fault(tmp_path, sample):
    def read(path: Path):
        raise ValueError("damaged")

    assert judged(tmp_path, sample, read).startswith("FAULT: does not name the file")


def test_an_error_of_another_kind_is_a_fault(tmp_path, sample):
    def read(path: Path):
        raise KeyError(str(path))

    assert judged(tmp_path, sample, read).startswith("FAULT: KeyError")


def test_a_reader_that_ends_the_process_is_a_fault():
    number = len(damaged.kinds())
    answers = list(
        damaged.outcomes(1, start=number, before="import os, damaged; damaged.outcome = lambda *a: os._exit(3)")
    )
    assert [one["outcome"].partition(":")[0] for one in answers] == ["FAULT"]
    assert "ended its process with 3" in answers[0]["outcome"]


def test_a_reader_that_hangs_is_a_fault(monkeypatch):
    monkeypatch.setattr(damaged, "HANG_SECONDS", 1)
    hanging = "import time, damaged; damaged.outcome = lambda *a: time.sleep(60)"
    assert [one["outcome"] for one in damaged.outcomes(1, before=hanging)] == ["FAULT: hangs"]
