"""One self-contained HTML page of many radiographs: look through, sort, filter; no network."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from urllib.parse import quote

from ..files import written

__all__ = ["Column", "Entry", "write_report"]

# what stands in report.html for the parts that differ
ROWS = "<!--rows-->"
ABOUT = "<!--about-->"
HEAD = "<!--head-->"
FAILURES = "<!--failures-->"
TITLE = "<!--title-->"


@dataclass(frozen=True)
class Entry:
    """A radiograph's row.

    Attributes:
        name: as shown.
        picture: JPEG of the overlay, small; may be empty.
        values: by column; ``None`` if not measurable.
        warnings: texts of quality control.
        link: relative path of a larger picture, opened by a click; empty if there is none.
        units: by column, written behind the value where they differ from row to row.
    """

    name: str
    picture: bytes
    values: Mapping[str, float | str | None]
    warnings: Sequence[str]
    link: str = ""
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A measurement's column.

    Attributes:
        key: in :attr:`Entry.values`.
        label: what is written over it.
        unit: behind the label.
        digits: decimals.
        tip: definition, shown under the pointer.
    """

    key: str
    label: str
    unit: str = ""
    digits: int = 2
    tip: str = ""


def write_report(
    path: str | os.PathLike,
    entries: Iterable[Entry],
    columns: Sequence[Column],
    failures: Sequence[tuple[str, str]] = (),
    title: str = "Chest radiographs",
    about: str = "",
) -> None:
    """Write the page; entries are taken one at a time.

    Args:
        path: file to write.
        entries: rows.
        columns: measurements to show.
        failures: (file, reason) of what was not segmented.
        title: of the page.
        about: what made it, in its foot.
    """
    page = resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    page = page.replace(TITLE, escape(title))
    page = page.replace(ABOUT, escape(about))
    page = page.replace(HEAD, "".join(_head(column) for column in columns))
    page = page.replace(FAILURES, _failures(failures))
    before, after = page.split(ROWS)
    with written(path) as temporary, open(temporary, "w", encoding="utf-8", errors="replace") as file:
        file.write(before)
        for entry in entries:
            file.write(_row(entry, columns))
        file.write(after)


def _head(column: Column) -> str:
    unit = f" <small>{escape(column.unit)}</small>" if column.unit else ""
    return (
        f'<th scope="col" class="number" data-key="{escape(column.key)}" title="{escape(column.tip)}">'
        f"<button>{escape(column.label)}{unit}</button></th>"
    )


def _row(entry: Entry, columns: Sequence[Column]) -> str:
    cells = [f"<td>{_picture(entry)}</td>", f'<td class="name">{escape(entry.name)}</td>']
    cells.extend(_value(entry, column) for column in columns)
    cells.append(_warnings(entry))
    kind = " class=warned" if entry.warnings else ""
    return f"<tr{kind}>{''.join(cells)}</tr>\n"


def _picture(entry: Entry) -> str:
    picture = ""
    if entry.picture:
        data = base64.b64encode(entry.picture).decode("ascii")
        picture = f'<img loading="lazy" width="112" alt="overlay" src="data:image/jpeg;base64,{data}">'
    if entry.link:
        return f'<a href="{escape(quote(entry.link))}">{picture or "overlay"}</a>'
    return picture


def _value(entry: Entry, column: Column) -> str:
    value = entry.values.get(column.key)
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    if value is None:
        return '<td class="number">&ndash;</td>'
    unit = ""
    if column.key in entry.units:
        unit = f" <small>{escape(entry.units[column.key])}</small>"
    return f'<td class="number" data-value="{value:.9g}">{value:.{column.digits}f}{unit}</td>'


def _warnings(entry: Entry) -> str:
    listed = ""
    if entry.warnings:
        items = "".join(f"<li>{escape(warning)}</li>" for warning in entry.warnings)
        listed = f"<ul>{items}</ul>"
    return f'<td data-value="{len(entry.warnings)}">{listed}</td>'


def _failures(failures: Sequence[tuple[str, str]]) -> str:
    if not failures:
        return ""
    listed = ""
    for path, reason in failures:
        text = reason if path in reason else f"{path}: {reason}"
        listed += f"<li>{escape(text)}</li>"
    return f"<h2>Not segmented: {len(failures)}</h2><ul>{listed}</ul>"
