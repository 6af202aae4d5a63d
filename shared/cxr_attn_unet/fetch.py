"""The command ``cxr-attn-unet fetch``: a released bundle, checked before it is unpacked, and whole or not at all."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import urlopen

from filelock import FileLock, Timeout

from .files import claimed, sha256

__all__ = ["add_arguments", "fetch", "main", "unpack_bundle"]

NOT_FETCHED = 2
SCHEMES = ("https", "http", "file")
TIMEOUT_SECONDS = 60
LARGEST_ZIP = 2 << 30  # bytes
LARGEST_UNPACKED = 4 << 30
WORK = ".fetch-"  # how the names of folders begin in which a zip is downloaded and unpacked
_BLOCK = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    parser.add_argument("url", metavar="URL", help="of a bundle's zip: https, http or file")
    parser.add_argument(
        "--sha256",
        required=True,
        metavar="HEX",
        help="the zip's SHA-256, from a place that you trust, such as the text of the release; not from the zip",
    )
    parser.add_argument("-o", "--output", default=".", metavar="FOLDER", help="folder of the bundles (default: .)")


def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    try:
        bundle = fetch(options.url, options.sha256, options.output)
    except (ValueError, OSError) as error:
        print(f"cxr-attn-unet: {error}", file=sys.stderr)
        return NOT_FETCHED
    print(f"{bundle}: fetched; its SHA-256 is the one that you gave.")
    print("A MONAI config can run code. If you trust whoever made it, segment with --trust the first time.")
    return 0


def fetch(url: str, digest: str, folder: str | os.PathLike = ".") -> Path:
    """Download the zip of a bundle, check it, and unpack it.

    Args:
        url: of the zip; ``https``, ``http`` or ``file``.
        digest: SHA-256 that the zip must have, in hexadecimal.
        folder: of the bundles; made if missing.

    Returns:
        the bundle's folder.

    Raises:
        ValueError: the zip is another one, is none, or has something in it that a bundle has not.
        FileExistsError: there is a bundle of that name.
        OSError: it cannot be downloaded or written.
    """
    if urlsplit(url).scheme not in SCHEMES:
        raise ValueError(f"{url}: not an address of {', '.join(SCHEMES)}. Give the address of the zip.")
    if not re.fullmatch("[0-9a-fA-F]{64}", digest):
        raise ValueError(f"{digest}: not a SHA-256, which has 64 hexadecimal digits. Copy all of it.")
    output = Path(folder)
    output.mkdir(parents=True, exist_ok=True)
    with _work_folder(output) as temporary:
        archive = temporary / "bundle.zip"
        _download(url, archive)
        found = sha256(archive)
        if found != digest.lower():
            raise ValueError(
                f"{url}: its SHA-256 is {found}, not the {digest.lower()} that was given. Nothing was unpacked; "
                "download it again, and if that does not help, ask whoever released it."
            )
        return unpack_bundle(archive, output, url)


@contextmanager
def _work_folder(output: Path) -> Iterator[Path]:
    """A folder in ``output`` that is there within the block; what processes that were killed left of theirs is removed.

    A process holds a lock in its folder, which the system releases however the process ends.
    """
    _remove_leftovers(output)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=WORK, dir=output))
        with claimed(folder) as is_ours:
            # before it was ours, another process may just have taken it for left over
            if is_ours and folder.is_dir():
                try:
                    yield folder
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
                return


def _remove_leftovers(output: Path) -> None:
    for folder in output.glob(f"{WORK}*"):
        if folder.is_symlink() or not folder.is_dir():
            continue
        lock = FileLock(folder / "lock", timeout=0)
        try:
            lock.acquire()
        except (Timeout, NotImplementedError, OSError):
            continue  # in use, or nobody can know
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            lock.release()


def _download(url: str, target: Path) -> None:
    length = 0
    with urlopen(url, timeout=TIMEOUT_SECONDS) as answer, open(target, "wb") as file:
        while block := answer.read(_BLOCK):
            length += len(block)
            if length > LARGEST_ZIP:
                raise ValueError(f"{url}: more than {LARGEST_ZIP >> 30} GiB, no bundle. Check the address.")
            file.write(block)


def unpack_bundle(
    archive: Path, output: Path, name: str | None = None, check: Callable[[Path], None] | None = None
) -> Path:
    """Unpack the zip of a bundle, whole or not at all.

    Args:
        archive: the zip, which holds one folder.
        output: where that folder goes.
        name: what messages call the zip; its path if not given.
        check: takes the folder before it is put where it goes; raises whatever is wrong with it.

    Returns:
        the folder.

    Raises:
        ValueError: no zip, a damaged one, or one with members that are no plain files of one folder.
        FileExistsError: the folder is there.
        OSError: it cannot be written.
    """
    called = name or str(archive)
    try:
        with zipfile.ZipFile(archive) as content, _work_folder(output) as temporary:
            top = _checked_top(content.infolist(), called)
            target = output / top
            if target.exists() or target.is_symlink():
                raise FileExistsError(f"{target}: is there already. Remove it, or name another folder with --output.")
            # the bundle may have any name, the lock's too
            unpacked = temporary / "unpacked"
            content.extractall(unpacked)
            if check is not None:
                check(unpacked / top)
            (unpacked / top).rename(target)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise ValueError(f"{called}: not a sound zip ({error}). Download it again.") from error
    return target


def _checked_top(entries: Sequence[zipfile.ZipInfo], called: str) -> str:
    """The one folder that all members lie in.

    Raises:
        ValueError: a member leads elsewhere, is a link or another special file, or there is too much.
    """
    for entry in entries:
        problem = _problem_of(entry)
        if problem:
            raise ValueError(f"{called}: its member {entry.filename!r} {problem}. Nothing was unpacked; do not use it.")
    names = [entry.filename.rstrip("/") for entry in entries]
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError(f"{called}: has two members of one name. Nothing was unpacked; do not use it.")
    if sum(entry.file_size for entry in entries) > LARGEST_UNPACKED:
        raise ValueError(f"{called}: more than {LARGEST_UNPACKED >> 30} GiB unpacked, no bundle. Do not use it.")
    tops = {PurePosixPath(name).parts[0] for name in names}
    if len(tops) != 1 or all(name in tops for name in names):
        raise ValueError(f"{called}: not a bundle, its files are not in one folder. Check the address.")
    return tops.pop()


def _problem_of(entry: zipfile.ZipInfo) -> str:
    """What is wrong with a member; empty if nothing."""
    # zipfile cuts a name at a zero byte, and may show others than the archive has
    name = entry.orig_filename
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or re.match("[A-Za-z]:", name):
        return "has an absolute path"
    if ".." in path.parts or "\\" in name or "\0" in name:
        return "leads out of the folder"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "is a symbolic link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is no plain file"
    if entry.flag_bits & 1:
        return "is encrypted"
    return ""
