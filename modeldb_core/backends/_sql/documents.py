"""Documents as text, and what of a document the tables for searching hold."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from modeldb_core.backends._sql.layout import ERASED
from modeldb_core.errors import IntegrityError
from modeldb_core.model.entities import RUNNING, Document
from modeldb_core.model.evolve import is_bare
from modeldb_core.model.plain_data import is_plain_data
from modeldb_core.model.schema import HOME_FIELDS, KINDS, ColumnType, KindDeclaration
from modeldb_core.model.values import Value, decode, json_text, to_json, write_key
from modeldb_core.queries import changed, is_searchable, leaf_value, leaf_values, sections_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_READ_AT_ONCE = 50
"""Documents: of more the objects of all lie further apart in memory, and it takes longer."""

VALUE_TYPES: Mapping[str, int] = {"number": 1, "text": 2, "bool": 3, "null": 4, "json": 5}
"""How the type of a searchable value is stored."""

COLUMN_SECTION = "column"
"""The section under which columns lie in ``facts`` that ``entities`` has no place for."""

TAGGED = "tags"
"""The key in that section that an entity with at least one tag carries."""

_TIMES = ("created_at", "updated_at", "started_at", "finished_at", "deleted_at")
ROW_COLUMNS = ("present", "name", "owner", "status", "container_id", *HOME_FIELDS, "parent_id", "stream_pk", *_TIMES)
"""The columns of ``entities`` that follow from a document, and from those of its containers."""
PLACE_COLUMNS = ("container_id", *HOME_FIELDS, "parent_id", "created_at")
"""Those of them that hardly ever change, and that most indexes begin with or hold."""
_OWN_COLUMNS = tuple(name for name in ROW_COLUMNS if name not in HOME_FIELDS)

FACT_COLUMNS = ("value_type", "number", "text")
"""The columns of ``facts`` that hold a value."""

FactValue: TypeAlias = tuple[int, float | None, str | None]
"""Type, number and text of a searchable value."""
Facts: TypeAlias = dict[tuple[str, str], FactValue]
"""Searchable values by section and key."""


def dump_document(document: Document, written: Document | None = None) -> str:
    """Return a document as JSON text.

    Args:
        written: one that is its own JSON form (:func:`is_plain`). What is the same object in both is taken as it is, and
            not gone through again: of a large document most is.
    """
    if written is None and is_plain_data(document):
        return json_text(document)
    written = written or {}
    return json_text({write_key(name): _written(value, written.get(name, _NEW)) for name, value in document.items()})


def _written(value: Value, before: object) -> Any:  # noqa: ANN401 - JSON data
    if value is before:
        return value
    if isinstance(value, dict) and isinstance(before, dict):
        # Keys that stand in plain text are written as they are.
        return {
            key if (old := before.get(key, _NEW)) is not _NEW else write_key(key): item
            if item is old
            else to_json(item)
            for key, item in value.items()
        }
    return to_json(value)


_NEW = object()


def is_plain(text: str) -> bool:
    """Return whether nothing in a document's JSON text is tagged, so that what is read is what stands there."""
    return '"$' not in text


def load_document(text: str) -> Document:
    """Return the document in a JSON text.

    Raises:
        IntegrityError: it is not a document; no store wrote it.
    """
    try:
        data: Any = _plain(text) if is_plain(text) else decode(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error) from error
    return _map_of(data)


def load_documents(texts: Sequence[str]) -> list[Document]:
    """Return the documents in JSON texts.

    Those that are plain are read as lists of some: that takes a third less time, and they have the same keys in memory.

    Raises:
        IntegrityError: as :func:`load_document`.
    """
    found: list[Document] = []
    for at in range(0, len(texts), _READ_AT_ONCE):
        some = texts[at : at + _READ_AT_ONCE]
        if not all(map(is_plain, some)):
            found += map(load_document, some)
            continue
        try:
            data = _plain(f"[{','.join(some)}]")
        except (ValueError, RecursionError) as error:
            raise _unreadable(error) from error
        if len(data) != len(some):
            msg = f"there are {len(data)} in {len(some)} texts"
            raise _unreadable(msg)
        found += map(_map_of, data)
    return found


def _unreadable(reason: object) -> IntegrityError:
    return IntegrityError(f"a stored document cannot be read: {reason}")


def _map_of(data: object) -> Document:
    if not isinstance(data, dict):
        msg = f"a stored document is of type {type(data).__name__}; expected a map"
        raise IntegrityError(msg)
    return data


def _plain(text: str) -> Any:  # noqa: ANN401 - JSON data
    """Return what stands in a JSON text that this program wrote: without blanks around it."""
    data, end = _raw_decode(text)
    if end != len(text):
        msg = f"there is more after it, from character {end} on"
        raise ValueError(msg)
    return data


_raw_decode = json.JSONDecoder().raw_decode


def facts_between(kind: str, before: Document, after: Document) -> tuple[Facts, Facts]:
    """Return the searchable values of two documents, without most of those that are in both."""
    if not before:
        return {}, facts_of(kind, after)
    one, other = changed(kind, before, after)
    return _facts(kind, before, one), _facts(kind, after, other)


