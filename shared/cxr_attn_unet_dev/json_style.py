"""One style for all JSON files that people read and programs change: configs, metadata, recipes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cxr_attn_unet.files import written

__all__ = ["format_json", "read_json", "write_styled_json"]

WIDTH = 120
INDENT = "    "


def format_json(content: Any) -> str:
    """Content as JSON: what holds no dictionary and fits stays on one line of up to 120 columns, all else is opened up.

    Args:
        content: what ``json.dumps`` takes; its order is kept.

    Returns:
        the text, with a newline at its end; equal contents give equal texts.
    """
    return _opened(content, "") + "\n"


def _formatted(value: Any, indent: str, before: int, after: int) -> str:
    """A value that starts after ``before`` columns, with ``after`` more behind its end."""
    line = json.dumps(value, ensure_ascii=False)
    flat = not isinstance(value, (Mapping, list, tuple)) or not value
    if flat or (not _holds_dictionary(value) and before + len(line) + after <= WIDTH):
        return line
    return _opened(value, indent)


def _opened(value: Any, indent: str) -> str:
    """A dictionary or a list with one entry per line."""
    inner = indent + INDENT
    entries = []
    if isinstance(value, Mapping):
        for key, one in value.items():
            start = f"{inner}{json.dumps(str(key), ensure_ascii=False)}: "
            entries.append(start + _formatted(one, inner, len(start), 1))
        return _enclosed("{", entries, "}", indent)
    if isinstance(value, (list, tuple)):
        entries = [inner + _formatted(one, inner, len(inner), 1) for one in value]
        return _enclosed("[", entries, "]", indent)
    return json.dumps(value, ensure_ascii=False)


def _enclosed(start: str, entries: Iterable[str], end: str, indent: str) -> str:
    content = ",\n".join(entries)
    return f"{start}\n{content}\n{indent}{end}" if content else start + end


def _holds_dictionary(value: Any) -> bool:
    inside = value.values() if isinstance(value, Mapping) else value
    for one in inside:
        if isinstance(one, Mapping):
            return True
        if isinstance(one, (list, tuple)) and _holds_dictionary(one):
            return True
    return False


def read_json(path: Path) -> Any:
    """Content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_styled_json(path: Path, content: Any) -> None:
    """Write :func:`format_json` of some content, whole or not at all."""
    with written(path) as temporary:
        temporary.write_text(format_json(content), encoding="utf-8")
