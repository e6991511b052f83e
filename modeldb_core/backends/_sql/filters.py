"""From the tree of a filter to a condition on the row of an entity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, exists, false, literal, null, or_, select

from modeldb_core.backends._sql.conditions import (
    Condition,
    Predicate,
    Typed,
    negate,
    on_column,
    on_text,
    on_typed,
    status_of,
    together,
)
from modeldb_core.backends._sql.documents import COLUMN_SECTION, TAGGED, VALUE_TYPES, fact_columns, place_of
from modeldb_core.backends._sql.leases import is_gone
from modeldb_core.backends._sql.tables import entities, facts, keys, metrics
from modeldb_core.model.entities import LOST, RUNNING
from modeldb_core.model.schema import KINDS, METRICS
from modeldb_core.queries import (
    COLUMN,
    EMPTY_WHERE_UNSET,
    TAGS,
    And,
    Compare,
    Exists,
    Expression,
    Field,
    In,
    IsNull,
    Not,
    Or,
    column_type,
)
from modeldb_core.queries.evaluate import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import FromClause

    from modeldb_core.backends._sql.numbers import Key

_MAX_DEPTH = 10
"""Levels of logic that nest in one statement; deeper ones are asked beforehand.

SQLite's parser nests no deeper than a hundred levels, of which each of these takes several.
"""

_AGGREGATES = {"min": "minimum", "max": "maximum"}  # the other aggregates are called like their column


@dataclass(frozen=True, slots=True)
class Source:
    """A row beside that of the entity, at most one for each: where the value of a key is.

    Attributes:
        table: an alias of ``facts`` or ``metrics``.
        pick: the condition that picks the rows of the key out.
        link: the condition that one of them is that of the entity.
        value: the value in it.
    """

    table: FromClause
    pick: Condition
    link: Condition
    value: Typed

    @property
    def own(self) -> Condition:
        """The condition that the row is that of the key and the entity."""
        return and_(self.pick, self.link)

    def where(self, predicate: Predicate) -> Condition:
        """Return the condition that an entity has the row and its value satisfies ``predicate``."""
        return exists().where(self.own, on_typed(predicate, self.value))


class Compiler:
    """Compiles expressions on entities of one kind.

    Args:
        kind: of the entities.
        key_pks: the numbers of the keys that may occur. A key without one is carried by no entity.
        apart: returns a condition that means the same as the given one and is not nested: it asks the database.
    """

    def __init__(self, kind: str, key_pks: Mapping[Key, int], apart: Callable[[Condition], Condition]) -> None:
        self.kind = kind
        self._apart = apart
        self._key_pks = key_pks
        self._columns: dict[str, Callable[[], ColumnElement[Any]]] = {}
        if KINDS[kind].has_points:
            self._columns["status"] = self._status
        self._containers = KINDS[kind].container_names

    def condition(self, expression: Expression, depth: int = 0) -> Condition:
        """Return the condition on ``entities`` that an expression is."""
        match expression:
            case And() | Or() | Not() if depth >= _MAX_DEPTH:
                return self._apart(self.condition(expression))
            case And(items):
                return together(and_, [self.condition(item, depth + 1) for item in items])
            case Or(items):
                return together(or_, [self.condition(item, depth + 1) for item in items])
            case Not(item):
                return negate(self.condition(item, depth + 1))
            case _ if expression.field.section == TAGS:
                return self._on_tags(expression)
            case _ if expression.field.section == COLUMN:
                return self._on_column(expression)
            case _:
                source = self.source(expression.field)
                return false() if source is None else source.where(expression)

    def source(self, field: Field) -> Source | None:
        """Return where the value of a key is; ``None`` where no entity has it."""
        section = COLUMN_SECTION if field.section == COLUMN else field.section
        key_pk = self._key_pks.get((section, field.key))
        if key_pk is None:
            return None
        is_metric = section == METRICS
        row = (metrics if is_metric else facts).alias()
        pick, link = row.c.key_pk == key_pk, row.c.entity_pk == entities.c.entity_pk
        if not field.aggregate:
            return Source(row, pick, link, Typed(row.c.value_type, row.c.number, row.c.text, is_indexed=not is_metric))
        number = row.c[_AGGREGATES.get(field.aggregate, field.aggregate)]
        # A summary is a number; the columns of a row without a series are all NULL, and so is its count.
        pick = and_(pick, row.c.count.is_not(None))
        return Source(row, pick, link, Typed(_number_type(), number, _no_text()))

    def column(self, name: str) -> ColumnElement[Any]:
        """Return a column as an expression that is NULL where the entity has no value."""
        if name in self._columns:
            return self._columns[name]()
        if name in self._containers:
            container = entities.alias()
            wanted = select(container.c.name).where(
                container.c.entity_id == self.column(self._containers[name].name),
                container.c.kind == self._containers[name].refers_to,
                container.c.present == 1,
            )
            return wanted.scalar_subquery()
        if name == "entity_id":
            return entities.c.entity_id
        if (place := place_of(self.kind, name)) is not None:
            return entities.c[place]
        source = self.source(Field(COLUMN, name))
        if source is None:
            return literal("") if name in EMPTY_WHERE_UNSET else _no_text()
        value: ColumnElement[Any] = source.value.text if column_type(self.kind, name) == "text" else source.value.number
        found = select(value).where(source.own).scalar_subquery()
        return case((exists().where(source.own), found), else_="") if name in EMPTY_WHERE_UNSET else found

    def _on_column(self, predicate: Predicate) -> Condition:
        name = predicate.field.key
        if name in self._containers:
            container = entities.alias()
            kind = self._containers[name].refers_to
            names = select(container.c.entity_id).where(container.c.kind == kind, container.c.present == 1)
            column = self.column(self._containers[name].name)
            if isinstance(predicate, (Exists, IsNull)):
                # A container that is there has a name, if only an empty one.
                has_none = isinstance(predicate, IsNull) and not predicate.negated
                return negate(column.in_(names)) if has_none else column.in_(names)
            return column.in_(names.where(on_column(predicate, container.c.name)))
        if name in ("name", "owner"):
            # A name too long to be searched is NULL here, but not in the entity.
            if isinstance(predicate, (Compare, In)):
                return on_column(predicate, entities.c[name])
            return false() if not matches(predicate, lambda _field: "") else entities.c.entity_pk.is_not(None)
        if name in fact_columns(self.kind):
            return self._on_column_fact(predicate)
        return on_column(predicate, self.column(name))

    def _on_column_fact(self, predicate: Predicate) -> Condition:
        """Return a predicate on a column that lies in ``facts``, where only values are that an entity has."""
        source = self.source(predicate.field)
        there = false() if source is None else source.where(predicate)
        default = "" if predicate.field.key in EMPTY_WHERE_UNSET else None
        if not matches(predicate, lambda _field: default):
            return there
        missing = entities.c.entity_pk.is_not(None) if source is None else ~exists().where(source.own)
        return or_(there, missing)

    def _on_tags(self, predicate: Predicate) -> Condition:
        if isinstance(predicate, Exists):
            source = self.source(Field(COLUMN, TAGGED))
            return false() if source is None else exists().where(source.own)
        if isinstance(predicate, In):
            return or_(false(), *(self._has_tag(str(value)) for value in predicate.values))
        if not isinstance(predicate, Compare):
            return false()
        wanted = str(predicate.value)
        if predicate.operator in ("contains", "="):
            return self._has_tag(wanted)
        fitting = select(keys.c.key_pk).where(keys.c.section == TAGS, on_text(keys.c.key, predicate.operator, wanted))
        row = facts.alias()
        return exists().where(row.c.key_pk.in_(fitting), row.c.entity_pk == entities.c.entity_pk)

    def _has_tag(self, tag: str) -> Condition:
        source = self.source(Field(TAGS, tag))
        return false() if source is None else exists().where(source.own)

    def _status(self) -> ColumnElement[Any]:
        return status_of(entities.c.status, is_gone(), RUNNING, LOST)


def is_apart(kind: str, name: str) -> bool:
    """Return whether a column is, where an entity has a value, a row of ``facts``, and nothing where it has none."""
    return name in fact_columns(kind) and name not in EMPTY_WHERE_UNSET


def keys_in(expression: Expression | None) -> set[Key]:
    """Return the keys that an expression looks at."""
    match expression:
        case None:
            return set()
        case And(items) | Or(items):
            return set[Any]().union(*(keys_in(item) for item in items))
        case Not(item):
            return keys_in(item)
        case Compare(field=field, operator=operator, value=value) if field.section == TAGS:
            return {(TAGS, str(value))} if operator in ("contains", "=") else set()
        case In(field=field, values=values) if field.section == TAGS:
            return {(TAGS, str(value)) for value in values}
        case Exists(field=field) if field.section == TAGS:
            return {(COLUMN_SECTION, TAGGED)}
        case _:
            return {key_of(expression.field)}


def key_of(field: Field) -> Key:
    """Return the section and key under which the value of a field is stored."""
    return (COLUMN_SECTION if field.section == COLUMN else field.section, field.key)


def _number_type() -> ColumnElement[int]:
    return literal(VALUE_TYPES["number"])


def _no_text() -> ColumnElement[Any]:
    return null()
