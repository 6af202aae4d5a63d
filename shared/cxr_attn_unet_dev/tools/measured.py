"""What was measured on each radiograph, kept in a file line by line, so that a command that is stopped resumes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["Measured"]


class Measured:
    """Answers by name, kept in a file of JSON lines if one is named.

    A line that was not finished, or is of another program, is left out. Answers that were made with other weights or
    settings are left in the file and not used.

    Args:
        path: the file; nothing is kept if ``None``.
        identity: of weights and settings; equal ones give equal answers.
    """

    def __init__(self, path: str | os.PathLike | None, identity: str) -> None:
        self._path = None if path is None else Path(path)
        self._identity = identity
        self._known: dict[str, Any] = {}
        if self._path is not None and self._path.is_file():
            for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._read(line)

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            identity, name, answer = entry["identity"], str(entry["name"]), entry["answer"]
        except (ValueError, KeyError, TypeError):
            return
        if identity == self._identity:
            self._known[name] = answer

    def __call__(self, name: str, measure: Callable[[], Any]) -> Any:
        """The answer of this name: the one that is known, or what ``measure`` returns.

        Args:
            name: unique among those of this identity.
            measure: returns what JSON can hold.
        """
        if name in self._known:
            return self._known[name]
        answer = measure()
        self._known[name] = answer
        if self._path is not None:
            entry = {"identity": self._identity, "name": name, "answer": answer}
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        return answer
