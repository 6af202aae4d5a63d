"""Which files to segment, and under which names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from ..files import radiograph_stem
from ..io import RadiographError, list_radiographs

__all__ = ["Input", "find_inputs"]


@dataclass(frozen=True)
class Input:
    """A file to segment.

    Attributes:
        path: as it was given or found.
        stem: name of its results without suffix, with the subfolder that it had; no two inputs share one.
    """

    path: str
    stem: str


def find_inputs(
    given: Iterable[str | os.PathLike], output: str | os.PathLike
) -> tuple[list[Input], list[tuple[str, str]]]:
    """Files and folders as given, to the files to segment, in order, each once.

    Folders are searched with all subfolders, and what lies in the output folder is left alone. Where two files would
    get results of the same name, the later one's carries its suffix or its folder too.

    Args:
        given: files and folders.
        output: folder of the results.

    Returns:
        inputs, and (path, reason) of what cannot be one.
    """
    inputs: list[Input] = []
    failures: list[tuple[str, str]] = []
    seen: set[str] = set()
    stems: set[str] = set()
    results = os.path.realpath(output)
    for entry in map(os.fspath, given):
        if os.path.isdir(entry):
            try:
                paths = list_radiographs(entry)
            except (RadiographError, OSError) as error:
                failures.append((entry, str(error)))
                continue
            # a name that folder arguments share would mix their results up only where files clash too: see _stem
            found = [(path, os.path.relpath(path, entry)) for path in paths]
            if not found:
                failures.append((entry, f"{entry}: no radiographs here. Check the folder."))
        else:
            found = [(entry, os.path.basename(entry))]
        for path, relative in found:
            real = os.path.realpath(path)
            if real in seen or (os.path.isdir(entry) and real.startswith(results + os.sep)):
                continue
            seen.add(real)
            stem = _stem(path, relative, stems)
            stems.add(_folded(stem))
            inputs.append(Input(path, stem))
    return inputs, failures


def _stem(path: str, relative: str, taken: set[str]) -> str:
    folder = os.path.dirname(relative)
    name, whole = radiograph_stem(relative), os.path.basename(relative)
    parent = os.path.basename(os.path.dirname(os.path.abspath(path)))
    candidates = [
        name,
        whole.replace(".", "_"),
        f"{parent}_{name}",
        *(f"{name}_{number}" for number in range(2, 10**6)),
    ]
    return next(
        stem for stem in (os.path.join(folder, candidate) for candidate in candidates) if _folded(stem) not in taken
    )


def _folded(stem: str) -> str:
    return os.path.normpath(stem).casefold()  # file systems that ignore case would mix a.png and A.png up
