"""What must hold of the entities that a query matches, as joins and conditions; and what a statement about them is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from modeldb_core.backends._sql.beginnings import is_indexed, is_joinable, is_listed
from modeldb_core.backends._sql.conditions import Condition, Predicate, on_typed
from modeldb_core.backends._sql.filters import Compiler, Source, key_of, keys_in
from modeldb_core.backends._sql.joins import FixedJoin, StartJoin
from modeldb_core.backends._sql.leases import NOW
from modeldb_core.backends._sql.linked import linked_condition
from modeldb_core.backends._sql.numbers import find_keys_of
from modeldb_core.backends._sql.tables import entities
from modeldb_core.backends._sql.within import Within
from modeldb_core.queries import (
    TAGS,
    And,
    Compare,
    Exists,
    Expression,
    Field,
    In,
    IsNull,
    Query,
    decode_cursor,
    effective_order,
    parse_filter,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from sqlalchemy import FromClause, Select

    from modeldb_core.backends._sql.beginnings import Beginning
    from modeldb_core.backends._sql.database import Transaction

MAX_JOINS = 20
"""Predicates that are joined; further ones are subqueries. (SQLite joins at most 64 tables.)"""
_MOST_BUILT = 50  # statements that are kept


@dataclass(slots=True)
class Joined:
    """A row beside the entity's that must be there, and what must hold for it."""

    source: Source
    conditions: list[Condition] = field(default_factory=list)
    is_indexed: bool = False


class Matching:
    """The entities that a query matches, for statements about them.

    Attributes:
        is_lasting: whether what is built holds for later queries that differ in the cursor alone (:meth:`renew`).
    """

    def __init__(self, transaction: Transaction, query: Query, now: int, besides: Iterable[Field] = ()) -> None:
        self._transaction = transaction
        self._connection = transaction.connection
        self._query = query
        self._database = transaction.database
        self._parameters = {NOW: now}
        self._expression = parse_filter(query.filter, query.kind, at_us=now)
        self._order = effective_order(query)
        self._after = decode_cursor(query)
        fields = (*(order.field for order in self._order), *besides)
        self._wanted = keys_in(self._expression) | set(map(key_of, fields))
        self._key_pks = find_keys_of(transaction, self._wanted)
        self._compiler = Compiler(query.kind, self._key_pks, self._apart)
        self._built: dict[Hashable, Select[Any]] = {}
        self.is_lasting = query.linked is None
        self._sources: dict[Field, Source | None] = {}
        self._joined: dict[Field, Joined] = {}
        self._conditions = [entities.c.kind == query.kind, entities.c.present == 1]
        if not query.include_deleted:
            self._conditions.append(entities.c.deleted_at.is_(None))
        self._basic = len(self._conditions)
        if query.linked is not None:
            self._conditions.append(linked_condition(transaction, query.linked, query.kind))
        self._listed: list[FromClause] = []
        self._within: Within | None = None
        self._is_impossible = not (self._restrict_within() and self._split(self._expression))
        self.is_lasting &= not self._is_impossible

    def renew(self, transaction: Transaction, query: Query, now: int) -> bool:
        """Take on a later query that differs in the cursor alone; return whether what was built for the first one holds."""
        self._transaction, self._connection, self._query = transaction, transaction.connection, query
        self._parameters = {NOW: now}
        self._after = decode_cursor(query)
        return (
            parse_filter(query.filter, query.kind, at_us=now) == self._expression
            and find_keys_of(transaction, self._wanted) == self._key_pks
            and (self._within is None or self._within.still_holds(transaction.connection))
        )

    def _once(self, name: Hashable, build: Callable[[], Select[Any]]) -> Select[Any]:
        """Return a statement that is built once."""
        if name not in self._built:
            if len(self._built) >= _MOST_BUILT:
                self._built.clear()
            self._built[name] = build()
        return self._built[name]

    def _restrict_within(self) -> bool:
        """Add the containers to the conditions; return whether there is anything in them."""
        containers = self._query.containers
        if containers is None:
            return True
        self._within = Within.of(self._connection, self._database, self._compiler, containers)
        return self._within is not None

    def _split(self, expression: Expression | None) -> bool:
        """Part a filter into joins and other conditions; return whether anything can match."""
        items = expression.items if isinstance(expression, And) else () if expression is None else (expression,)
        for item in items:
            if isinstance(item, And):
                if not self._split(item):
                    return False
            elif isinstance(item, (Compare, In, Exists, IsNull)) and is_joinable(self._query.kind, item):
                if not self._join(item):
                    return False
            else:
                condition = self._compiler.condition(item)
                self._conditions.append(condition)
                if is_listed(self._query.kind, item):
                    numbers = select(entities.c.entity_pk).where(entities.c.kind == self._query.kind, condition)
                    self._listed.append(numbers.subquery())
        return True

    def _apart(self, condition: Condition) -> Condition:
        """Return a condition that lists the entities that satisfy ``condition``."""
        self.is_lasting = False  # what is found now holds now
        query = select(entities.c.entity_pk).where(entities.c.kind == self._query.kind, condition)
        found = self._connection.execute(query, self._parameters).scalars().all()
        return self._database.among(entities.c.entity_pk, found)

    def _join(self, item: Predicate) -> bool:
        """Add a predicate on a key to the joins; return whether any entity has the key."""
        place = item.field
        if isinstance(item, Compare) and place.section == TAGS:
            place = Field(TAGS, str(item.value))
        source = self._source(place)
        if source is None:
            return False
        if place not in self._joined and len(self._joined) >= MAX_JOINS:
            self._conditions.append(self._compiler.condition(item))
            return True
        joined = self._joined.setdefault(place, Joined(source))
        if item.field.section != TAGS:
            joined.conditions.append(on_typed(item, source.value))
        joined.is_indexed |= is_indexed(item)
        return True

    def _source(self, place: Field) -> Source | None:
        if place not in self._sources:
            self._sources[place] = self._compiler.source(place)
        return self._sources[place]

    def _from(self, beginning: Beginning, inner: Sequence[Field]) -> tuple[FromClause, list[Condition]]:
        """Return entities joined with the rows that must be there, and all conditions."""
        conditions = list(self._conditions)
        joined: FromClause = entities
        driver, numbers = beginning
        if numbers is not None:
            joined = StartJoin(numbers, entities, numbers.c.entity_pk == entities.c.entity_pk)
        if self._within is not None and (numbers is None or numbers is not self._within.start):
            conditions.append(self._within.condition)
        if driver is not None:
            source = self._source(driver)
            assert source is not None
            joined = FixedJoin(source.table, entities, source.link)
            conditions.append(source.pick)
        for place in inner:
            source = self._source(place)
            assert source is not None
            if place != driver:
                joined = FixedJoin(joined, source.table, source.own)
            if place in self._joined:
                conditions += self._joined[place].conditions
        return joined, conditions
