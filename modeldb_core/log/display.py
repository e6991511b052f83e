"""How runs, search results and series show themselves in a notebook: tables and small pictures, without JavaScript."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from modeldb_core.model.entity import in_local_zone
from modeldb_core.model.schema import KINDS
from modeldb_core.model.values import key_named, key_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from modeldb_core.model.entities import Entity, Run

OWN_PREFIX = "modeldb/"
"""What the names of ModelDB's own measures begin with, such as ``modeldb/epoch_seconds``."""
_MAX_ROWS, _MAX_COLUMNS, _MAX_PICTURES = 50, 12, 6
_WIDTH, _HEIGHT = 320, 80


def runs_html(runs: Sequence[Run], total: int | None) -> str:
    """Return a table of runs: what tells them apart first."""
    shown = runs[:_MAX_ROWS]
    keys = telling_keys(shown)
    head = ["name", "status", "started", *(f"{section}.{key}" for section, key in keys)]
    rows = [
        [
            run.name,
            run.status,
            in_local_zone(run.started_at).isoformat(" ", "minutes") if run.started_at else "",
            *(_cell(look_up(getattr(run, section), key)) for section, key in keys),
        ]
        for run in shown
    ]
    number = len(runs) if total is None else total
    count = f"first {len(shown):,} of {number:,} runs" if len(shown) < number else f"{number:,} runs"
    return f"{_table(head, rows)}<p>{count}</p>"


def run_html(entity: Run, picture: Callable[[str, int], str]) -> str:
    """Return a run as tables, with pictures of its first series.

    Args:
        entity: the run.
        picture: draws the series of a name, of which that many points can be told apart.
    """
    facts = [
        ("run", f"{entity.name} ({entity.entity_id})"),
        ("status", entity.status),
        ("tags", ", ".join(entity.tags)),
    ]
    parts = [_table(["", ""], [row for row in facts if row[1]])]
    for title in KINDS[entity.KIND].listed:
        values = getattr(entity, title)
        if values:
            rows = sorted(values.items(), key=lambda item: is_own(item[0]))  # stable
            left = len(rows) - _MAX_ROWS
            parts.append(_table([title, ""], [*rows[:_MAX_ROWS], *([(f"and {left:,} more", "")] if left > 0 else [])]))
    if entity.failure:
        text = entity.failure.get("traceback") or entity.failure.get("message", "")
        parts.append(f"<pre>{escape(str(text))}</pre>")
    keys = sorted(entity.series, key=is_own)
    pictures = [picture(key, _WIDTH * 2) for key in keys[:_MAX_PICTURES]]
    more = f"<p>and {len(keys) - _MAX_PICTURES:,} more series</p>" if len(keys) > _MAX_PICTURES else ""
    return "".join(parts) + "".join(pictures) + more


def series_html(key: str, steps: Iterable[float], values: Iterable[float], *, count: int, total: int) -> str:
    """Return a series as a picture: a line over its steps, NaN as gaps. ``count`` of ``total`` points are given."""
    finite = [(float(step), float(value)) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    title = f"{escape(key)}: {count:,} of {total:,} points"
    if not finite:
        return f"<figure><figcaption>{title}, none of them finite</figcaption></figure>"
    lowest, highest = min(y for _, y in finite), max(y for _, y in finite)
    first, last = min(x for x, _ in finite), max(x for x, _ in finite)
    points = " ".join(
        f"{_scale(x, first, last, _WIDTH):.1f},{_HEIGHT - _scale(y, lowest, highest, _HEIGHT):.1f}" for x, y in finite
    )
    mark = (
        f'<polyline points="{points}" fill="none" stroke="#2463eb" stroke-width="1.5"/>'
        if len(finite) > 1
        else f'<circle cx="{_WIDTH / 2}" cy="{_HEIGHT / 2}" r="3" fill="#2463eb"/>'
    )
    return (
        f'<figure style="margin:4px 0"><svg viewBox="-4 -4 {_WIDTH + 8} {_HEIGHT + 8}" width="{_WIDTH}" '
        f'role="img" aria-label="{title}">{mark}</svg>'
        f"<figcaption>{title}, {_number(lowest)} to {_number(highest)}</figcaption></figure>"
    )


def telling_keys(found: Sequence[Entity]) -> list[tuple[str, str]]:
    """Return the keys whose values differ among entities of a kind, then others, as far as a table has room.

    Keys of nested maps are joined by dots. What ModelDB measured by itself comes after what users logged.
    """
    values: dict[tuple[str, str], list[Any]] = {}
    for entity in found:
        for section in KINDS[entity.KIND].listed:
            for key, value in flat(getattr(entity, section)):
                if value == {}:  # nothing to tell apart
                    continue
                values.setdefault((section, key), []).append(value)

    def place(name: tuple[str, str]) -> tuple[bool, bool]:
        first, *others = values[name]
        return is_own(name[1]), all(value == first for value in others)

    return sorted(values, key=place)[:_MAX_COLUMNS]


def is_own(key: str) -> bool:
    """Return whether ModelDB measured by itself what has this name: it stands after what users logged."""
    return key.startswith(OWN_PREFIX)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the values of a map and of those within it; names of nested maps are joined by dots."""
    for key, value in values.items():
        name = f"{prefix}{key_text(key)}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{name}.")
        else:
            yield name, value


def look_up(values: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - any value
    """Return the value of a key, whose dots may also lead into nested maps; ``None`` where there is none."""
    if (found := values.get(key_named(values, key))) is not None:
        return found
    at = key.find(".")
    while at >= 0:
        inner = values.get(key_named(values, key[:at]))
        if isinstance(inner, Mapping) and (found := look_up(inner, key[at + 1 :])) is not None:
            return found
        at = key.find(".", at + 1)
    return None


def _cell(value: object) -> object:
    return "" if value is None else value


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(_number(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _scale(value: float, low: float, high: float, size: int) -> float:
    return (value - low) / (high - low) * size if high > low else size / 2
