"""COCO's JSON of many radiographs, one at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from ..files import written
from ..structures import part_key

__all__ = ["MaskedImage", "write_coco"]


@dataclass(frozen=True)
class MaskedImage:
    """An image with its masks.

    Attributes:
        file_name: as the table names it.
        rows: of the image.
        columns: of the image.
        masks: by structure, and by :func:`~cxr_attn_unet.structures.part_key` of parts; see
            :func:`cxr_attn_unet.output.encode`.
    """

    file_name: str
    rows: int
    columns: int
    masks: Mapping[str, Mapping[str, Any]]


def write_coco(
    path: str | os.PathLike,
    images: Iterable[MaskedImage],
    structures: Sequence[str],
    about: str = "",
    parts: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """COCO's JSON: one entry per image, one annotation per structure found in it, masks over the file's own pixels.

    Parts are categories of their own, whose supercategory is their structure.

    Lin et al., Microsoft COCO, arXiv:1405.0312; the format: https://cocodataset.org/#format-data.

    Args:
        path: file to write.
        images: taken one at a time.
        structures: the categories, numbered from 1.
        about: description of the whole.
        parts: by structure, the names of parts; their categories are numbered from the structures' on.
    """
    kinds = [("anatomy", structure, structure) for structure in structures]
    for structure, names in (parts or {}).items():
        kinds.extend((structure, name, part_key(structure, name)) for name in names)
    categories = [{"id": i, "name": name, "supercategory": above} for i, (above, name, _) in enumerate(kinds, 1)]
    keys = [key for _, _, key in kinds]
    head = json.dumps({"info": {"description": about}, "categories": categories})
    with (
        written(path) as temporary,
        open(temporary, "w", encoding="utf-8") as file,
        open(f"{temporary}.annotations", "w+", encoding="utf-8") as annotations,
    ):
        try:
            file.write(head[:-1] + ', "images": [')
            _write_images(images, keys, file, annotations)
            file.write('], "annotations": [')
            annotations.seek(0)
            for line in annotations:
                file.write(line)
            file.write("]}\n")
        finally:
            os.unlink(annotations.name)


def _write_images(images: Iterable[MaskedImage], keys: Sequence[str], file: TextIO, annotations: TextIO) -> None:
    """Items of both lists, to two files, for an image is read once; ``keys`` of masks are the categories' order."""
    annotation_id = 0
    for image_id, image in enumerate(images, 1):
        entry = {"id": image_id, "file_name": image.file_name, "width": image.columns, "height": image.rows}
        file.write(_separator(image_id) + json.dumps(entry))
        for category_id, key in enumerate(keys, 1):
            encoded = image.masks.get(key)
            if encoded is None or not encoded["area"]:
                continue
            annotation_id += 1
            annotation = {
                "id": annotation_id,
                "image_id": image_id,
                "category_id": category_id,
                "segmentation": {"size": encoded["size"], "counts": encoded["counts"]},
                "area": encoded["area"],
                "bbox": encoded["bbox"],
                "iscrowd": 0,
            }
            annotations.write(_separator(annotation_id) + json.dumps(annotation))


def _separator(number: int) -> str:
    return "\n" if number == 1 else ",\n"
