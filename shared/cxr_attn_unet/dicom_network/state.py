"""What is known of each instance, in one folder: a database of stages, the files at hand, and results to be stored."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..files import written

__all__ = ["DEAD", "DONE", "SKIPPED", "STAGES", "WAITING", "Instance", "State", "StateError"]

WAITING = "waiting"  # for its turn, or for the next attempt
DONE = "done"
SKIPPED = "skipped"  # a sound file that is none of those wanted
DEAD = "dead"  # given up
STAGES = (WAITING, DONE, SKIPPED, DEAD)

DATABASE = "instances.sqlite3"
LOCK = "in_use.sqlite3"
INCOMING = "incoming"
RESULTS = "results"
VERSION = 1
BUSY_SECONDS = 30.0  # that another process may keep the database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS instances (
    number INTEGER PRIMARY KEY,
    instance_uid TEXT NOT NULL UNIQUE,
    study_uid TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    stage TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL,
    added REAL NOT NULL,
    reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS instances_by_stage ON instances (stage, due);
"""
_COLUMNS = "number, instance_uid, study_uid, series_uid, stage, attempts, due, added, reason"


class StateError(RuntimeError):
    """The folder cannot be used; the message says why, and what to do."""


@dataclass(frozen=True)
class Instance:
    """An instance that was found or received.

    Attributes:
        number: by which logs call it, so that they name no patient and no UID.
        instance_uid: its SOP Instance UID.
        study_uid: its Study Instance UID; empty where it was sent here, for its file has it.
        series_uid: its Series Instance UID; empty where it was sent here.
        stage: of :data:`STAGES`.
        attempts: begun so far.
        due: when the next one may begin, in seconds since 1970.
        added: when it was found or received, in seconds since 1970.
        reason: why it was skipped or given up, or why the last attempt failed; empty if nothing went wrong.
    """

    number: int
    instance_uid: str
    study_uid: str
    series_uid: str
    stage: str
    attempts: int
    due: float
    added: float
    reason: str


