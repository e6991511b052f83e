"""Grouping what a query matches by the value of a field: one statement, however many match."""

from __future__ import annotations

import math
import typing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Float, and_, case, cast, func, literal, null, select, true

from modeldb_core.backends._sql.conditions import together
from modeldb_core.backends._sql.documents import VALUE_TYPES, fact_columns
from modeldb_core.backends._sql.find import Finder
from modeldb_core.queries import COLUMN, EMPTY_WHERE_UNSET, MISSING, Group, GroupPage, Spread
from modeldb_core.queries.grouping import MOST_MEASURED, NOWHERE, TYPES, Place, place_of_value, value_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Select

    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.queries import Field, Query

_TYPE_NAMES = {number: name for name, number in VALUE_TYPES.items()}
_RANKS = {VALUE_TYPES[name]: rank for rank, name in enumerate(TYPES) if name}


def read_groups(transaction: Transaction, query: Query, by: Field, measures: Sequence[Field], now: int) -> GroupPage:
    """Return groups; see ``MetadataStore.find_groups``."""
    return _Grouper(transaction, query, by, measures, now).groups()


class _Grouper(Finder):
    """Groups what one query matches."""

    def __init__(self, transaction: Transaction, query: Query, by: Field, measures: Sequence[Field], now: int) -> None:
        plain = replace(query, order_by="", cursor=None, fields=None, count=False)
        super().__init__(transaction, plain, now, besides=(by, *measures))
        self._by = by
        self._measures = measures

    def groups(self) -> GroupPage:
        """Return a page of groups."""
        if self._is_impossible:
            return GroupPage((), 0)
        grouped, limit, offset = self._grouped(), self._query.limit, self._query.offset
        rows = self._connection.execute(grouped.limit(limit).offset(offset), self._parameters).all() if limit else []
        if rows or (limit and not offset):
            return GroupPage(tuple(map(self._group, rows)), rows[0][0] if rows else 0)
        every = select(func.count()).select_from(grouped.order_by(None).subquery())  # the page lies beyond the last one
        return GroupPage((), int(self._connection.execute(every, self._parameters).scalar_one()))

    def _grouped(self) -> Select[Any]:
        """Return the question for all groups: how many there are, how large each is, its value, and its measures."""
        rows = self._rows().subquery()
        place = [column for column in rows.c if column.name.startswith("place")]
        measured = [column for column in rows.c if not column.name.startswith("place")]
        typed = [case(_RANKS, value=place[0])] if len(place) > 1 else []
        spreads = [
            of(column) for column in measured for of in (func.count, func.avg, func.var_samp, func.min, func.max)
        ]
        order = (func.count().desc(), *(term.asc().nulls_last() for term in (*typed, *place[len(typed) :])))
        return (
            select(func.count().over(), func.count(), *place, *spreads).group_by(*place[1:], place[0]).order_by(*order)
        )

    def _rows(self) -> Select[Any]:
        """Return the question for the value and the numbers of every entity that matches."""
        beginning = self._beginning_of_all(self._fewest())
        joined, conditions = self._from(beginning, list(self._joined))
        columns = self._place()
        for field in dict.fromkeys((self._by, *self._measures)):
            source = None if self._is_of_entity(field) else self._source(field)
            if source is not None and field not in self._joined:
                joined = joined.outerjoin(source.table, source.own)
        named = [column.label(f"place{at}") for at, column in enumerate(columns)]
        numbers = [self._number(field).label(f"number{at}") for at, field in enumerate(self._measures)]
        return select(*named, *numbers).select_from(joined).where(together(and_, [true(), *conditions]))

    def _is_of_entity(self, field: Field) -> bool:
        return field.section == COLUMN and field.key not in fact_columns(self._query.kind)

    def _place(self) -> list[ColumnElement[Any]]:
        """Return what entities of a group have in common: the column itself, or type, number and text."""
        if self._is_of_entity(self._by):
            return [self._compiler.column(self._by.key)]
        source = self._source(self._by)
        default = "" if self._by.section == COLUMN and self._by.key in EMPTY_WHERE_UNSET else None
        if source is None:
            return [literal(default) if default is not None else null()]
        value = source.value
        if self._by.aggregate:  # of a summary, which is a number wherever there is a series
            is_there = source.table.c.count.is_not(None)
            return [case((is_there, value.value_type)), value.number, value.text]
        if default is None:
            return [value.value_type, value.number, value.text]
        is_missing = value.value_type.is_(None)
        of, text = ((is_missing, VALUE_TYPES["text"]), value.value_type), ((is_missing, default), value.text)
        return [case(of[0], else_=of[1]), value.number, case(text[0], else_=text[1])]

    def _number(self, field: Field) -> ColumnElement[Any]:
        source = self._source(field)
        if source is None:
            return cast(null(), Float())
        number = source.value.number
        is_measured = and_(source.value.value_type == VALUE_TYPES["number"], func.abs(number) <= MOST_MEASURED)
        return case((is_measured, number))

    def _group(self, row: Sequence[Any]) -> Group:
        _, count, *values = row
        size = len(values) - 5 * len(self._measures)
        place = self._place_of(values[:size])
        return Group(value_at(place), place[0], count, tuple(_spreads(values[size:])))

    def _place_of(self, values: Sequence[Any]) -> Place:
        if len(values) > 1:
            of, number, text = values
            return NOWHERE if of is None else typing.cast("Place", (_TYPE_NAMES[of], number, text))
        if values[0] is None and self._by.section == COLUMN and self._by.key in EMPTY_WHERE_UNSET:
            return "json", None, None  # it is too long to be searched
        return place_of_value(MISSING if values[0] is None else values[0])


def _spreads(values: Sequence[Any]) -> Iterator[Spread | None]:
    for at in range(0, len(values), 5):
        count, mean, variance, least, most = values[at : at + 5]
        yield Spread(count, mean, math.sqrt(variance or 0.0), least, most) if count else None
