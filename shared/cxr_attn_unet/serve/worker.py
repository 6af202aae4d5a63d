"""The process that segments: of its own, so that it can be ended when a radiograph takes too long or breaks it."""

from __future__ import annotations

import importlib.util
import json
import logging
import multiprocessing
import signal
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from .. import __version__
from ..bundle import bundles_folder
from ..inference import Segmenter
from ..inference.segmenter import bundle_structures
from ..io import RadiographError
from ..io.limits import limited_to, max_pixels
from ..structures import BUNDLE_SUFFIX
from .answer import css_colour, title_of, write_answer
from .content import About, StructureKnown
from .settings import Bundles, Limits

__all__ = ["FailedRadiographError", "Worker", "WorkerError"]

START_SECONDS = 600  # weights are read within seconds, but a machine may be busy
END_SECONDS = 5


class WorkerError(RuntimeError):
    """The process could not be started; the message says why."""


class FailedRadiographError(RuntimeError):
    """A radiograph has no result; the message says why, and holds nothing of the file but what is wrong with it."""


@dataclass(frozen=True)
class _Failed:
    """Sent in place of what was asked for."""

    reason: str


@dataclass(frozen=True)
class _Done:
    """Sent when the files of a result are written."""

    warnings: int


class Worker:
    """Segments radiographs one at a time in a process of its own.

    Not for several threads at a time.

    Args:
        bundles: what segments.
        limits: of which the seconds count here.
    """

    def __init__(self, bundles: Bundles, limits: Limits) -> None:
        self._bundles = bundles
        self._limits = limits
        # a fresh interpreter: a copy of this process would have its threads' locks and its sockets
        self._context = multiprocessing.get_context("spawn")
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None

    def start(self) -> About:
        """Start the process and wait until it has its weights.

        Raises:
            WorkerError: a bundle is missing, damaged or not trusted, or the process died.
        """
        own, other = self._context.Pipe()
        process = self._context.Process(target=_work, args=(other, self._bundles, self._limits), daemon=True)
        process.start()
        other.close()
        self._process = process
        self._connection = own
        answer = self._answer(START_SECONDS)
        if isinstance(answer, About):
            return answer
        self.stop()
        raise WorkerError(answer.reason if isinstance(answer, _Failed) else self._death())

    def segment(self, radiograph: Path, folder: Path) -> int:
        """Segment a file and write the files of its result.

        Args:
            radiograph: the file.
            folder: where the result goes, see :func:`.answer.write_answer`.

        Returns:
            the number of warnings.

        Raises:
            FailedRadiographError: it has no result.
            WorkerError: the process had ended, and could not be started again.
        """
        if self._process is None or not self._process.is_alive():
            self.start()
        try:
            self._open.send((radiograph, folder))
            answer = self._answer(self._limits.seconds)
        except OSError:
            answer = None
        if isinstance(answer, _Done):
            return answer.warnings
        if isinstance(answer, _Failed):
            raise FailedRadiographError(answer.reason)
        reason = self._death() if answer is None else f"it took longer than {self._limits.seconds:g} s and was given up"
        self.stop()
        raise FailedRadiographError(reason)

    def stop(self) -> None:
        """End the process, whatever it does."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if connection is not None:
            connection.close()
        if process is not None:
            process.kill()
            process.join(END_SECONDS)

    @property
    def _open(self) -> Connection:
        if self._connection is None:
            raise OSError("the process was stopped")
        return self._connection

    def _answer(self, seconds: float) -> object | None:
        """What the process sends; ``None`` if it died, ``TimeoutError`` (not raised) if it sends nothing in time."""
        try:
            if not self._open.poll(seconds):
                return TimeoutError()
            return self._open.recv()
        except (EOFError, OSError):
            return None

    def _death(self) -> str:
        code = None
        if self._process is not None:
            self._process.join(END_SECONDS)
            code = self._process.exitcode
        return f"the process that segments ended (exit code {code}); too little memory is the usual reason"


def _work(connection: Connection, bundles: Bundles, limits: Limits) -> None:
    """What the process does until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
    _quieten()
    try:
        segmenter = _load(bundles)
    except (OSError, ImportError, ValueError, RuntimeError) as error:
        connection.send(_Failed(str(error)))
        return
    about = _about(segmenter, limits, bundles.max_pixels)
    connection.send(about)
    while True:
        try:
            radiograph, folder = connection.recv()
        except EOFError:
            return
        connection.send(_segmented(segmenter, radiograph, folder, about.dicom))


def _quieten() -> None:
    """Hide warnings of libraries: they are not for the log, and pydicom's quote values of headers."""
    warnings.filterwarnings("ignore")
    for name in ("pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _load(bundles: Bundles) -> Segmenter:
    structures = bundle_structures(bundles.structures, bundles.folder)
    root = bundles_folder() if bundles.folder is None else Path(bundles.folder)
    configs = [root / f"{name}{BUNDLE_SUFFIX}" / "configs" / "inference.json" for name in structures]
    parts = any(json.loads(path.read_text(encoding="utf-8")).get("parts") for path in configs)
    return Segmenter.from_bundles(
        structures,
        bundles.folder,
        bundles.device,
        parts=parts,
        max_pixels=bundles.max_pixels,
        trust=bundles.trust,
    )


def _about(segmenter: Segmenter, limits: Limits, limit_of_pixels: int | None) -> About:
    structures = [
        StructureKnown(
            name=name,
            title=title_of(name),
            colour=css_colour(name),
            version=segmenter.versions[name],
            checksum=segmenter.checksums.get(name, ""),
            parts=len(segmenter.parts.get(name, ())),
        )
        for name in segmenter.structures
    ]
    with limited_to(limit_of_pixels):
        most_pixels = max_pixels()
    return About(
        version=__version__,
        structures=structures,
        max_bytes=limits.bytes,
        max_pixels=most_pixels,
        waiting=limits.waiting,
        seconds=limits.seconds,
        keep_seconds=limits.keep_seconds,
        kept_on_disk=limits.folder is not None,
        dicom=importlib.util.find_spec("highdicom") is not None,
    )


def _segmented(segmenter: Segmenter, radiograph: Path, folder: Path, with_dicom: bool) -> _Done | _Failed:
    try:
        result = write_answer(segmenter(radiograph), folder, with_dicom)
    except RadiographError as error:
        # the name of the temporary file says nothing to anybody
        return _Failed(str(error).replace(f"{radiograph}: ", "").replace(str(radiograph), "the radiograph"))
    except MemoryError:
        return _Failed("there is not enough memory for it")
    except OSError as error:
        return _Failed(f"its results could not be written ({error.strerror})")
    except Exception as error:
        # a fault of this program must not stop the server; its message may quote the file, so only its kind is said
        return _Failed(f"a fault of this program ({type(error).__name__}); please report it")
    return _Done(len(result.warnings))
