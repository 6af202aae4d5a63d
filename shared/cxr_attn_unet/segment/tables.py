"""Tables and the report of one run."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..analysis.measurements import MEASUREMENTS
from ..files import written
from ..output import Column, Entry, write_coco, write_parquet, write_report

__all__ = ["STATE_FOLDER", "thumbnail", "write_tables"]

STATE_FOLDER = ".segment"  # in the output, makes a run resumable
REPORT_COLUMNS = ("cardiothoracic_ratio", "heart_area", "lungs_area", "lung_ratio", "clavicle_asymmetry")


def thumbnail(stem: str) -> Path:
    """Of a radiograph in the output folder, for the report."""
    return Path(STATE_FOLDER) / "thumbnails" / f"{stem}.jpg"


def write_tables(
    job: Any,
    journal: Any,
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


def _entry(job: Any, record: Mapping[str, Any]) -> Entry:
    picture = job.output / thumbnail(record["stem"])
    unit = "mm²" if record["measurements"]["area_unit"] == "mm2" else "px"
    return Entry(
        record["path"],
        picture.read_bytes() if picture.is_file() else b"",
        record["measurements"] | {"confidence": min(record["confidences"].values())},
        record["warnings"],
        f"{record['stem']}_overlay.jpg" if "overlay" in job.formats else "",
        {name: unit for name in MEASUREMENTS if name.endswith("area")},
    )
