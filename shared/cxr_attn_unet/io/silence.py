"""Warnings of other libraries that say nothing to those who read radiographs, kept back in threads too."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["without_warnings"]

_LOGS = ("tifffile",)  # each entry of a directory that is odd or damaged


class _Silence:
    """How many threads want no warnings, and what puts them back when none does any more."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wanted_by = 0
        self.before = warnings.catch_warnings()
        self.were_disabled: dict[str, bool] = {}

    def begin(self) -> None:
        """Keep warnings back."""
        self.before = warnings.catch_warnings()
        self.before.__enter__()
        warnings.simplefilter("ignore")
        for name in _LOGS:
            log = logging.getLogger(name)
            self.were_disabled[name] = log.disabled
            log.disabled = True

    def end(self) -> None:
        """Put back what was before."""
        self.before.__exit__(None, None, None)
        for name, was_disabled in self.were_disabled.items():
            logging.getLogger(name).disabled = was_disabled


_silence = _Silence()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore warnings, and what tifffile logs, while this runs, in several threads at a time if need be.

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
