"""How the commands print: tables that fit the terminal, values in short, JSON and CSV in full."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice, zip_longest
from textwrap import indent
from typing import TypeVar

from modeldb_core.cli.output import as_shown, can_show, echo
from modeldb_core.cli.terminal import cut, fold, padded, print_line, room, styled, width_of
from modeldb_core.cli.text import clean, csv_text, json_escaped
from modeldb_core.log.json_documents import json_value, time_text
from modeldb_core.model.entity import in_local_zone
from modeldb_core.model.values import BlobReference

T = TypeVar("T")

ID_LENGTH = 8
LEAST_CELL, LEAST_HEADING, GAP = 16, 24, 2
"""Characters: a column is not squeezed below these; between two columns."""


def short_id(entity_id: str) -> str:
    """Return the part of an identifier that tells entities apart: its end, since all begin with the time."""
    return entity_id[-ID_LENGTH:]


def short(value: object) -> str:
    """Return a value as a cell of a table shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return shown_time(value)
    if isinstance(value, BlobReference):
        return f"({size(value.size_bytes)}, stored apart)"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{clean(str(key))}: {short(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return ", ".join(short(item) for item in value)
    return clean(str(value))


def shown_time(time: datetime) -> str:
    """Return a time in the zone of the terminal and with its offset, as a filter takes it."""
    return in_local_zone(time).isoformat(" ", "seconds")


def size(number: float) -> str:
    """Return a size in bytes as people read it, in powers of 1024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def duration(seconds: float | None) -> str:
    """Return a length of time as people read it."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} m" if hours else f"{minutes} m {rest} s"


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Iterable[str] = (), folded: str | None = None
) -> None:
    """Print a table. Columns for which the terminal has no room are left out, from the right, and that is said.

    Args:
        columns: the headings.
        rows: a cell for each column.
        right: columns that stand to the right: numbers.
        folded: a column whose cells may take several lines; those of others are cut to one.
    """
    cells = [[as_shown(short(cell)) for cell in row] for row in rows]
    headings = [as_shown(clean(name)) for name in columns]
    widths = [
        (width_of(name), max((width_of(row[index]) for row in cells), default=0)) for index, name in enumerate(headings)
    ]
    columns_left = room()
    fitting = [max(pair) for pair in widths] if columns_left is None else fit_widths(widths, columns_left)
    to_the_right = set(right)

    def line(texts: Sequence[str], *, bold: bool = False) -> str:
        laid_out = (
            padded(text, width, to_the_right=name in to_the_right)
            for name, text, width in zip(columns, texts, fitting, strict=False)
        )
        return (" " * GAP).join(styled(cell, bold=True) if bold else cell for cell in laid_out)

    print_line(line([cut(name, max(width, 1)) for name, width in zip(headings, fitting, strict=False)], bold=True))
    for row in cells:
        parts = [
            fold(cell, max(width, 1)) if name == folded else [cut(cell, max(width, 1))]
            for name, cell, width in zip(columns, row, fitting, strict=False)
        ]
        for texts in zip_longest(*parts, fillvalue=""):
            print_line(line(texts).rstrip(" "))
    left_out = [clean(name) for name in columns[len(fitting) :]]
    if left_out:
        echo(f"No room for {len(left_out)} more columns: {', '.join(left_out)}. Choose with --columns.", err=True)


def fit_widths(widths: Sequence[tuple[int, int]], room: int) -> list[int]:
    """Return how wide to print columns of (heading, widest cell) in ``room``; those that find no place are left out.

    Every column gets what it needs at least; what is left goes to the narrowest first, so that one long text does not
    squeeze all others.
    """
    least = [max(min(cell, LEAST_CELL), min(heading, LEAST_HEADING)) for heading, cell in widths]
    count, used = 0, -GAP
    for width in least:
        if count and used + GAP + width > room:
            break
        used += GAP + width
        count += 1
    fitting, spare = least[:count], max(0, room - used)
    for number, index in enumerate(sorted(range(count), key=lambda index: max(widths[index]))):
        more = min(max(widths[index]) - fitting[index], spare // (count - number))
        fitting[index] += more
        spare -= more
    return [min(width, room) for width in fitting]


def print_pairs(title: str, pairs: Iterable[tuple[str, object]]) -> None:
    """Print a heading and under it names with their values; nothing where there are none."""
    shown = [(as_shown(f"  {clean(name)}"), as_shown(short(value))) for name, value in pairs]
    if not shown:
        return
    print_line(f"\n{styled(title, bold=True)}")
    columns_left = room()
    first = max(width_of(name) for name, _ in shown)
    if columns_left is not None:
        first = min(first, columns_left // 2)
    for name, value in shown:
        left = padded(cut(name, first), first)
        lines = [value] if columns_left is None else fold(value, max(columns_left - first - GAP, LEAST_CELL))
        print_line(f"{styled(left, fg='cyan')}{' ' * GAP}{lines[0]}".rstrip(" "))
        for line in lines[1:]:
            print_line(" " * (first + GAP) + line)


def print_json(data: object) -> None:
    """Print data as JSON, indented; control characters and what the encoding of the output lacks are escaped."""
    echo(json_text(data))


def print_json_list(name: str, items: Iterable[object], rest: Callable[[], Mapping[str, object]]) -> None:
    """Print an object with a list of any length, item by item; ``rest``, asked last, gives its other members.

    Nothing is printed where the first item cannot be had: what is refused leaves no half of a document behind.
    """
    items = _begun(items)
    echo(f'{{\n  "{name}": [', nl=False)
    separator = "\n"
    for item in items:
        echo(separator + indent(json_text(item), "    "), nl=False)
        separator = ",\n"
    end = "]" if separator == "\n" else "\n  ]"
    echo(
        end
        + "".join(f",\n  {json_text(key)}: {indent(json_text(value), '  ').lstrip()}" for key, value in rest().items())
    )
    echo("}")


def _begun(items: Iterable[T]) -> Iterator[T]:
    """Return the same items, of which the first has been asked for."""
    rest = iter(items)
    return chain(list(islice(rest, 1)), rest)


def json_text(data: object) -> str:
    """Return data as JSON that the output can show."""
    text = json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False)
    return json_escaped(text) if can_show(text) else json.dumps(data, indent=2, allow_nan=False)


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as CSV: numbers in full, times in ISO 8601 UTC, maps and lists as JSON, texts as :func:`csv_text`.

    Nothing is printed where the first row cannot be had.
    """
    rows = _begun(rows)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([csv_text(name) for name in columns])
    for row in rows:
        cells: list[object] = []
        for value in row:
            if isinstance(value, datetime):
                cells.append(time_text(value))
            elif isinstance(value, float):
                cells.append(repr(value))
            elif isinstance(value, str):
                cells.append(csv_text(value))
            elif value is None or isinstance(value, int):
                cells.append("" if value is None else value)
            else:
                cells.append(json_escaped(json.dumps(json_value(value), ensure_ascii=False)))
        writer.writerow(cells)
