"""The work of one run: read, segment and write each radiograph, remember what is done, and write the tables."""

from __future__ import annotations

import errno
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..files import written
from ..inference.segmentation import Segmentation
from ..inference.segmenter import Segmenter
from ..io import NotARadiographError, Radiograph, RadiographError, read_radiograph
from ..output import COLLECTIONS, FORMATS, encode, file_names, is_dicom_file
from .inputs import Input
from .journal import Journal, mark
from .tables import STATE_FOLDER, thumbnail, write_tables

__all__ = ["STATE_FOLDER", "segment_files"]

JOURNAL = f"{STATE_FOLDER}/journal.jsonl"
THUMBNAIL_SIDE = 224


def segment_files(
    segmenter: Segmenter,
    inputs: Sequence[Input],
    output: str | os.PathLike,
    formats: Sequence[str] = ("png",),
    failures: Iterable[tuple[str, str]] = (),
    batch_size: int = 1,
    workers: int = 2,
    overwrite: bool = False,
    report: bool = True,
) -> int:
    """Segment files and write everything that is asked for; what fails is listed and does not stop the others.

    Args:
        segmenter: the bundles.
        inputs: see :func:`cxr_attn_unet.segment.journal.find_inputs`.
        output: folder of the results.
        formats: of ``cxr_attn_unet.output.FORMATS`` and ``COLLECTIONS``.
        failures: (path, reason) of what failed before.
        batch_size: radiographs a batch.
        workers: threads that read and write.
        overwrite: do anew what was finished before.
        report: write ``report.html``.

    Returns:
        exit status: 0, 1 if some failed, 130 if interrupted.
    """
    output = Path(output)
    journal = Journal(output / JOURNAL)
    job = _Job(
        segmenter, output, [form for form in formats if form in FORMATS], bool(set(formats) & set(COLLECTIONS)), report
    )
    todo = [entry for entry in inputs if overwrite or not job.finished(entry, journal)]
    if len(todo) < len(inputs):
        print(f"{len(inputs) - len(todo)} of {len(inputs)} were finished before.", file=sys.stderr)
    failed, skipped, interrupted = list(failures), [], False
    progress = tqdm(total=len(todo), unit="radiograph", dynamic_ncols=True, disable=None if len(todo) > 1 else True)
    try:
        with progress:
            for path, outcome in job.run(todo, batch_size, workers):
                progress.update()
                if isinstance(outcome, dict):
                    journal.add(outcome)
                    continue
                (skipped if isinstance(outcome, NotARadiographError) else failed).append((path, _reason(path, outcome)))
    except KeyboardInterrupt:
        interrupted = True
    done = [entry.path for entry in inputs if entry.path in journal and entry.path not in dict(failed + skipped)]
    try:
        write_tables(job, journal, done, formats, failed, skipped, report)
    except OSError as error:
        reason = f"the tables could not be written to {output} ({error}); run the same command again"
        print(f"cxr-attn-unet: {reason}", file=sys.stderr)
        return 1
    for path, reason in failed:
        print(f"failed: {reason if path in reason else f'{path}: {reason}'}", file=sys.stderr)
    if skipped:
        print(f"Skipped {len(skipped)} files that are no radiographs, see {output / 'failures.csv'}.", file=sys.stderr)
    flagged = sum(bool(record["warnings"]) for record in journal.records(done))
    print(
        f"Segmented {len(done)} radiographs, {flagged} with warnings, {len(failed)} failed: {output}"
        + (". Interrupted; the same command goes on from here." if interrupted else ""),
        file=sys.stderr,
    )
    return 130 if interrupted else int(bool(failed))


