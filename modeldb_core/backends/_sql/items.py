"""Large maps of documents: each item is a row, so that an update reads and writes what it alters, however large the map is.

The stored document has an empty map in the place of each of them, and ``documents.apart`` names them. :func:`complete` puts
them back for who reads the entity; an update reads only the items that its changes name.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.backends._sql.documents import dump_document, load_document, placing_fields
from modeldb_core.errors import IntegrityError
from modeldb_core.log.changes import UPDATE
from modeldb_core.model.schema import KINDS
from modeldb_core.model.values import json_text, to_json, write_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.sql.dml import Delete, Insert

    from modeldb_core.backends._sql.database import Row, Transaction
    from modeldb_core.log.changes import Change
    from modeldb_core.model.entities import Document

LARGE = 65_536
"""Characters of a document from which on its large maps lie apart, and of each such map at least a quarter of them."""
MAX_NAME = 1000
"""Characters of a name that are in the key of its row."""
_FIELD, _NAMES = "field", "names"
Apart: TypeAlias = "dict[str, int]"
"""The fields that lie apart, with the place of the next item of each."""


def load_apart(text: str | None) -> Apart:
    """Return what ``documents.apart`` says.

    Raises:
        IntegrityError: it is not a map of fields to places.
    """
    data = load_document(text) if text else {}
    if not all(type(place) is int for place in data.values()):
        msg = "what is said of the items of a document is damaged"
        raise IntegrityError(msg)
    return data


def complete(
    transaction: Transaction,
    found: Iterable[tuple[int, Document, str | None]],
    fields: Collection[str] | None = None,
    keys: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Put into documents, by the numbers of entities and with what lies apart of each, the items of all maps, or of some.

    Args:
        fields: the maps of which all items are put in; all maps where it is ``None``.
        keys: of further maps the items that are put in: those under these keys, and under what they are below.
    """
    keys = keys or {}
    whole: dict[str, dict[int, Document]] = defaultdict(dict)
    parts: dict[str, dict[int, Document]] = defaultdict(dict)
    for entity_pk, document, text in found:
        for name in load_apart(text) if text else ():
            if fields is None or name in fields:
                whole[name][entity_pk] = document
            elif name in keys:
                parts[name][entity_pk] = document
    many = transaction.database.many
    for name, documents in whole.items():
        for entity_pk, items in transaction.rows(_of_entities, {MANY: many(documents), _FIELD: name}):
            documents[entity_pk][name] = load_document(f"{{{items or ''}}}")
    for name, documents in parts.items():
        parameters = {MANY: many(documents), _FIELD: name, _NAMES: many(sorted(_names_above(keys[name])))}
        members: dict[int, list[Row]] = defaultdict(list)
        for row in transaction.rows(_some_of_entities, parameters):
            members[row[2]].append(row)
        for entity_pk, document in documents.items():
            document[name] = joined(members[entity_pk])


def _names_above(keys: Collection[str]) -> set[str]:
    """Return what the rows of items are found by that lie under keys, or under one that a key is below: ``a`` for ``a.b``."""
    beginnings = (key[:at] for key in keys for at, letter in enumerate(key) if letter == ".")
    return {name_of(key) for key in (*keys, *beginnings)}


def is_written_as(transaction: Transaction, entity_pk: int, document: Document) -> bool:
    """Return whether the rows of a document hold what is expected, item by item, and nothing else."""
    rows = transaction.rows(_document, {"entity": entity_pk})
    if not rows:
        return False
    text, apart = rows[0][0], load_apart(rows[0][1])
    found: dict[str, list[tuple[int, str, str]]] = {name: [] for name in apart}
    for field, *row in transaction.rows(_named, {"entity": entity_pk}):
        found.setdefault(field, []).append((*row,))
    for field, stored in found.items():
        expected, stored = document.get(field), sorted(stored)
        if field not in apart or type(expected) is not dict or (stored and not 0 <= stored[-1][0] < apart[field]):
            return False
        if len({place for place, *_ in stored}) < len(stored):
            return False
        if [each[1:] for each in stored] != [(name_of(key), text_of(key, value)) for key, value in expected.items()]:
            return False
    return bool(text == dump_document(_without(document, apart)))


def joined(rows: Sequence[Row]) -> Document:
    """Return the map with these items, of which rows begin with place and text."""
    return load_document("{" + ",".join([row[1] for row in sorted(rows, key=itemgetter(0))]) + "}")


def text_of(key: str, value: Any) -> str:  # noqa: ANN401 - any value
    """Return an item as it stands in the JSON text of a map."""
    return f"{json_text(write_key(key))}:{json_text(to_json(value))}"


