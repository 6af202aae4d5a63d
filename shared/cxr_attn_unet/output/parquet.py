"""A Parquet table of many radiographs, some rows at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from ..files import as_utf8, written

__all__ = ["write_parquet"]

ROWS_AT_A_TIME = 256


def write_parquet(
    path: str | os.PathLike,
    records: Iterable[Mapping[str, Any]],
    columns: Sequence[tuple[str, str]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """A table, one row per record.

    Args:
        path: file to write.
        records: rows with the columns' names.
        columns: (name, type) where type is ``text``, ``number``, ``integer`` or ``texts``.
        metadata: of the file, kept with its schema.
    """
    import pyarrow as pa  # an extra
    import pyarrow.parquet as pq

    types = {"text": pa.string(), "number": pa.float64(), "integer": pa.int64(), "texts": pa.list_(pa.string())}
    schema = pa.schema([(name, types[kind]) for name, kind in columns], metadata=dict(metadata or {}) or None)
    rows = iter(records)
    with written(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while some := list(islice(rows, ROWS_AT_A_TIME)):
            complete = [{name: _written(row.get(name)) for name in schema.names} for row in some]
            writer.write_table(pa.Table.from_pylist(complete, schema))


def _written(value: Any) -> Any:
    return as_utf8(value) if isinstance(value, str) else value
