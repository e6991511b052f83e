"""From rows to entities: whole ones, or the fields that are asked for."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.database import MANY, Database, Transaction
from modeldb_core.backends._sql.documents import load_documents
from modeldb_core.backends._sql.items import complete
from modeldb_core.backends._sql.layout import ERASED, SUMMARY_COLUMNS
from modeldb_core.backends._sql.leases import NOW, is_gone
from modeldb_core.backends._sql.numbers import find_keys
from modeldb_core.backends._sql.summaries import SeriesMap, last_value
from modeldb_core.errors import IntegrityError
from modeldb_core.log.replay import erased_error
from modeldb_core.model.entities import LOST, RUNNING, Entity, entity_from_document
from modeldb_core.model.schema import KINDS, METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select

    from modeldb_core.queries import Projection

_LAST, _EXACT = SUMMARY_COLUMNS.index("last"), SUMMARY_COLUMNS.index("exact")
_KEYS = "keys"
"""The name of the parameter with the numbers of keys."""
Rows = dict[int, dict[str, Any]]
"""The rows of ``metrics`` of series, by entity and key."""


def find_entity(transaction: Transaction, kind: str, entity_id: str, url: str) -> int | None:
    """Return the number of an entity; ``None`` where there is none.

    Raises:
        ErasedError: there was one; ``url`` is what it names as the store.
    """
    rows = transaction.rows(_find, {"entity_id": entity_id, "kind": kind})
    if not rows:
        return None
    entity_pk, present = rows[0]
    if present == ERASED:
        raise erased_error(kind, entity_id, url)
    return int(entity_pk) if present else None


def read_entities(
    transaction: Transaction,
    kind: str,
    entity_pks: Sequence[int],
    *,
    now: int,
    wanted: Projection | None = None,
) -> tuple[Entity, ...]:
    """Return entities of one kind by their numbers, in the order given; ``wanted`` says which fields."""
    parameters = {MANY: transaction.database.many(entity_pks), NOW: now}
    rows = {row[0]: row for row in transaction.rows(_documents, parameters)}
    read = dict(zip(rows, load_documents([row[2] for row in rows.values()]), strict=True))
    parts = () if wanted is None else (wanted.whole, wanted.keys)
    complete(transaction, ((pk, read[pk], apart) for pk, _, _, apart, *_ in rows.values()), *parts)
    is_run = KINDS[kind].has_points
    series = _read_series(transaction, entity_pks, wanted) if is_run else {}
    found = []
    for entity_pk in entity_pks:
        if entity_pk not in rows:
            msg = f"a {kind} has lost its document (row {entity_pk}): the store is damaged or was altered; audit it"
            raise IntegrityError(msg)
        _, entity_id, _, _, is_lost, workspace_id, project_id = rows[entity_pk]
        document = read[entity_pk]
        computed: dict[str, Any] = {"workspace_id": workspace_id or "", "project_id": project_id or ""}
        if is_run:
            own = series.get(entity_pk, {})
            computed["status"] = LOST if is_lost else document.get("status", RUNNING)
            computed.update(_metrics(document, own, wanted))
        if wanted is not None:
            document = wanted.document(document)
        found.append(entity_from_document(kind, entity_id, document, **computed))
    return tuple(found)


def _metrics(document: dict[str, Any], own: dict[str, Any], wanted: Projection | None) -> dict[str, Any]:
    """Return what the fields ``series`` and ``metrics`` of a run hold."""
    values = document.get(METRICS, {})
    if own:
        values = {**{key: last_value(row[_LAST], row[_EXACT]) for key, row in own.items()}, **values}
    if wanted is not None:
        values = wanted.pick(METRICS, values)
        if own and "series" not in wanted.whole:
            own = {key: own[key] for key in wanted.keys.get("series", ()) if key in own}
    return {"series": SeriesMap(own), METRICS: MappingProxyType(values)}


def _read_series(transaction: Transaction, entity_pks: Sequence[int], wanted: Projection | None) -> Rows:
    """Return the rows of series that are needed of entities."""
    parameters: dict[str, Any] = {MANY: transaction.database.many(entity_pks)}
    if wanted is None or wanted.whole & {"series", METRICS}:
        found = transaction.rows(_all_series, parameters)
    elif wanted.wants("series") or wanted.wants(METRICS):
        names = {*wanted.keys.get("series", ()), *wanted.keys.get(METRICS, ())}
        numbers = find_keys(transaction, METRICS, sorted(names))
        parameters[_KEYS] = transaction.database.many(sorted(numbers.values()))
        found = transaction.rows(_series_of_keys, parameters) if numbers else []
    else:
        found = []
    rows: Rows = {}
    for entity_pk, key, *row in found:
        rows.setdefault(entity_pk, {})[key] = row
    return rows


def _find(_database: Database) -> Select[Any]:
    table = tables.entities.c
    wanted = sa.select(table.entity_pk, table.present)
    return wanted.where(table.entity_id == sa.bindparam("entity_id"), table.kind == sa.bindparam("kind"))


def _documents(database: Database) -> Select[Any]:
    entities, stored = tables.entities.c, tables.documents.c
    is_lost = sa.case((sa.and_(entities.status == RUNNING, is_gone()), sa.literal(1)), else_=sa.literal(0))
    joined = tables.entities.join(tables.documents, stored.entity_pk == entities.entity_pk)
    content, place = (stored.document, stored.apart), (entities.workspace_id, entities.project_id)
    wanted = sa.select(entities.entity_pk, entities.entity_id, *content, is_lost, *place)
    return wanted.select_from(joined).where(database.among(entities.entity_pk))


def _all_series(database: Database) -> Select[Any]:
    return _some_series(database).order_by(tables.metrics.c.entity_pk, tables.metrics.c.key_pk)


def _series_of_keys(database: Database) -> Select[Any]:
    return _some_series(database).where(database.among(tables.metrics.c.key_pk, parameter=_KEYS))


def _some_series(database: Database) -> Select[Any]:
    metrics, keys = tables.metrics.c, tables.keys.c
    joined = tables.metrics.join(tables.keys, keys.key_pk == metrics.key_pk)
    columns = (metrics[name] for name in SUMMARY_COLUMNS)
    wanted = sa.select(metrics.entity_pk, keys.key, *columns).select_from(joined)
    return wanted.where(database.among(metrics.entity_pk), metrics.count.is_not(None))
