"""Entities, series and changes in the form in which the API shows them.

JSON as in :mod:`modeldb_core.values`: what JSON numbers cannot carry is tagged (``{"$float": "NaN"}``). Times are ISO
8601 in UTC with microseconds, the times of points microseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

from modeldb_core.changes import APPEND
from modeldb_core.entities import KINDS, Entity, Run, SeriesSummary, to_datetime
from modeldb_core.values import SAFE_INTEGER, BlobReference, to_json

if TYPE_CHECKING:
    from modeldb_core.changes import Change
    from modeldb_core.points import Series
    from modeldb_core.stores import KeyInfo

SECRET_KINDS = frozenset({"user", "token"})
"""Kinds whose content is nobody's business: not served, and hidden in the list of changes."""


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
    if isinstance(value, Mapping):
        return {("$" + key if key.startswith("$") else key): json_value(item) for key, item in value.items()}
    return [json_value(item) for item in value]


@cache
def field_names(kind: str) -> tuple[str, ...]:
    """Return the fields of a kind that the API shows."""
    return tuple(field.name for field in fields(KINDS[kind]) if field.name != "document")


def entity_document(entity: Entity) -> dict[str, Any]:
    """Return an entity: its kind, identifier and name, and every field that is set."""
    document: dict[str, Any] = {"kind": entity.KIND, "entity_id": entity.entity_id, "name": entity.name}
    for name in field_names(entity.KIND):
        value = getattr(entity, name)
        if name in document or value is None or value == "" or value == () or value == {}:
            continue
        document[name] = _summaries(value) if name == "series" else json_value(value)
    if isinstance(entity, Run) and entity.duration_s is not None:
        document["duration_s"] = entity.duration_s
    return document


def _summaries(series: Mapping[str, SeriesSummary]) -> dict[str, Any]:
    return {key: summary_document(summary) for key, summary in series.items()}


def summary_document(summary: SeriesSummary) -> dict[str, Any]:
    """Return what is known of a series without its points."""
    return {field.name: json_value(getattr(summary, field.name)) for field in fields(SeriesSummary)}


def series_document(series: Series) -> dict[str, Any]:
    """Return the points of a series as three lists; finite columns stay arrays, which orjson writes directly."""
    return {
        "run_id": series.run_id,
        "key": series.key,
        "steps": _integers(series.steps),
        "times": _integers(series.times),
        "values": _floats(series.values),
        "total": int(series.total),
        "shown": len(series),
    }


def _integers(array: Any) -> Any:  # noqa: ANN401 - an array
    import numpy as np

    column = np.ascontiguousarray(array, dtype=np.int64)
    if len(column) and (int(column.max()) > SAFE_INTEGER or int(column.min()) < -SAFE_INTEGER):
        return [to_json(item) for item in column.tolist()]
    return column


def _floats(array: Any) -> Any:  # noqa: ANN401 - an array
    import numpy as np

    column = np.ascontiguousarray(array, dtype=np.float64)
    special = np.flatnonzero(~np.isfinite(column))
    if not len(special):
        return column
    values = column.tolist()
    for index in special.tolist():
        values[index] = to_json(values[index])
    return values


def change_document(change: Change) -> dict[str, Any]:
    """Return a change. ``data`` is its payload; of points only their number and keys; ``null`` once erased."""
    return {
        "stream_id": change.stream_id,
        "seq": change.seq,
        "recorded_at": time_text(to_datetime(change.recorded_at)),
        "actor": change.actor,
        "action": change.action,
        "kind": change.kind,
        "entity_id": change.entity_id,
        "data": _change_data(change),
        "erased": change.payload is None,
        "previous_hash": change.previous_hash.hex(),
        "hash": change.hash.hex(),
    }


def _change_data(change: Change) -> Any:  # noqa: ANN401 - JSON data
    if change.payload is None or change.kind in SECRET_KINDS:
        return None
    if change.action == APPEND:
        from modeldb_core.points import decode_points

        groups = decode_points(change.payload)
        keys = list(dict.fromkeys(key for group in groups for key in group.keys))
        return {"points": sum(len(group) * len(group.keys) for group in groups), "keys": keys}
    try:
        return orjson.loads(change.payload)
    except orjson.JSONDecodeError:
        return None


def key_document(info: KeyInfo) -> dict[str, Any]:
    """Return a key that entities carry."""
    return {"section": info.section, "key": info.key, "count": info.count, "value_types": list(info.value_types)}
