"""What is remembered of a radiograph that was segmented."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..files import sha256
from ..inference.segmentation import Segmentation
from ..output import encode
from ..structures import part_key
from .inputs import Input

__all__ = ["VERSION", "FileState", "Record", "digest_of", "file_state", "make_record"]

VERSION = 3  # of the lines that are written; those of version 0.1.0 of the package had no number

FileState = tuple[int, int]  # size in bytes, time of the last change in ns


@dataclass(frozen=True)
class Record:
    """One radiograph that was segmented: a line of the journal, a row of the tables.

    Attributes:
        path: the file, absolute.
        stem: start of its results' names, below the output folder.
        identity: of the weights and settings, see :class:`~cxr_attn_unet.inference.Segmenter`.
        state: of the file before it was read, see :func:`file_state`.
        files: its results, below the output folder.
        rows: of its masks, in pixels.
        columns: of its masks, in pixels.
        spacing: (row, column) distance of pixels in mm; ``None`` if the file does not say.
        spacing_source: what the spacing measures, see :class:`~cxr_attn_unet.io.Radiograph`.
        measurements: by name, see :func:`cxr_attn_unet.analysis.measure`.
        confidences: by structure, 0 to 1.
        agreements: by structure, 0 to 1; empty without test-time augmentation.
        warnings: what was odd, in words.
        rle: by structure, and by :func:`~cxr_attn_unet.structures.part_key` of parts, the run-length encoded mask, see
            :func:`cxr_attn_unet.output.encode`; ``None`` where no table of masks was asked for.
        sha256: of the file, in hexadecimal; ``None`` where it was not taken.
    """

    path: str
    stem: str
    identity: str
    state: FileState
    files: tuple[str, ...]
    rows: int
    columns: int
    spacing: tuple[float, float] | None
    spacing_source: str | None
    measurements: Mapping[str, float | str | None]
    confidences: Mapping[str, float]
    agreements: Mapping[str, float]
    warnings: tuple[str, ...]
    rle: Mapping[str, Mapping[str, Any]] | None = None
    sha256: str | None = None

    def to_json(self) -> str:
        """The record as one line of JSON, without its end."""
        return json.dumps({"version": VERSION, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Record:
        """The record of a parsed line.

        Args:
            content: what :meth:`to_json` wrote.

        Raises:
            ValueError: a line of another version, or one that lacks something.
        """
        if content.get("version") != VERSION:
            raise ValueError(f"version is {content.get('version')}, must be {VERSION}")
        missing = [field.name for field in fields(cls) if field.name not in content and field.default is MISSING]
        if missing:
            raise ValueError(f"the record lacks {', '.join(missing)}")
        values = {field.name: content[field.name] for field in fields(cls) if field.name in content}
        for name in ("state", "files", "warnings"):
            values[name] = tuple(values[name])
        if values["spacing"] is not None:
            values["spacing"] = tuple(values["spacing"])
        return cls(**values)


def make_record(
    entry: Input,
    state: FileState,
    identity: str,
    found: Segmentation,
    files: list[Path],
    notes: list[str],
    with_rle: bool,
) -> Record:
    """The record of what was found and written.

    Args:
        entry: the radiograph's file.
        state: of that file before it was read.
        identity: of the segmenter.
        found: what was found.
        files: what was written, below the output folder.
        notes: what was odd while it was written.
        with_rle: whether the masks are kept in the record, for tables of masks.
    """
    rows, columns = next(iter(found.masks.values())).shape
    rle = None
    if with_rle:
        rle = {structure: encode(mask) for structure, mask in found.masks.items()}
        for structure, parts in found.parts.items():
            rle |= {part_key(structure, part): encode(mask) for part, mask in parts.items()}
    return Record(
        path=os.path.abspath(entry.path),
        stem=entry.stem,
        identity=identity,
        state=state,
        files=tuple(str(file) for file in files),
        rows=rows,
        columns=columns,
        spacing=found.radiograph.spacing,
        spacing_source=found.radiograph.spacing_source,
        measurements=dict(found.measurements),
        confidences=dict(found.confidences),
        agreements=dict(found.agreements),
        warnings=(*found.warnings, *notes),
        rle=rle,
        sha256=digest_of(Path(entry.path), state),
    )


def digest_of(path: Path, state: FileState) -> str | None:
    """SHA-256 of a file, in hexadecimal; ``None`` if it is gone or no longer the one that was read.

    Args:
        path: of the file.
        state: before it was read, see :func:`file_state`.
    """
    try:
        digest = sha256(path)
        return digest if file_state(path) == state else None
    except OSError:
        return None


def file_state(path: str | os.PathLike) -> FileState:
    """Size in bytes and time of the last change in ns; equal where a file was not changed.

    Raises:
        OSError: there is no such file.
    """
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns
