"""Filters made of values: the one place where a value becomes a part of the language."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import LiteralString


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
