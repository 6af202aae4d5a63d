"""What is wanted of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..inference.segmenter import Segmenter
from ..output import FORMATS, REPRODUCIBLE, file_names, is_dicom_file
from .inputs import Input
from .journal import Journal
from .record import Record, file_state

__all__ = ["STATE_FOLDER", "Settings", "is_finished", "thumbnail"]

STATE_FOLDER = ".segment"  # in the output folder, makes a run resumable
WITH_MASKS = ("coco", "parquet")  # tables that hold the masks themselves


@dataclass(frozen=True)
class Settings:
    """What is wanted of a run.

    Attributes:
        output: folder of the results.
        structures: those that are segmented.
        versions: by structure, the version of the weights.
        identity: changes with weights and settings, see :class:`~cxr_attn_unet.inference.Segmenter`.
        tta: whether the mean of several views is taken.
        formats: of ``cxr_attn_unet.output.FORMATS`` and ``COLLECTIONS``.
        report: whether ``report.html`` is written.
        parts: by structure, the names of the parts that are told apart.
        with_identifiers: whether tables say who a DICOM radiograph is of.
        uids: of DICOM objects, see :data:`cxr_attn_unet.output.UIDS`.
        checksums: by structure, the SHA-256 of the weights' file.
        threshold: of probabilities; ``None`` leaves it to the bundles.
        max_pixels: that a radiograph may have; ``None`` leaves it to the environment.
        device: on which the networks run.
    """

    output: Path
    structures: tuple[str, ...]
    versions: Mapping[str, str]
    identity: str
    tta: bool = False
    formats: tuple[str, ...] = ("png",)
    report: bool = True
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    with_identifiers: bool = False
    uids: str = REPRODUCIBLE
    checksums: Mapping[str, str] = field(default_factory=dict)
    threshold: float | None = None
    max_pixels: int | None = None
    device: str = "cpu"

    @classmethod
    def of(
        cls,
        segmenter: Segmenter,
        output: str | os.PathLike,
        formats: Sequence[str],
        report: bool,
        with_identifiers: bool = False,
        uids: str = REPRODUCIBLE,
    ) -> Settings:
        """Those of a run with a segmenter."""
        return cls(
            output=Path(output),
            structures=segmenter.structures,
            versions=segmenter.versions,
            identity=segmenter.identity,
            tta=segmenter.tta,
            formats=tuple(formats),
            report=report,
            parts=segmenter.parts,
            with_identifiers=with_identifiers,
            uids=uids,
            checksums=segmenter.checksums,
            threshold=segmenter.threshold,
            max_pixels=segmenter.max_pixels,
            device=str(segmenter.device),
        )

    @property
    def with_rle(self) -> bool:
        """Whether run-length encoded masks are needed."""
        return any(form in WITH_MASKS for form in self.formats)

    def formats_of(self, path: str) -> list[str]:
        """The formats of a radiograph's own results, without those that its file cannot have."""
        own = [form for form in self.formats if form in FORMATS]
        return [form for form in own if not FORMATS[form].dicom_only or is_dicom_file(path)]

    def results_of(self, entry: Input) -> list[Path]:
        """All files that are made for a radiograph, below the output folder."""
        files: list[Path] = []
        for form in self.formats_of(entry.path):
            files.extend(Path(name) for name in file_names(entry.stem, self.structures, form, self.parts))
        if self.report:
            files.append(thumbnail(entry.stem))
        return files


def thumbnail(stem: str) -> Path:
    """Small picture of a radiograph for the report, below the output folder."""
    return Path(STATE_FOLDER) / "thumbnails" / f"{stem}.jpg"


def is_finished(entry: Input, journal: Journal, settings: Settings) -> bool:
    """Whether all that is wanted of a radiograph is there, made from the same file by the same weights and settings."""
    record = journal.get(entry.stem)
    if record is None or not _same_source(record, entry, settings):
        return False
    if settings.with_rle and record.rle is None:
        return False
    wanted = settings.results_of(entry)
    if not {str(file) for file in wanted}.issubset(record.files):
        return False
    return all((settings.output / file).is_file() for file in wanted)


def _same_source(record: Record, entry: Input, settings: Settings) -> bool:
    if record.identity != settings.identity or record.path != os.path.abspath(entry.path):
        return False
    try:
        return record.state == file_state(entry.path)
    except OSError:
        return False