class _Job:
    """What is done with each radiograph."""

    def __init__(self, segmenter: Segmenter, output: Path, formats: Sequence[str], rle: bool, thumbnails: bool) -> None:
        self.segmenter, self.output, self.formats = segmenter, output, tuple(formats)
        self.rle, self.thumbnails = rle, thumbnails

    def results(self, entry: Input) -> list[Path]:
        forms = [form for form in self.formats if not FORMATS[form].dicom_only or is_dicom_file(entry.path)]
        names = [name for form in forms for name in file_names(entry.stem, self.segmenter.structures, form)]
        return [Path(name) for name in names] + ([thumbnail(entry.stem)] if self.thumbnails else [])

    def finished(self, entry: Input, journal: Journal) -> bool:
        if entry.path not in journal or not os.path.isfile(entry.path):
            return False
        files = [self.output / name for name in self.results(entry)]
        return journal.finished(entry, self.segmenter.identity, files, ("rle",) if self.rle else ())

    def run(
        self, todo: Sequence[Input], batch_size: int, workers: int
    ) -> Iterator[tuple[str, dict[str, Any] | Exception]]:
        """(path, record or error) of each input, as they are finished.

        Files are read ahead and results written behind by threads; never more than a few radiographs are in memory.
        """
        ahead = batch_size + workers
        reading: deque[tuple[Input, Future]] = deque()
        writing: deque[tuple[Input, Future]] = deque()
        batch: list[tuple[Input, Radiograph]] = []
        waiting = iter(todo)
        with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(workers) as writers:
            try:
                while True:
                    while len(reading) < ahead and (entry := next(waiting, None)) is not None:
                        reading.append((entry, readers.submit(read_radiograph, entry.path)))
                    if reading:
                        entry, future = reading.popleft()
                        if error := future.exception():
                            yield entry.path, _expected(error)
                        else:
                            batch.append((entry, future.result()))
                    if len(batch) == batch_size or (batch and not reading):
                        for (entry, _), outcome in zip(batch, self._segment([one for _, one in batch]), strict=True):
                            if isinstance(outcome, Exception):
                                yield entry.path, outcome
                            else:
                                writing.append((entry, writers.submit(self._write, entry, outcome)))
                        batch = []
                    while writing and (len(writing) > 2 * workers or writing[0][1].done() or not (reading or batch)):
                        entry, future = writing.popleft()
                        error = future.exception()
                        yield entry.path, _expected(error) if error else future.result()
                    if not (reading or batch or writing):
                        return
            except BaseException:
                readers.shutdown(wait=False, cancel_futures=True)
                writers.shutdown(wait=True, cancel_futures=True)
                raise

    def _segment(self, radiographs: Sequence[Radiograph]) -> Sequence[Segmentation | Exception]:
        try:
            return self.segmenter.segment(radiographs)
        except (RadiographError, torch.OutOfMemoryError, MemoryError) as error:
            if len(radiographs) == 1:
                return [_expected(error)]
        return [self._segment([radiograph])[0] for radiograph in radiographs]  # one must not stop the others

    def _write(self, entry: Input, found: Segmentation) -> dict[str, Any]:
        formats = [form for form in self.formats if not FORMATS[form].dicom_only or is_dicom_file(entry.path)]
        (self.output / entry.stem).parent.mkdir(parents=True, exist_ok=True)
        found.save(self.output, formats, entry.stem)
        if self.thumbnails:
            with written(self.output / thumbnail(entry.stem)) as temporary:
                found.plot(THUMBNAIL_SIDE).save(temporary, format="JPEG", quality=80)
        rows, columns = next(iter(found.masks.values())).shape
        record = {
            "path": entry.path,
            "stem": entry.stem,
            "identity": self.segmenter.identity,
            "mark": mark(entry.path),
            "files": [str(self.output / name) for name in self.results(entry)],
            "rows": rows,
            "columns": columns,
            "spacing": found.radiograph.spacing,
            "measurements": dict(found.measurements),
            "confidences": dict(found.confidences),
            "agreements": dict(found.agreements),
            "warnings": list(found.warnings),
        }
        if self.rle:
            record["rle"] = {structure: encode(mask) for structure, mask in found.masks.items()}
        return record


def _expected(error: BaseException) -> Exception:
    """The error if it is one that a file, a disk or a memory may cause; a fault of ours is raised."""
    if isinstance(error, (RadiographError, OSError, MemoryError, torch.OutOfMemoryError, ImportError)):
        return error
    raise error


def _reason(path: str, error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return f"{path}: the GPU's memory is full. Give a smaller --batch-size, or --device cpu."
    if isinstance(error, MemoryError):
        return f"{path}: not enough memory. Give smaller --batch-size and --workers."
    if isinstance(error, OSError):
        remedy = "Make room and run the same command again." if error.errno == errno.ENOSPC else "Check the folder."
        return f"{path}: its results could not be written ({error.strerror or error}). {remedy}"
    return str(error)
