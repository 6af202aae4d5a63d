"""Names of files, and files that appear whole or not at all."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cxr_attn_unet import files
from cxr_attn_unet.files import PART, as_utf8, claimed, radiograph_stem, remove_parts, write_json, written


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.png", "a"),
        ("a.nii.gz", "a"),
        ("folder/a.b.IMG", "a.b"),
        ("b.c.DCM", "b.c"),
        ("1.2.840.7", "1.2.840.7"),
        (".png", ".png"),
        ("a.txt", "a.txt"),
    ],
)
def test_only_the_suffix_of_a_radiograph_is_cut_off(name, stem):
    assert radiograph_stem(name) == stem


@pytest.mark.parametrize(("name", "written_as"), [(b"caf\xc3\xa9", "caf\u00e9"), (b"caf\xe9", "caf\\udce9")])
def test_only_bytes_that_are_no_utf8_become_escapes(name, written_as):
    assert as_utf8(os.fsdecode(name)) == written_as


def write_and_fail(target):
    with written(target) as path:
        path.write_text("half")
        raise RuntimeError("stopped")


def test_an_error_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError, match="stopped"):
        write_and_fail(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_file_from_before(tmp_path):
    target = tmp_path / "a.png"
    target.write_text("before")
    with pytest.raises(RuntimeError, match="stopped"):
        write_and_fail(target)
    assert target.read_text() == "before"


def test_the_file_is_there_only_when_it_is_whole(tmp_path):
    target = tmp_path / "a.png"
    with written(target) as path:
        path.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"


def test_nothing_is_left_beside_the_file(tmp_path):
    with written(tmp_path / "a.png") as path:
        path.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_missing_folders_are_made(tmp_path):
    with written(tmp_path / "new" / "newer" / "a.png") as path:
        path.write_text("whole")
    assert (tmp_path / "new" / "newer" / "a.png").is_file()


@pytest.mark.parametrize("name", ["a.png", "a.nii.gz"])
def test_the_temporary_name_has_the_suffix(tmp_path, name):
    with written(tmp_path / name) as path:
        assert path.name.endswith(name.removeprefix("a"))


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_the_file_has_the_permissions_of_any_new_file(tmp_path):
    plain = tmp_path / "plain.txt"
    plain.write_text("")
    with written(tmp_path / "a.txt") as path:
        path.write_text("whole")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_json_reads_back(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None, "ä"]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"b": [1, 2.5, None, "ä"]}


def test_json_ends_with_a_line_break(tmp_path):
    write_json(tmp_path / "a.json", {})
    assert (tmp_path / "a.json").read_bytes() == b"{}\n"


def test_json_takes_the_options_of_dumps(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": 2}, sort_keys=True)
    assert list(json.loads((tmp_path / "a.json").read_text())) == ["a", "b"]


def test_what_is_not_json_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"b": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_claimed_once_at_a_time(tmp_path):
    with claimed(tmp_path / "made") as first, claimed(tmp_path / "made") as second:
        assert (first, second) == (True, False)


def test_a_folder_that_is_let_go_can_be_claimed(tmp_path):
    with claimed(tmp_path):
        pass
    with claimed(tmp_path) as ours:
        assert ours


def test_what_a_killed_program_was_writing_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in (f"{PART}x.png", f"sub/{PART}y.png.annotations", ".hidden.png", "a.png"):
        (tmp_path / name).write_text("half")
    remove_parts(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".hidden.png", "a.png"}


WRITER = """
import os, sys
from cxr_attn_unet.files import written
with written(sys.argv[1]) as path:
    path.write_text("half")
    print(path, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is writing a.json, and the temporary path that it writes to."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "a.json")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_the_next_to_write_removes_what_a_killed_program_left(writer, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_looked_through", set())
    process, temporary = writer
    process.kill()
    process.wait()
    assert temporary.is_file()
    write_json(tmp_path / "b.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


def test_what_a_running_program_writes_is_left_alone(writer, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_looked_through", set())
    process, temporary = writer
    write_json(tmp_path / "b.json", {})
    assert temporary.read_text() == "half"
    process.communicate("go on\n")
    assert (tmp_path / "a.json").read_text() == "half"


def test_what_other_machines_write_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_looked_through", set())
    elsewhere = tmp_path / f"{PART}0123abcd-999999999-x.json"
    elsewhere.write_text("half")
    write_json(tmp_path / "b.json", {})
    assert elsewhere.is_file()


def test_a_file_that_is_being_written_is_known_as_such(tmp_path):
    with written(tmp_path / "a.nii.gz") as path:
        assert path.name.startswith(PART)
        assert path.name.endswith(".nii.gz")


@pytest.mark.parametrize("of_the_system", [(27, "File too large"), (28, "No space left on device", ".cxr-part-x.png")])
def test_an_error_of_the_system_names_the_file(tmp_path, of_the_system):
    with pytest.raises(OSError, match=r"\[Errno 2.\] .*: '.*/a\.png'"), written(tmp_path / "a.png"):
        raise OSError(*of_the_system)
