"""Which files are inputs, and what their results are called."""

import os
from pathlib import Path

import pytest

from cxr_attn_unet.segment.inputs import Failure, find_inputs
from samples import picture, write_picture


def stems(given, output="results"):
    return [entry.stem for entry in find_inputs(given, output).inputs]


def names(given, output="results"):
    return [entry.name for entry in find_inputs(given, output).inputs]


@pytest.fixture
def write(tmp_path):
    def one(name: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(write_picture(path, picture()))

    return one


def test_folders_keep_their_subfolders(write, tmp_path):
    write("in/b.png")
    write("in/sub/a.png")
    assert stems([tmp_path / "in"]) == ["b", os.path.join("sub", "a")]


def test_hidden_files_and_other_kinds_are_left_out(write, tmp_path):
    write("in/b.png")
    write("in/.hidden/c.png")
    write("in/.d.png")
    (tmp_path / "in" / "notes.txt").write_text("no radiograph")
    assert stems([tmp_path / "in"]) == ["b"]


def test_files_of_the_same_name_have_results_of_different_names(write):
    files = [write("one/a.png"), write("two/a.png"), write("three/a.png"), write("one/a.bmp"), write("one/A.png")]
    assert len({stem.casefold() for stem in stems(files)}) == len(files)


def test_the_first_of_the_same_name_has_the_plain_one(write):
    assert stems([write("one/a.png"), write("two/a.png")])[0] == "a"


def test_the_same_name_in_two_folders(write, tmp_path):
    write("one/a.png")
    write("two/a.png")
    assert stems([tmp_path / "one", tmp_path / "two"]) == ["a", "a_png"]


def test_a_file_of_a_folder_is_named_by_its_path_below_the_folder(write, tmp_path):
    write("in/sub/a.png")
    assert names([tmp_path / "in"]) == [os.path.join("sub", "a.png")]


def test_a_file_argument_is_named_as_given(write, tmp_path, monkeypatch):
    write("in/a.png")
    monkeypatch.chdir(tmp_path)
    assert names(["in/a.png"]) == ["in/a.png"]


def test_names_below_two_folders_stay_different(write, tmp_path):
    write("one/a.png")
    second = write("two/a.png")
    assert names([tmp_path / "one", tmp_path / "two"]) == ["a.png", second]


def test_each_file_once(write, tmp_path):
    path = write("in/a.png")
    assert [entry.path for entry in find_inputs([path, tmp_path / "in", path], "results").inputs] == [path]


def test_results_in_the_folder_are_no_inputs(write, tmp_path):
    write("in/a.png")
    write("in/results/a_heart.png")
    assert stems([tmp_path / "in"], tmp_path / "in" / "results") == ["a"]


def test_links_that_lead_back_are_followed_once(write, tmp_path):
    path = write("in/sub/a.png")
    (tmp_path / "in" / "sub" / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "again.png").symlink_to(path)
    assert len(stems([tmp_path / "in"])) == 1


def test_links_to_nothing_are_left_out(write, tmp_path):
    write("in/a.png")
    (tmp_path / "in" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    assert stems([tmp_path / "in"]) == ["a"]


def test_links_to_other_folders_are_followed(write, tmp_path):
    write("elsewhere/b.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert stems([tmp_path / "in"]) == [os.path.join("linked", "b")]


def test_spaces_and_other_alphabets(write, tmp_path):
    write("in/Röntgen 胸部 X.png")
    write("in/-o.png")
    assert stems([tmp_path / "in"]) == ["-o", "Röntgen 胸部 X"]


def test_a_missing_file_stays_an_input(tmp_path):
    """Reading it says what is wrong."""
    assert [Path(entry.path).name for entry in find_inputs([tmp_path / "none.png"], "out").inputs] == ["none.png"]


def test_an_empty_folder_is_a_failure(tmp_path):
    (tmp_path / "empty").mkdir()
    (failure,) = find_inputs([tmp_path / "empty"], "results").failures
    assert "no radiographs here" in failure.reason


def test_tables_name_a_failed_file_by_its_short_name():
    failure = Failure("sub/a.png", "/home/me/in/sub/a.png: the file is empty.", path="/home/me/in/sub/a.png")
    assert failure.short_reason == "sub/a.png: the file is empty."


def test_files_of_other_kinds_are_counted(write, tmp_path):
    write("in/a.png")
    for name in ("in/notes.txt", "in/more.txt", "in/table.xml"):
        (tmp_path / name).write_text("no radiograph")
    assert find_inputs([tmp_path / "in"], "results").ignored == {".txt": 2, ".xml": 1}
