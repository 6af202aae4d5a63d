"""Segment radiographs: files in; masks, measurements, warnings and a report out."""

from __future__ import annotations

import argparse
import csv
import errno
import logging
import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from . import __version__
from .collection import Input, Journal, find_inputs, mark
from .files import written
from .io import NotARadiographError, Radiograph, RadiographError, read_radiograph
from .measurements import MEASUREMENTS
from .report import Column, Entry, write_report
from .segmenter import Segmentation, Segmenter
from .writers import COLLECTIONS, FORMATS, check_packages, encode, file_names, is_dicom_file, write_coco, write_parquet

__all__ = ["add_arguments", "main", "segment_files"]

logger = logging.getLogger(__name__)

OWN = ".segment"  # folder in the output that makes a run resumable
JOURNAL = f"{OWN}/journal.jsonl"
THUMBNAIL_SIDE = 224
REPORT_COLUMNS = ("cardiothoracic_ratio", "heart_area", "lungs_area", "lung_ratio", "clavicle_asymmetry")
EXAMPLES = """examples:
  cxr-attn-unet segment radiograph.dcm -o masks
  cxr-attn-unet segment A B/*.png -o masks --format png overlay dicom-seg
  cxr-attn-unet segment RADIOGRAPHS -o masks --structures lungs heart --device cuda --batch-size 16
  find archive -name '*.dcm' | cxr-attn-unet segment - -o masks --format parquet

The same command again goes on where it was stopped. Exit status: 0 all segmented, 1 some failed (see failures.csv),
2 nothing could be started, 130 interrupted. For research; not a medical device, not for diagnosis.

formats:
""" + "\n".join(f"  {name:15} {text}" for name, text in (FORMATS | COLLECTIONS).items())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE_OR_FOLDER", help="radiographs; - reads paths from standard input"
    )
    parser.add_argument("-o", "--output", required=True, help="folder for everything that is made")
    parser.add_argument(
        "--format",
        nargs="+",
        default=["png"],
        choices=[*FORMATS, *COLLECTIONS],
        metavar="FORMAT",
        dest="formats",
        help="one or more of those below (default: png)",
    )
    parser.add_argument("--structures", nargs="+", metavar="NAME", help="such as lungs heart (default: all)")
    parser.add_argument("--bundles", help="folder of the bundles (default: those of this package, or $CXR_BUNDLES)")
    parser.add_argument("--device", help="such as cpu, cuda:1 (default: a GPU where there is one)")
    parser.add_argument("--batch-size", type=int, default=1, help="radiographs a batch; more pays on GPUs (default: 1)")
    parser.add_argument("--threshold", type=float, help="probability from which a pixel belongs (default: 0.5)")
    parser.add_argument("--tta", action="store_true", help="average five views of each (test-time augmentation)")
    parser.add_argument("--workers", type=int, default=2, help="threads that read and write (default: 2)")
    parser.add_argument("--overwrite", action="store_true", help="do anew what was finished before")
    parser.add_argument("--no-report", action="store_true", help="no report.html")


def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    for name in ("batch_size", "workers"):
        if getattr(options, name) < 1:
            return _stop(f"--{name.replace('_', '-')} is {getattr(options, name)}, must be 1 or more")
    output = Path(options.output)
    try:
        check_packages(options.formats)
    except ImportError as error:
        return _stop(str(error))
    try:
        segmenter = Segmenter.from_bundles(
            options.structures, options.bundles, options.device, options.threshold, options.tta
        )
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        return _stop(str(error))
    try:
        (output / OWN).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        return _stop(f"cannot write to {output} ({error.strerror}); name another folder with --output")
    given = [line for entry in options.inputs for line in (_lines() if entry == "-" else [entry])]
    inputs, failures = find_inputs(given, output)
    if not inputs:
        for _, reason in failures:
            print(reason, file=sys.stderr)
        return _stop("there is nothing to segment")
    return segment_files(
        segmenter,
        inputs,
        output,
        options.formats,
        failures=failures,
        batch_size=options.batch_size,
        workers=options.workers,
        overwrite=options.overwrite,
        report=not options.no_report,
    )


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
        inputs: see :func:`cxr_attn_unet.collection.find_inputs`.
        output: folder of the results.
        formats: of ``cxr_attn_unet.writers.FORMATS`` and ``COLLECTIONS``.
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
        _write_tables(job, journal, done, formats, failed, skipped, report)
    except OSError as error:
        return _stop(f"the tables could not be written to {output} ({error}); run the same command again", 1)
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
        forms = [form for form in self.formats if form != "dicom-seg" or is_dicom_file(entry.path)]
        names = [name for form in forms for name in file_names(entry.stem, self.segmenter.structures, form)]
        return [Path(name) for name in names] + ([_thumbnail(entry.stem)] if self.thumbnails else [])

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
        formats = [form for form in self.formats if form != "dicom-seg" or is_dicom_file(entry.path)]
        (self.output / entry.stem).parent.mkdir(parents=True, exist_ok=True)
        found.save(self.output, formats, entry.stem)
        if self.thumbnails:
            with written(self.output / _thumbnail(entry.stem)) as temporary:
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


