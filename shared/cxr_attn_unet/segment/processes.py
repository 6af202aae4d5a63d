"""Read, segment and write radiographs in several processes: each does all of it, so that no core waits for another.

The radiographs' pixels stay in the process that has read them; names go to it and records come back. On a GPU the
processes share it: while one computes there, others decode, fill holes and write.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext

import torch

from ..inference.segmentation import Segmentation
from ..inference.segmenter import Segmenter
from ..process import prepare_process, without_interruption
from ..system import free_memory, usable_cores
from .inputs import Failure, Input
from .journal import Journal
from .record import Record
from .settings import Settings
from .steps import Opened, Outcome, failure_of, fills_batch, open_input, segment_opened, write_results

__all__ = ["Load", "NoProcessError", "ProcessPipeline", "sensible_batch_size", "sensible_processes"]

Load = Callable[[], Segmenter]
Answer = list[Record | Failure]  # to a batch, in its order

GIGABYTE = 2**30
MEMORY_OF_PROCESS = 1.5 * GIGABYTE  # with a radiograph of 20 megapixels, see docs/segment.md
GPU_MEMORY_OF_PROCESS = 3 * GIGABYTE  # CUDA itself, four networks, and a batch of eight
MOST_ON_GPU = 16  # processes; more of them only take turns
FEWEST_FOR_PROCESSES = 16  # radiographs: for less, starting processes takes longer than they save
FEWEST_OF_PROCESS = 4  # radiographs
BATCH_ON_GPU = 8
SECONDS_TO_END = 30.0  # for a process that was told to; then it is killed


def sensible_processes(radiographs: int, device: torch.device) -> int:
    """How many processes segment fastest on this machine, see :func:`_processes`.

    Args:
        radiographs: how many there are to segment.
        device: where the networks run.
    """
    on_gpu = None
    if device.type == "cuda":
        on_gpu = torch.cuda.mem_get_info(device)[0]
    return _processes(radiographs, device.type, usable_cores(), free_memory(), on_gpu)


def _processes(radiographs: int, device: str, cores: int, memory: int | None, gpu_memory: int | None = None) -> int:
    """One for each core, as far as the memory reaches and the radiographs are worth it; 1 is no other process.

    Args:
        radiographs: how many there are to segment.
        device: ``cpu``, ``cuda`` or another, which processes are not taken to share.
        cores: that may be used.
        memory: that is free, in bytes; ``None`` if unknown.
        gpu_memory: that is free on the GPU, in bytes.
    """
    if device not in ("cpu", "cuda") or radiographs < FEWEST_FOR_PROCESSES:
        return 1
    most = [cores, radiographs // FEWEST_OF_PROCESS]
    if memory is not None:
        most.append(int(memory / MEMORY_OF_PROCESS))
    if device == "cuda":
        most.append(MOST_ON_GPU)
        if gpu_memory is not None:
            most.append(int(gpu_memory / GPU_MEMORY_OF_PROCESS))
    return max(1, min(most))


def sensible_batch_size(device: torch.device) -> int:
    """Radiographs per batch: a CPU gains nothing from more than one, a GPU does."""
    return BATCH_ON_GPU if device.type == "cuda" else 1


class NoProcessError(RuntimeError):
    """No process can load the segmenter, or it has become another one."""


class ProcessPipeline:
    """Segments radiographs; whatever goes wrong with one is its own failure and does not stop the others.

    That holds for a radiograph that ends its process, such as one for which there is not enough memory, too: a new
    process takes the place of the old one, and the radiograph is tried once more by itself. No process has more than
    one batch in hand.

    Args:
        load: makes the segmenter in each process; must be picklable.
        identity: of the segmenter, see :class:`~cxr_attn_unet.inference.Segmenter`; another one is refused.
        settings: what is wanted.
        journal: where finished radiographs are recorded, as soon as they are written.
        processes: their number.
        batch_size: the most radiographs per batch; large ones make smaller batches.
    """

    def __init__(
        self, load: Load, identity: str, settings: Settings, journal: Journal, processes: int, batch_size: int = 1
    ) -> None:
        self._load = load
        self._identity = identity
        self._settings = settings
        self._journal = journal
        self._processes = processes
        self._batch_size = batch_size
        self._context = _context()
        self._workers: list[_Worker] = []
        self._again: deque[Input] = deque()  # what was in hand where a process has ended, to be tried one by one
        self._tried: set[str] = set()  # stems of those
        self._all_given = False

    def run(self, entries: Iterable[Input]) -> Iterator[Outcome]:
        """The outcome of each input, as they are finished.

        When it is stopped, radiographs that are in hand are finished and recorded before it returns.

        Raises:
            NoProcessError: no process can load the segmenter.
        """
        try:
            for _ in range(self._processes):
                self._workers.append(self._start())
            yield from self._run(iter(entries))
        except BaseException:
            self._finish_what_is_in_hand()
            raise
        finally:
            for worker in self._workers:
                worker.connection.close()  # of all, so that they end at the same time
            for worker in self._workers:
                worker.end()
            self._workers = []

    def _start(self) -> _Worker:
        threads = max(1, usable_cores() // self._processes)
        return _Worker(self._context, self._load, self._settings, threads, self._batch_size)

    def _run(self, waiting: Iterator[Input]) -> Iterator[Outcome]:
        while True:
            for worker in self._workers:
                if worker.ready and not worker.in_hand:
                    self._give(worker, waiting)
            if self._all_given and not self._again and not any(worker.in_hand for worker in self._workers):
                return
            yield from self._hear()

    def _give(self, worker: _Worker, waiting: Iterator[Input]) -> None:
        """Give a process its next batch, if there is one. What is recorded of it from before no longer holds."""
        batch = [self._again.popleft()] if self._again else [*islice(waiting, self._batch_size)]
        if not batch:
            self._all_given = True
            return
        for entry in batch:
            self._journal.withdraw(entry.stem)
        with without_interruption():  # what is in hand is what the process has been given
            worker.give(batch)

    def _hear(self) -> Iterator[Outcome]:
        """Wait until a process says something, or ends."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait([*by_connection]):
            worker = by_connection[connection]  # type: ignore[index]  # no sockets or handles were given
            try:
                with without_interruption():  # nobody says it again
                    outcomes = self._take(worker)
            except (EOFError, OSError):
                yield from self._replace(worker)
            else:
                yield from outcomes

    def _take(self, worker: _Worker) -> list[Outcome]:
        """Take what a process says.

        Raises:
            EOFError: it has ended.
            OSError: it has ended while it said something.
            NoProcessError: none is left that could load the segmenter.
        """
        answer = worker.connection.recv()
        if worker.ready:
            return self._record(worker, answer)
        self._admit(worker, answer)
        return []

    def _admit(self, worker: _Worker, answer: str | Exception) -> None:
        """Take what a process says when it has loaded the segmenter, or cannot."""
        if isinstance(answer, Exception):
            self._go_on_without(worker, f"could not load the bundles: {answer}")
        elif answer != self._identity:
            raise NoProcessError("the bundles were changed while this started; run the same command again")
        else:
            worker.ready = True

    def _go_on_without(self, worker: _Worker, why: str) -> None:
        worker.end()
        self._workers.remove(worker)
        if not self._workers:
            raise NoProcessError(f"a process {why}. Give --workers 1.")

    def _record(self, worker: _Worker, answer: Answer) -> list[Outcome]:
        batch, worker.in_hand = worker.in_hand, []
        return [self._outcome(entry, result) for entry, result in zip(batch, answer, strict=True)]

    def _outcome(self, entry: Input, result: Record | Failure) -> Outcome:
        if isinstance(result, Failure):
            return Outcome(entry, result)
        try:
            self._journal.add(result)
        except OSError as error:
            return Outcome(entry, failure_of(entry, error, "written"))
        return Outcome(entry)

    def _replace(self, worker: _Worker) -> Iterator[Outcome]:
        """Put another process in the place of one that has ended."""
        worker.end()
        if not worker.ready:
            self._go_on_without(worker, f"{worker.how_it_ended()} while it loaded the bundles")
            return
        for entry in worker.in_hand:
            if entry.stem not in self._tried:
                self._tried.add(entry.stem)
                self._again.append(entry)
                continue
            reason = (
                f"{entry.path}: the process that worked on it {worker.how_it_ended()}, as happens where the memory is "
                "full. Give fewer --workers."
            )
            yield Outcome(entry, Failure(entry.name, reason, path=entry.path))
        self._workers[self._workers.index(worker)] = self._start()

    def _finish_what_is_in_hand(self) -> None:
        """Record what processes are working on, without anybody who takes the outcomes."""
        for worker in self._workers:
            if not worker.in_hand:
                continue
            try:
                self._record(worker, worker.connection.recv())
            except Exception:  # it has ended: the next run does it again
                worker.kill()


