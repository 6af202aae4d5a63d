"""The work: an instance is fetched, segmented, and its results are stored; what fails is tried again."""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pydicom
import torch

from ..inference.segmenter import Segmenter
from ..io import NotARadiographError, RadiographError
from ..output import REPRODUCIBLE, save
from ..output.dicom_identity import NAME
from .monitor import Monitor
from .peers import Destination, PeerError
from .state import DEAD, DONE, SKIPPED, WAITING, Instance, State
from .web import Query, Reference, WebArchive

__all__ = ["ArchiveSource", "ReceivedSource", "Retries", "Selection", "Source", "Worker"]

LONGEST_PAUSE = 5.0  # seconds, after which the folder is looked at again: dead letters may have been put back
# what another attempt may mend; a radiograph that cannot be used stays so
PASSING = (PeerError, OSError, MemoryError, torch.OutOfMemoryError)
STEM = "result"

logger = logging.getLogger(__name__)


class Source(Protocol):
    """Where instances come from."""

    def poll(self) -> float:
        """Take in what is new, if it is time to; returns the seconds until it is time again.

        Raises:
            PeerError: that failed; it is tried again when it is time.
        """

    def fetch(self, instance: Instance) -> Path:
        """The file of an instance.

        Raises:
            PeerError: it cannot be had.
        """


class ArchiveSource:
    """Instances of a DICOMweb archive, which is searched from time to time.

    Args:
        archive: the server.
        query: makes the query of a search; the days of one that looks back move on.
        every: seconds between searches.
        state: where new ones are noted.
    """

    def __init__(self, archive: WebArchive, query: Callable[[], Query], every: float, state: State) -> None:
        self._archive = archive
        self._query = query
        self._every = every
        self._state = state
        self._next = -math.inf

    def poll(self) -> float:
        """See :class:`Source`."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._every
            found = self._archive.search(self._query())
            new = sum(self._state.add(one.instance_uid, one.study_uid, one.series_uid) for one in found)
            if new:
                logger.info(f"{new} new of {len(found)} radiographs in the archive")
        return self._next - time.monotonic()

    def fetch(self, instance: Instance) -> Path:
        """See :class:`Source`."""
        path = self._state.file_of(instance.instance_uid)
        if not path.is_file():
            reference = Reference(instance.study_uid, instance.series_uid, instance.instance_uid)
            self._state.keep_file(instance.instance_uid, self._archive.fetch(reference))
        return path


class ReceivedSource:
    """Instances that were sent here; their files are there already.

    Args:
        state: where the receiver notes them.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def poll(self) -> float:
        """See :class:`Source`."""
        return math.inf

    def fetch(self, instance: Instance) -> Path:
        """See :class:`Source`."""
        return self._state.file_of(instance.instance_uid)


@dataclass(frozen=True)
class Selection:
    """Which radiographs are segmented, by their headers.

    Attributes:
        modalities: those wanted.
        body_parts: those wanted, where the header states one; any if empty.
    """

    modalities: Collection[str]
    body_parts: Collection[str]

    def objection(self, path: Path) -> str:
        """Why a file is none of those wanted; empty if it is one, or cannot be read (to segment it says why)."""
        wanted = ["Modality", "BodyPartExamined", "ManufacturerModelName"]
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=wanted)
            modality, body_part, model = (str(header.get(name) or "").strip() for name in wanted)
        except Exception:
            return ""
        if model == NAME:
            return "it is a result of this program"
        if modality and modality not in self.modalities:
            return f"its modality is {modality}"
        if body_part and self.body_parts and body_part.upper() not in self.body_parts:
            return f"its body part is {body_part}"
        return ""


@dataclass(frozen=True)
class Retries:
    """When an instance is tried again.

    Attributes:
        attempts: after which it is given up.
        first: seconds to wait after the first one; twice as long after each further one.
        longest: seconds that are waited at most.
    """

    attempts: int = 12
    first: float = 5.0
    longest: float = 3600.0

    def pause(self, attempts: int) -> float:
        """Seconds to wait after so many attempts, which are 1 or more."""
        return min(self.first * 2.0 ** min(attempts - 1, 60), self.longest)


