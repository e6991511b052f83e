"""Entities and changes as JSON data: what ``--json`` prints and what the HTTP API shows.

JSON as in :mod:`modeldb_core.model.values`: what JSON numbers cannot carry is tagged (``{"$float": "NaN"}``). Times are ISO
8601 in UTC with microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.log.changes import ALTERING, APPEND, alters_entity
from modeldb_core.model.entities import Entity, SeriesSummary, to_datetime
from modeldb_core.model.schema import KINDS, FieldDeclaration, title_of
from modeldb_core.model.values import BlobReference, to_json, write_key

if TYPE_CHECKING:
    from modeldb_core.log.changes import Change
    from modeldb_core.model.schema import KindDeclaration


TOLD_OF_FIELDS = tuple(
    each.name for each in fields(FieldDeclaration) if each.name not in ("governed", "secret", "default")
)
"""The attributes of a declaration that the description of a kind has."""


def time_text(time: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC with microseconds, for example ``2026-11-23T21:00:00.123456Z``."""
    if time is None:
        return None
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def json_value(value: Any) -> Any:  # noqa: ANN401 - any value
    """Return a value of a document as JSON data."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float, BlobReference)):
        return to_json(value)
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, SeriesSummary):
        return {field.name: json_value(getattr(value, field.name)) for field in fields(SeriesSummary)}
    if isinstance(value, Mapping):
        return {write_key(key): json_value(item) for key, item in value.items()}
    return [json_value(item) for item in value]


def field_names(kind: str) -> tuple[str, ...]:
    """Return the fields of a kind that are shown."""
    declaration = KINDS[kind]
    return ("entity_id", *(name for name in declaration.fields if name not in declaration.secrets))


def entity_document(entity: Entity) -> dict[str, Any]:
    """Return an entity: its kind, identifier and name, and every field that is set."""
    document: dict[str, Any] = {"kind": entity.KIND, "entity_id": entity.entity_id, "name": entity.name}
    for name in field_names(entity.KIND):
        value = getattr(entity, name)
        if name in document or value is None or value in ("", ()) or value == {}:
            continue
        if name == "series":  # by key, and a key is not a map key of a value: nothing in it is tagged
            document[name] = {key: json_value(summary) for key, summary in value.items()}
        else:
            document[name] = json_value(value)
    if (duration_s := getattr(entity, "duration_s", None)) is not None:
        document["duration_s"] = duration_s
    return document


def kind_document(declaration: KindDeclaration) -> dict[str, Any]:
    """Return what is declared of a kind: its names, what a filter finds it by, and its fields."""
    return {
        "kind": declaration.kind,
        "path": declaration.path,
        "words": declaration.words,
        "summary": declaration.summary,
        "version": declaration.version,
        "is_own": declaration.is_own,
        "has_points": declaration.has_points,
        "columns": [_column_document(declaration, name) for name in declaration.columns],
        "shown": list(declaration.shown),
        "compared": list(declaration.compared),
        "maps": list(declaration.maps),
        "sections": list(declaration.sections),
        "listed": list(declaration.listed),
        "offered": list(declaration.offered),
        "fields": [_field_document(declaration, each) for each in declaration.fields.values() if not each.secret],
    }


def _field_document(declaration: KindDeclaration, field: FieldDeclaration) -> dict[str, Any]:
    told = {name: getattr(field, name) for name in TOLD_OF_FIELDS}
    shown = {name: value if value is None else json_value(value) for name, value in told.items()}
    return {**shown, "common": field.name in declaration.common}


def _column_document(declaration: KindDeclaration, name: str) -> dict[str, Any]:
    field = declaration.fields.get(name)
    return {
        "name": name,
        "type": declaration.columns[name],
        "title": title_of(name) if field is None else field.title,
        "choices": [] if field is None else list(field.choices),
        "fields": list(declaration.sources.get(name, (name,))),
    }


def change_document(change: Change) -> dict[str, Any]:
    """Return a change. ``data`` is its payload; of points their number and keys only; ``null`` where that is gone."""
    return {
        "stream_id": change.stream_id,
        "seq": change.seq,
        "recorded_at": time_text(to_datetime(change.recorded_at)),
        "actor": change.actor,
        "action": change.action,
        "kind": change.kind,
        "entity_id": change.entity_id,
        "data": _change_data(change),
        "erased": change.payload is None and not change.withheld,
        "withheld": change.withheld,
        "previous_hash": change.previous_hash.hex(),
        "hash": change.hash.hex(),
    }


def _shown(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the payload of a change without the fields that are secret."""
    secrets = KINDS[kind].secrets if kind in KINDS else ()
    if not secrets:
        return data
    return {
        name: {key: item for key, item in value.items() if key not in secrets}
        if name in ("set", "put", "add", "remove") and isinstance(value, Mapping)
        else value
        for name, value in data.items()
        if name not in secrets
    }


def _change_data(change: Change) -> dict[str, Any] | None:
    if change.payload is None:
        return None
    if change.action != APPEND:
        try:
            data = change.data()
        except InvalidArgumentError:
            if change.action in ALTERING:
                raise
            return None  # what a newer client means by it, nobody here knows
        return {key: json_value(value) for key, value in _shown(change.kind, data).items()}
    if not alters_entity(change):
        return None
    from modeldb_core.log.points import decode_points

    groups = decode_points(change.payload)
    keys = list(dict.fromkeys(key for group in groups for key in group.keys))
    return {"points": sum(len(group) * len(group.keys) for group in groups), "keys": keys}
