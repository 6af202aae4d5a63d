"""Tables and the report of one run."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from .. import __version__
from ..analysis.measurements import AREA, MEASUREMENTS
from ..analysis.parts import COUNT, PART_MEASUREMENTS, TEXT
from ..files import written
from ..io.dicom.identifiers import IDENTIFIERS, read_identifiers
from ..output import Column, Entry, MaskedImage, write_coco, write_parquet, write_report
from ..structures import part_key
from .inputs import Failure, Input
from .journal import Journal
from .record import Record, file_state
from .settings import Settings, thumbnail

__all__ = ["Finished", "write_csv", "write_mask_table", "write_tables"]

COLUMN_TYPES = {COUNT: "integer", TEXT: "text"}  # of measurements that are no numbers with a fraction
REPORT_COLUMNS = ("cardiothoracic_ratio", "heart_area", "lungs_area", "lung_ratio", "clavicle_asymmetry")
MORE_REPORT_COLUMNS = (
    Column("confidence", "confidence", tip="The least of the structures' confidences; see measurements.csv"),
    Column(
        "spacing_source",
        "spacing",
        tip="What the file's pixel spacing measures: in the patient, calibrated, at the detector, or given without "
        "saying where",
    ),
)


class Finished:
    """The finished radiographs of a run with their records, read one at a time, as often as wanted.

    Args:
        journal: holds the records.
        entries: those that are finished, in order.
    """

    def __init__(self, journal: Journal, entries: Sequence[Input]) -> None:
        self._journal = journal
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[Input, Record]]:
        for entry in self._entries:
            record = self._journal.get(entry.stem)
            if record is not None:
                yield entry, record


def write_tables(settings: Settings, finished: Finished, failures: Sequence[Failure]) -> None:
    """Write ``measurements.csv``, ``failures.csv`` where there are some, and the tables and report that are wanted.

    Args:
        settings: what is wanted.
        finished: the radiographs that have results.
        failures: the files that have none.

    Raises:
        OSError: a file cannot be written.
    """
    output = settings.output
    columns = _columns(settings)
    rows = (_row(settings, entry, record) | {"warnings": "; ".join(record.warnings)} for entry, record in finished)
    write_csv(output / "measurements.csv", list(columns), rows)
    _write_failures(output / "failures.csv", failures)
    if "coco" in settings.formats:
        images = (_masked_image(entry, record) for entry, record in finished)
        write_coco(output / "coco.json", images, settings.structures, _about(settings), settings.parts)
    if "parquet" in settings.formats:
        write_mask_table(output / "segmentations.parquet", settings, finished)
    if settings.report:
        _write_report(settings, finished, failures)


def write_mask_table(
    path: Path,
    settings: Settings,
    finished: Iterable[tuple[Input, Record]],
    former: Iterable[Mapping[str, Any]] = (),
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write measurements and masks in one Parquet table, a row per radiograph.

    Args:
        path: the file.
        settings: what is wanted.
        finished: radiographs with their records, which hold the masks; asked for one at a time.
        former: rows of such a table, which come first.
        metadata: of the file.

    Raises:
        OSError: it cannot be written.
    """
    columns = _columns(settings)
    for name in _masks_of(settings):
        columns[f"rle_{name}"] = "text"
    rows = (_row(settings, entry, record) | _encoded(record) for entry, record in finished)
    write_parquet(path, chain(former, rows), list(columns.items()), metadata)


def _about(settings: Settings) -> str:
    weights = ", ".join(f"{structure} {version}" for structure, version in settings.versions.items())
    return f"cxr-attn-unet {__version__}; weights: {weights}"


def _masks_of(settings: Settings) -> list[str]:
    """What has a mask, structures before parts."""
    names = list(settings.structures)
    for structure, parts in settings.parts.items():
        names.extend(part_key(structure, part) for part in parts)
    return names


