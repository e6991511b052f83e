"""Which fields entities of each kind have, and how a name in a query is resolved."""

from __future__ import annotations

from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from modeldb_core.entities import KINDS, PARENT_FIELDS, check_kind
from modeldb_core.errors import QuerySyntaxError
from modeldb_core.queries.ast import COLUMN, TAGS, Aggregate, Field

if TYPE_CHECKING:
    from collections.abc import Mapping

ColumnType: TypeAlias = Literal["text", "time", "number"]

AGGREGATES: tuple[Aggregate, ...] = tuple(name for name in get_args(Aggregate) if name)
SECTIONS: tuple[str, ...] = ("metrics", "hyperparameters", "attributes", "code", "datasets", "artifacts", "failure")
"""The maps whose keys can be searched, where a kind has them."""

_COMMON: dict[str, ColumnType] = {
    "entity_id": "text",
    "name": "text",
    "description": "text",
    "owner": "text",
    "created_at": "time",
    "updated_at": "time",
    "deleted_at": "time",
}
_OF_KIND: dict[str, dict[str, ColumnType]] = {
    "workspace": {},
    "project": {"workspace_id": "text", "visibility": "text"},
    "experiment": {"project_id": "text", "project": "text"},
    "run": {
        "status": "text",
        "project_id": "text",
        "experiment_id": "text",
        "parent_id": "text",
        "stream_id": "text",
        "project": "text",
        "experiment": "text",
        "started_at": "time",
        "finished_at": "time",
        "duration": "number",
    },
    "dataset": {"workspace_id": "text", "dataset_type": "text", "visibility": "text"},
    "dataset_version": {
        "dataset_id": "text",
        "parent_id": "text",
        "version": "number",
        "dataset_type": "text",
        "digest": "text",
    },
    "repository": {"workspace_id": "text"},
    "commit": {"repository_id": "text", "message": "text", "author": "text"},
    "registered_model": {"workspace_id": "text"},
    "model_version": {"registered_model_id": "text", "version": "number", "run_id": "text", "stage": "text"},
    "comment": {"parent_id": "text", "message": "text", "author": "text"},
    "user": {"email": "text"},
    "token": {"user_id": "text", "expires_at": "time"},
}

COLUMNS: Mapping[str, Mapping[str, ColumnType]] = MappingProxyType(
    {kind: MappingProxyType({**_COMMON, **_OF_KIND[kind]}) for kind in KINDS}
)
"""The columns of each kind and their types.

Of a run, ``status`` is as read (``lost`` included), ``duration`` is seconds from start to end, and ``project`` and
``experiment`` are the containers' names. ``name``, ``description`` and ``owner`` are empty where unset, every other
column is null.
"""

CONTAINER_NAMES: Mapping[str, str] = MappingProxyType({"project": "project_id", "experiment": "experiment_id"})
"""Columns that hold the name of a container, and the field with the container's identifier; the column is its kind."""

WITHIN_FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {**{kind: (name,) for kind, name in PARENT_FIELDS.items()}, "run": ("project_id", "experiment_id")}
)
"""The fields of which one must equal ``Query.within``, by kind. A kind without any is in no container."""


def sections_of(kind: str) -> tuple[str, ...]:
    """Return the searchable maps that entities of ``kind`` have; tags come with every kind."""
    return tuple(name for name in SECTIONS if name in KINDS[kind].__dataclass_fields__)


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
    if section == "metrics" and len(parts) > 1 and not quoted:
        for aggregate in AGGREGATES:
            if last == aggregate:
                return Field(section, ".".join(text for text, _ in parts[:-1]), aggregate)
    return Field(section, ".".join(text for text, _ in parts))


def _unknown_field(kind: str, name: str, *, is_section: bool) -> QuerySyntaxError:
    columns, sections = sorted(COLUMNS[kind]), [*sections_of(kind), TAGS]
    near = get_close_matches(name, sections if is_section else [*columns, *sections], 1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return QuerySyntaxError(
        f"{name!r} is not a field of a {kind.replace('_', ' ')}{hint} The columns are {', '.join(columns)}; "
        f"keys are written {', '.join(f'{section}.KEY' for section in sections[:-1])}; and there is tags."
    )