class State:
    """All that a service remembers, in one folder; it survives that the process is killed at any moment.

    An instance is in it once, by its SOP Instance UID. May be used by several threads, and by several processes, of
    which one does the work (:meth:`hold`).

    Args:
        folder: made if missing, for its owner alone: it holds radiographs of patients until they are done.

    Raises:
        StateError: it cannot be used.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self._lock = threading.Lock()
        self._held: sqlite3.Connection | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in (INCOMING, RESULTS):
                (self.folder / name).mkdir(exist_ok=True, mode=0o700)
            self._database = sqlite3.connect(
                self.folder / DATABASE, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._open()
        except (OSError, sqlite3.Error) as error:
            raise StateError(
                f"{folder}: cannot be used as --state ({error}). Name a folder that is writable."
            ) from error

    @classmethod
    def existing(cls, folder: str | os.PathLike) -> State:
        """The state of a service that was started before.

        Raises:
            StateError: there is none.
        """
        if not (Path(folder) / DATABASE).is_file():
            raise StateError(f"{folder}: nothing is remembered here. Name the --state of a service.")
        return cls(folder)

    def _open(self) -> None:
        # what was committed stays, even if the machine loses its power
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            raise StateError(
                f"{self.folder}: was written by another version of this program. Name another folder with --state."
            )
        self._database.executescript(_SCHEMA)
        self._database.execute(f"PRAGMA user_version={VERSION}")

    def close(self) -> None:
        """Close the database, and let another process do the work."""
        self._database.close()
        if self._held is not None:
            self._held.close()

    def hold(self) -> None:
        """Be the one process that does the work, until :meth:`close` or the process's end, however that comes.

        Files that a killed process left and no instance needs are removed, and results that were not stored: they are
        made again.

        Raises:
            StateError: another process does it.
        """
        # SQLite's lock, unlike a file with a process's number, is gone when its process is
        held = sqlite3.connect(self.folder / LOCK, timeout=0, isolation_level=None)
        try:
            held.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            held.close()
            raise StateError(
                f"{self.folder}: another process works with this folder. End it, or name another one with --state."
            ) from error
        self._held = held
        self._remove_what_no_one_needs()

    def _remove_what_no_one_needs(self) -> None:
        needed = {self.file_of(instance.instance_uid) for stage in (WAITING, DEAD) for instance in self.of(stage)}
        for path in (self.folder / INCOMING).iterdir():
            if path not in needed:
                path.unlink(missing_ok=True)
        for path in (self.folder / RESULTS).iterdir():
            shutil.rmtree(path, ignore_errors=True)

    def file_of(self, instance_uid: str) -> Path:
        """Where an instance's file is kept until it is done."""
        return self.folder / INCOMING / f"{_name_of(instance_uid)}.dcm"

    def results_of(self, instance_uid: str) -> Path:
        """The folder in which an instance's results are kept until they are stored."""
        return self.folder / RESULTS / _name_of(instance_uid)

    def keep_file(self, instance_uid: str, content: bytes) -> Path:
        """Write an instance's file, whole or not at all, and wait until it is on the disk.

        Raises:
            OSError: it cannot be written.
        """
        path = self.file_of(instance_uid)
        with written(path) as temporary, open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return path

    def add(self, instance_uid: str, study_uid: str = "", series_uid: str = "") -> bool:
        """Take an instance in, unless it was before; returns whether it is new."""
        now = time.time()
        changed = self._change(
            "INSERT OR IGNORE INTO instances (instance_uid, study_uid, series_uid, stage, due, added) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (instance_uid, study_uid, series_uid, WAITING, now, now),
        )
        return changed > 0

    def next_due(self) -> Instance | None:
        """The instance whose turn it is; ``None`` if all wait, or there are none."""
        found = self._instances("stage = ? AND due <= ? ORDER BY due LIMIT 1", (WAITING, time.time()))
        return found[0] if found else None

    def begin(self, instance: Instance, next_attempt: float) -> None:
        """Note an attempt before it is made, so that an instance that kills the process is given up one day.

        Args:
            instance: the one in hand.
            next_attempt: when the next one may begin if this one does not end, in seconds since 1970.
        """
        self._change(
            "UPDATE instances SET attempts = attempts + 1, due = ? WHERE number = ?", (next_attempt, instance.number)
        )

    def move(self, instance: Instance, stage: str, reason: str = "") -> None:
        """Bring an instance to a stage; what that stage has no use for is removed from the folder."""
        self._change("UPDATE instances SET stage = ?, reason = ? WHERE number = ?", (stage, reason, instance.number))
        if stage in (DONE, SKIPPED):
            self._remove_files(instance)

    def postpone(self, instance: Instance, reason: str) -> None:
        """Leave an instance for its next attempt, see :meth:`begin`."""
        self._change("UPDATE instances SET reason = ? WHERE number = ?", (reason, instance.number))

    def revive(self, numbers: Sequence[int] = ()) -> int:
        """Put instances that were given up back, see :meth:`dead_letters`; returns how many."""
        revived = self.dead_letters(numbers)
        for instance in revived:
            self._change(
                "UPDATE instances SET stage = ?, attempts = 0, due = ? WHERE number = ? AND stage = ?",
                (WAITING, time.time(), instance.number, DEAD),
            )
        return len(revived)

    def discard(self, numbers: Sequence[int] = ()) -> int:
        """Be done with instances that were given up, see :meth:`dead_letters`; returns how many."""
        discarded = self.dead_letters(numbers)
        for instance in discarded:
            self.move(instance, SKIPPED, f"discarded: {instance.reason}")
        return len(discarded)

    def dead_letters(self, numbers: Sequence[int] = ()) -> list[Instance]:
        """Instances that were given up, all or those of some numbers.

        Raises:
            ValueError: a number is of none of them.
        """
        dead = self.of(DEAD)
        unknown = set(numbers) - {instance.number for instance in dead}
        if unknown:
            raise ValueError(f"no dead letter has the number {', '.join(map(str, sorted(unknown)))}")
        return [instance for instance in dead if not numbers or instance.number in numbers]

    def get(self, instance_uid: str) -> Instance | None:
        """An instance by its SOP Instance UID; ``None`` if it is not known."""
        found = self._instances("instance_uid = ?", (instance_uid,))
        return found[0] if found else None

    def of(self, stage: str) -> list[Instance]:
        """All instances in a stage, in the order in which they came."""
        return self._instances("stage = ? ORDER BY number", (stage,))

    def counts(self) -> dict[str, int]:
        """How many instances are in each stage."""
        with (
            self._lock,
            closing(self._database.execute("SELECT stage, COUNT(*) FROM instances GROUP BY stage")) as rows,
        ):
            return dict.fromkeys(STAGES, 0) | dict(rows.fetchall())

    def oldest_waiting(self) -> float | None:
        """When the instance that has waited longest came, in seconds since 1970; ``None`` if none waits."""
        found = self._instances("stage = ? ORDER BY added LIMIT 1", (WAITING,))
        return found[0].added if found else None

    def _instances(self, condition: str, values: Sequence[object]) -> list[Instance]:
        query = f"SELECT {_COLUMNS} FROM instances WHERE {condition}"
        with self._lock, closing(self._database.execute(query, tuple(values))) as rows:
            return [Instance(*row) for row in rows]

    def _change(self, statement: str, values: Sequence[object]) -> int:
        with self._lock, closing(self._database.execute(statement, tuple(values))) as cursor:
            return cursor.rowcount

    def _remove_files(self, instance: Instance) -> None:
        self.file_of(instance.instance_uid).unlink(missing_ok=True)
        shutil.rmtree(self.results_of(instance.instance_uid), ignore_errors=True)


def _name_of(instance_uid: str) -> str:
    """A file's name for an instance that does not tell its UID: messages about files are logged."""
    return hashlib.sha256(instance_uid.encode()).hexdigest()[:32]
