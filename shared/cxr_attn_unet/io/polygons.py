"""Masks drawn as polygons, in the JSON files of VinDr-RibCXR."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from . import raster
from .radiograph import RadiographError

__all__ = ["images", "is_reference", "read", "structures"]

_MARK = ".json#"


def is_reference(path: str) -> bool:
    """Whether a path names polygons in a JSON file: ``FILE.json#INDEX`` or ``FILE.json#INDEX/STRUCTURE``."""
    return _MARK in path.lower()


def images(path: str | os.PathLike) -> dict[str, str]:
    """Index to image of a JSON file ``{"img": {"0": "data/train/img/a.png", ...}, "R1": {"0": [{"x", "y"}, ...]}}``.

    Raises:
        RadiographError: damaged, or without a table ``img``.
    """
    return _load(os.fspath(path))["img"]


def structures(path: str | os.PathLike) -> list[str]:
    """Names of the structures of which the file holds polygons, in its order."""
    return [name for name in _load(os.fspath(path)) if name != "img"]


def read(reference: str) -> np.ndarray:
    """Fill the polygons of one radiograph.

    Args:
        reference: ``FILE.json#INDEX`` for the union of all structures, ``FILE.json#INDEX/R1`` for one of them. The
            radiograph is looked for from the JSON file's folder; only its size is read.

    Returns:
        ``(rows, columns)`` bool, the size of the radiograph.

    Raises:
        RadiographError: no such file, index or structure, or a polygon that is none.
    """
    end = reference.lower().index(_MARK) + len(_MARK) - 1
    path, (index, _, wanted) = reference[:end], reference[end + 1 :].partition("/")
    table = _load(path)
    if index not in table["img"]:
        raise RadiographError(f"{path}: has no radiograph {index}. Download the file again.")
    if wanted and wanted not in structures(path):
        raise RadiographError(f"{path}: has no {wanted}, but {', '.join(structures(path))}.")
    size = _size(str(Path(path).parent / table["img"][index]))
    canvas = Image.new("1", size)
    draw = ImageDraw.Draw(canvas)
    for name in [wanted] if wanted else structures(path):
        points = table[name].get(index) or []
        try:
            corners = [(float(point["x"]), float(point["y"])) for point in points]
        except (TypeError, KeyError, ValueError) as error:
            raise RadiographError(
                f"{path}: {name} of radiograph {index} is not a list of x and y. Download the file again."
            ) from error
        if not np.isfinite(corners).all():
            raise RadiographError(f"{path}: {name} of radiograph {index} has a corner that is not a number. Redraw it.")
        if len(corners) > 2:  # a rib out of the field of view has no polygon
            draw.polygon(corners, fill=1)
    return np.asarray(canvas)


def _size(path: str) -> tuple[int, int]:
    try:
        with open(path, "rb") as file:
            width, height = raster.open_picture(file, path).size  # of the head alone
        return width, height
    except RadiographError:
        raise
    except FileNotFoundError as error:
        raise RadiographError(
            f"{path}: no such file, but polygons are drawn over it. Unpack the images too."
        ) from error
    except Exception as error:
        raise RadiographError(f"{path}: damaged or truncated ({error}). Copy or export it again.") from error


def _load(path: str) -> dict[str, Any]:
    if not os.path.isfile(path):
        raise RadiographError(f"{path}: no such file. Check the path.")
    return _parse(path, os.path.getmtime(path))


@functools.lru_cache(maxsize=8)
def _parse(path: str, _modified: float) -> dict[str, Any]:
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise RadiographError(f"{path}: not JSON, or truncated ({error}). Download the file again.") from error
    if not isinstance(table, dict) or not all(isinstance(column, dict) for column in table.values()):
        raise RadiographError(f"{path}: not a table of polygons. Download the file again.")
    if "img" not in table:
        raise RadiographError(f"{path}: has no list of radiographs ('img'). Download the file again.")
    return table
