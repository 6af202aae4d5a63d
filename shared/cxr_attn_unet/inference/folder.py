"""Segment a whole folder: every readable radiograph gets its mask, every other file is named at the end."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import Dataset, FolderLayoutBase, PILWriter, list_data_collate
from monai.engines import SupervisedEvaluator

from ..bundle import cause_of
from ..files import as_path, radiograph_stem, written
from ..io import RadiographError, list_radiographs

__all__ = [
    "AtomicPNGWriter",
    "FolderError",
    "FolderEvaluator",
    "MaskLayout",
    "TolerantDataset",
    "collate_readable",
    "radiographs_in",
    "to_columns_rows",
]

logger = logging.getLogger(__name__)
FAILED = "failed"


class FolderError(RuntimeError):
    """Some radiographs of a folder could not be segmented; the message lists them. The others have their masks."""


def radiographs_in(dataset_dir: str | os.PathLike) -> list[dict[str, str]]:
    """Items ``{"image": path}`` of all radiographs under a folder.

    A file whose mask would have the name of an earlier file's mask (``a.dcm`` and ``a.png`` in one folder) is kept as
    an item that fails, rather than overwriting the other's.

    Raises:
        RadiographError: no such folder, or no radiograph in it.
    """
    items: list[dict[str, str]] = []
    first: dict[tuple[Path, str], Path] = {}
    for path in map(Path, list_radiographs(dataset_dir)):
        other = first.setdefault((path.parent, radiograph_stem(path)), path)
        item = {"image": str(path)}
        if other != path:
            item[FAILED] = f"{path}: its mask would have the same name as that of {other.name}. Rename one of them."
        items.append(item)
    if not items:
        raise RadiographError(
            f"{dataset_dir}: no radiographs here. Name their folder with --dataset_dir; PNG, JPEG, TIFF, BMP, DICOM, "
            "NIfTI, MHA, NRRD and JSRT .IMG files are read."
        )
    return items


class TolerantDataset(Dataset):
    """``monai.data.Dataset`` that gives ``{"failed": message}`` for an item that cannot be prepared.

    A fault of the program, rather than of the file, is logged with its traceback; the other items go through.
    """

    def _transform(self, index: int) -> Any:
        item = self.data[index]
        if FAILED in item:
            return {FAILED: item[FAILED]}
        try:
            return super()._transform(index)
        except Exception as error:
            cause = cause_of(error)
            if isinstance(cause, RadiographError):
                return {FAILED: str(cause)}
            logger.error(f"{item['image']}: a fault of this program", exc_info=cause)
            return {
                FAILED: f"{item['image']}: could not be read because of a fault of this program "
                f"({type(cause).__name__}: {cause}). Please report it with its traceback; other files are not affected."
            }


def collate_readable(batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Batch of the items that could be read, with the messages of the others under ``failed``."""
    readable = [item for item in batch if FAILED not in item]
    collated = list_data_collate(readable) if readable else {}
    collated[FAILED] = [item[FAILED] for item in batch if FAILED in item]
    return collated


class FolderEvaluator(SupervisedEvaluator):
    """``SupervisedEvaluator`` that passes over what could not be read and says so at the end.

    Takes batches from :func:`collate_readable`. Same arguments as ``SupervisedEvaluator``.
    """

    failures: list[str]
    segmented: int

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override] # as MONAI's own
        """Segment all batches."""
        self.failures = []
        self.segmented = 0
        super().run(global_epoch)

    def _iteration(self, engine: SupervisedEvaluator, batchdata: dict[str, Any]) -> dict:
        for message in batchdata.pop(FAILED):
            logger.error(message)
            self.failures.append(message)
        if not batchdata:
            engine.state.output = {}
            return engine.state.output
        self.segmented += len(batchdata["image"])
        return super()._iteration(engine, batchdata)

    def report(self) -> None:
        """Say how many radiographs were segmented.

        Raises:
            FolderError: some could not be, listed in the message.
        """
        logger.info(f"Segmented {self.segmented} radiographs.")
        if self.failures:
            total = self.segmented + len(self.failures)
            raise FolderError(
                f"{len(self.failures)} of {total} radiographs could not be segmented:\n  " + "\n  ".join(self.failures)
            )


class MaskLayout(FolderLayoutBase):
    """Name of a radiograph's mask: ``output_dir/STEM_postfix.png``, in the subfolder that the radiograph has.

    Args:
        output_dir: folder of the masks.
        postfix: name of the structure.
        data_root_dir: folder of the radiographs; below it, subfolders are kept.
    """

    def __init__(self, output_dir: str, postfix: str, data_root_dir: str) -> None:
        self.output_dir = output_dir
        self.postfix = postfix
        self.data_root_dir = str(as_path(data_root_dir))

    def filename(self, subject: str = "subject", idx: Any = None, **kwargs: Any) -> str:
        """Path for the radiograph whose path is ``subject``."""
        folder = Path(os.path.relpath(Path(subject).parent.absolute(), Path(self.data_root_dir).absolute()))
        if ".." in folder.parts:
            folder = Path()
        return str(Path(self.output_dir) / folder / f"{radiograph_stem(subject)}_{self.postfix}.png")


class AtomicPNGWriter(PILWriter):
    """``PILWriter`` that never leaves half a file."""

    def write(self, filename: str | os.PathLike, verbose: bool = False, **kwargs: Any) -> None:
        """Write the picture, whole or not at all."""
        with written(filename) as path:
            super().write(path, verbose=verbose, **kwargs)
        logger.debug(f"Wrote {filename}.")


def to_columns_rows(mask: torch.Tensor) -> torch.Tensor:
    """``(1, columns, rows)`` of any type to ``(columns, rows)`` uint8, as MONAI Label's writer wants its masks."""
    return mask[0].to(torch.uint8)