def _thumbnail(stem: str) -> Path:
    return Path(OWN) / "thumbnails" / f"{stem}.jpg"


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


def _write_tables(
    job: _Job,
    journal: Journal,
    done: Sequence[str],
    formats: Sequence[str],
    failed: Sequence[tuple[str, str]],
    skipped: Sequence[tuple[str, str]],
    report: bool,
) -> None:
    output, structures = job.output, job.segmenter.structures
    about = (
        "cxr-attn-unet "
        + __version__
        + "; weights: "
        + ", ".join(f"{structure} {version}" for structure, version in job.segmenter.versions.items())
    )
    columns = _columns(structures, job.segmenter.tta)
    rows = (_row(record) for record in journal.records(done))
    _write_csv(output / "measurements.csv", [name for name, _ in columns], rows)
    if failed or skipped:
        lines = [{"file": path, "kind": "failed", "reason": reason} for path, reason in failed]
        lines += [{"file": path, "kind": "skipped", "reason": reason} for path, reason in skipped]
        _write_csv(output / "failures.csv", ["file", "kind", "reason"], lines)
    else:
        (output / "failures.csv").unlink(missing_ok=True)
    if "coco" in formats:
        write_coco(output / "coco.json", journal.records(done), structures, about)
    if "parquet" in formats:
        texts = [("rle_" + structure, "text") for structure in structures]
        rows = (
            _row(record, joined=False)
            | {f"rle_{structure}": encoded["counts"] for structure, encoded in record["rle"].items()}
            for record in journal.records(done)
        )
        write_parquet(output / "segmentations.parquet", rows, [*columns, *texts])
    if report:
        write_report(
            output / "report.html",
            (_entry(job, record) for record in journal.records(done)),
            [
                *(Column(name, MEASUREMENTS[name][0], "", *MEASUREMENTS[name][1:]) for name in REPORT_COLUMNS),
                Column(
                    "confidence", "confidence", tip="The least of the structures' confidences; see measurements.csv"
                ),
            ],
            [*failed, *skipped],
            about=about,
        )


def _columns(structures: Sequence[str], tta: bool) -> list[tuple[str, str]]:
    """(name, type) of the columns of the tables."""
    names = [("file", "text"), ("name", "text"), ("rows", "integer"), ("columns", "integer")]
    names += [("row_spacing_mm", "number"), ("column_spacing_mm", "number")]
    names += [(name, "number") for name in MEASUREMENTS] + [("length_unit", "text"), ("area_unit", "text")]
    names += [(f"confidence_{structure}", "number") for structure in structures]
    names += [(f"agreement_{structure}", "number") for structure in structures if tta]
    return [*names, ("warnings", "texts")]


def _row(record: Mapping[str, Any], joined: bool = True) -> dict[str, Any]:
    row, column = record["spacing"] or (None, None)
    values = {"file": record["path"], "name": record["stem"], "rows": record["rows"], "columns": record["columns"]}
    values |= {"row_spacing_mm": row, "column_spacing_mm": column} | record["measurements"]
    values |= {f"confidence_{structure}": value for structure, value in record["confidences"].items()}
    values |= {f"agreement_{structure}": value for structure, value in record["agreements"].items()}
    return values | {"warnings": "; ".join(record["warnings"]) if joined else record["warnings"]}


def _write_csv(path: Path, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with (
        written(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def _entry(job: _Job, record: Mapping[str, Any]) -> Entry:
    picture = job.output / _thumbnail(record["stem"])
    unit = "mm²" if record["measurements"]["area_unit"] == "mm2" else "px"
    return Entry(
        record["path"],
        picture.read_bytes() if picture.is_file() else b"",
        record["measurements"] | {"confidence": min(record["confidences"].values())},
        record["warnings"],
        f"{record['stem']}_overlay.jpg" if "overlay" in job.formats else "",
        {name: unit for name in MEASUREMENTS if name.endswith("area")},
    )


def _lines() -> list[str]:
    return [line.rstrip("\r\n") for line in sys.stdin if line.strip()]


def _stop(message: str, status: int = 2) -> int:
    print(f"cxr-attn-unet: {message}", file=sys.stderr)
    return status
