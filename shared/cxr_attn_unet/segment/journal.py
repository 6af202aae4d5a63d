"""What was done with each radiograph before, so that a run may be stopped and resumed."""

from __future__ import annotations

import errno
import json
import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from .record import VERSION, Record

__all__ = ["Journal"]


class Journal:
    """What is finished: a file of JSON lines, appended at once, so that a run may be stopped at any time.

    A line holds the record of a radiograph, or says that the record of a stem is withdrawn. Whoever replaces results
    withdraws their record before: a run that is stopped in between must not leave a record beside files that it does
    not describe. May be used by several threads, but by one process at a time.

    A line ends with a checksum of itself. One that was changed may have withdrawn whatever came before it, so all of
    that is forgotten; one of another version takes its own stem with it. What is forgotten is segmented again.

    Args:
        path: the file; made with the first line.

    Attributes:
        damaged: number of lines whose checksum is not theirs.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.damaged = 0
        self._offsets: dict[str, int] = {}  # of the line that counts, by stem
        self._lock = threading.Lock()
        if self.path.exists():
            self._read()

    def add(self, record: Record) -> None:
        """Append the record of a finished radiograph.

        Raises:
            OSError: it cannot be written; the journal is as it was.
        """
        with self._lock:
            self._offsets[record.stem] = self._append(record.to_json())

    def withdraw(self, stem: str) -> None:
        """Take back what is said of a stem, because its results are about to be replaced.

        Raises:
            OSError: it cannot be written; the journal is as it was.
        """
        with self._lock:
            if stem in self._offsets:
                self._append(json.dumps({"version": VERSION, "withdrawn": stem}, ensure_ascii=False))
                del self._offsets[stem]

    def get(self, stem: str) -> Record | None:
        """The record of a stem; ``None`` if there is none."""
        offset = self._offsets.get(stem)
        if offset is None:
            return None
        with open(self.path, "rb") as file:
            file.seek(offset)
            return Record.from_json(_opened(file.readline()))

    def records(self, stems: Iterable[str]) -> Iterator[Record]:
        """The record of each stem that has one."""
        for stem in stems:
            record = self.get(stem)
            if record is not None:
                yield record

    def _read(self) -> None:
        offset = 0
        with open(self.path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break  # the last line of a run that was killed
                self._remember(line, offset)
                offset += len(line)
        if offset < self.path.stat().st_size:
            os.truncate(self.path, offset)

    def _remember(self, line: bytes, offset: int) -> None:
        content: dict | None
        try:
            content = _opened(line)
        except ValueError:
            content = _of_former_version(line)
        if content is None:
            self.damaged += 1
            self._offsets.clear()
            return
        stem = content.get("withdrawn", content.get("stem"))
        if not isinstance(stem, str):
            return
        self._offsets.pop(stem, None)
        try:
            self._offsets[Record.from_json(content).stem] = offset
        except (ValueError, TypeError):  # a withdrawal, or of another version
            return

    def _append(self, line: str) -> int:
        """Write a whole line or nothing; returns where it starts."""
        data = _sealed(line)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab", buffering=0) as file:
            offset = file.seek(0, os.SEEK_END)
            if file.write(data) != len(data):
                file.truncate(offset)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return offset


_CHECK = b', "check": "%08x"}\n'
_LENGTH = len(_CHECK % 0)


def _sealed(line: str) -> bytes:
    """A JSON object as a whole line, with the CRC-32 of what it was as its last entry."""
    data = line.encode("utf-8", "surrogateescape")
    return data[:-1] + _CHECK % zlib.crc32(data)


def _opened(line: bytes) -> dict:
    """The content of a whole line.

    Raises:
        ValueError: it is not as it was written.
    """
    data = line[:-_LENGTH] + b"}"
    if line[-_LENGTH:] != _CHECK % zlib.crc32(data):
        raise ValueError("its checksum is not that of its content")
    return _parsed(data)


def _of_former_version(line: bytes) -> dict | None:
    """The content of a line from before there were checksums; ``None`` if it is none."""
    try:
        content = _parsed(line)
    except (ValueError, RecursionError):
        return None
    version = content.get("version", 0)
    is_former = isinstance(version, int) and version < VERSION and "check" not in content
    return content if is_former else None


def _parsed(data: bytes) -> dict:
    """A line's content.

    Raises:
        ValueError: it is no JSON object.
    """
    content = json.loads(data.decode("utf-8", "surrogateescape"))
    if not isinstance(content, dict):
        raise ValueError("the line is no JSON object")
    return content
