"""Cursors of pages: opaque text that holds the last entity's place in the order, and belongs to one query."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import astuple
from typing import TYPE_CHECKING, TypeAlias

from modeldb_core.errors import QuerySyntaxError
from modeldb_core.model.plain_data import SAFE_INTEGER
from modeldb_core.model.values import decode, encode
from modeldb_core.queries.ast import COLUMN, Field, Order
from modeldb_core.queries.fields import column_type
from modeldb_core.queries.leaves import is_searchable, nearest_float
from modeldb_core.queries.parse import parse_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.queries.query import Query

OrderValue: TypeAlias = float | str | None
"""What a criterion gives for an entity: a number (a time is an int), a text, or ``None`` where it comes last."""

ENTITY_ID = Field(COLUMN, "entity_id")
DEFAULT_ORDER = (Order(Field(COLUMN, "created_at"), descending=True),)


def effective_order(query: Query) -> tuple[Order, ...]:
    """Return the order of a query, made total: newest first by default, and by falling identifier within ties."""
    order = parse_order(query.order_by, query.kind) or DEFAULT_ORDER
    for position, criterion in enumerate(order):
        if criterion.field == ENTITY_ID:
            return order[: position + 1]
    return (*order, Order(ENTITY_ID, descending=True))


def compare(first: Sequence[OrderValue], second: Sequence[OrderValue], order: Sequence[Order]) -> int:
    """Return a negative number where ``first`` comes before ``second`` in ``order``, a positive one after, 0 if equal."""
    for one, other, criterion in zip(first, second, order, strict=True):
        ranks = _rank(one), _rank(other)
        if ranks[0] != ranks[1]:
            return ranks[0] - ranks[1]
        if one != other:
            is_less = one < other  # type: ignore[operator]  # of one rank, so of one type
            return -1 if is_less != criterion.descending else 1
    return 0


def order_value(value: object) -> OrderValue:
    """Return what ``value`` counts as in an order."""
    if isinstance(value, str):
        return value if is_searchable(value) else None
    return nearest_float(value) if isinstance(value, (int, float)) else None


def encode_cursor(query: Query, values: Sequence[OrderValue]) -> str:
    """Return the cursor for what follows the entity with ``values``, one for each criterion of the effective order."""
    data = encode({"q": _fingerprint(query), "v": list(values)})
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode_cursor(query: Query) -> tuple[OrderValue, ...] | None:
    """Return the values in the cursor of ``query``, ``None`` where it has none.

    Raises:
        QuerySyntaxError: it is not a cursor, or that of a query with another kind, filter, order, container or link.
    """
    if query.cursor is None:
        return None
    try:
        padded = query.cursor.encode("ascii") + b"=" * (-len(query.cursor) % 4)
        data = decode(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError) as error:
        msg = f"the cursor {query.cursor[:40]!r} cannot be read; pass one that a page of this query gave"
        raise QuerySyntaxError(msg) from error
    values = data.get("v") if isinstance(data, dict) and data.get("q") == _fingerprint(query) else None
    order = effective_order(query)
    if not isinstance(values, list) or len(values) != len(order):
        msg = "the cursor is one of another query; pass one with the same kind, filter, order, container and link, or none"
        raise QuerySyntaxError(msg)
    if not all(_fits(query, criterion.field, value) for criterion, value in zip(order, values, strict=True)):
        msg = f"the cursor {query.cursor[:40]!r} was altered; pass one that a page of this query gave"
        raise QuerySyntaxError(msg)
    return tuple(values)  # type: ignore[arg-type]  # checked just above


def _rank(value: OrderValue) -> int:
    return 2 if value is None else 1 if isinstance(value, str) else 0


def _fits(query: Query, field: Field, value: object) -> bool:
    if value is None:
        return field != ENTITY_ID
    if isinstance(value, str):
        return "\0" not in value and (field.section != COLUMN or column_type(query.kind, field.key) == "text")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    is_number = field.section != COLUMN or column_type(query.kind, field.key) != "text"
    return is_number and value == value and (isinstance(value, float) or abs(value) <= SAFE_INTEGER)


def _fingerprint(query: Query) -> str:
    asked: list[object] = [
        query.kind,
        query.filter.strip(),
        query.order_by.strip(),
        query.containers,
        query.include_deleted,
    ]
    if query.linked is not None:
        asked.append(astuple(query.linked))
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
