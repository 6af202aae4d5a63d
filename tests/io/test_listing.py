"""Which files of a folder are radiographs, what is said of the others, and archives."""

import zipfile

import numpy as np
import pytest

from cxr_attn_unet.io import (
    NotARadiographError,
    RadiographError,
    describe_ignored,
    find_radiographs,
    is_radiograph_file,
    list_radiographs,
    may_be_radiograph,
    read_radiograph,
    walk_radiographs,
)
from samples import picture, write_dicom, write_nifti, write_picture

TRUTH = picture()


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def png(tmp_path):
    path = write_picture(tmp_path / "source.png", TRUTH)
    content = path.read_bytes()
    path.unlink()
    return content


def test_other_files_are_counted_by_kind(tmp_path):
    write_picture(tmp_path / "a.png", TRUTH)
    (tmp_path / "sub").mkdir()
    for name in ("b.txt", "sub/c.TXT", "d.xml", "README"):
        (tmp_path / name).write_text("no radiograph")
    write_dicom(tmp_path / "DICOMDIR", TRUTH, bits=8)
    found = find_radiographs(tmp_path)
    assert found.radiographs == [str(tmp_path / "a.png")]
    assert found.ignored == {".txt": 2, ".xml": 1, "without suffix": 1, "DICOMDIR": 1}


def test_what_was_ignored_is_said_in_words(tmp_path):
    assert describe_ignored({".xml": 1, ".txt": 2}) == "3 files ignored: 2 .txt, 1 .xml"
    assert describe_ignored({}) == ""


def test_hidden_files_are_not_counted(tmp_path):
    (tmp_path / ".DS_Store").write_text("hidden")
    assert find_radiographs(tmp_path).ignored == {}


def test_the_pixels_of_a_header_are_not_counted(tmp_path):
    write_nifti(tmp_path / "a.img", TRUTH, np.eye(4))
    (tmp_path / "b.mhd").write_text("ObjectType = Image")
    (tmp_path / "b.raw").write_bytes(bytes(10))
    assert find_radiographs(tmp_path).ignored == {}


@pytest.mark.parametrize("name", ["a.webp", "a.JP2", "a.ima", "a.IMA", "a.dic", "a.dcm.gz", "a.jfif"])
def test_a_file_with_the_suffix_of_a_radiograph_is_listed(name, tmp_path):
    (tmp_path / name).write_bytes(b"not read any further")
    assert list_radiographs(tmp_path) == [str(tmp_path / name)]


def test_an_archive_of_one_radiograph_is_read(tmp_path, png):
    path = zipped(tmp_path / "a.zip", {"study/image.png": png, "study/notes.txt": "notes", "__MACOSX/._image.png": "x"})
    np.testing.assert_array_equal(read_radiograph(path).pixels, TRUTH)


def test_a_radiograph_from_an_archive_has_the_path_of_the_archive(tmp_path, png):
    path = zipped(tmp_path / "a.zip", {"image.png": png})
    assert read_radiograph(path).path == str(path)


@pytest.mark.parametrize("name", ["../../outside.png", "/outside.png", "..\\outside.png"])
def test_an_archive_cannot_write_outside_its_folder(name, tmp_path, png):
    (tmp_path / "sub").mkdir()
    read_radiograph(zipped(tmp_path / "sub" / "a.zip", {name: png}))
    assert not list(tmp_path.rglob("*.png"))


def test_an_archive_of_several_radiographs_is_refused_by_name(tmp_path, png):
    path = zipped(tmp_path / "a.zip", {"1.png": png, "2.png": png})
    with pytest.raises(NotARadiographError, match=r"a.zip: an archive with 2 radiographs.*Unpack it"):
        read_radiograph(path)


def test_an_archive_that_holds_too_much_is_refused(tmp_path, png, monkeypatch):
    monkeypatch.setattr("cxr_attn_unet.io.limits.BYTES_OF_HEADER", 0)
    monkeypatch.setenv("CXR_MAX_PIXELS", "10")
    with pytest.raises(RadiographError, match="more than 80, which is enough"):
        read_radiograph(zipped(tmp_path / "a.zip", {"1.png": png}))


def test_what_is_wrong_in_an_archive_is_said_with_both_names(tmp_path):
    path = zipped(tmp_path / "a.zip", {"1.png": b"\x89PNG\r\n\x1a\n" + bytes(50)})
    with pytest.raises(RadiographError) as caught:
        read_radiograph(path)
    assert str(caught.value).startswith(f"{path}: 1.png: ")


def test_an_archive_cut_off_is_refused(tmp_path, png):
    path = zipped(tmp_path / "a.zip", {"1.png": png})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RadiographError, match="cut off before its end"):
        read_radiograph(path)


def test_an_archive_without_radiographs_is_ignored_and_counted(tmp_path):
    path = zipped(tmp_path / "a.zip", {"notes.txt": "notes"})
    assert not is_radiograph_file(path)
    assert find_radiographs(tmp_path).ignored == {".zip": 1}


def test_a_folder_whose_name_the_command_line_took_for_a_number_is_listed(tmp_path, monkeypatch):
    (tmp_path / "20240101").mkdir()
    write_picture(tmp_path / "20240101" / "a.png", TRUTH)
    monkeypatch.chdir(tmp_path)
    assert len(list_radiographs(20240101)) == 1


def test_a_number_that_no_longer_shows_the_folder_is_refused(tmp_path):
    with pytest.raises(RadiographError, match=r"1000.0: the command line took"):
        list_radiographs(1e3)


@pytest.mark.parametrize(
    ("name", "may_be"),
    [
        ("a.PNG", True),
        ("a.dcm.gz", True),
        ("a.img", True),
        ("a.zip", True),
        ("1.2.840.113", True),
        ("IM0001", True),
        ("notes.txt", False),
        ("a.hdr", False),
        ("DICOMDIR", False),
    ],
)
def test_a_name_says_whether_a_file_may_be_a_radiograph(name, may_be):
    assert may_be_radiograph(f"folder.d/{name}") is may_be


def test_folders_are_walked_one_after_the_other(tmp_path):
    for name in ("b.png", "a/c.png", "a/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_picture(tmp_path / name, TRUTH)
    walk = walk_radiographs(tmp_path)
    assert next(walk) == str(tmp_path / "b.png")
    (tmp_path / "a" / "c.png").unlink()  # of a folder that was not entered yet
    assert list(walk) == [str(tmp_path / "a" / "d.png")]
