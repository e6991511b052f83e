"""Finding: which entities match, in which order, and how to get at them fast.

Predicates on keys that all must hold are joined to the entity; the rest is a condition. What the search starts from
(an index in the order asked for, or the predicate that leaves the fewest) is decided by counting a little beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, false, func, literal_column, or_, select, true

from modeldb_core.backends._sql.beginnings import (
    CREATED,
    Beginning,
    Fewest,
    along,
    may_be_nan,
)
from modeldb_core.backends._sql.conditions import Condition, together
from modeldb_core.backends._sql.counting import ITSELF, are_counted
from modeldb_core.backends._sql.joins import FixedJoin
from modeldb_core.backends._sql.matching import Matching
from modeldb_core.backends._sql.ordering import MISSING, NUMBER, TEXT, Criterion, after_all, criteria, rank_of
from modeldb_core.backends._sql.tables import entities, key_counts
from modeldb_core.model.schema import HOME_FIELDS, KINDS
from modeldb_core.queries import (
    COLUMN,
    TAGS,
    And,
    Compare,
    Field,
    OrderValue,
    encode_cursor,
    sections_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import FromClause, Select

    from modeldb_core.backends._sql.database import Database
    from modeldb_core.backends._sql.filters import Source

COUNTED = 20_000
"""Up to how many rows of an index are counted to see how much a predicate leaves: half a millisecond."""
FEW = 300
"""Rows that are fetched and sorted without asking what walking along the order would cost."""


@dataclass(frozen=True, slots=True)
class Found:
    """The numbers of the entities of a page, the cursor for the next one, and how many match in all."""

    entity_pks: tuple[int, ...]
    cursor: str | None
    total: int | None


class Finder(Matching):
    """Answers one query within one transaction."""

    def find(self, limit: int | None = None) -> Found:
        """Return one page, of another ``limit`` than the query's where one is given."""
        query = self._query
        limit = query.limit if limit is None else limit
        if self._is_impossible:
            return Found((), None, 0 if query.count else None)
        total = self._counted_total() if query.count else None
        is_to_be_counted = query.count and total is None
        if not (limit or is_to_be_counted):
            return Found((), None, total)
        fewest = self._fewest()
        if is_to_be_counted:
            total = self._count(fewest)
        rows = self._page(fewest, limit + 1, query.offset) if limit else []
        page = rows[:limit]
        cursor = encode_cursor(query, self._standing(page[-1])) if len(rows) > len(page) and page else None
        return Found(tuple([row[0] for row in page]), cursor, total)

    @property
    def counted(self) -> Condition | None:
        """Which rows of ``key_counts`` are about exactly the entities that match; ``None`` where they are not counted so."""
        query, within = self._query, self._within
        if self._expression is not None or query.include_deleted or query.linked is not None:
            return None
        if self._is_impossible:
            return false()
        own = key_counts.c.kind == query.kind
        if within is not None:
            if not set(within.fields) <= set(HOME_FIELDS):
                return None
            own = and_(
                own, or_(*(self._database.among(key_counts.c[name], query.containers) for name in within.fields))
            )
        return own if are_counted(self._transaction, query.kind) else None

    # Where to start

    def _fewest(self) -> Fewest:
        """Return where the fewest rows are."""
        within = self._within
        indexed = {place: joined for place, joined in self._joined.items() if joined.is_indexed}
        if (
            not (indexed or self._listed)
            and (within is None or within.start is None)
            and self._order[0].field == CREATED
        ):
            return Fewest(Beginning(), COUNTED, ())  # along the order, however many there are: nothing else lists them
        from_containers = Beginning(numbers=None if within is None else within.start)
        counted: list[tuple[int, Beginning]] = []
        if within is not None:
            counted.append((self._count_some(within.some, []), from_containers))
        for numbers in self._listed:
            counted.append((self._count_some(numbers, []), Beginning(numbers=numbers)))
        for place, joined in indexed.items():
            rows = self._count_some(joined.source.table, [joined.source.pick, *joined.conditions])
            counted.append((rows, Beginning(place)))
        rows, beginning = min(counted, key=lambda each: each[0], default=(COUNTED, from_containers))
        return Fewest(beginning if rows < COUNTED else from_containers, rows, tuple(count for count, _ in counted))

    def _count_some(self, table: FromClause, conditions: Sequence[Condition]) -> int:
        def build() -> Select[Any]:
            some = select(literal_column("1")).select_from(table).where(*conditions).limit(COUNTED).subquery()
            return select(func.count()).select_from(some)

        return int(self._connection.execute(self._once(table, build), self._parameters).scalar_one())

    # Asking

    def _counted_total(self) -> int | None:
        """Return how many match where that is counted already."""
        own = self.counted
        if own is None:
            return None
        total = select(func.sum(key_counts.c.count)).where(own, key_counts.c.key_pk == ITSELF)
        return int(self._connection.execute(total).scalar_one() or 0)

    def _count(self, fewest: Fewest) -> int:
        beginning = self._beginning_of_all(fewest)

        def build() -> Select[Any]:
            if beginning.driver is not None and self._is_about_keys_alone():
                joined, conditions = self._from_keys(beginning.driver)
            else:
                joined, conditions = self._from(beginning, list(self._joined))
            return select(func.count()).select_from(joined).where(together(and_, [true(), *conditions]))

        query = self._once(("count", beginning), build)
        return int(self._connection.execute(query, self._parameters).scalar_one())

    def _beginning_of_all(self, fewest: Fewest) -> Beginning:
        """Return what to begin with where all that match are wanted, in no order."""
        if not fewest.beginning.is_unknown or self._within is not None:
            return fewest.beginning
        return Beginning(next(iter(self._joined), None))

    def _is_about_keys_alone(self) -> bool:
        """Return whether the rows of keys tell all that must hold, but for which entities are deleted."""
        others = (kind for kind in KINDS if kind != self._query.kind)
        shared = {TAGS, COLUMN, *(section for kind in others for section in sections_of(kind))}
        return (
            self._within is None
            and len(self._conditions) == self._basic
            and any(place.section not in shared for place in self._joined)
        )

    def _from_keys(self, driver: Field) -> tuple[FromClause, list[Condition]]:
        """Return what :meth:`_from` does, without looking at the row of every entity."""
        first = self._joined[driver].source
        entity_pk = first.table.c.entity_pk
        joined, conditions = first.table, [first.pick]
        for place, other in self._joined.items():
            if place != driver:
                row = other.source.table
                joined = FixedJoin(joined, row, and_(other.source.pick, row.c.entity_pk == entity_pk))
            conditions += other.conditions
        if not self._query.include_deleted:
            deleted = select(entities.c.entity_pk).where(
                entities.c.kind == self._query.kind, entities.c.deleted_at.is_not(None)
            )
            conditions.append(entity_pk.not_in(deleted))
        return joined, conditions

    def _standing(self, row: Sequence[Any]) -> list[OrderValue]:
        """Return where the entity of a row of a page stands in the order."""
        columns = iter(row[1:])
        return [criterion.of_row(columns) for criterion in self._criteria]

    def _page(self, fewest: Fewest, limit: int, offset: int) -> list[Sequence[Any]]:
        """Return the numbers of entities, with what says where they stand, in order; ``offset`` of them come before."""
        first = self._criteria[0]
        is_walked = self._is_walking_cheaper(fewest, limit + offset)
        rows: list[Sequence[Any]] = []
        for rank in first.ranks:
            if self._after is not None and rank < rank_of(self._after[0]):
                continue
            if rank not in self._possible_ranks(first):
                continue
            beginning = (along(first, rank) if is_walked else None) or fewest.beginning
            query = self._part(rank, beginning, limit - len(rows), offset)
            some = self._connection.execute(query, self._parameters).all()
            rows += some
            if offset:  # all of this rank may come before the page
                offset = 0 if some else offset - self._count_all(query)
            if len(rows) >= limit:
                break
        return rows

    def _part(self, rank: int, beginning: Beginning, limit: int, offset: int) -> Select[Any]:
        """Return the question for a part of a page: entities of one rank of the first criterion."""

        def build() -> Select[Any]:
            ranked = self._ranked(self._criteria, rank, beginning).limit(limit)
            return ranked.offset(offset) if offset else ranked

        return build() if self._after is not None else self._once((rank, beginning, limit, offset), build)

    @cached_property
    def _criteria(self) -> list[Criterion]:
        return criteria(self._query.kind, self._order, self._compiler, self._source)

    def _is_walking_cheaper(self, fewest: Fewest, wanted: int) -> bool:
        """Return whether walking along the order, where an index is in it, costs less than sorting the fewest rows.

        The walk ends as soon as ``wanted`` entities are found. Each row costs about the same on both ways. Those that
        match lie along the order as if predicates knew nothing of it and of one another: the shares that they leave are
        multiplied.
        """
        if fewest.rows >= COUNTED:  # too many to sort, however long the walk may be
            return True
        if fewest.rows <= max(FEW, wanted):
            return False
        rows = int(self._transaction.scalar(_newest))  # of all kinds: at the most
        # Of what was not counted to its end, the share lies between COUNTED / rows and 1: the middle of their logarithms.
        shares = (count / rows if count < COUNTED else math.sqrt(COUNTED / rows) for count in fewest.counts)
        return wanted < math.prod(shares) * fewest.rows

    def _count_all(self, part: Select[Any]) -> int:
        every = part.limit(None).offset(None).order_by(None)
        rows = every.with_only_columns(entities.c.entity_pk).subquery()
        return int(self._connection.execute(select(func.count()).select_from(rows), self._parameters).scalar_one())

    def _possible_ranks(self, first: Criterion) -> tuple[int, ...]:
        """Return the ranks that the filter leaves: one that compares a key with a number leaves numbers."""
        items = self._expression.items if isinstance(self._expression, And) else (self._expression,)
        for item in items:
            if isinstance(item, Compare) and item.field == first.order.field and item.field.section != COLUMN:
                return (TEXT,) if isinstance(item.value, str) else (NUMBER, MISSING)[: 1 + may_be_nan(item)]
        return (NUMBER, TEXT, MISSING)

    def _ranked(self, found: Sequence[Criterion], rank: int, beginning: Beginning) -> Select[Any]:
        """Return the question for entities of one rank of the first criterion."""
        first = found[0]
        inner = list(self._joined)
        place = first.order.field
        if first.source is not None and rank != MISSING and place not in inner:
            inner.append(place)
        joined, conditions = self._from(beginning, inner)
        outer: dict[Field, Source] = {}
        for criterion in found:
            if criterion.source is not None and criterion.order.field not in inner:
                outer[criterion.order.field] = criterion.source
        for source in outer.values():
            joined = joined.outerjoin(source.table, source.own)
        conditions.append(first.at_rank(rank))
        if self._after is not None:
            conditions += [first.bound(self._after[0], rank), after_all(found, self._after)]
        sorting = [*first.sorting(rank), *(term for criterion in found[1:] for term in criterion.sorting())]
        values = [value for criterion in found for value in criterion.values]
        return (
            select(entities.c.entity_pk, *values)
            .select_from(joined)
            .where(together(and_, [true(), *conditions]))
            .order_by(*sorting)
        )


def _newest(_database: Database) -> Select[Any]:
    return select(func.max(entities.c.entity_pk))
