"""What was done with each radiograph before, so that a run may be stopped and resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .inputs import Input

__all__ = ["Journal", "mark"]


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
            identity: see :class:`~cxr_attn_unet.inference.segmenter.Segmenter`.
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
