"""Read, segment and write radiographs: threads read the next ones and write the last ones while one is segmented."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from ..inference.segmentation import Segmentation
from ..inference.segmenter import Segmenter
from .inputs import Input
from .journal import Journal
from .settings import Settings
from .steps import Opened, Outcome, failure_of, fills_batch, open_input, segment_opened, write_results

__all__ = ["Pipeline"]


class Pipeline:
    """Segments radiographs; whatever goes wrong with one is its own failure and does not stop the others.

    Never more than a few radiographs are in memory.

    Args:
        segmenter: the bundles.
        settings: what is wanted.
        journal: where finished radiographs are recorded, as soon as they are written.
        batch_size: the most radiographs per batch; large ones make smaller batches.
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
        self._reading: deque[tuple[Input, Future[Opened]]] = deque()
        self._writing: deque[tuple[Input, Future[None]]] = deque()
        self._batch: list[Opened] = []

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
            if fills_batch(self._batch, self._batch_size) or not self._reading:
                yield from self._segment_batch(writers)
            yield from self._collect_written()
            if not self._reading and not self._batch and not self._writing:
                return

    def _read_ahead(self, waiting: Iterator[Input], readers: ThreadPoolExecutor) -> None:
        while len(self._reading) < self._batch_size + self._workers:
            entry = next(waiting, None)
            if entry is None:
                return
            self._reading.append((entry, readers.submit(open_input, entry, self._segmenter.max_pixels)))

    def _add_to_batch(self) -> Iterator[Outcome]:
        """Take the next radiograph into the batch, once it is read."""
        if not self._reading:
            return
        entry, future = self._reading.popleft()
        error = future.exception()
        if error is None:
            self._batch.append(future.result())
        else:
            yield Outcome(entry, failure_of(entry, error, "read"))

    def _segment_batch(self, writers: ThreadPoolExecutor) -> Iterator[Outcome]:
        batch = self._batch
        self._batch = []
        for opened, found in zip(batch, segment_opened(self._segmenter, batch), strict=True):
            if isinstance(found, Segmentation):
                self._writing.append((opened.entry, writers.submit(self._write, opened, found)))
            else:
                yield Outcome(opened.entry, failure_of(opened.entry, found, "segmented"))

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
            yield Outcome(entry, None if error is None else failure_of(entry, error, "written"))

    def _write(self, opened: Opened, found: Segmentation) -> None:
        """Write all results and record them. Their former record is withdrawn first: see :class:`Journal`."""
        self._journal.withdraw(opened.entry.stem)
        self._journal.add(write_results(self._settings, opened, found))
