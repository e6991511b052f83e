"""Documents as text, and what of a document the tables for searching hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from modeldb_core.backends._sql.tables import ERASED
from modeldb_core.entities import KINDS, PARENT_FIELDS, Document, is_bare
from modeldb_core.queries import COLUMNS, Leaf, changed, is_searchable, leaf_of, leaves
from modeldb_core.values import decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

VALUE_TYPES: Mapping[str, int] = {"number": 1, "text": 2, "bool": 3, "null": 4, "json": 5}
"""How the type of a searchable value is stored."""

COLUMN_SECTION = "column"
"""The section under which columns lie in ``facts`` that ``entities`` has no place for."""

TAGGED = "tags"
"""The key in that section that an entity with at least one tag carries."""

NARROW = frozenset(
    {
        *("entity_id", "name", "owner", "status", "project_id", "experiment_id", "project", "experiment", "duration"),
        *("created_at", "updated_at", "started_at", "finished_at", "deleted_at"),
    }
)
"""Columns that ``entities`` has, or that follow from what it has."""

_TIMES = ("created_at", "updated_at", "started_at", "finished_at", "deleted_at")
ROW_COLUMNS = ("present", "name", "owner", "status", "container_id", "project_id", "parent_id", "stream_pk", *_TIMES)
"""The columns of ``entities`` that follow from a document."""

FACT_COLUMNS = ("value_type", "number", "text")
"""The columns of ``facts`` that hold a value."""

FactValue: TypeAlias = tuple[int, float | None, str | None]
"""Type, number and text of a searchable value."""
Facts: TypeAlias = dict[tuple[str, str], FactValue]
"""Searchable values by section and key."""


def dump_document(document: Document) -> str:
    """Return a document as JSON text."""
    return encode(document).decode()


def load_document(text: str) -> Document:
    """Return the document in a JSON text."""
    if '"$' not in text:  # nothing is tagged, so it is plain JSON
        document: Document = json.loads(text)
        return document
    data = decode(text)
    assert isinstance(data, dict)
    return data


def facts_between(kind: str, before: Document, after: Document) -> tuple[Facts, Facts]:
    """Return the searchable values of two documents, without most of those that are in both."""
    one, other = changed(kind, before, after)
    return _facts(kind, before, one), _facts(kind, after, other)


def facts_of(kind: str, document: Document) -> Facts:
    """Return the searchable values of a document that the table ``entities`` does not hold."""
    return _facts(kind, document, document)


def _facts(kind: str, document: Document, part: Mapping[str, Any]) -> Facts:
    """Return those of a document that are in ``part`` of it, and its columns."""
    facts: Facts = {(leaf.section, leaf.key): _fact(leaf) for leaf in leaves(kind, part)}
    for name, column_type in COLUMNS.get(kind, {}).items():
        value = None if name in NARROW or is_parent(kind, name) else document.get(name)
        if isinstance(value, str if column_type == "text" else (int, float)):
            facts[COLUMN_SECTION, name] = _fact(leaf_of(COLUMN_SECTION, name, value))
    if document.get("tags"):
        facts[COLUMN_SECTION, TAGGED] = (VALUE_TYPES["bool"], 1.0, None)
    return facts


def row_of(kind: str, document: Document, *, has_series: bool = True) -> dict[str, Any]:
    """Return what the table ``entities`` holds of a document, but for the number of its writer's stream.

    ``has_series`` needs to be known only where the document is bare.
    """
    row: dict[str, Any] = {
        "present": ERASED if not has_series and is_bare(document) else 1,
        "name": _text(document.get("name", "")),
        "owner": _text(document.get("owner", "")),
        "status": _text(document.get("status", default_of(kind, "status"))),
        "container_id": _text(document.get(PARENT_FIELDS.get(kind, ""))),
        "project_id": _text(document.get("project_id")) if kind == "run" else None,
        "parent_id": _text(document.get("parent_id")),
        "stream_pk": None,
    }
    for name in _TIMES:
        value = document.get(name)
        row[name] = value if isinstance(value, int) and abs(value) < 2**63 else None
    return row


def is_parent(kind: str, name: str) -> bool:
    """Return whether a column is one of those of ``entities`` that hold an identifier."""
    return name == "parent_id" or name == PARENT_FIELDS.get(kind)


def default_of(kind: str, name: str) -> Any:  # noqa: ANN401 - of the field's type
    """Return what a field of an entity is where its document does not say."""
    field = KINDS[kind].__dataclass_fields__.get(name) if kind in KINDS else None
    return None if field is None or field.default is field.default_factory else field.default


def _fact(leaf: Leaf) -> FactValue:
    return VALUE_TYPES[leaf.value_type], leaf.number, leaf.text


def _text(value: object) -> str | None:
    """Return a text that can be searched, ``None`` for anything else."""
    return value if isinstance(value, str) and is_searchable(value) else None
