"""What tests of endurance found, kept in ``docs/reliability/NAME.json`` and shown in ``docs/reliability.md``.

A file is ``{"title": ..., "command": ..., "setting": ..., "rows": [{COLUMN: VALUE, ...}, ...]}``. Whatever measures
writes its own with :func:`write_findings`; ``python -m cxr_attn_unet_dev.tools.tables`` puts all of them into the text,
in the order of their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..json_style import read_json, write_styled_json

__all__ = ["FOLDER", "findings_text", "write_findings"]

FOLDER = "docs/reliability"  # below the repository
_KEYS = ("title", "command", "setting", "rows")


def write_findings(
    path: Path, title: str, command: str, setting: str, rows: Sequence[Mapping[str, str | int | float]]
) -> None:
    """Write the file of one table.

    Args:
        path: such as ``docs/reliability/kills.json``.
        title: heading of the table.
        command: what measures again.
        setting: data, seed and machine, in a sentence without its full stop.
        rows: cells by column; all have the columns of the first.

    Raises:
        ValueError: there are no rows, or they differ in their columns.
    """
    content = {"title": title, "command": command, "setting": setting, "rows": [dict(row) for row in rows]}
    _check(content, path)
    write_styled_json(path, content)


def findings_text(folder: Path) -> str:
    """All tables of a folder, each with its heading, command and setting.

    Raises:
        ValueError: a file is not of the form that is said above; the message names it.
    """
    return "\n".join(_section(path) for path in sorted(folder.glob("*.json")))


def _section(path: Path) -> str:
    content = read_json(path)
    _check(content, path)
    rows = content["rows"]
    columns = list(rows[0])
    lines = [_line(columns), "|---" * len(columns) + "|", *(_line(list(row.values())) for row in rows)]
    return "\n".join(
        [f"### {content['title']}", "", *lines, "", f"{content['setting']}. Measured with `{content['command']}`.", ""]
    )


def _line(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(_as_text(cell) for cell in cells)} |"


def _as_text(cell: Any) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _check(content: Any, path: Path) -> None:
    """Raise :class:`ValueError` unless this is the content of such a file."""
    if not isinstance(content, Mapping) or set(content) != set(_KEYS):
        raise ValueError(f"{path}: expected the keys {', '.join(_KEYS)}. Correct it.")
    rows = content["rows"]
    if not rows or any(list(row) != list(rows[0]) for row in rows):
        raise ValueError(f"{path}: expected rows that all have the same columns. Correct it.")
