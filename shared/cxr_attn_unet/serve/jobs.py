"""Radiographs that wait, are segmented, or have results; a bound on how many, and on how long."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .answer import PIXELS, RESULT, STEM
from .content import Result, Status
from .settings import Limits
from .worker import FailedRadiographError, Worker, WorkerError

__all__ = ["BusyError", "Job", "Jobs", "UnknownJobError"]

FIRST_GUESS_SECONDS = 5.0  # that a radiograph takes
LEARNING = 0.3  # weight of the last radiograph in the mean
SWEEP_SECONDS = 1.0

logger = logging.getLogger(__name__)


class BusyError(RuntimeError):
    """As many radiographs wait as may.

    Attributes:
        retry_seconds: after which there is likely room.
    """

    def __init__(self, retry_seconds: int) -> None:
        super().__init__("too many radiographs are waiting; try again later")
        self.retry_seconds = retry_seconds


class UnknownJobError(KeyError):
    """There is no such radiograph, or no longer."""


@dataclass(eq=False)
class Job:
    """A radiograph on its way.

    Attributes:
        id: by which clients ask for it; cannot be guessed.
        number: by which the log calls it.
        folder: its own, for the upload and the files of its result; removed when it is segmented.
        state: as in :class:`.content.Status`.
        upload: the file; ``None`` until it is there.
        error: why it has no result.
        result: what was found.
        pixels: of :class:`.content.Picture`.
        files: of its result, by name.
        asked: when it was last asked for, by the clock.
        ended: set when it is done or has failed.
    """

    id: str
    number: int
    folder: Path
    state: str = "waiting"
    upload: Path | None = None
    error: str | None = None
    result: Result | None = None
    pixels: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: float = 0.0
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Jobs:
    """All radiographs of a server; belongs to one event loop.

    Args:
        worker: segments them one after the other.
        limits: see there.
        folder: private to this server; each radiograph has a folder in it while it waits.
        clock: seconds.
    """

    def __init__(
        self, worker: Worker, limits: Limits, folder: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._worker = worker
        self._limits = limits
        self._folder = folder
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._queue: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._count = 0
        self._seconds = FIRST_GUESS_SECONDS

    @property
    def waiting(self) -> int:
        """How many are uploaded, wait or are segmented."""
        return sum(not job.ended.is_set() for job in self._jobs.values())

    def reserve(self) -> Job:
        """A place for a radiograph that is about to be uploaded.

        Raises:
            BusyError: there is none.
        """
        if self.waiting > self._limits.waiting:
            raise BusyError(max(1, round(self._seconds)))
        self._count += 1
        job = Job(secrets.token_urlsafe(16), self._count, self._folder / str(self._count))
        job.folder.mkdir(mode=0o700)
        job.asked = self._clock()
        self._jobs[job.id] = job
        return job

    def submit(self, job: Job) -> None:
        """Let a radiograph wait that was uploaded."""
        self._queue.append(job)
        self._arrived.set()

    def get(self, identity: str) -> Job:
        """A radiograph by its id.

        Raises:
            UnknownJobError: there is none.
        """
        job = self._jobs.get(identity)
        if job is None:
            raise UnknownJobError(identity)
        job.asked = self._clock()
        return job

    def remove(self, job: Job) -> None:
        """Forget a radiograph, and what was found in it; one that is segmented right now is finished first."""
        self._jobs.pop(job.id, None)
        if job in self._queue:
            self._queue.remove(job)
        if job.state != "running":
            self._forget(job)

    def status(self, job: Job) -> Status:
        """What a client is told."""
        ahead = 0
        if job.state == "waiting":
            running = sum(other.state == "running" for other in self._jobs.values())
            ahead = running + (self._queue.index(job) if job in self._queue else len(self._queue))
        return Status.model_validate(
            {"id": job.id, "state": job.state, "ahead": ahead, "error": job.error, "result": job.result}
        )

    async def run(self) -> None:
        """Segment one radiograph after the other, until it is cancelled."""
        sweeper = asyncio.create_task(self._sweep())
        try:
            while True:
                while not self._queue:
                    self._arrived.clear()
                    await self._arrived.wait()
                await self._segment(self._queue.popleft())
        finally:
            sweeper.cancel()

    async def _segment(self, job: Job) -> None:
        if job.upload is None:
            return
        job.state = "running"
        started = time.monotonic()
        results = job.folder / "results"
        results.mkdir()
        try:
            count = await asyncio.to_thread(self._worker.segment, job.upload, results)
            await asyncio.to_thread(_take_in, job, results)
            await asyncio.to_thread(_keep, job, results, self._limits.folder)
        except (FailedRadiographError, WorkerError) as error:
            job.state, job.error = "failed", str(error)
            logger.info(f"radiograph {job.number}: failed")
        except OSError as error:
            job.state, job.error = "failed", "its results could not be read or kept"
            logger.error(f"radiograph {job.number}: failed ({error.strerror})")
        else:
            seconds = time.monotonic() - started
            self._seconds += LEARNING * (seconds - self._seconds)
            job.state = "done"
            logger.info(f"radiograph {job.number}: done in {seconds:.1f} s, warnings: {count}")
        finally:
            job.asked = self._clock()
            job.ended.set()
            shutil.rmtree(job.folder, ignore_errors=True)
        if job.id not in self._jobs:
            self._forget(job)
        self._drop_oldest()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.drop_old()

    def drop_old(self) -> None:
        """Forget results that nobody asked for in a while."""
        oldest = self._clock() - self._limits.keep_seconds
        for job in [job for job in self._jobs.values() if job.ended.is_set() and job.asked < oldest]:
            self.remove(job)

    def _drop_oldest(self) -> None:
        ended = sorted((job for job in self._jobs.values() if job.ended.is_set()), key=lambda job: job.asked)
        for job in ended[: max(0, len(ended) - self._limits.kept)]:
            self.remove(job)

    def _forget(self, job: Job) -> None:
        job.result, job.pixels = None, b""
        job.files.clear()
        job.ended.set()
        shutil.rmtree(job.folder, ignore_errors=True)


def _take_in(job: Job, results: Path) -> None:
    """Hold the files of a result in memory; they are about to be removed."""
    result = Result.model_validate_json((results / RESULT).read_bytes())
    job.pixels = (results / PIXELS).read_bytes()
    job.files = {name: (results / name).read_bytes() for name in result.files}
    job.result = result


def _keep(job: Job, results: Path, folder: Path | None) -> None:
    """Copy the upload and the files of its result into a folder of their own, whole or not at all."""
    if folder is None or job.upload is None:
        return
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{job.id[:8]}"
    unfinished = folder / f".{name}"
    shutil.copytree(results, unfinished, ignore=shutil.ignore_patterns(PIXELS))
    shutil.copyfile(job.upload, unfinished / f"{STEM}{''.join(job.upload.suffixes)}")
    unfinished.rename(folder / name)
