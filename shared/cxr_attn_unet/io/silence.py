"""Warnings of other libraries, kept back in threads too.

Those of odd TIFF tags say nothing to those who read radiographs. Those of pydicom and highdicom quote the values that
they are about, which may be a patient's name; what matters of them is among a radiograph's notes, without values.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["without_warnings"]

_LOGS = ("tifffile", "pydicom", "highdicom")
_NOTHING = logging.CRITICAL + 1


class _Silence:
    """How many threads want no warnings, and what puts them back when none does any more."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wanted_by = 0
        self.before = warnings.catch_warnings()
        self.levels: dict[str, int] = {}

    def begin(self) -> None:
        """Keep warnings back."""
        self.before = warnings.catch_warnings()
        self.before.__enter__()
        warnings.simplefilter("ignore")
        for name in _LOGS:
            log = logging.getLogger(name)
            self.levels[name] = log.level
            log.setLevel(_NOTHING)  # which those of its modules take over

    def end(self) -> None:
        """Put back what was before."""
        self.before.__exit__(None, None, None)
        for name, level in self.levels.items():
            logging.getLogger(name).setLevel(level)


_silence = _Silence()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore warnings, and what tifffile, pydicom and highdicom log, in several threads at a time if need be.

    For a block, or as ``@without_warnings()`` for a function.

    ``warnings.catch_warnings`` puts back what its thread found; where threads overlap, the last one would put back the
    silence of another, for good.
    """
    with _silence.lock:
        if _silence.wanted_by == 0:
            _silence.begin()
        _silence.wanted_by += 1
    try:
        yield
    finally:
        with _silence.lock:
            _silence.wanted_by -= 1
            if _silence.wanted_by == 0:
                _silence.end()
