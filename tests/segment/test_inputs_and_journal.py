"""Which files are inputs, what their results are called, and what a stopped run remembers."""

import os
from pathlib import Path

import pytest

from cxr_attn_unet.segment.inputs import Input, find_inputs
from cxr_attn_unet.segment.journal import Journal, mark
from samples import picture, write_picture


def stems(given, output="results"):
    return [entry.stem for entry in find_inputs(given, output)[0]]


@pytest.fixture
def write(tmp_path):
    def one(name: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(write_picture(path, picture()))

    return one


def test_folders_keep_their_subfolders(write, tmp_path):
    for name in ("in/b.png", "in/sub/a.png", "in/.hidden/c.png", "in/.d.png"):
        write(name)
    (tmp_path / "in" / "notes.txt").write_text("no radiograph")
    assert stems([tmp_path / "in"]) == ["b", os.path.join("sub", "a")]


def test_same_name_twice_keeps_both(write, tmp_path):
    files = [write("one/a.png"), write("two/a.png"), write("three/a.png"), write("one/a.bmp"), write("one/A.png")]
    found = stems(files)
    assert found[0] == "a" and len({stem.casefold() for stem in found}) == len(files)
    assert (
        stems([tmp_path / "one", tmp_path / "two"])[0] == "A" and len(stems([tmp_path / "one", tmp_path / "two"])) == 4
    )


def test_each_file_once_and_results_never(write, tmp_path):
    path = write("in/a.png")
    write("in/results/a_heart.png")
    inputs, failures = find_inputs([path, tmp_path / "in", path], tmp_path / "in" / "results")
    assert [entry.path for entry in inputs] == [path] and not failures


def test_links_that_lead_back(write, tmp_path):
    path = write("in/sub/a.png")
    (tmp_path / "in" / "sub" / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "again.png").symlink_to(path)
    (tmp_path / "in" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    write("elsewhere/b.png")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    found = stems([tmp_path / "in"])
    assert len(found) == 2 and os.path.join("linked", "b") in found


def test_spaces_and_other_alphabets(write, tmp_path):
    write("in/Röntgen 胸部 X.png")
    write("in/-o.png")
    assert stems([tmp_path / "in"]) == ["-o", "Röntgen 胸部 X"]


def test_missing_files_stay_inputs_and_empty_folders_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    inputs, failures = find_inputs([tmp_path / "nothere.png", tmp_path / "empty"], "results")
    assert [Path(entry.path).name for entry in inputs] == ["nothere.png"]  # reading it says what is wrong
    assert len(failures) == 1 and "no radiographs here" in failures[0][1]


def record(entry: Input, files: list[Path], **more) -> dict:
    return {
        "path": entry.path,
        "stem": entry.stem,
        "identity": "x",
        "mark": mark(entry.path),
        "files": [str(file) for file in files],
        **more,
    }


def test_journal_remembers_what_is_finished(write, tmp_path):
    entry, result = Input(write("a.png"), "a"), tmp_path / "a_heart.png"
    journal = Journal(tmp_path / "own" / "journal.jsonl")
    assert not journal.finished(entry, "x", [result])
    result.write_bytes(b"mask")
    journal.add(record(entry, [result], note="ä"))
    for again in (journal, Journal(journal.path)):
        assert again.finished(entry, "x", [result])
        assert again[entry.path]["note"] == "ä"
        assert not again.finished(entry, "other weights", [result])
        assert not again.finished(Input(entry.path, "b"), "x", [result])
        assert not again.finished(entry, "x", [result, tmp_path / "a_lungs.png"])
        assert not again.finished(entry, "x", [result], needs=["rle"])
    os.utime(entry.path, ns=(0, 0))
    assert not journal.finished(entry, "x", [result])


def test_journal_of_a_killed_run(write, tmp_path):
    """Half a last line is dropped, and what is added then can be read."""
    first, second = Input(write("a.png"), "a"), Input(write("b.png"), "b")
    journal = Journal(tmp_path / "journal.jsonl")
    journal.add(record(first, []))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + whole[: len(whole) // 2])
    again = Journal(journal.path)
    assert first.path in again and journal.path.read_bytes() == whole
    again.add(record(second, []))
    assert [one["stem"] for one in Journal(journal.path).records([first.path, second.path])] == ["a", "b"]


def test_the_last_record_counts(write, tmp_path):
    entry = Input(write("a.png"), "a")
    journal = Journal(tmp_path / "journal.jsonl")
    journal.add(record(entry, [], number=1))
    journal.add(record(entry, [], number=2))
    assert journal[entry.path]["number"] == Journal(journal.path)[entry.path]["number"] == 2
