"""The work of one run: what is finished already, what is segmented now, the tables, and what is said at the end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from tqdm import tqdm

from ..files import claimed, remove_parts
from ..inference.segmenter import Segmenter
from ..io import describe_ignored
from ..output import REPRODUCIBLE
from .inputs import Failure, Input
from .journal import Journal
from .manifest import write_manifest
from .pipeline import Pipeline
from .processes import Load, ProcessPipeline, sensible_batch_size, sensible_processes
from .settings import STATE_FOLDER, Settings, is_finished
from .tables import Finished, write_tables

__all__ = ["INTERRUPTED", "segment_files", "terminated_like_interrupted"]

JOURNAL = f"{STATE_FOLDER}/journal.jsonl"
INTERRUPTED = 130  # as shells say of a program that Ctrl-C ended
THREADS = 2  # that read in this process, and as many that write


def segment_files(
    segmenter: Segmenter,
    inputs: Sequence[Input],
    output: str | os.PathLike,
    formats: Sequence[str] = ("png",),
    failures: Iterable[Failure] = (),
    batch_size: int | None = 1,
    workers: int | None = THREADS,
    overwrite: bool = False,
    report: bool = True,
    ignored: Mapping[str, int] | None = None,
    with_identifiers: bool = False,
    uids: str = REPRODUCIBLE,
    load: Load | None = None,
) -> int:
    """Segment files and write everything that is asked for; what fails is listed and does not stop the others.

    Args:
        segmenter: the bundles.
        inputs: see :func:`cxr_attn_unet.segment.inputs.find_inputs`.
        output: folder of the results.
        formats: of ``cxr_attn_unet.output.FORMATS`` and ``COLLECTIONS``.
        failures: what failed before.
        batch_size: the most radiographs per batch; ``None`` chooses by the device.
        workers: with ``load``, processes that read, segment and write, of which 1 is this one; without it, threads of
            this process that read, and as many that write. ``None`` chooses by cores, memory and radiographs.
        overwrite: segment again what is finished already.
        report: write ``report.html``.
        ignored: numbers of files that are of no kind that is read, by kind; said at the end.
        with_identifiers: say in ``measurements.csv`` and Parquet who a DICOM radiograph is of.
        uids: of DICOM objects, see :data:`cxr_attn_unet.output.UIDS`.
        load: makes the same segmenter in another process; must be picklable. A script that gives it needs Python's
            ``if __name__ == "__main__":``, as all that start processes.

    Returns:
        exit status: 0, 1 if some failed, 130 if interrupted.

    Raises:
        NoProcessError: no other process can load the segmenter.
        BlockingIOError: another run writes to that folder now.
        OSError: what an earlier run has left there cannot be read, or nothing can be written.
    """
    settings = Settings.of(segmenter, output, formats, report, with_identifiers, uids)
    with claimed(settings.output / STATE_FOLDER) as ours:
        if not ours:
            raise BlockingIOError(
                f"{output}: another run writes to this folder. Wait until it has ended, or name another folder with "
                "--output."
            )
        remove_parts(settings.output)
        journal = Journal(settings.output / JOURNAL)
        if journal.damaged:
            _say(f"{journal.path}: {journal.damaged} lines are damaged; what they may have been about is done again.")
        done = set() if overwrite else {entry.stem for entry in inputs if is_finished(entry, journal, settings)}
        if batch_size is None:
            batch_size = sensible_batch_size(segmenter.device)
        processes = _number_of_processes(workers, len(inputs) - len(done), segmenter, load)
        pipeline: Pipeline | ProcessPipeline
        if load is None or processes == 1:
            threads = THREADS if workers is None or load is not None else workers
            pipeline = Pipeline(segmenter, settings, journal, batch_size, threads)
        else:
            pipeline = ProcessPipeline(load, segmenter.identity, settings, journal, processes, batch_size)
        return _segment(pipeline, settings, journal, inputs, done, [*failures], ignored or {})


def _segment(
    pipeline: Pipeline | ProcessPipeline,
    settings: Settings,
    journal: Journal,
    inputs: Sequence[Input],
    done: set[str],
    all_failures: list[Failure],
    ignored: Mapping[str, int],
) -> int:
    """The work on a folder that is ours alone; returns the exit status."""
    todo = [entry for entry in inputs if entry.stem not in done]
    if done:
        _say(f"{len(done)} of {len(inputs)} were finished before.")
    interrupted = _run(pipeline, todo, done, all_failures)
    if interrupted:
        # results that were being written are recorded, and with --overwrite those from before are still there
        done.update(entry.stem for entry in inputs if entry.stem not in done and is_finished(entry, journal, settings))
    finished = Finished(journal, [entry for entry in inputs if entry.stem in done])
    try:
        write_tables(settings, finished, all_failures)
        write_manifest(settings, finished, all_failures)
    except OSError as error:
        _say(
            f"cxr-attn-unet: the tables could not be written to {settings.output} ({error}); run the same command again"
        )
        return 1
    _say_what_failed(settings, all_failures)
    if ignored:
        _say(f"{describe_ignored(ignored)}.")
    _say_summary(settings, finished, all_failures, interrupted)
    if interrupted:
        return INTERRUPTED
    return int(any(not failure.skipped for failure in all_failures))


def _number_of_processes(workers: int | None, radiographs: int, segmenter: Segmenter, load: Load | None) -> int:
    if load is None:
        return 1
    if workers is None:
        return sensible_processes(radiographs, segmenter.device)
    return max(1, min(workers, radiographs))


def _run(pipeline: Pipeline | ProcessPipeline, todo: Sequence[Input], done: set[str], failures: list[Failure]) -> bool:
    """Segment what is to do, and note what is done and what failed; returns whether it was interrupted."""
    failed: dict[str, Failure] = {}
    hidden = None if len(todo) > 1 else True  # None: shown on terminals only
    try:
        with (
            terminated_like_interrupted(),
            tqdm(total=len(todo), unit="radiograph", dynamic_ncols=True, disable=hidden) as progress,
        ):
            for outcome in pipeline.run(todo):
                progress.update()
                if outcome.failure is None:
                    done.add(outcome.entry.stem)
                else:
                    failed[outcome.entry.stem] = outcome.failure
    except KeyboardInterrupt:
        return True
    finally:
        # in the order of the inputs, whichever was finished first
        failures.extend(failed[entry.stem] for entry in todo if entry.stem in failed)
    return False


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Within, SIGTERM (of ``kill``, a batch system, a container that stops) ends the run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return
    former = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _say_what_failed(settings: Settings, failures: Sequence[Failure]) -> None:
    skipped = 0
    for failure in failures:
        if failure.skipped:
            skipped += 1
        elif (failure.path or failure.name) in failure.reason:
            _say(f"failed: {failure.reason}")
        else:
            _say(f"failed: {failure.name}: {failure.reason}")
    if skipped:
        _say(f"Skipped {skipped} files that are no radiographs, see {settings.output / 'failures.csv'}.")


def _say_summary(settings: Settings, finished: Finished, failures: Sequence[Failure], interrupted: bool) -> None:
    flagged = sum(bool(record.warnings) for _, record in finished)
    failed = sum(not failure.skipped for failure in failures)
    text = f"Segmented {len(finished)} radiographs, {flagged} with warnings, {failed} failed: {settings.output}"
    if interrupted:
        text += ". Interrupted; the same command resumes from here."
    _say(text)
