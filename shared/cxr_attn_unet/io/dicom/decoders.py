"""Decoders of compressed pixels, in the order in which they are tried.

First those that raise an error for a damaged frame: pydicom's own, Pillow, OpenJPEG (pylibjpeg-openjpeg) and CharLS
(pyjpegls). Then, for lossless JPEG, JPEG of 12 bits and what these do not read, GDCM or, if it is installed, libjpeg.
GDCM ends its process when a frame is damaged: so it runs in one of its own, and the crash costs that file alone.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from typing import IO, cast

import numpy as np
import pydicom
from PIL import features
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from . import worker

__all__ = ["DecodingError", "can_decode", "decode"]

_IS_PYDICOM_2 = pydicom.__version__.startswith("2.")
# in-process decoders by transfer syntax: names of plugins of pydicom 3; pydicom 2 calls two of them otherwise
_PLUGINS = {
    RLELossless: ("pydicom",),
    JPEGBaseline8Bit: ("pillow",),
    JPEGExtended12Bit: ("pillow",),
    JPEG2000Lossless: ("pillow", "pylibjpeg"),
    JPEG2000: ("pillow", "pylibjpeg"),
    JPEGLSLossless: ("pyjpegls",),
    JPEGLSNearLossless: ("pyjpegls",),
    # HTJ2K, which pydicom 2 does not know
    "1.2.840.10008.1.2.4.201": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.202": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.203": ("pylibjpeg",),
}
_BY_GDCM = tuple(f"1.2.840.10008.1.2.4.{last}" for last in (50, 51, 57, 70, 80, 81, 90, 91))
_NAMES_OF_PYDICOM_2 = {"pydicom": "rle", "pyjpegls": "jpeg_ls"}
_LONGEST_SECONDS = 120


class DecodingError(RuntimeError):
    """A frame could not be decoded; ``crashed`` if that ended the decoder's process, so that it is damaged."""

    def __init__(self, reason: str, crashed: bool = False) -> None:
        super().__init__(reason)
        self.crashed = crashed


def decode(dataset: Dataset) -> np.ndarray:
    """The pixels of a data set of one compressed frame, ``(rows, columns)`` or ``(rows, columns, samples)``.

    Raises:
        DecodingError: no decoder is installed, or the frame is damaged.
    """
    reasons = []
    for plugin in _PLUGINS.get(dataset.file_meta.TransferSyntaxUID, ()):
        try:
            return _decode_here(dataset, plugin)
        except Exception as error:  # each library raises its own
            reasons.append(worker.first_line(error))
    try:
        return _decode_elsewhere(dataset)
    except DecodingError as error:
        reasons.append(str(error))
        raise DecodingError("; ".join(dict.fromkeys(reasons)), error.crashed) from error


def can_decode(syntax: str, bits: int) -> bool:
    """Whether a decoder for sound frames of that transfer syntax and precision is installed."""
    if find_spec("gdcm") and str(syntax) in _BY_GDCM:
        return True
    if syntax == RLELossless or (syntax in (JPEGBaseline8Bit, JPEGExtended12Bit) and bits == 8):
        return True
    if syntax in (JPEG2000Lossless, JPEG2000):
        return bool(features.check_codec("jpg_2000"))
    return syntax in (JPEGLSLossless, JPEGLSNearLossless) and find_spec("jpeg_ls") is not None


def _decode_here(dataset: Dataset, plugin: str) -> np.ndarray:
    if _IS_PYDICOM_2:
        dataset.convert_pixel_data(_NAMES_OF_PYDICOM_2.get(plugin, plugin))
    else:
        dataset.pixel_array_options(decoding_plugin=plugin)
    return dataset.pixel_array


class _Worker:
    """A process that decodes."""

    def __init__(self) -> None:
        # by the same search path as here, but without the script's folder, whose modules have names like "read"
        code = (
            "import json, runpy, sys; sys.path[:] = json.loads(sys.argv[2]); "
            "runpy.run_path(sys.argv[1], {}, '__main__')"
        )
        script = os.path.abspath(worker.__file__)
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, script, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._questions = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)

    def is_alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.poll() is None

    def ask(self, file: bytes) -> tuple[bool, bytes]:
        """The answer to a file; see :mod:`.worker`.

        Raises:
            EOFError, OSError: it ended without an answer, or took too long.
        """
        timer = threading.Timer(_LONGEST_SECONDS, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            worker.send(self._questions, True, file)
            return worker.receive(self._answers)
        finally:
            timer.cancel()

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._close()

    def disown(self) -> None:
        """In a process that was forked: it is the parent's, who waits for it."""
        self._process.returncode = 0
        self._close()

    def _close(self) -> None:
        for stream in (self._questions, self._answers):
            with contextlib.suppress(OSError):  # what was still to be written goes nowhere
                stream.close()


class _Workers:
    """Processes that decode, kept for the next file; as many as there are threads that decode at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []

    def disown(self) -> None:
        """In a process that was forked: begin with none."""
        self._lock = threading.Lock()
        for process in self._idle:
            process.disown()
        self._idle = []

    def end(self) -> None:
        """End those that are idle."""
        with self._lock:
            ending = self._idle
            self._idle = []
        for process in ending:
            process.end()

    def ask(self, file: bytes) -> tuple[bool, bytes]:
        """The answer of one of them to a file.

        Raises:
            EOFError, OSError: it ended without one.
        """
        worker = self._take()
        try:
            answer = worker.ask(file)
        except BaseException:  # also if interrupted between question and answer: of no more use
            worker.end()
            raise
        with self._lock:
            self._idle.append(worker)
        return answer

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.is_alive():
                    return worker
        try:
            return _Worker()
        except OSError as error:
            raise DecodingError(f"its decoder needs a process, which cannot be started: {error}") from error


_WORKERS = _Workers()
atexit.register(_WORKERS.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_WORKERS.disown)


def _decode_elsewhere(dataset: Dataset) -> np.ndarray:
    buffer = io.BytesIO()
    try:
        if _IS_PYDICOM_2:
            dataset.save_as(buffer, write_like_original=False)
        else:
            dataset.save_as(buffer, enforce_file_format=True)
    except Exception as error:  # pydicom raises many kinds for a value that cannot be
        raise DecodingError(worker.first_line(error)) from error
    try:
        good, content = _WORKERS.ask(buffer.getvalue())
    except (EOFError, OSError) as error:
        raise DecodingError("its decoder crashed", crashed=True) from error
    if not good:
        raise DecodingError(content.decode(errors="replace"))
    return np.load(io.BytesIO(content), allow_pickle=False)
