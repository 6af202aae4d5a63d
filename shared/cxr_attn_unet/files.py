"""Names and writing of files."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

__all__ = ["as_path", "as_utf8", "claimed", "radiograph_stem", "remove_parts", "sha256", "write_json", "written"]

logger = logging.getLogger(__name__)

PICTURES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".j2k", ".jpx")
DICOM = (".dcm", ".dicom", ".dic", ".ima", ".dcm.gz", ".dicom.gz", ".dic.gz", ".ima.gz")
VOLUMES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".img", ".hdr")
PART = ".cxr-part-"  # how the names of files begin that are being written
SUFFIXES = (*PICTURES, *DICOM, *VOLUMES, ".zip")
_looked_through: set[Path] = set()  # folders of which this process has removed what killed ones left


def as_path(given: Any) -> Path:
    """The path that was meant by a value of the command line of ``python -m monai.bundle``.

    It reads arguments as Python values: ``20240101`` becomes a number, ``True`` a truth value. Where that can be
    undone, a folder of that name is found all the same; ``1e3`` has become ``1000.0``, and cannot.

    Raises:
        ValueError: neither a path nor the like, or a number that no longer shows how it was written.
    """
    if isinstance(given, (str, os.PathLike)):
        return Path(given).expanduser()
    if isinstance(given, int) and os.path.exists(str(given)):
        return Path(str(given))
    raise ValueError(
        f"{given}: the command line took this path for a Python {type(given).__name__}. Put ./ before a name that "
        "reads as a number, True, False or None, such as ./1e3."
    )


def as_utf8(name: str) -> str:
    """A file's name with bytes that are no UTF-8 as escapes, for tables that take nothing else."""
    if name.isascii():
        return name
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def radiograph_stem(path: str | os.PathLike) -> str:
    """File name without a radiograph's suffix: ``a.nii.gz`` is ``a``, the DICOM file ``1.2.840`` stays whole."""
    name = Path(path).name
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """Within, an error of the system, such as a full disk, names this file rather than a temporary one or none."""
    try:
        yield
    except OSError as error:
        is_temporary = isinstance(error.filename, str) and Path(error.filename).name.startswith(PART)
        if error.errno is not None and (error.filename is None or is_temporary):
            error.filename = str(path)
        raise


@contextmanager
def written(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path that becomes ``path`` when the block ends without an error, and vanishes otherwise.

    The suffix is kept (writers choose the format by it), missing folders are made. A program that is killed within the
    block leaves the temporary file; the next one that writes to the folder removes it, see also :func:`remove_parts`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(path.parent)
    prefix = f"{PART}{_namespace()}-{os.getpid()}-"
    handle, temporary = tempfile.mkstemp(prefix=prefix, suffix="".join(path.suffixes[-2:]), dir=path.parent)
    os.close(handle)
    try:
        with _errors_named(path):
            yield Path(temporary)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _remove_orphans(folder: Path) -> None:
    """Remove what killed programs left in a folder, once in each process: of those whose number no process has now."""
    folder = folder.absolute()
    if folder in _looked_through or os.name != "posix":
        return
    _looked_through.add(folder)
    ours = f"{PART}{_namespace()}-"
    for path in folder.glob(f"{ours}*"):
        number = path.name.removeprefix(ours).split("-")[0]
        if number.isdigit() and not _is_running(int(number)):
            path.unlink(missing_ok=True)


@lru_cache
def _namespace() -> str:
    """Tells the machines and containers apart within which the numbers of processes mean the same."""
    try:
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbers = ""
    return hashlib.sha256(f"{platform.node()} {numbers}".encode()).hexdigest()[:8]


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def remove_parts(folder: str | os.PathLike) -> None:
    """Remove what :func:`written` left in a folder and below when a program was killed.

    Args:
        folder: one that nobody else writes to now, see :func:`claimed`; it need not be there.
    """
    for path in list(Path(folder).rglob(f"{PART}*")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def claimed(folder: str | os.PathLike) -> Iterator[bool]:
    """Whether a folder is ours alone, until the block or the process ends, however it ends.

    Among the processes that ask for it, on all machines that share the folder; on a file system that knows no locks,
    everyone's.

    Args:
        folder: made if it is not there; a file ``lock`` in it stands for it.

    Raises:
        OSError: it cannot be written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    except NotImplementedError:
        logger.warning(f"{folder}: its file system knows no locks. See to it that one process alone writes to it.")
        yield True
        return
    try:
        yield True
    finally:
        lock.release()


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_json(path: str | os.PathLike, content: Any, **options: Any) -> None:
    """Write a JSON file, whole or not at all.

    Args:
        path: the file.
        content: what ``json.dumps`` takes.
        options: of ``json.dumps``, such as ``sort_keys``.
    """
    with written(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, **options) + "\n", encoding="utf-8")
