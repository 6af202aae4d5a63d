"""COCO's JSON of many radiographs, one at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..files import written

__all__ = ["write_coco"]


def write_coco(
    path: str | os.PathLike, records: Iterable[Mapping[str, Any]], structures: Sequence[str], about: str = ""
) -> None:
    """COCO's JSON: an image a radiograph, an annotation a structure found in it, masks over the file's own pixels.

    Lin et al., Microsoft COCO, arXiv:1405.0312; the format: https://cocodataset.org/#format-data.

    Args:
        path: file to write.
        records: with ``path``, ``rows``, ``columns``, and ``rle`` by structure.
        structures: the categories, numbered from 1.
        about: description of the whole.
    """
    categories = [{"id": i, "name": name, "supercategory": "anatomy"} for i, name in enumerate(structures, 1)]
    with (
        written(path) as temporary,
        open(temporary, "w", encoding="utf-8") as file,
        open(f"{temporary}.annotations", "w+", encoding="utf-8") as annotations,
    ):
        try:
            file.write(json.dumps({"info": {"description": about}, "categories": categories})[:-1] + ', "images": [')
            annotation_id = 0
            for image_id, record in enumerate(records, 1):
                image = {"id": image_id, "file_name": record["path"]}
                image |= {"width": record["columns"], "height": record["rows"]}
                file.write((",\n" if image_id > 1 else "\n") + json.dumps(image))
                for category in categories:
                    encoded = record["rle"].get(category["name"])
                    if encoded is None or not encoded["area"]:
                        continue
                    annotation_id += 1
                    annotation = {"id": annotation_id, "image_id": image_id, "category_id": category["id"]}
                    annotation |= {"segmentation": {"size": encoded["size"], "counts": encoded["counts"]}}
                    annotation |= {"area": encoded["area"], "bbox": encoded["bbox"], "iscrowd": 0}
                    annotations.write((",\n" if annotation_id > 1 else "\n") + json.dumps(annotation))
            file.write('], "annotations": [')
            annotations.seek(0)
            for line in annotations:
                file.write(line)
            file.write("]}\n")
        finally:
            os.unlink(annotations.name)