def _columns(settings: Settings) -> dict[str, str]:
    """Types of the tables' columns by name, in order; see :func:`cxr_attn_unet.output.write_parquet`."""
    columns = {"file": "text", "name": "text"}
    if settings.with_identifiers:
        columns |= dict.fromkeys(IDENTIFIERS, "text")
    columns |= {"rows": "integer", "columns": "integer"}
    columns |= {"row_spacing_mm": "number", "column_spacing_mm": "number", "spacing_source": "text"}
    for name in MEASUREMENTS:
        columns[name] = "number"
    for structure in settings.parts:
        for measurement in PART_MEASUREMENTS.get(structure, ()):
            columns[measurement.name] = COLUMN_TYPES.get(measurement.kind, "number")
    columns |= {"length_unit": "text", "area_unit": "text"}
    for structure in settings.structures:
        columns[f"confidence_{structure}"] = "number"
    if settings.tta:
        for structure in settings.structures:
            columns[f"agreement_{structure}"] = "number"
    columns["warnings"] = "texts"
    return columns


def _row(settings: Settings, entry: Input, record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {"file": entry.name, "name": entry.stem, "rows": record.rows, "columns": record.columns}
    if settings.with_identifiers:
        row |= _identifiers(record)
    if record.spacing is not None:
        row["row_spacing_mm"] = record.spacing[0]
        row["column_spacing_mm"] = record.spacing[1]
        row["spacing_source"] = record.spacing_source
    row.update(record.measurements)
    for structure, value in record.confidences.items():
        row[f"confidence_{structure}"] = value
    for structure, value in record.agreements.items():
        row[f"agreement_{structure}"] = value
    row["warnings"] = list(record.warnings)
    return row


def _identifiers(record: Record) -> dict[str, str]:
    """Whose radiograph it is; nothing if the file is another one now."""
    try:
        is_same = file_state(record.path) == record.state
    except OSError:
        return {}
    return read_identifiers(record.path) if is_same else {}


def _encoded(record: Record) -> dict[str, str]:
    return {f"rle_{structure}": encoded["counts"] for structure, encoded in (record.rle or {}).items()}


def _masked_image(entry: Input, record: Record) -> MaskedImage:
    return MaskedImage(entry.name, record.rows, record.columns, record.rle or {})


def write_csv(path: Path, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table of columns with names, a row at a time; numbers with six digits.

    Raises:
        OSError: it cannot be written.
    """
    with (
        written(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _as_text(value) for name, value in row.items()})


def _as_text(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _write_failures(path: Path, failures: Sequence[Failure]) -> None:
    if not failures:
        path.unlink(missing_ok=True)
        return
    lines = []
    for failure in failures:
        kind = "skipped" if failure.skipped else "failed"
        lines.append({"file": failure.name, "kind": kind, "reason": failure.short_reason})
    write_csv(path, ["file", "kind", "reason"], lines)


def _write_report(settings: Settings, finished: Finished, failures: Sequence[Failure]) -> None:
    columns = []
    for name in REPORT_COLUMNS:
        measurement = MEASUREMENTS[name]
        columns.append(Column(name, measurement.label, "", measurement.decimals, measurement.definition))
    columns.extend(MORE_REPORT_COLUMNS)
    entries = (_report_entry(settings, entry, record) for entry, record in finished)
    reasons = [(failure.name, failure.short_reason) for failure in failures]
    write_report(settings.output / "report.html", entries, columns, reasons, about=_about(settings))


def _report_entry(settings: Settings, entry: Input, record: Record) -> Entry:
    picture = settings.output / thumbnail(entry.stem)
    area_unit = "mm²" if record.measurements["area_unit"] == "mm2" else "px"
    values: dict[str, float | str | None] = {**record.measurements}
    values["confidence"] = min(record.confidences.values())
    values["spacing_source"] = record.spacing_source if record.spacing else None
    return Entry(
        name=entry.name,
        picture=picture.read_bytes() if picture.is_file() else b"",
        values=values,
        warnings=record.warnings,
        link=f"{entry.stem}_overlay.jpg" if "overlay" in settings.formats else "",
        units={name: area_unit for name, measurement in MEASUREMENTS.items() if measurement.kind == AREA},
    )
