"""What is done with one radiograph, wherever it is done: read, segment, write, and say truly why that failed."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..files import written
from ..inference.segmentation import Segmentation
from ..inference.segmenter import Segmenter
from ..io import NotARadiographError, Radiograph, RadiographError, read_radiograph
from ..output import save_with_notes
from .inputs import Failure, Input
from .record import FileState, Record, file_state, make_record
from .settings import Settings, thumbnail

__all__ = ["Opened", "Outcome", "failure_of", "fills_batch", "open_input", "segment_opened", "write_results"]

THUMBNAIL_SIDE = 224
THUMBNAIL_QUALITY = 80
PIXELS_OF_BATCH = 50_000_000  # a batch of larger radiographs is a smaller one: bounded memory
# what a file, a disk, a memory or a missing package may cause; all else is a fault of this program
EXPECTED = (RadiographError, OSError, MemoryError, torch.OutOfMemoryError, ImportError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """An input that was read."""

    entry: Input
    state: FileState
    radiograph: Radiograph


@dataclass(frozen=True)
class Outcome:
    """What became of an input: its record is in the journal, or it has failed."""

    entry: Input
    failure: Failure | None = None


def open_input(entry: Input, max_pixels: int | None) -> Opened:
    """Read an input.

    Args:
        entry: the file.
        max_pixels: see :func:`cxr_attn_unet.io.read_radiograph`.

    Raises:
        RadiographError: it cannot be used.
    """
    try:
        state = file_state(entry.path)
    except OSError:
        state = (0, 0)  # reading it says what is wrong
    radiograph = read_radiograph(entry.path, max_pixels)
    _check_unchanged(entry, state)
    return Opened(entry, state, radiograph)


def _check_unchanged(entry: Input, state: FileState) -> None:
    """Raise :class:`RadiographError` unless a file is in the state in which it was before it was read."""
    try:
        is_same = file_state(entry.path) == state
    except OSError:
        is_same = False
    if not is_same:
        raise RadiographError(
            f"{entry.path}: was changed while it was worked on. Run the same command again when it is whole."
        )


def fills_batch(batch: Sequence[Opened], batch_size: int) -> bool:
    """Whether a batch is to be segmented before another radiograph is added to it.

    Args:
        batch: what it holds.
        batch_size: the most radiographs.
    """
    pixels = sum(opened.radiograph.pixels.size for opened in batch)
    return len(batch) >= batch_size or pixels >= PIXELS_OF_BATCH


def segment_opened(segmenter: Segmenter, batch: Sequence[Opened]) -> list[Segmentation | Exception]:
    """What was found in each; an error in a batch is that of one radiograph, which must not stop the others.

    Args:
        segmenter: the bundles.
        batch: radiographs that were read.
    """
    if not batch:
        return []
    try:
        return [*segmenter.segment([opened.radiograph for opened in batch])]
    except Exception as error:
        if len(batch) == 1:
            return [error]
    return [segment_opened(segmenter, [opened])[0] for opened in batch]


def write_results(settings: Settings, opened: Opened, found: Segmentation) -> Record:
    """Write all results of a radiograph; returns what is to be remembered of it.

    Args:
        settings: what is wanted.
        opened: the radiograph.
        found: what was found in it.

    Raises:
        OSError: they cannot be written.
        RadiographError: the radiograph's file was changed since it was read; its results are removed.
    """
    entry = opened.entry
    saved = save_with_notes(found, settings.output, settings.formats_of(entry.path), entry.stem, settings.uids)
    if settings.report:
        with written(settings.output / thumbnail(entry.stem)) as temporary:
            found.plot(THUMBNAIL_SIDE).save(temporary, format="JPEG", quality=THUMBNAIL_QUALITY)
    files = settings.results_of(entry)
    try:
        _check_unchanged(entry, opened.state)  # DICOM results take their header from the file
    except RadiographError:
        for file in files:
            (settings.output / file).unlink(missing_ok=True)
        raise
    return make_record(entry, opened.state, settings.identity, found, files, saved.notes, settings.with_rle)


def failure_of(entry: Input, error: BaseException, step: str) -> Failure:
    """A failure with its true reason.

    Args:
        entry: the file.
        error: what was raised.
        step: what the file was to be: ``read``, ``segmented`` or ``written``.
    """
    if not isinstance(error, EXPECTED):
        logger.error(f"{entry.path}: a fault of this program", exc_info=error)
    reason = _reason(entry.path, error, step)
    return Failure(entry.name, reason, isinstance(error, NotARadiographError), entry.path)


def _reason(path: str, error: BaseException, step: str) -> str:
    if isinstance(error, RadiographError):
        return str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return f"{path}: the GPU's memory is full. Give smaller --batch-size and --workers, or --device cpu."
    if isinstance(error, MemoryError):
        return f"{path}: not enough memory. Give smaller --batch-size and --workers."
    if isinstance(error, ImportError):
        return f"{path}: a package is missing ({error}). Install it and run the same command again."
    if isinstance(error, OSError):
        return _reason_of_system(path, error, step)
    return (
        f"{path}: could not be {step} because of a fault of this program ({type(error).__name__}: {error}). "
        "Please report it with the traceback that was printed; the other files are not affected."
    )


def _reason_of_system(path: str, error: OSError, step: str) -> str:
    what = error.strerror or error
    if step != "written":
        return f"{path}: could not be {step} ({what}). Check that the file may be read and its disk is there."
    if error.errno == errno.ENOSPC:
        remedy = "Make room and run the same command again."
    else:
        remedy = "Check the folder."
    return f"{path}: its results could not be written ({what}). {remedy}"