class _Worker:
    """A process, as seen from the one that started it."""

    def __init__(self, context: BaseContext, load: Load, settings: Settings, threads: int, batch_size: int) -> None:
        self.connection, other_end = context.Pipe()
        self._process = context.Process(  # type: ignore[attr-defined]  # which every context has
            target=_work, args=(other_end, load, settings, threads, batch_size), daemon=True
        )
        with search_path_passed_on():
            self._process.start()
        other_end.close()  # only the process itself has it now: when it ends, the connection does
        self.in_hand: list[Input] = []
        self.ready = False

    def give(self, batch: list[Input]) -> None:
        """Have it work on a batch."""
        self.in_hand = batch
        with suppress(OSError):  # it has ended, as the end of the connection will say
            self.connection.send(batch)

    def end(self) -> None:
        """Have it end, if it has not yet; one that still loads has nothing to finish."""
        self.connection.close()
        if self.ready:
            self._process.join(SECONDS_TO_END)
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.join()

    def how_it_ended(self) -> str:
        """Such as ``was ended by signal 9``; of one that has ended."""
        code = self._process.exitcode or 0
        return f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"


def _context() -> BaseContext:
    """How processes are started: forked from one that has imported everything, and has no threads or GPU yet."""
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@contextmanager
def search_path_passed_on() -> Iterator[None]:
    """Within, a process that processes are forked from finds modules where this one does.

    Up to Python 3.12, it would forget what a program has added to ``sys.path``: it would import nothing beforehand, or
    another version of this package, one that is installed.
    """
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _work(connection: Connection, load: Load, settings: Settings, threads: int, batch_size: int) -> None:
    """What a process does: load the segmenter, then a batch at a time, until the other end is closed.

    Args:
        connection: says the segmenter's identity, or why it cannot be loaded; takes batches, gives answers.
        load: makes the segmenter.
        settings: what is wanted.
        threads: of PyTorch.
        batch_size: the most radiographs that are segmented at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one says what is to be done
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # half a file is removed
    prepare_process()
    torch.set_num_threads(threads)
    try:
        segmenter = load()
    except Exception as error:
        connection.send(RuntimeError(str(error)))
        return
    try:
        connection.send(segmenter.identity)
        while True:
            batch = connection.recv()
            connection.send(_answer(segmenter, settings, batch, batch_size, connection.poll))
    except (EOFError, OSError):
        return  # nobody is there any more


def _answer(
    segmenter: Segmenter, settings: Settings, batch: Sequence[Input], batch_size: int, abandoned: Callable[[], bool]
) -> Answer:
    """Records and failures of a batch, in its order.

    Args:
        segmenter: the bundles.
        settings: what is wanted.
        batch: the inputs.
        batch_size: the most radiographs that are segmented at once.
        abandoned: whether the process that wants the answer has ended. Another one may do the same by now, so nothing
            is written any more.

    Raises:
        EOFError: it has.
    """
    results: dict[str, Record | Failure] = {}
    for group in _groups(batch, segmenter.max_pixels, batch_size, results):
        for opened, found in zip(group, segment_opened(segmenter, group), strict=True):
            if abandoned():
                raise EOFError
            results[opened.entry.stem] = _written(settings, opened, found)
    return [results[entry.stem] for entry in batch]


def _groups(
    batch: Sequence[Input], max_pixels: int | None, batch_size: int, results: dict[str, Record | Failure]
) -> Iterator[list[Opened]]:
    """Read a batch, in groups that are segmented at once; what cannot be read is put among the results."""
    group: list[Opened] = []
    for entry in batch:
        try:
            group.append(open_input(entry, max_pixels))
        except Exception as error:
            results[entry.stem] = failure_of(entry, error, "read")
        if fills_batch(group, batch_size):
            yield group
            group = []
    if group:
        yield group


def _written(settings: Settings, opened: Opened, found: Segmentation | Exception) -> Record | Failure:
    if isinstance(found, Exception):
        return failure_of(opened.entry, found, "segmented")
    try:
        return write_results(settings, opened, found)
    except Exception as error:
        return failure_of(opened.entry, error, "written")
