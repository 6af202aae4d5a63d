"""One file of many radiographs, from the records of :mod:`cxr_attn_unet.segment`, one at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from ..files import written

__all__ = ["write_coco", "write_parquet"]

ROWS_AT_A_TIME = 256


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


def write_parquet(
    path: str | os.PathLike, records: Iterable[Mapping[str, Any]], columns: Sequence[tuple[str, str]]
) -> None:
    """A table, one row a record.

    Args:
        path: file to write.
        records: rows with the columns' names.
        columns: (name, type) where type is ``text``, ``number``, ``integer`` or ``texts``.
    """
    import pyarrow as pa  # an extra
    import pyarrow.parquet as pq

    types = {"text": pa.string(), "number": pa.float64(), "integer": pa.int64(), "texts": pa.list_(pa.string())}
    schema = pa.schema([(name, types[kind]) for name, kind in columns])
    rows = iter(records)
    with written(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while some := list(islice(rows, ROWS_AT_A_TIME)):
            writer.write_table(
                pa.Table.from_pylist([{name: row.get(name) for name, _ in columns} for row in some], schema)
            )