def facts_of(kind: str, document: Document) -> Facts:
    """Return the searchable values of a document that the table ``entities`` does not hold."""
    return _facts(kind, document, document)


def _facts(kind: str, document: Document, part: Mapping[str, Any]) -> Facts:
    """Return those of a document that are in ``part`` of it, and its columns."""
    facts: Facts = {
        pair: (VALUE_TYPES[of], number, text) for pair, (of, number, text) in leaf_values(kind, part).items()
    }
    for name in fact_columns(kind):
        declared = KINDS[kind].fields.get(name)
        value = document.get(name)
        if value is not None and declared is not None and declared.fits(value):
            facts[COLUMN_SECTION, name] = _fact(value)
    for elapsed in KINDS[kind].elapsed if kind in KINDS else ():
        if (seconds := elapsed.of(document)) is not None:
            facts[COLUMN_SECTION, elapsed.name] = _fact(seconds)
    if document.get("tags"):
        facts[COLUMN_SECTION, TAGGED] = (VALUE_TYPES["bool"], 1.0, None)
    return facts


def searched(kind: str) -> tuple[str, ...]:
    """Return the fields of which ``facts`` hold something."""
    sources = KINDS[kind].sources if kind in KINDS else {}
    columns = (name for column in fact_columns(kind) for name in sources.get(column, (column,)))
    return (*sections_of(kind), *columns, "tags")


def row_of(kind: str, document: Document, *, has_series: bool = True) -> dict[str, Any]:
    """Return what the table ``entities`` holds of a document, but for its writer's stream and where it lies.

    ``has_series`` needs to be known only where the document is bare.
    """
    row: dict[str, Any] = dict.fromkeys(_OWN_COLUMNS)
    row["present"] = ERASED if not has_series and is_bare(document) else 1
    if kind in KINDS and KINDS[kind].home:
        row["container_id"] = _text(document.get(KINDS[kind].home))
    for name, column in _own_places(KINDS.get(kind)):
        value = document.get(name, _UNSET.get(column))
        if column in _TIMES:
            row[column] = value if type(value) is int and abs(value) < 2**63 else None
        else:
            row[column] = _text(value)
    return row


def place_of(kind: str, name: str) -> str | None:
    """Return the column of ``entities`` that holds a field; ``None`` for one that lies in ``facts``, or nowhere."""
    return places_of(kind).get(name)


def places_of(kind: str) -> Mapping[str, str]:
    """Return the columns of ``entities`` that hold fields of a kind, by field."""
    declaration = KINDS.get(kind)
    return _OF_ANY if declaration is None else _places(declaration)


def fact_columns(kind: str) -> Mapping[str, ColumnType]:
    """Return the columns of a kind that lie in ``facts``, and their types."""
    declaration = KINDS.get(kind)
    return {} if declaration is None else _fact_columns(declaration)


_OF_ANY = {name: name for name in ("name", "owner", "created_at", "updated_at", "deleted_at")}
_TYPES_OF_PLACES = {"parent_id": "text", "started_at": "time", "finished_at": "time"}
_UNSET = {"name": "", "owner": "", "status": RUNNING}


@cache
def _places(declaration: KindDeclaration) -> Mapping[str, str]:
    found = {**_OF_ANY, **{name: name for name in HOME_FIELDS}}
    for name, declared in declaration.fields.items():
        if name == declaration.home:
            found.setdefault(name, "container_id")
        elif declared.searchable and declared.type == _TYPES_OF_PLACES.get(name):
            found[name] = name
    if declaration.has_points:  # of others a status that is not there is null
        found["status"] = "status"
    return found


@cache
def _own_places(declaration: KindDeclaration | None) -> Sequence[tuple[str, str]]:
    places = _OF_ANY if declaration is None else _places(declaration)
    return tuple((name, column) for name, column in places.items() if column not in HOME_FIELDS)


@cache
def placing_fields(kind: str) -> Sequence[str]:
    """Return the fields that :data:`PLACE_COLUMNS` follow from."""
    declaration = KINDS.get(kind)
    own = {name for name, column in _own_places(declaration) if column in PLACE_COLUMNS}
    containers = () if declaration is None else declaration.containers
    return tuple(own.union(each.name for each in containers))


@cache
def _fact_columns(declaration: KindDeclaration) -> Mapping[str, ColumnType]:
    apart = {"entity_id", *_places(declaration)}
    elapsed = {each.name for each in declaration.elapsed}
    return {
        name: declaration.columns[name]
        for name in declaration.columns
        if name in elapsed or (name in declaration.fields and name not in apart)
    }


def _fact(value: object) -> FactValue:
    of, number, text = leaf_value(value)
    return VALUE_TYPES[of], number, text


def _text(value: object) -> str | None:
    """Return a text that can be searched, ``None`` for anything else."""
    return value if isinstance(value, str) and is_searchable(value) else None
