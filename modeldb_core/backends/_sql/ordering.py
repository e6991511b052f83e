"""Orders and cursors as SQL: where an entity stands, and what comes after a place.

A criterion gives a number, a text, or nothing, in this order of ranks. A question is asked once for each rank of its
first criterion, and only as long as the page is not full: so an index walks in order, and stops early.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import BindParameter, ColumnElement, Null, and_, case, false, or_, select, true

from modeldb_core.backends._sql.documents import VALUE_TYPES
from modeldb_core.backends._sql.filters import is_apart
from modeldb_core.errors import QuerySyntaxError
from modeldb_core.queries import COLUMN, Order, OrderValue, column_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from modeldb_core.backends._sql.conditions import Condition
    from modeldb_core.backends._sql.filters import Compiler, Source
    from modeldb_core.queries import Field

MAX_CRITERIA = 30
"""Of one order: databases limit the depth of an expression."""
_MAX_JOINS = 20  # for an order; SQLite joins at most 64 tables

NUMBER, TEXT, MISSING = 0, 1, 2
"""The ranks."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion of an order.

    Attributes:
        order: what was asked.
        number: the number that it gives, NULL where it gives none; ``None`` where it never does.
        text: the same for texts.
        source: the row beside the entity's that it is in, if any.
        is_always_there: whether every entity has a value.
    """

    order: Order
    number: ColumnElement[Any] | None
    text: ColumnElement[Any] | None
    source: Source | None = None
    is_always_there: bool = False

    @property
    def ranks(self) -> list[int]:
        """The ranks that entities may have."""
        ranks = [rank for rank, value in ((NUMBER, self.number), (TEXT, self.text)) if value is not None]
        return ranks if self.is_always_there else [*ranks, MISSING]

    @property
    def values(self) -> list[ColumnElement[Any]]:
        """What to select to know where an entity stands."""
        return [value for value in (self.number, self.text) if value is not None]

    def of_row(self, row: Iterator[Any]) -> OrderValue:
        """Return the value in the columns ``values``, which are taken from ``row``."""
        number = next(row) if self.number is not None else None
        text = next(row) if self.text is not None else None
        value: OrderValue = number if number is not None else text
        return value

    def at_rank(self, rank: int) -> Condition:
        """Return whether an entity has a rank."""
        if rank == NUMBER:
            return _is_there(self.number)
        if rank == TEXT:
            return and_(_is_not_there(self.number), _is_there(self.text))
        return and_(_is_not_there(self.number), _is_not_there(self.text))

    def sorting(self, rank: int | None = None) -> list[ColumnElement[Any]]:
        """Return the terms by which to sort; only among entities of ``rank``, where that is given.

        What is the same for all does not sort, and PostgreSQL does not take it.
        """
        terms: list[ColumnElement[Any]] = []
        for own, value in ((NUMBER, self.number), (TEXT, self.text)):
            if value is not None and rank in (None, own) and not isinstance(value, (BindParameter, Null)):
                directed = value.desc() if self.order.descending else value.asc()
                is_total = rank is not None or self.is_always_there
                terms.append(directed if is_total else directed.nulls_last())
        return terms

    def equal(self, value: OrderValue) -> Condition:
        """Return whether an entity stands where ``value`` does."""
        if value is None:
            return self.at_rank(MISSING)
        if isinstance(value, str):
            return and_(_is_not_there(self.number), self.text == value) if self.text is not None else false()
        return self.number == value if self.number is not None else false()

    def after(self, value: OrderValue) -> Condition:
        """Return whether an entity stands after ``value``."""
        if value is None:
            return false()
        if isinstance(value, str):
            within = self._beyond(self.text, value)
            return and_(_is_not_there(self.number), or_(within, _is_not_there(self.text)))
        return or_(self._beyond(self.number, value), _is_not_there(self.number))

    def bound(self, value: OrderValue, rank: int) -> Condition:
        """Return what holds for all entities of ``rank`` that do not stand before ``value``: a range of an index."""
        column = {NUMBER: self.number, TEXT: self.text}.get(rank)
        if value is None or column is None or isinstance(value, str) != (rank == TEXT):
            return true()
        return column <= value if self.order.descending else column >= value

    def _beyond(self, column: ColumnElement[Any] | None, value: float | str) -> Condition:
        if column is None:
            return false()
        return column < value if self.order.descending else column > value


def criteria(
    kind: str, order: Sequence[Order], compiler: Compiler, source: Callable[[Field], Source | None]
) -> list[Criterion]:
    """Return the criteria of an order; ``source`` gives the row that holds a key, the same one for the same key.

    Raises:
        QuerySyntaxError: there are more than a database can compare.
    """
    if len(order) > MAX_CRITERIA:
        msg = f"the order has {len(order):,} criteria; at most {MAX_CRITERIA} are allowed"
        raise QuerySyntaxError(msg)
    found: list[Criterion] = []
    for wanted in order:
        field = wanted.field
        is_text = field.section == COLUMN and column_type(kind, field.key) == "text"
        row = source(field) if field.section != COLUMN or is_apart(kind, field.key) else None
        if field.section == COLUMN and row is None:
            column = compiler.column(field.key)
            number, text = (None, column) if is_text else (column, None)
            found.append(Criterion(wanted, number, text, is_always_there=field.key == "entity_id"))
        elif row is None:
            found.append(Criterion(wanted, None, None))
        else:
            number, text = _values(row, field, is_text=is_text)
            if len(found) < _MAX_JOINS:
                found.append(Criterion(wanted, number, text, row))
            else:
                found.append(Criterion(wanted, _alone(row, number), _alone(row, text)))
    return found


def _values(row: Source, field: Field, *, is_text: bool) -> tuple[ColumnElement[Any] | None, ColumnElement[Any] | None]:
    """Return the number and the text that an order by a field takes from its row."""
    if field.section == COLUMN:  # it is declared which of the two it has
        return (None, row.value.text) if is_text else (row.value.number, None)
    text = None if field.aggregate else case((row.value.value_type == VALUE_TYPES["text"], row.value.text))
    return row.value.number, text


def _alone(row: Source, value: ColumnElement[Any] | None) -> ColumnElement[Any] | None:
    """Return a value of a row that is not joined."""
    return None if value is None else select(value).where(row.own).scalar_subquery()


def after_all(found: Sequence[Criterion], values: Sequence[OrderValue]) -> Condition:
    """Return whether an entity stands after ``values``, one for each criterion."""
    # One "or" of all ways, not one inside the other: SQLite's parser nests no deeper than a hundred levels.
    ways = []
    for index, (criterion, value) in enumerate(zip(found, values, strict=True)):
        equal = [earlier.equal(known) for earlier, known in zip(found[:index], values, strict=False)]
        ways.append(and_(*equal, criterion.after(value)))
    return or_(*ways)


def rank_of(value: OrderValue) -> int:
    """Return the rank that a value has."""
    return MISSING if value is None else TEXT if isinstance(value, str) else NUMBER


def _is_there(column: ColumnElement[Any] | None) -> Condition:
    return column.is_not(None) if column is not None else false()


def _is_not_there(column: ColumnElement[Any] | None) -> Condition:
    return column.is_(None) if column is not None else true()
