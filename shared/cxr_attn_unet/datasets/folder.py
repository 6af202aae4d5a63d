"""Any folder of ``images/`` with masks of the same names in ``masks/`` or ``masks/STRUCTURE/``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..files import radiograph_stem
from ..io import is_radiograph_file

__all__ = ["find"]


def find(files: Sequence[Path], structure: str) -> dict[str, dict] | None:
    """Pair radiographs and masks by name; a mask may also be called ``NAME_mask`` or ``NAME_STRUCTURE``.

    Args:
        files: all files under the data set's folder.
        structure: folder under ``masks/``; masks that lie directly in ``masks/`` serve when there is none.

    A file of the same name in ``parts/STRUCTURE/`` says which part lies where, see :func:`cxr_attn_unet.io.read_parts`.

    Returns:
        ``{image id: {"images": [...], "masks": [[...]]}}``, complete or not, or ``None`` if there is no ``images/``.
    """
    found: dict[str, dict] = {}
    own: dict[str, list[str]] = {}
    shared: dict[str, list[str]] = {}
    parts: dict[str, list[str]] = {}
    for path in files:
        if not is_radiograph_file(path):
            continue
        stem = radiograph_stem(path)
        if path.parent.name == "images":
            found.setdefault(stem, {"images": []})["images"].append(str(path))
        elif path.parent.name == structure and path.parent.parent.name == "masks":
            own.setdefault(_image_name(stem, structure), []).append(str(path))
        elif path.parent.name == structure and path.parent.parent.name == "parts":
            parts.setdefault(stem, []).append(str(path))
        elif path.parent.name == "masks":
            shared.setdefault(_image_name(stem, structure), []).append(str(path))
    masks = own or shared
    for image_id, entry in found.items():
        entry["masks"] = [masks.get(image_id, [])]
        entry["parts"] = parts.get(image_id, [])
    return found or None


def _image_name(mask_stem: str, structure: str) -> str:
    return mask_stem.removesuffix("_mask").removesuffix(f"_{structure}")
