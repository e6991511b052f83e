"""Filters made of values: the one place where a value becomes a part of the language."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import LiteralString


_IDS, _CHARACTERS = 500, 20_000
"""So many identifiers are looked up at once, and of such a length in all: a filter has an end."""


def quote(text: str) -> str:
    """Return ``text`` as a literal of the language."""
    return '"' + text.replace('"', '""') + '"'


def condition(template: LiteralString, *values: str | int | datetime | Collection[str | int | datetime]) -> str:
    """Return a filter in which each ``?`` of ``template`` is replaced by a value, whatever characters that has.

    A filter is never made by formatting text: ``condition("stream_id = ? and status in ?", stream_id, ("running",))``.

    Args:
        template: a constant, without quoted text.
        values: texts, whole numbers, truth values, times with an offset, or for ``in`` a collection of such.

    Raises:
        ValueError: there are more or fewer values than question marks, a collection is empty, or a time has no offset.
        TypeError: a value is of no type that the language has.
    """
    parts = template.split("?")
    if len(parts) != len(values) + 1:
        msg = f"the filter {template!r} has {len(parts) - 1} places and got {len(values)} values"
        raise ValueError(msg)
    texts = [_literal(value) if isinstance(value, (str, int, datetime)) else _listed(value) for value in values]
    return "".join(text for pair in zip(parts, [*texts, ""], strict=True) for text in pair)


def portions(ids: Iterable[str]) -> Iterator[list[str]]:
    """Iterate over identifiers in lists that a filter has room for."""
    some: list[str] = []
    length = 0
    for entity_id in ids:
        if some and (len(some) == _IDS or length + 2 * len(entity_id) > _CHARACTERS):
            yield some
            some, length = [], 0
        some.append(entity_id)
        length += 2 * len(entity_id) + 4
    if some:
        yield some


def _listed(values: Collection[Any]) -> str:
    if isinstance(values, (bytes, bytearray)) or not hasattr(values, "__iter__"):
        msg = (
            f"{values!r} is of type {type(values).__name__}; expected a text, a whole number, a time or several of them"
        )
        raise TypeError(msg)
    if not values:
        msg = "expected at least one value after `in`"
        raise ValueError(msg)
    return f"({', '.join(_literal(value) for value in values)})"


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            msg = f"the time {value} has no offset; give it one, such as datetime.UTC"
            raise ValueError(msg)
        return quote(value.astimezone(UTC).isoformat(timespec="microseconds"))
    msg = f"{value!r} is of type {type(value).__name__}; expected a text, a whole number or a time"
    raise TypeError(msg)
