"""Which files to segment, and under which names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..files import radiograph_stem
from ..io import RadiographError, find_radiographs

__all__ = ["Failure", "FoundInputs", "Input", "find_inputs"]


@dataclass(frozen=True)
class Input:
    """A file to segment.

    Attributes:
        path: as it was given or found.
        stem: name of its results without suffix, with the subfolder that it had; no two inputs share one.
        name: what tables and the report call it: the path below the folder that was given, or the file as it was
            given; no two inputs share one.
    """

    path: str
    stem: str
    name: str


@dataclass(frozen=True)
class Failure:
    """A file without results.

    Attributes:
        name: see :class:`Input`.
        reason: ``<file>: <what>. <remedy>.``
        skipped: whether it is a sound file of another kind, which is no error.
        path: of the file, as the reason names it.
    """

    name: str
    reason: str
    skipped: bool = False
    path: str = ""

    @property
    def short_reason(self) -> str:
        """The reason with the name in place of the path, for tables."""
        if not self.path:
            return self.reason
        return self.reason.replace(self.path, self.name)


@dataclass
class FoundInputs:
    """What was found in the files and folders that were given.

    Attributes:
        inputs: the files to segment, in order.
        failures: what was given and cannot be an input.
        ignored: numbers of files in the folders that are of no kind that is read, by kind, such as ``.txt``.
    """

    inputs: list[Input] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


def find_inputs(given: Iterable[str | os.PathLike], output: str | os.PathLike) -> FoundInputs:
    """Files and folders as given, to the files to segment, in order, each once.

    Folders are searched with all subfolders, and what lies in the output folder is left alone. Where two files would
    get results of the same name, the later one's carries its suffix or its folder too.

    Args:
        given: files and folders.
        output: folder of the results.
    """
    found = FoundInputs()
    names = _Names()
    seen: set[str] = set()
    results = os.path.realpath(output) + os.sep
    for argument in given:
        entry = str(os.fspath(argument))
        is_folder = os.path.isdir(entry)
        for path in _paths_of(entry, found):
            real = os.path.realpath(path)
            if real in seen or (is_folder and real.startswith(results)):
                continue
            seen.add(real)
            below = os.path.relpath(path, entry) if is_folder else os.path.basename(entry)
            name = below if is_folder else entry
            found.inputs.append(Input(path, names.stem(path, below), names.name(path, name)))
    return found


def _paths_of(entry: str, found: FoundInputs) -> list[str]:
    """The files that a file or folder stands for; what is wrong with a folder is added to the failures."""
    if not os.path.isdir(entry):
        return [entry]
    try:
        listing = find_radiographs(entry)
    except (RadiographError, OSError) as error:
        found.failures.append(Failure(entry, str(error)))
        return []
    found.ignored.update(listing.ignored)
    if not listing.radiographs:
        found.failures.append(Failure(entry, f"{entry}: no radiographs here. Check the folder."))
    return listing.radiographs


class _Names:
    """Names that no two inputs share."""

    def __init__(self) -> None:
        self._stems: set[str] = set()
        self._names: set[str] = set()

    def name(self, path: str, wanted: str) -> str:
        """The wanted one, or where another input in another folder has it, the whole path."""
        name = path if wanted in self._names else wanted
        self._names.add(name)
        return name

    def stem(self, path: str, below: str) -> str:
        """The first stem that is free."""
        stem = next(stem for stem in _stems(path, below) if _folded(stem) not in self._stems)
        self._stems.add(_folded(stem))
        return stem


def _stems(path: str, below: str) -> Iterator[str]:
    """Stems for a file, the best first."""
    folder, whole = os.path.split(below)
    name = radiograph_stem(below)
    parent = os.path.basename(os.path.dirname(os.path.abspath(path)))
    yield os.path.join(folder, name)
    yield os.path.join(folder, whole.replace(".", "_"))
    yield os.path.join(folder, f"{parent}_{name}")
    for number in range(2, 10**6):
        yield os.path.join(folder, f"{name}_{number}")


def _folded(stem: str) -> str:
    return os.path.normpath(stem).casefold()  # file systems that ignore case would mix a.png and A.png up
