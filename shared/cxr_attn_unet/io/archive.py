"""A ZIP archive around one radiograph."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from .limits import max_bytes
from .radiograph import NotARadiographError, RadiographError

__all__ = ["SUFFIX", "members", "unpacked"]

SUFFIX = ".zip"


def members(path: str | os.PathLike, might_be: Callable[[str], bool]) -> list[str]:
    """Names of the files in an archive that might be radiographs; none if it is no sound archive.

    Args:
        path: the archive.
        might_be: whether a file of this name might be one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except (OSError, ValueError, zipfile.BadZipFile):
        return []
    return [name for name in names if not _is_hidden(name) and might_be(name)]


def _is_hidden(name: str) -> bool:
    # macOS puts its own notes on each file beside it
    return _bare(name).startswith(".") or "__MACOSX" in PurePosixPath(name).parts


def _bare(name: str) -> str:
    """A file's name without folders, by which it could lead out of the one that it is unpacked to."""
    return PurePosixPath(name.replace("\\", "/")).name


@contextmanager
def unpacked(path: str, might_be: Callable[[str], bool]) -> Iterator[str]:
    """The path of an archive's only radiograph, unpacked to a temporary folder under its bare name.

    Args:
        path: the archive.
        might_be: whether a file of this name might be a radiograph.

    Raises:
        NotARadiographError: it holds several, or none.
        RadiographError: damaged, encrypted, or larger than a radiograph within the limit on pixels can be.
    """
    if not zipfile.is_zipfile(path):
        raise RadiographError(f"{path}: not a ZIP archive, or cut off before its end. Copy it again.")
    names = members(path, might_be)
    if len(names) != 1:
        found = f"{len(names)} radiographs; only one is read" if names else "no file with the name of a radiograph"
        raise NotARadiographError(f"{path}: an archive with {found}. Unpack it and give the folder.")
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        entry = archive.getinfo(names[0])
        if entry.flag_bits & 1:
            raise RadiographError(f"{path}: encrypted. Unpack it with its password.")
        # a ZIP of a few kilobytes can hold more than a disk does; no more than this is unpacked of an entry
        if entry.file_size > max_bytes():
            raise RadiographError(
                f"{path}: {entry.file_size} bytes unpacked, more than {max_bytes()}, which is enough for the limit on "
                "pixels. Unpack it."
            )
        target = Path(folder) / _bare(entry.filename)
        try:
            with archive.open(entry) as packed, open(target, "wb") as file:
                shutil.copyfileobj(packed, file)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
            raise RadiographError(f"{path}: its content cannot be unpacked ({error}). Copy it again.") from error
        yield str(target)
