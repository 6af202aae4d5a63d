"""Read, segment and write radiographs: threads read the next ones and write the last ones while one is segmented."""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch

from ..files import written
from ..inference.segmentation import Segmentation
from ..inference.segmenter import Segmenter
from ..io import NotARadiographError, Radiograph, RadiographError, read_radiograph
from ..output import save_with_notes
from .inputs import Failure, Input
from .journal import Journal
from .record import FileState, file_state, make_record
from .settings import Settings, thumbnail

__all__ = ["Outcome", "Pipeline"]

THUMBNAIL_SIDE = 224
THUMBNAIL_QUALITY = 80
# what a file, a disk, a memory or a missing package may cause; all else is a fault of this program
EXPECTED = (RadiographError, OSError, MemoryError, torch.OutOfMemoryError, ImportError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of an input: its record is in the journal, or it has failed."""

    entry: Input
    failure: Failure | None = None


@dataclass(frozen=True)
class _Opened:
    """An input that was read."""

    entry: Input
    state: FileState
    radiograph: Radiograph


class Pipeline:
    """Segments radiographs; whatever goes wrong with one is its own failure and does not stop the others.

    Never more than a few radiographs are in memory.

    Args:
        segmenter: the bundles.
        settings: what is wanted.
        journal: where finished radiographs are recorded, as soon as they are written.
        batch_size: radiographs per batch.
        workers: threads that read, and as many that write.
    """

    def __init__(
        self, segmenter: Segmenter, settings: Settings, journal: Journal, batch_size: int = 1, workers: int = 2
    ) -> None:
        self._segmenter = segmenter
        self._settings = settings
        self._journal = journal
        self._batch_size = batch_size
        self._workers = workers
        self._reading: deque[tuple[Input, Future[_Opened]]] = deque()
        self._writing: deque[tuple[Input, Future[None]]] = deque()
        self._batch: list[_Opened] = []

    def run(self, entries: Iterable[Input]) -> Iterator[Outcome]:
        """The outcome of each input, as they are finished.

        When it is stopped, results that are being written are finished and recorded before it returns.
        """
        with ThreadPoolExecutor(self._workers) as readers, ThreadPoolExecutor(self._workers) as writers:
            try:
                yield from self._run(iter(entries), readers, writers)
            except BaseException:
                readers.shutdown(wait=False, cancel_futures=True)
                writers.shutdown(wait=True, cancel_futures=True)
                raise

    def _run(
        self, waiting: Iterator[Input], readers: ThreadPoolExecutor, writers: ThreadPoolExecutor
    ) -> Iterator[Outcome]:
        while True:
            self._read_ahead(waiting, readers)
            yield from self._add_to_batch()
            if len(self._batch) == self._batch_size or not self._reading:
                yield from self._segment_batch(writers)
            yield from self._collect_written()
            if not self._reading and not self._batch and not self._writing:
                return

    def _read_ahead(self, waiting: Iterator[Input], readers: ThreadPoolExecutor) -> None:
        while len(self._reading) < self._batch_size + self._workers:
            entry = next(waiting, None)
            if entry is None:
                return
            self._reading.append((entry, readers.submit(_open, entry, self._segmenter.max_pixels)))

    def _add_to_batch(self) -> Iterator[Outcome]:
        """Take the next radiograph into the batch, once it is read."""
        if not self._reading:
            return
        entry, future = self._reading.popleft()
        error = future.exception()
        if error is None:
            self._batch.append(future.result())
        else:
            yield Outcome(entry, _failure(entry, error, "read"))

    def _segment_batch(self, writers: ThreadPoolExecutor) -> Iterator[Outcome]:
        batch = self._batch
        self._batch = []
        for opened, found in zip(batch, self._segment(batch), strict=True):
            if isinstance(found, Segmentation):
                self._writing.append((opened.entry, writers.submit(self._write, opened, found)))
            else:
                yield Outcome(opened.entry, _failure(opened.entry, found, "segmented"))

    def _segment(self, batch: Sequence[_Opened]) -> list[Segmentation | Exception]:
        """What was found in each; an error in a batch is that of one radiograph, which must not stop the others."""
        if not batch:
            return []
        try:
            return [*self._segmenter.segment([opened.radiograph for opened in batch])]
        except Exception as error:
            if len(batch) == 1:
                return [error]
        return [self._segment([opened])[0] for opened in batch]

    def _collect_written(self) -> Iterator[Outcome]:
        """What has been written; waits where much is to be written, or nothing else is left to do."""
        most = 2 * self._workers
        while self._writing:
            entry, future = self._writing[0]
            idle = not self._reading and not self._batch
            if not (future.done() or idle or len(self._writing) > most):
                return
            self._writing.popleft()
            error = future.exception()
            yield Outcome(entry, None if error is None else _failure(entry, error, "written"))

    def _write(self, opened: _Opened, found: Segmentation) -> None:
        """Write all results and record them. Their former record is withdrawn first: see :class:`Journal`.

        Raises:
            RadiographError: the radiograph's file was changed since it was read; its results are removed.
        """
        settings = self._settings
        entry = opened.entry
        self._journal.withdraw(entry.stem)
        saved = save_with_notes(found, settings.output, settings.formats_of(entry.path), entry.stem, settings.uids)
        if settings.report:
            with written(settings.output / thumbnail(entry.stem)) as temporary:
                found.plot(THUMBNAIL_SIDE).save(temporary, format="JPEG", quality=THUMBNAIL_QUALITY)
        files = settings.results_of(entry)
        try:
            _check_unchanged(entry, opened.state)  # DICOM results take their header from the file
        except RadiographError:
            for file in files:
                (settings.output / file).unlink(missing_ok=True)
            raise
        record = make_record(entry, opened.state, settings.identity, found, files, saved.notes, settings.with_rle)
        self._journal.add(record)


def _open(entry: Input, max_pixels: int | None) -> _Opened:
    try:
        state = file_state(entry.path)
    except OSError:
        state = (0, 0)  # reading it says what is wrong
    radiograph = read_radiograph(entry.path, max_pixels)
    _check_unchanged(entry, state)
    return _Opened(entry, state, radiograph)


def _check_unchanged(entry: Input, state: FileState) -> None:
    """Raise :class:`RadiographError` unless a file is in the state in which it was before it was read."""
    try:
        is_same = file_state(entry.path) == state
    except OSError:
        is_same = False
    if not is_same:
        raise RadiographError(
            f"{entry.path}: was changed while it was worked on. Run the same command again when it is whole."
        )


def _failure(entry: Input, error: BaseException, step: str) -> Failure:
    """A failure with its true reason.

    Args:
        entry: the file.
        error: what was raised.
        step: what the file was to be: ``read``, ``segmented`` or ``written``.
    """
    if not isinstance(error, EXPECTED):
        logger.error(f"{entry.path}: a fault of this program", exc_info=error)
    reason = _reason(entry.path, error, step)
    return Failure(entry.name, reason, isinstance(error, NotARadiographError), entry.path)


def _reason(path: str, error: BaseException, step: str) -> str:
    if isinstance(error, RadiographError):
        return str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return f"{path}: the GPU's memory is full. Give a smaller --batch-size, or --device cpu."
    if isinstance(error, MemoryError):
        return f"{path}: not enough memory. Give smaller --batch-size and --workers."
    if isinstance(error, ImportError):
        return f"{path}: a package is missing ({error}). Install it and run the same command again."
    if isinstance(error, OSError):
        return _reason_of_system(path, error, step)
    return (
        f"{path}: could not be {step} because of a fault of this program ({type(error).__name__}: {error}). "
        "Please report it with the traceback that was printed; the other files are not affected."
    )


def _reason_of_system(path: str, error: OSError, step: str) -> str:
    what = error.strerror or error
    if step != "written":
        return f"{path}: could not be {step} ({what}). Check that the file may be read and its disk is there."
    if error.errno == errno.ENOSPC:
        remedy = "Make room and run the same command again."
    else:
        remedy = "Check the folder."
    return f"{path}: its results could not be written ({what}). {remedy}"
