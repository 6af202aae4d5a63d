"""One worker: one segmenter, and the shards that it is given, one after the other."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from fsspec.callbacks import Callback

from ...io import RadiographError
from ...io.limits import limited_to, max_bytes
from ...output import write_parquet
from ..inputs import Input
from ..journal import Journal
from ..pipeline import Pipeline
from ..record import Record
from ..settings import Settings
from ..tables import write_mask_table
from .listing import Listed
from .plan import ATTEMPTS, FAILURES, SEGMENTATIONS, Plan
from .store import is_url, open_url

__all__ = ["FAILED", "SKIPPED", "ShardOutcome", "ShardSegmenter", "failures_of"]

FAILED = "failed"
SKIPPED = "skipped"
FAILURE_COLUMNS = (("file", "text"), ("kind", "text"), ("reason", "text"))
Row = dict[str, Any]
READERS = 2  # threads that fetch and read, and as many that encode
ROWS_AT_A_TIME = 64
MOST_ATTEMPTS = 3
LONGEST_NAME = 100


@dataclass(frozen=True)
class ShardOutcome:
    """What became of a shard.

    Attributes:
        shard: its number.
        segmented: radiographs that have results.
        failed: radiographs that have none.
        skipped: sound files of another kind.
        error: why the shard as a whole has no results; empty if it has.
    """

    shard: int
    segmented: int = 0
    failed: int = 0
    skipped: int = 0
    error: str = ""


class ShardSegmenter:
    """Segments shards of a plan with one segmenter, which is loaded once.

    A shard's results appear at once, under a name of its own. So a worker that is killed leaves nothing of the shard at
    hand behind, and whoever does it again, or does it twice, makes the same file.

    Args:
        plan: what is to do.
        device: where the networks run; a GPU where there is one if ``None``.
        batch_size: radiographs per batch.
        threads: of PyTorch.

    Raises:
        RuntimeError: this machine has other weights or another version of this package than the plan was made with.
    """

    def __init__(self, plan: Plan, device: str | None = None, batch_size: int = 1, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        self._plan = plan
        self._segmenter = plan.wanted.segmenter(device)
        self._batch_size = batch_size
        if self._segmenter.identity != plan.identity:
            raise RuntimeError(
                f"{plan.output}: a worker has other weights or another version of cxr-attn-unet than the machine that "
                "started the run. Install the same on all machines."
            )

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Do the shards of a batch of Ray Data.

        Args:
            batch: their numbers under ``shard``.

        Returns:
            columns of :class:`ShardOutcome`.
        """
        outcomes = [self._tried(int(shard)) for shard in batch["shard"]]
        return {name: [getattr(one, name) for one in outcomes] for name in ShardOutcome.__dataclass_fields__}

    def _tried(self, shard: int) -> ShardOutcome:
        try:
            attempts = self._begin(shard)
            if not attempts:
                error = f"its worker was killed in each of {MOST_ATTEMPTS} attempts, such as for want of memory"
                return ShardOutcome(shard, error=error)
            try:
                return self.segment(shard)
            finally:
                for name in attempts:
                    self._plan.output.remove(name)
        except Exception as error:  # the other shards have their own chance
            return ShardOutcome(shard, error=f"{type(error).__name__}: {error}")

    def _begin(self, shard: int) -> list[str]:
        """Mark that a shard is tried; returns the marks that are there, or none if it was tried too often.

        Ray tries a shard again whose worker was killed. Marks tell the one that kills workers, such as by its memory.
        """
        marks = []
        for attempt in range(1, MOST_ATTEMPTS + 1):
            marks.append(f"{ATTEMPTS}/attempt-{shard:06}-{attempt}")
            if not self._plan.output.has(marks[-1]):
                with self._plan.output.written(marks[-1]) as temporary:
                    temporary.write_text(str(os.getpid()), encoding="ascii")
                return marks
        return []

    def segment(self, shard: int) -> ShardOutcome:
        """Segment what a shard lacks: all of it, or what failed when it was done before.

        Args:
            shard: its number.

        Raises:
            OSError: the output folder cannot be read or written.
        """
        plan = self._plan
        entries = plan.entries(shard)
        again = plan.output.has(plan.shard_name(SEGMENTATIONS, shard))
        failures = {}
        lacking = entries
        if again:
            failures = {row["file"]: row for row in failures_of(plan, shard) if row["kind"] == SKIPPED}
            settled = _files_in(plan, shard) | set(failures)
            lacking = [entry for entry in entries if entry.file not in settled]
        if lacking or not again:
            with tempfile.TemporaryDirectory() as folder:
                self._write(shard, again, lacking, failures, Path(folder))
        failed = sum(row["kind"] == FAILED for row in failures.values())
        return ShardOutcome(shard, len(entries) - len(failures), failed, len(failures) - failed)

    def _write(
        self, shard: int, again: bool, lacking: Sequence[Listed], failures: dict[str, Row], folder: Path
    ) -> None:
        """Segment radiographs and write the shard; failures are added to those that there are.

        Whoever is killed in between must leave no shard behind that has results, but not all of its failures.
        """
        plan = self._plan
        settings = Settings.of(self._segmenter, folder, ["parquet"], False, plan.wanted.with_identifiers)
        finished = self._segmented(lacking, settings, failures)
        former = _rows_of(plan, shard) if again else iter(())
        about = {"cxr_attn_unet.run": plan.run, "cxr_attn_unet.identity": plan.identity}
        with plan.output.written(plan.shard_name(SEGMENTATIONS, shard)) as temporary:
            write_mask_table(temporary, settings, finished, former, about)
            if not again:
                self._write_failures(shard, failures)
        if again:
            self._write_failures(shard, failures)

    def _write_failures(self, shard: int, failures: Mapping[str, Row]) -> None:
        name = self._plan.shard_name(FAILURES, shard)
        if not failures:
            self._plan.output.remove(name)
            return
        with self._plan.output.written(name) as temporary:
            write_parquet(temporary, failures.values(), FAILURE_COLUMNS)

    def _segmented(
        self, entries: Sequence[Listed], settings: Settings, failures: dict[str, Row]
    ) -> Iterator[tuple[Input, Record]]:
        """Radiographs with their records, one at a time; failures are added to those that there are."""
        journal = Journal(settings.output / "journal.jsonl")
        pipeline = Pipeline(self._segmenter, settings, journal, self._batch_size, READERS)
        by_stem = {_stem(index): entry for index, entry in enumerate(entries)}
        for outcome in pipeline.run(self._fetched(entries, settings.output, failures)):
            stem = outcome.entry.stem
            listed = by_stem[stem]
            record = journal.get(stem)
            if outcome.failure is not None:
                kind = SKIPPED if outcome.failure.skipped else FAILED
                failures[listed.file] = {"file": listed.file, "kind": kind, "reason": outcome.failure.short_reason}
            elif record is not None:
                yield Input(outcome.entry.path, listed.name, listed.file), record
            # what was fetched is needed until its row is made
            shutil.rmtree(settings.output / stem, ignore_errors=True)

    def _fetched(self, entries: Sequence[Listed], folder: Path, failures: dict[str, Row]) -> Iterator[Input]:
        """Radiographs on this machine's disk, while the next ones are fetched."""
        with limited_to(self._segmenter.max_pixels):
            limit = max_bytes()
        ahead = READERS + self._batch_size
        waiting: deque[tuple[int, Listed, Future[str]]] = deque()
        with ThreadPoolExecutor(READERS) as pool:
            for index, listed in enumerate(entries):
                waiting.append((index, listed, pool.submit(_fetch, listed, folder / _stem(index), limit)))
                if len(waiting) > ahead:
                    yield from _arrived(*waiting.popleft(), failures)
            while waiting:
                yield from _arrived(*waiting.popleft(), failures)


