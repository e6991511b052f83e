"""Which fields entities of each kind have, and how a name in a query is resolved."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, get_args

from modeldb_core.errors import QuerySyntaxError
from modeldb_core.model.schema import HOME_FIELDS, KINDS, METRICS, ByKind, ColumnType, check_kind
from modeldb_core.queries.ast import COLUMN, TAGS, Aggregate, Field

if TYPE_CHECKING:
    from collections.abc import Mapping

AGGREGATES: tuple[Aggregate, ...] = tuple(name for name in get_args(Aggregate) if name)

COLUMNS: Mapping[str, Mapping[str, ColumnType]] = ByKind(lambda declaration: declaration.columns)
"""The columns of each kind and their types.

Of a run, ``status`` is as read (``lost`` included) and ``duration`` is seconds from start to end. Columns such as
``project`` and ``experiment`` are the containers' names.
"""

EMPTY_WHERE_UNSET = ("name", "description", "owner")
"""Columns that are an empty text where an entity has no value; every other column is null there."""

CONTAINER_NAMES: Mapping[str, str] = ByKind(lambda declaration: f"{declaration.kind}_id")
"""Columns that hold the name of a container, and the field with the container's identifier; the column is its kind."""

WITHIN_FIELDS: Mapping[str, tuple[str, ...]] = ByKind(
    lambda declaration: tuple(dict.fromkeys((*(field.name for field in declaration.containers), *HOME_FIELDS)))
)
"""The fields of which one must hold a container of ``Query.within``, by kind."""


def sections_of(kind: str) -> tuple[str, ...]:
    """Return the searchable maps that entities of ``kind`` have; tags come with every kind. None of an unknown kind."""
    declaration = KINDS.get(kind)
    return () if declaration is None else declaration.sections


def column_type(kind: str, column: str) -> ColumnType:
    """Return the type of a column that exists."""
    return COLUMNS[kind][column]


def resolve_field(kind: str, parts: tuple[tuple[str, bool], ...]) -> Field:
    """Return the field that a dotted name means.

    Args:
        kind: of the entities that are searched.
        parts: the parts between the dots, each with whether it was quoted.

    Raises:
        QuerySyntaxError: there is no such column or section (the message lists those there are), or a key is missing.
    """
    name, rest = parts[0][0], parts[1:]
    if name == TAGS:
        if rest:
            msg = f'tags have no keys; write: tags contains "{rest[0][0]}"'
            raise QuerySyntaxError(msg)
        return Field(TAGS)
    if name in sections_of(kind):
        return _key_field(name, rest)
    if rest:
        raise _unknown_field(kind, name, is_section=True)
    column = "entity_id" if name == f"{check_kind(kind)}_id" else name
    if column not in COLUMNS[kind]:
        raise _unknown_field(kind, name, is_section=False)
    return Field(COLUMN, column)


def _key_field(section: str, parts: tuple[tuple[str, bool], ...]) -> Field:
    if not parts:
        msg = f"{section} needs a key, such as {section}.name"
        raise QuerySyntaxError(msg)
    last, quoted = parts[-1]
    if section == METRICS and len(parts) > 1 and not quoted:
        for aggregate in AGGREGATES:
            if last == aggregate:
                return Field(section, ".".join(text for text, _ in parts[:-1]), aggregate)
    return Field(section, ".".join(text for text, _ in parts))


def _unknown_field(kind: str, name: str, *, is_section: bool) -> QuerySyntaxError:
    columns, sections = sorted(COLUMNS[kind]), [*sections_of(kind), TAGS]
    near = get_close_matches(name, sections if is_section else [*columns, *sections], 1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return QuerySyntaxError(
        f"{name!r} is not a field of a {KINDS[kind].words}{hint} The columns are {', '.join(columns)}; "
        f"keys are written {', '.join(f'{section}.KEY' for section in sections[:-1])}; and there is tags."
    )
