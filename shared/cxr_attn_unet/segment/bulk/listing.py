"""What was given, one radiograph after the other: lists and folders may be longer than memory."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...files import as_utf8, radiograph_stem
from ...io import RadiographError, kind_of_file, may_be_radiograph, walk_radiographs
from ..inputs import Failure
from .store import is_url, open_url

__all__ = ["Listed", "Listing", "with_slash"]


@dataclass(frozen=True)
class Listed:
    """A radiograph to segment.

    Attributes:
        path: from which it is read, on any machine: absolute, or a URL.
        file: what tables call it: as it was given, or found below a folder as that was given.
        name: the same without suffix, below the folder that was given.
    """

    path: str
    file: str
    name: str


@dataclass
class Listing:
    """Goes through what was given, once, and counts.

    Attributes:
        given: files, folders and URLs. A URL that ends with a slash is a folder.
        ignored: numbers of files in folders that are of no kind that is read.
        failures: folders that cannot be listed, or hold nothing.
    """

    given: Iterable[str]
    ignored: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    _digest: Any = field(default_factory=hashlib.sha256)

    def __iter__(self) -> Iterator[Listed]:
        for entry in self._noted():
            if is_url(entry):
                yield from self._of_url(entry)
            else:
                yield from self._of_path(entry)

    def pass_over(self) -> None:
        """Note what was given without looking into folders, for :attr:`checksum`."""
        for _ in self._noted():
            pass

    @property
    def checksum(self) -> str:
        """SHA-256 of what was given, once all of it was gone through."""
        return self._digest.hexdigest()

    def _noted(self) -> Iterator[str]:
        for entry in self.given:
            whole = entry if is_url(entry) else os.path.abspath(entry)
            self._digest.update(os.fsencode(whole) + b"\n")
            yield entry

    def _of_path(self, entry: str) -> Iterator[Listed]:
        if not os.path.isdir(entry):
            yield _listed(os.path.abspath(entry), entry, radiograph_stem(entry))
            return
        empty = True
        try:
            for path in walk_radiographs(entry, self.ignored):
                empty = False
                yield _listed(os.path.abspath(path), path, _name(os.path.relpath(path, entry)))
        except (RadiographError, OSError) as error:
            self.failures.append(Failure(entry, str(error)))
            return
        if empty:
            self.failures.append(Failure(entry, f"{entry}: no radiographs here. Check the folder."))

    def _of_url(self, entry: str) -> Iterator[Listed]:
        if not entry.endswith("/"):
            yield _listed(entry, entry, radiograph_stem(entry))
            return
        empty = True
        try:
            for below in self._below_url(entry):
                empty = False
                url = f"{entry.rstrip('/')}/{below}"
                yield _listed(url, url, _name(below))
        except Exception as error:  # of as many kinds as there are stores
            self.failures.append(Failure(entry, f"{entry}: could not be listed ({error}). Check name and access."))
            return
        if empty:
            self.failures.append(Failure(entry, f"{entry}: no radiographs here. Check the folder."))

    def _below_url(self, url: str) -> Iterator[str]:
        """Paths of what may be radiographs below a folder of a store; one of its folders at a time is in memory."""
        filesystem, root = open_url(url)
        root = root.rstrip("/")
        # the store's own walk passes over subfolders that it cannot list
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            folders = []
            for found in sorted(filesystem.ls(folder, detail=True), key=lambda found: found["name"]):
                path = found["name"].rstrip("/")
                name = posixpath.basename(path)
                if path == folder or name.startswith("."):
                    continue  # the mark of a folder, or hidden
                if found["type"] == "directory":
                    folders.append(path)
                elif may_be_radiograph(name):
                    yield path.removeprefix(f"{root}/")
                else:
                    self.ignored[kind_of_file(name)] += 1
            waiting.extend(reversed(folders))


def with_slash(entry: str) -> str:
    """A URL that names a folder with the slash that says so; anything else as it is.

    Raises:
        ImportError: the package for such URLs is missing.
        ValueError: there are no such URLs.
        OSError: the store cannot be reached.
    """
    if not is_url(entry) or entry.endswith("/"):
        return entry
    filesystem, path = open_url(entry)
    try:
        return f"{entry}/" if filesystem.isdir(path) else entry
    except Exception as error:  # of as many kinds as there are stores
        raise OSError(f"{entry} cannot be reached ({error}); check name and access") from error


def _listed(path: str, file: str, name: str) -> Listed:
    return Listed(path, as_utf8(file), as_utf8(name))


def _name(below: str) -> str:
    return os.path.join(os.path.dirname(below), radiograph_stem(below))
