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

ROWS, ABOUT, HEAD, FAILURES, TITLE = (f"<!--{name}-->" for name in ("rows", "about", "head", "failures", "title"))


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
    page = page.replace(TITLE, escape(title)).replace(ABOUT, escape(about))
    page = page.replace(HEAD, "".join(_head(column) for column in columns)).replace(FAILURES, _failures(failures))
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
    picture = ""
    if entry.picture:
        data = base64.b64encode(entry.picture).decode("ascii")
        picture = f'<img loading="lazy" width="112" alt="overlay" src="data:image/jpeg;base64,{data}">'
    if entry.link:
        picture = f'<a href="{escape(quote(entry.link))}">{picture or "overlay"}</a>'
    cells = [f"<td>{picture}</td>", f'<td class="name">{escape(entry.name)}</td>']
    for column in columns:
        value = entry.values.get(column.key)
        if isinstance(value, (int, float)):
            unit = f" <small>{escape(entry.units[column.key])}</small>" if column.key in entry.units else ""
            cells.append(f'<td class="number" data-value="{value:.9g}">{value:.{column.digits}f}{unit}</td>')
        else:
            cells.append(f'<td class="number">{escape(value or "–")}</td>')
    listed = "".join(f"<li>{escape(warning)}</li>" for warning in entry.warnings)
    warnings = f'<td data-value="{len(entry.warnings)}">{f"<ul>{listed}</ul>" if listed else ""}</td>'
    return f"<tr{' class=warned' if listed else ''}>{''.join(cells)}{warnings}</tr>\n"


def _failures(failures: Sequence[tuple[str, str]]) -> str:
    if not failures:
        return ""
    listed = "".join(
        f"<li>{escape(reason if path in reason else f'{path}: {reason}')}</li>" for path, reason in failures
    )
    return f"<h2>Not segmented: {len(failures)}</h2><ul>{listed}</ul>"
