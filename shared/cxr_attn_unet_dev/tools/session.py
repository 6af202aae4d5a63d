"""What all processes of a program have together: memory, open files, threads, CPU time. On Linux, from ``/proc``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Look", "look_at"]

TICKS = os.sysconf("SC_CLK_TCK")  # a second


@dataclass(frozen=True)
class Look:
    """What the processes of a session had at a time.

    Attributes:
        memory: in MB; what processes share counts once.
        files: that were open.
        threads: of all processes.
        seconds: of CPU time since they started.
        processes: their number.
    """

    memory: float
    files: int
    threads: int
    seconds: float
    processes: int


def look_at(session: int) -> Look:
    """Look at the living processes of a session; one that ends meanwhile counts in part or not at all.

    Args:
        session: identity of its first process, which was started with ``start_new_session``.
    """
    memory = files = threads = ticks = processes = 0
    for folder, fields in _processes_of(session):
        try:
            lines = (folder / "smaps_rollup").read_text(encoding="ascii", errors="replace").splitlines()
            files += len([*(folder / "fd").iterdir()])
        except OSError:
            continue  # it has ended
        memory += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        ticks += int(fields[11]) + int(fields[12])
        threads += int(fields[17])
        processes += 1
    return Look(memory / 1024, files, threads, ticks / TICKS, processes)


def _processes_of(session: int) -> Iterator[tuple[Path, list[str]]]:
    """The folder of each process in ``/proc``, and the fields of its ``stat`` from the state on."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[3]) == session and fields[0] != "Z":
            yield folder, fields