def _stem(index: int) -> str:
    return f"{index:08}"


def _arrived(index: int, listed: Listed, future: Future[str], failures: dict[str, Row]) -> Iterator[Input]:
    error = future.exception()
    if error is None:
        yield Input(future.result(), _stem(index), listed.file)
        return
    if isinstance(error, RadiographError):
        reason = str(error)
    else:
        reason = f"{listed.file}: could not be fetched ({error}). Check that it is there and may be read."
    failures[listed.file] = {"file": listed.file, "kind": FAILED, "reason": reason}


def _fetch(listed: Listed, folder: Path, limit: int) -> str:
    """The path of a radiograph on this machine's disk; a copy in the folder, if it is in an object store.

    Args:
        listed: the radiograph.
        folder: for the copy.
        limit: the most bytes of it.

    Raises:
        RadiographError: it has more.
        Exception: of as many kinds as there are stores.
    """
    if not is_url(listed.path):
        return listed.path
    filesystem, path = open_url(listed.path)
    name = PurePosixPath(path).name[-LONGEST_NAME:]
    if name in ("", ".", ".."):
        name = "object"
    folder.mkdir()
    filesystem.get_file(path, str(folder / name), callback=_Limited(listed.file, limit))
    return str(folder / name)


class _Limited(Callback):
    """Ends a transfer of more bytes than a radiograph can have."""

    def __init__(self, file: str, limit: int) -> None:
        super().__init__()
        self._file = file
        self._limit = limit

    def set_size(self, size: int | None) -> None:
        super().set_size(size)
        self._check(size or 0)

    def relative_update(self, inc: int = 1) -> None:
        super().relative_update(inc)
        self._check(self.value)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise RadiographError(
                f"{self._file}: more than {self._limit} bytes, which is enough for the limit on pixels. Make it "
                "smaller, or allow more with --max-pixels."
            )


def failures_of(plan: Plan, shard: int) -> list[Row]:
    """What failed in a shard, as rows of ``file``, ``kind`` and ``reason``; none if nothing did.

    Raises:
        OSError: it cannot be read.
    """
    import pyarrow.parquet as pq

    try:
        with plan.output.open(plan.shard_name(FAILURES, shard)) as file:
            return pq.read_table(file).to_pylist()
    except FileNotFoundError:
        return []


def _files_in(plan: Plan, shard: int) -> set[str]:
    """The files that have results."""
    import pyarrow.parquet as pq

    with plan.output.open(plan.shard_name(SEGMENTATIONS, shard)) as file:
        return set(pq.read_table(file, columns=["file"])["file"].to_pylist())


def _rows_of(plan: Plan, shard: int) -> Iterator[Row]:
    import pyarrow.parquet as pq

    with plan.output.open(plan.shard_name(SEGMENTATIONS, shard)) as file:
        for batch in pq.ParquetFile(file).iter_batches(ROWS_AT_A_TIME):
            yield from batch.to_pylist()