def name_of(key: str) -> str:
    """Return what the row of an item is found by: its key as JSON, in ASCII, and of a long one a digest instead of the end."""
    text = json.dumps(key)[1:-1]
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 64] + hashlib.sha256(text.encode()).hexdigest()


class ItemRows:
    """Gathers rows of items, and knows what was read of them."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._apart: dict[int, Apart] = {}
        self._dropped: list[dict[str, Any]] = []
        self._gone: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []

    def load(
        self, entity_pk: int, kind: str, document: Document, text: str | None, changes: Sequence[Change] | None
    ) -> None:
        """Put into a document the items that changes may alter; all, where that is not known."""
        apart = self._apart[entity_pk] = load_apart(text)
        touched = None if changes is None else _touched(kind, changes, apart)
        if touched is None:
            complete(self._transaction, [(entity_pk, document, text)])
            return
        for field, keys in touched.items():
            found = None if keys is None else self._read_some(entity_pk, field, keys)
            if found is None:
                complete(self._transaction, [(entity_pk, document, text)], [field])
            else:
                document[field] = found

    def _read_some(self, entity_pk: int, field: str, keys: Collection[str]) -> Document | None:
        """Return the items under keys and under those that these are below; ``None``: some lie below a key.

        An item may hide what is searched of another whose key is its own and more (``{"a": {"b": 1}, "a.b": 2}``).
        """
        of_field = {"entity": entity_pk, _FIELD: field}
        names = [name_of(key) for key in keys]
        has_each = type(self._transaction.database).each is not Database.each
        if not has_each or any(len(name) >= MAX_NAME - 64 for name in names):
            return None
        many = self._transaction.database.many
        if self._transaction.rows(_below, {**of_field, MANY: many(names)}):
            return None
        return joined(self._transaction.rows(_some, {**of_field, MANY: many(_names_above(keys))}))

    def put(
        self, entity_pk: int, kind: str, before: Document | None, after: Document, written: Document | None
    ) -> dict[str, Any]:
        """Note the items of a document; return its row, without its number.

        Args:
            entity_pk: of the entity.
            kind: of the entity.
            before: the document that is stored, of what lies apart at least what differs; ``None``: nothing lies apart.
            after: the same of the new one.
            written: as :func:`~modeldb_core.backends._sql.documents.dump_document` takes it.
        """
        apart = {} if before is None else self._apart.pop(entity_pk, {})
        for field in [*apart]:
            value, old = after.get(field), (before or {}).get(field)
            if type(value) is not dict:
                self._drop(entity_pk, field)
                del apart[field]
            elif value is not old:
                apart[field] = self._alter(entity_pk, field, old or {}, value, apart[field])
        document = _without(after, apart)
        text = dump_document(document, written)
        if len(text) > LARGE and (large := _large_maps(kind, document, apart)):
            for field in large:
                apart[field] = self._insert(entity_pk, field, after[field], 0)
            text = dump_document(_without(after, apart), written)
        return {"document": text, "apart": json_text(apart) if apart else None}

    def _alter(self, entity_pk: int, field: str, before: Document, after: Document, place: int) -> int:
        kept = [key for key in before if key in after]
        if kept != [key for key, _ in zip(after, kept, strict=False)]:  # their order is another one
            self._drop(entity_pk, field)
            return self._insert(entity_pk, field, after, 0)
        self._gone += [_key_of(entity_pk, field, key) for key in before if key not in after]
        altered = {key: after[key] for key in kept if after[key] is not before[key]}
        self._insert(entity_pk, field, altered, 0)  # they keep their places
        return self._insert(entity_pk, field, {key: after[key] for key in after if key not in before}, place)

    def _insert(self, entity_pk: int, field: str, values: Document, place: int) -> int:
        of_field = {"entity_pk": entity_pk, "field": field}
        for at, (key, value) in enumerate(values.items(), place):
            self._rows.append({**of_field, "name": name_of(key), "place": at, "item": text_of(key, value)})
        return place + len(values)

    def _drop(self, entity_pk: int, field: str) -> None:
        self._dropped.append({"entity": entity_pk, "field_": field})

    def save(self) -> None:
        """Write what was gathered."""
        self._transaction.write(_delete_field, self._dropped, each_writes=None)
        self._transaction.write(_delete_item, self._gone)
        self._transaction.write(_upsert_item, self._rows)


def _touched(kind: str, changes: Sequence[Change], apart: Apart) -> dict[str, set[str] | None] | None:
    """Return which keys of fields that lie apart are altered; for a field ``None``: any; for all: nobody can say."""
    whole: set[str] = set()
    put: dict[str, set[str]] = defaultdict(set)
    removed: dict[str, set[str]] = defaultdict(set)
    for change in changes:
        data = change.data() if change.action == UPDATE and change.payload is not None else None
        if data is None or not all(type(part) is dict for part in data.values()):
            return None
        given = data.get("set", {})
        if "deleted_at" in given or any(name in given for name in placing_fields(kind)):
            return None  # all of its keys are counted elsewhere
        whole.update(given, data.get("add", {}))
        for name in apart:
            for part, keys_of in (("put", put), ("remove", removed)):
                keys = data.get(part, {}).get(name, ())
                if not isinstance(keys, (dict, list, tuple)) or not all(type(key) is str for key in keys):
                    return None  # the change is wrong
                keys_of[name].update(keys)
    # What is put again after it was removed goes to the end.
    whole.update(name for name in apart if put[name] and removed[name])
    altered = {name: put[name] | removed[name] for name in apart}
    return {name: None if name in whole else altered[name] for name in apart if name in whole or altered[name]}


def _without(document: Document, apart: Collection[str]) -> Document:
    return {name: {} if name in apart else value for name, value in document.items()} if apart else document


def _large_maps(kind: str, document: Document, apart: Collection[str]) -> list[str]:
    names = [name for name in _maps(kind) if name not in apart and type(document.get(name)) is dict]
    return [name for name in names if len(dump_document({name: document[name]})) >= LARGE // 4]


@cache
def _maps(kind: str) -> Sequence[str]:
    """Return the fields of a kind whose items may lie apart: maps that nothing else follows from as a whole."""
    declaration = KINDS.get(kind)
    if declaration is None or not declaration.is_own or declaration.decided:
        return ()
    linked = {each.name for each in declaration.references}
    return [name for name, field in declaration.stored.items() if field.type == "map" and name not in linked]


def _key_of(entity_pk: int, field: str, key: str) -> dict[str, Any]:
    return {"entity": entity_pk, "field_": field, "name_": name_of(key)}


def _document(_database: Database) -> Select[Any]:
    return sa.select(tables.documents.c.document, tables.documents.c.apart).where(
        tables.documents.c.entity_pk == sa.bindparam("entity")
    )


def _of_entities(database: Database) -> Select[Any]:
    table, of = tables.items.c, tables.entities.c.entity_pk
    own = sa.select(table.item).where(table.entity_pk == of, table.field == sa.bindparam(_FIELD))
    ordered = own.order_by(table.place).correlate(tables.entities).subquery()
    comma: Any = sa.literal_column("','", sa.Text)
    joined = sa.select(sa.func.aggregate_strings(ordered.c.item, comma)).scalar_subquery()
    return sa.select(of, joined).where(database.among(of))


def _some_of_entities(database: Database) -> Select[Any]:
    table = tables.items.c
    named = table.field == sa.bindparam(_FIELD), database.among(table.name, parameter=_NAMES)
    wanted = sa.select(table.place, table.item, table.entity_pk)
    return wanted.where(database.among(table.entity_pk), *named)


def _named(_database: Database) -> Select[Any]:
    wanted = sa.select(tables.items.c.field, tables.items.c.place, tables.items.c.name, tables.items.c.item)
    return wanted.where(tables.items.c.entity_pk == sa.bindparam("entity"))


def _of_field(wanted: Select[Any]) -> Select[Any]:
    return wanted.where(
        tables.items.c.entity_pk == sa.bindparam("entity"), tables.items.c.field == sa.bindparam(_FIELD)
    )


def _some(database: Database) -> Select[Any]:
    return _of_field(sa.select(tables.items.c.place, tables.items.c.item)).where(database.among(tables.items.c.name))


def _below(database: Database) -> Select[Any]:
    name: ColumnElement[str] = database.each(MANY)
    dot, slash = (sa.literal_column(text, sa.Text) for text in ("'.'", "'/'"))
    # In the order of code points the slash comes after the dot.
    is_below = sa.exists(
        _of_field(sa.select(tables.items.c.place)).where(
            tables.items.c.name > name + dot, tables.items.c.name < name + slash
        )
    )
    return sa.select(name).where(is_below.correlate_except(tables.items)).limit(1)


def _upsert_item(database: Database) -> Insert:
    return database.upsert(tables.items, update=("item",))


def _delete_item(_database: Database) -> Delete:
    table = tables.items.c
    of_field = table.entity_pk == sa.bindparam("entity"), table.field == sa.bindparam("field_")
    return sa.delete(tables.items).where(*of_field, table.name == sa.bindparam("name_"))


def _delete_field(_database: Database) -> Delete:
    return sa.delete(tables.items).where(
        tables.items.c.entity_pk == sa.bindparam("entity"), tables.items.c.field == sa.bindparam("field_")
    )
