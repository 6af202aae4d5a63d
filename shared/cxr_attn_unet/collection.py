"""Many radiographs: which files, under which names, and what was done with them before."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import radiograph_stem
from .io import RadiographError, list_radiographs

__all__ = ["Input", "Journal", "find_inputs"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Input:
    """A file to segment.

    Attributes:
        path: as it was given or found.
        stem: name of its results without suffix, with the subfolder that it had; no two inputs share one.
    """

    path: str
    stem: str


def find_inputs(
    given: Iterable[str | os.PathLike], output: str | os.PathLike
) -> tuple[list[Input], list[tuple[str, str]]]:
    """Files and folders as given, to the files to segment, in order, each once.

    Folders are searched with all subfolders, and what lies in the output folder is left alone. Where two files would
    get results of the same name, the later one's carries its suffix or its folder too.

    Args:
        given: files and folders.
        output: folder of the results.

    Returns:
        inputs, and (path, reason) of what cannot be one.
    """
    inputs: list[Input] = []
    failures: list[tuple[str, str]] = []
    seen: set[str] = set()
    stems: set[str] = set()
    results = os.path.realpath(output)
    for entry in map(os.fspath, given):
        if os.path.isdir(entry):
            try:
                paths = list_radiographs(entry)
            except (RadiographError, OSError) as error:
                failures.append((entry, str(error)))
                continue
            # a name that folder arguments share would mix their results up only where files clash too: see _stem
            found = [(path, os.path.relpath(path, entry)) for path in paths]
            if not found:
                failures.append((entry, f"{entry}: no radiographs here. Check the folder."))
        else:
            found = [(entry, os.path.basename(entry))]
        for path, relative in found:
            real = os.path.realpath(path)
            if real in seen or (os.path.isdir(entry) and real.startswith(results + os.sep)):
                continue
            seen.add(real)
            stem = _stem(path, relative, stems)
            stems.add(_folded(stem))
            inputs.append(Input(path, stem))
    return inputs, failures


def _stem(path: str, relative: str, taken: set[str]) -> str:
    folder = os.path.dirname(relative)
    name, whole = radiograph_stem(relative), os.path.basename(relative)
    parent = os.path.basename(os.path.dirname(os.path.abspath(path)))
    candidates = [
        name,
        whole.replace(".", "_"),
        f"{parent}_{name}",
        *(f"{name}_{number}" for number in range(2, 10**6)),
    ]
    return next(
        stem for stem in (os.path.join(folder, candidate) for candidate in candidates) if _folded(stem) not in taken
    )


def _folded(stem: str) -> str:
    return os.path.normpath(stem).casefold()  # file systems that ignore case would mix a.png and A.png up


class Journal:
    """What was finished, a JSON line a radiograph; appended at once, so that a run may be stopped at any time.

    Args:
        path: the file; made with the first line.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._offsets: dict[str, int] = {}
        self._heads: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            self._read()

    def _read(self) -> None:
        sound = 0
        with open(self.path, "rb") as file:
            for line in file:
                try:
                    record = json.loads(line)
                    assert line.endswith(b"\n")
                except (ValueError, AssertionError):
                    break  # the last line of a run that was killed
                self._remember(record, sound)
                sound += len(line)
        if sound < self.path.stat().st_size:
            os.truncate(self.path, sound)

    def _remember(self, record: dict[str, Any], offset: int) -> None:
        self._offsets[record["path"]] = offset
        self._heads[record["path"]] = {key: record[key] for key in ("identity", "mark", "stem", "files")}

    def finished(self, entry: Input, identity: str, files: Sequence[Path], needs: Sequence[str] = ()) -> bool:
        """Whether an input's results are all there, made from the same file by the same weights and settings.

        Args:
            entry: the input.
            identity: see :class:`~cxr_attn_unet.segmenter.Segmenter`.
            files: the results that are wanted.
            needs: keys that its record must have.
        """
        head = self._heads.get(entry.path)
        if head is None or (head["identity"], head["stem"], head["mark"]) != (identity, entry.stem, mark(entry.path)):
            return False
        if any(key not in self[entry.path] for key in needs):
            return False
        return {str(file) for file in files} <= set(head["files"]) and all(file.is_file() for file in files)

    def add(self, record: dict[str, Any]) -> None:
        """Append a record with ``path``, ``stem``, ``identity``, ``mark`` and ``files``."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as file:
            offset = file.tell()
            file.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n")
        self._remember(record, offset)

    def __contains__(self, path: str) -> bool:
        return path in self._offsets

    def __getitem__(self, path: str) -> dict[str, Any]:
        with open(self.path, "rb") as file:
            file.seek(self._offsets[path])
            return json.loads(file.readline())

    def records(self, paths: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The last record of each path that has one."""
        return (self[path] for path in paths if path in self)


def mark(path: str | os.PathLike) -> list[int]:
    """Size in bytes and time of last change in ns; equal where a file was not changed."""
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]
