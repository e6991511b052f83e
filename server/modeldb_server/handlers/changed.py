"""What has changed of one entity: what a page that shows it asks for again and again while it is written to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.log.changes import APPEND, DELETE, RESTORE, UPDATE
from modeldb_core.log.json_documents import entity_document, field_names
from modeldb_core.model.schema import KINDS, METRICS
from modeldb_core.model.values import write_key
from modeldb_core.queries import Query, condition, field_name
from modeldb_server.handlers.entities import check_id
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_core.log.changes import Change
    from modeldb_server.context import ServerContext

MAX_CHANGES = 100
MAX_KEYS = 1000
"""Who is behind by more changes, or by changes of more keys, is given the whole entity: that costs no more."""
SERIES = "series"

Touched = dict[str, dict[str, None]]
"""Keys, each once and in order, by the map that they are in."""


def read_changed(context: ServerContext, *, kind: str, entity_id: str, after: int | None) -> Response:
    """Return what has changed of an entity after a position, a deleted one too; all of it where that is much, or not known."""
    check_id(kind, entity_id)
    store = context.store
    if after is not None:
        page = store.read_changes(after=after, limit=MAX_CHANGES, entity_id=entity_id)
        # A store that was put back to what it was before does not know a position that it gave then.
        is_known = 0 < len(page.changes) < MAX_CHANGES or (not page.changes and after <= store.end_of_log())
        touched = _touched(kind, page.changes) if is_known else None
        if touched is not None:
            only = condition("entity_id = ?", entity_id)
            query = Query(kind, only, fields=_fields(kind, touched), limit=1, include_deleted=True)
            for entity in store.find(query).entities:
                keys = {name: [_written(name, key) for key in found] for name, found in touched.items() if found}
                return json_response({"cursor": page.cursor, "entity": entity_document(entity), "keys": keys})
    cursor = context.events.cursor(store)  # before it is read: what is written meanwhile comes again
    return json_response({"cursor": cursor, "entity": entity_document(store.get(kind, entity_id)), "keys": None})


def _touched(kind: str, changes: tuple[Change, ...]) -> Touched | None:
    """Return the keys that changes have altered; ``None`` where they are too many, or not all that was altered."""
    touched: Touched = {}
    for change in changes:
        if change.kind != kind:  # of another one that has the same identifier
            continue
        found = _keys_of(change)
        if found is None:
            return None
        for name, keys in found.items():
            touched.setdefault(name, {}).update(keys)
    return touched if sum(map(len, touched.values())) <= MAX_KEYS else None


def _keys_of(change: Change) -> Touched | None:
    """Return the keys of maps that a change has altered; ``None`` where it may have altered others."""
    from modeldb_core.log.replay import groups_of

    if change.action in (DELETE, RESTORE):
        return {}
    if change.payload is None or change.action not in (APPEND, UPDATE):
        return None
    if change.action == APPEND:
        keys = {key: None for group in groups_of(change) for key in group.keys}
        return {SERIES: keys, METRICS: keys}
    data, maps = change.data(), _maps(change.kind)
    if maps & data.get("set", {}).keys():
        return None
    parts = [data.get(part, {}) for part in ("put", "remove")]
    return {name: dict.fromkeys(key for part in parts for key in part.get(name, ())) for name in maps}


def _maps(kind: str) -> set[str]:
    return {name for name in field_names(kind)[1:] if KINDS[kind].fields[name].type in ("map", SERIES)}


def _fields(kind: str, touched: Touched) -> tuple[str, ...]:
    """Return what is read: the fields that are no maps, all of them, and of maps what has changed."""
    plain = [name for name in field_names(kind)[1:] if name not in _maps(kind)]
    return (*plain, *(field_name(name, key) for name, keys in touched.items() for key in keys))


def _written(name: str, key: Any) -> str:  # noqa: ANN401 - any key of a map
    return str(key) if name == SERIES else write_key(key)
