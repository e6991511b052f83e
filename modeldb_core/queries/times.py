"""Times in filters. A time stands for all that is written like it: ``"2026-11-23 21:00"`` for that minute.

Times are stored to the microsecond and shown to the second or the minute, so a filter that takes what was shown compares
with a stretch. Exactly one of ``<``, ``=`` and ``>`` is true of a value and a literal, however the literal is written.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from modeldb_core.model.entity import from_datetime, in_local_zone
from modeldb_core.queries.ast import And, Compare, Expression, In, Or

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.queries.ast import Field, Operator

_TIME = re.compile(r"([\dW-]{7,10})(?:[Tt ]([\d:]+)(?:[.,](\d+))?(?:\s*(Z|z|[-+][\d:.]+))?)?", re.ASCII)
_LENGTHS_US = {0: 86_400_000_000, 2: 3_600_000_000, 4: 60_000_000, 6: 1_000_000}
"""How long a time is by the number of digits after the date: a day, an hour, a minute, a second."""


class Span(NamedTuple):
    """The first and the last microsecond, since 1970-01-01 UTC, of what a time stands for."""

    first: int
    last: int


def parse_time(text: str, *, local: bool = False) -> Span:
    """Return what an ISO 8601 date or time stands for.

    The pages' form is read as well: a space before the offset, and U+2212 for a minus.

    Args:
        text: the time; without an offset it is UTC.
        local: or in the zone of this machine.

    Raises:
        ValueError: it is not one.
    """
    found = _TIME.fullmatch(text.strip().replace("\N{MINUS SIGN}", "-"))
    if found is None:
        msg = f"{text!r:.60} is not a time"
        raise ValueError(msg)
    date, clock, fraction, offset = found.groups(default="")
    written = f"{date}{clock and f'T{clock}'}{fraction and f'.{fraction}'}{offset.upper()}"
    time = datetime.fromisoformat(written)
    if time.tzinfo is None:
        time = in_local_zone(time) if local else time.replace(tzinfo=UTC)
    first = from_datetime(time)
    length: int = 10 ** max(6 - len(fraction), 0) if fraction else _LENGTHS_US[len(clock.replace(":", ""))]
    return Span(first, first + length - 1)


def compared(field: Field, operator: Operator, span: Span) -> Expression:
    """Return how the times of ``field`` stand to what a time in a filter stands for."""
    first, last = span
    match operator:
        case "<" | ">=":
            return Compare(field, operator, first)
        case "<=" | ">":
            return Compare(field, operator, last)
        case _ if first == last:
            return Compare(field, operator, first)
        case "=":
            return And((Compare(field, ">=", first), Compare(field, "<=", last)))
        case _:
            return Or((Compare(field, "<", first), Compare(field, ">", last)))


def among(field: Field, spans: Sequence[Span], *, negated: bool) -> Expression:
    """Return that the times of ``field`` are in one of ``spans``; negated, that they are in none."""
    exact = tuple(span.first for span in spans if span.first == span.last)
    parts = [compared(field, "!=" if negated else "=", span) for span in spans if span.first != span.last]
    if exact:
        parts.append(In(field, exact, negated))
    return parts[0] if len(parts) == 1 else And(tuple(parts)) if negated else Or(tuple(parts))