class Worker:
    """Works off what is waiting, one instance at a time.

    Args:
        state: what is waiting, and what becomes of it.
        source: where files come from.
        segmenter: the bundles.
        destination: where results go.
        formats: of results, DICOM ones.
        selection: which radiographs are segmented.
        retries: when what failed is tried again.
        monitor: told of each step.
    """

    def __init__(
        self,
        state: State,
        source: Source,
        segmenter: Segmenter,
        destination: Destination,
        formats: Sequence[str],
        selection: Selection,
        retries: Retries,
        monitor: Monitor,
    ) -> None:
        self._state = state
        self._source = source
        self._segmenter = segmenter
        self._destination = destination
        self._formats = formats
        self._selection = selection
        self._retries = retries
        self._monitor = monitor
        self._stopping = threading.Event()
        self._woken = threading.Event()

    def wake(self) -> None:
        """Say that there is something new; from any thread."""
        self._woken.set()

    def stop(self) -> None:
        """End after the instance in hand; from any thread or signal handler."""
        self._stopping.set()
        self._woken.set()

    def run(self, once: bool = False) -> bool:
        """Work until :meth:`stop`.

        Args:
            once: end as soon as nothing is due.

        Returns:
            whether all is well: the source could be asked each time, and nothing waits or was given up.
        """
        all_polled = True
        while not self._stopping.is_set():
            self._woken.clear()
            self._monitor.beat()
            pause, polled = self._poll()
            all_polled = all_polled and polled
            instance = self._state.next_due()
            if instance is not None:
                self._handle(instance)
            elif once:
                break
            elif not self._stopping.is_set():
                self._woken.wait(min(pause, LONGEST_PAUSE))
        counts = self._state.counts()
        return all_polled and not any(counts[stage] for stage in (WAITING, DEAD))

    def _poll(self) -> tuple[float, bool]:
        """Seconds until the source is to be asked again, and whether that went well."""
        try:
            pause = self._source.poll()
        except PeerError as error:
            logger.warning(f"search failed: {error}")
            self._monitor.failed("search", str(error))
            return LONGEST_PAUSE, False
        return pause, True

    def _handle(self, instance: Instance) -> None:
        """One attempt at an instance; whatever goes wrong is its own and does not stop the others."""
        attempts = instance.attempts + 1
        self._state.begin(instance, time.time() + self._retries.pause(attempts))
        step = _Step()
        try:
            self._attempt(instance, step)
        except NotARadiographError as error:
            self._skip(instance, str(error))
        except RadiographError as error:
            self._give_up(instance, step.name, str(error))
        except PASSING as error:
            self._try_again(instance, attempts, step.name, _told(error))
        except Exception as error:
            # not its text, which may quote the file
            where = "".join(traceback.format_tb(error.__traceback__))
            logger.error(f"instance {instance.number}: a fault of this program\n{where}{type(error).__name__}")
            self._give_up(instance, step.name, f"a fault of this program ({type(error).__name__}); please report it")

    def _attempt(self, instance: Instance, step: _Step) -> None:
        start = time.monotonic()
        state = self._state
        results = state.results_of(instance.instance_uid)
        if not results.is_dir():  # else they were not stored at the last attempt
            with self._monitor.timed(step("fetch")):
                path = self._source.fetch(instance)
            objection = self._selection.objection(path)
            if objection:
                self._skip(instance, objection)
                return
            with self._monitor.timed(step("segment")):
                self._segment(path, results)
        files = sorted(results.iterdir())
        with self._monitor.timed(step("store")):
            self._destination.store(files)
        state.move(instance, DONE)
        seconds = time.monotonic() - start
        logger.info(f"instance {instance.number}: done, {len(files)} results stored, {seconds:.1f} s")

    def _segment(self, path: Path, results: Path) -> None:
        """Write the results of a radiograph into a folder, all of them or none."""
        shutil.rmtree(results, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=results.parent) as temporary:
            folder = Path(temporary) / "results"
            save(self._segmenter(path), folder, self._formats, STEM, REPRODUCIBLE)
            folder.rename(results)

    def _skip(self, instance: Instance, reason: str) -> None:
        self._state.move(instance, SKIPPED, reason)
        logger.info(f"instance {instance.number}: skipped, {reason}")

    def _give_up(self, instance: Instance, step: str, reason: str) -> None:
        self._state.move(instance, DEAD, reason)
        self._monitor.failed(step, reason)
        logger.error(f"instance {instance.number}: given up, now a dead letter: {reason}")

    def _try_again(self, instance: Instance, attempts: int, step: str, reason: str) -> None:
        if attempts >= self._retries.attempts:
            self._give_up(instance, step, f"{reason}, {attempts} times")
            return
        self._state.postpone(instance, reason)
        self._monitor.failed(step, reason)
        pause = self._retries.pause(attempts)
        logger.warning(f"instance {instance.number}: attempt {attempts} failed, again in {pause:.0f} s: {reason}")


class _Step:
    """What is being done with an instance."""

    def __init__(self) -> None:
        self.name = "fetch"

    def __call__(self, name: str) -> str:
        self.name = name
        return name


def _told(error: BaseException) -> str:
    """What went wrong, in words for logs."""
    if isinstance(error, PeerError):
        return str(error)
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror or 'no reason given'}"
    return "not enough memory"
