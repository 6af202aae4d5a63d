"""Settings of a whole process, which a library must not touch: for the command and for the processes that it starts."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["prepare_process", "quieten", "without_interruption"]


def prepare_process() -> None:
    """Settings of this process; before PyTorch is imported, which reads some."""
    # threads that wait for work sleep rather than spin, which would take the cores from other programs and from itself
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    quieten()


def quieten() -> None:
    """Hide warnings that are not for a user of the command.

    MONAI and Ignite warn while they are imported, pydicom of values that break the standard and do not matter here.
    """
    warnings.filterwarnings("ignore")
    for name in ("pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def without_interruption() -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM wait: for a few steps that are done all or not at all, and soon.

    A signal that came meanwhile does at the end what it would have done before. Only the main thread is interrupted;
    in others nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _waits(signal.SIGINT), _waits(signal.SIGTERM):
        yield


@contextmanager
def _waits(number: signal.Signals) -> Iterator[None]:
    former = signal.getsignal(number)
    if former is None:  # of another language than Python, which alone can set it again
        yield
        return
    came = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True

    try:
        signal.signal(number, remember)
        yield
    finally:
        signal.signal(number, former)
        if came:
            signal.raise_signal(number)
