"""Downloads are checked against a SHA-256 from elsewhere, and unpacked whole or not at all."""

import multiprocessing
import os
import stat
import zipfile

import pytest

from cxr_attn_unet.__main__ import main
from cxr_attn_unet.fetch import fetch, unpack_bundle
from cxr_attn_unet.files import sha256

CONTENT = {"heart_attn_unet/configs/inference.json": "{}", "heart_attn_unet/models/model.pt": "weights"}


def zipped(path, content=CONTENT, kind=stat.S_IFREG):
    """A zip of names and contents, the last of them of a kind."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content.items():
            entry = zipfile.ZipInfo(name)
            entry.filename = name
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            if name == list(content)[-1]:
                entry.external_attr = (kind | 0o644) << 16
            archive.writestr(entry, text)
    return path


def left_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def archive(tmp_path):
    (tmp_path / "server").mkdir()
    return zipped(tmp_path / "server" / "a.zip")


@pytest.fixture
def output(tmp_path):
    return tmp_path / "deep" / "bundles"


def test_a_bundle_is_unpacked(archive, output):
    bundle = fetch(archive.as_uri(), sha256(archive), output)
    assert (bundle / "models" / "model.pt").read_text() == "weights"


def test_nothing_else_is_left(archive, output):
    fetch(archive.as_uri(), sha256(archive), output)
    assert left_in(output)[0] == "heart_attn_unet"


def test_digits_in_capitals_are_the_same(archive, output):
    assert fetch(archive.as_uri(), sha256(archive).upper(), output).is_dir()


def test_another_file_is_not_unpacked(archive, output):
    with pytest.raises(ValueError, match=r"its SHA-256 is .*, not the 0{64} that was given"):
        fetch(archive.as_uri(), "0" * 64, output)
    assert left_in(output) == []


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64])
def test_what_is_no_checksum_is_refused(digest, archive, output):
    with pytest.raises(ValueError, match="not a SHA-256"):
        fetch(archive.as_uri(), digest, output)


@pytest.mark.parametrize("url", ["ftp://example.org/a.zip", "a.zip", "data:,a"])
def test_other_addresses_are_refused(url, output):
    with pytest.raises(ValueError, match="not an address"):
        fetch(url, "0" * 64, output)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../outside.txt", "leads out"),
        ("heart_attn_unet/../../outside.txt", "leads out"),
        ("heart_attn_unet\\..\\..\\outside.txt", "leads out"),
        ("/outside.txt", "absolute"),
        ("C:/outside.txt", "absolute"),
        ("another/file.txt", "not in one folder"),
        ("HEART_attn_unet/configs/INFERENCE.json", "two members"),
    ],
)
def test_a_member_that_leads_elsewhere_ends_it(name, message, archive, output):
    zipped(archive, CONTENT | {name: "text"})
    with pytest.raises(ValueError, match=message):
        fetch(archive.as_uri(), sha256(archive), output)
    assert left_in(output.parent) == ["bundles"]


@pytest.mark.parametrize(("kind", "message"), [(stat.S_IFLNK, "symbolic link"), (stat.S_IFIFO, "no plain file")])
def test_so_does_a_link(kind, message, archive, output):
    zipped(archive, CONTENT | {"heart_attn_unet/link": "/etc/passwd"}, kind)
    with pytest.raises(ValueError, match=message):
        fetch(archive.as_uri(), sha256(archive), output)
    assert left_in(output) == []


def test_a_zip_of_one_file_is_no_bundle(archive, output):
    zipped(archive, {"file.txt": "text"})
    with pytest.raises(ValueError, match="not in one folder"):
        fetch(archive.as_uri(), sha256(archive), output)


def test_a_zip_that_holds_too_much_is_refused(archive, output, monkeypatch):
    monkeypatch.setattr("cxr_attn_unet.fetch.LARGEST_UNPACKED", 5)
    with pytest.raises(ValueError, match="unpacked, no bundle"):
        fetch(archive.as_uri(), sha256(archive), output)


def test_a_download_without_end_is_cut_off(archive, output, monkeypatch):
    monkeypatch.setattr("cxr_attn_unet.fetch.LARGEST_ZIP", 5)
    with pytest.raises(ValueError, match=r"no bundle\. Check the address"):
        fetch(archive.as_uri(), sha256(archive), output)


def test_a_damaged_member_leaves_nothing(archive, output):
    content = bytearray(archive.read_bytes())
    content[content.index(b"model.pt") + 10] ^= 255
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="not a sound zip"):
        fetch(archive.as_uri(), sha256(archive), output)
    assert left_in(output) == []


def test_a_bundle_that_is_there_is_not_replaced(archive, output):
    (output / "heart_attn_unet").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="is there already"):
        fetch(archive.as_uri(), sha256(archive), output)


def test_the_command_says_where_the_bundle_is(archive, output, capsys):
    assert main(["fetch", archive.as_uri(), "--sha256", sha256(archive), "-o", str(output)]) == 0
    assert f"{output / 'heart_attn_unet'}: fetched" in capsys.readouterr().out


def test_the_command_fails_with_a_message(archive, output, capsys):
    assert main(["fetch", archive.as_uri(), "--sha256", "0" * 64, "-o", str(output)]) == 2
    assert capsys.readouterr().err.startswith("cxr-attn-unet: file://")


@pytest.fixture
def fetching(tmp_path, output):
    """Another process in the midst of a download into the same folder."""
    os.mkfifo(tmp_path / "endless.zip")
    address = (tmp_path / "endless.zip").as_uri()
    process = multiprocessing.get_context("fork").Process(target=fetch, args=(address, "0" * 64, output))
    process.start()
    unfinished = os.open(tmp_path / "endless.zip", os.O_WRONLY)  # returns once the other process reads
    yield process
    process.kill()
    process.join()
    os.close(unfinished)


def test_what_a_killed_process_left_is_removed_by_the_next(fetching, archive, output):
    fetching.kill()
    fetching.join()
    fetch(archive.as_uri(), sha256(archive), output)
    assert list(output.glob(".*")) == []


def test_what_a_process_works_in_is_left_alone(fetching, archive, output):
    fetch(archive.as_uri(), sha256(archive), output)
    assert len(list(output.glob(".fetch-*"))) == 1


def test_a_file_of_such_a_name_is_left_alone(archive, output):
    output.mkdir(parents=True)
    (output / ".fetch-notes").write_text("mine")
    fetch(archive.as_uri(), sha256(archive), output)
    assert (output / ".fetch-notes").read_text() == "mine"


def test_what_a_check_refuses_is_not_unpacked(archive, output):
    def refuse(folder):
        raise ValueError(f"{folder.name} is not wanted")

    output.mkdir(parents=True)
    with pytest.raises(ValueError, match="heart_attn_unet is not wanted"):
        unpack_bundle(archive, output, check=refuse)
    assert left_in(output) == []
