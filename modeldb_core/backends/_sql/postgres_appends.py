"""The short way of points into PostgreSQL: one trip, and the lock over the store held for one statement alone.

Most of what a team writes are small appends to a run that is there, under keys that are there. What such a batch needs to
know is what the one before it left, else it is read without the lock, which is a trip more. Then one statement takes the next
positions, and writes all rows, if that is still so: the stream ends where it did, and no row that it alters was altered since
(its ``xmin``, the transaction that wrote it, is the same). Where it is not, or anything else is out of the ordinary, nothing is
written, and the batch goes the long way.

Positions are taken, and become visible, under the same lock as those of all other batches: who follows the log misses nothing.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from modeldb_core.backends._sql.chain import HEAD, check_content, head_of, row_of
from modeldb_core.backends._sql.database import SwallowedError
from modeldb_core.backends._sql.layout import SUMMARY_COLUMNS
from modeldb_core.backends._sql.metrics import Metric
from modeldb_core.backends._sql.numbers import Numbers
from modeldb_core.backends._sql.points import DIRECT_BYTES, MAX_PENDING, MAX_PENDING_BYTES, Append
from modeldb_core.backends._sql.postgres_driver import Dialect, driver_of
from modeldb_core.backends._sql.postgres_statements import SWALLOWED
from modeldb_core.backends._sql.summaries import Summary, summarize
from modeldb_core.backends._sql.tables import metrics, streams
from modeldb_core.log.changes import APPEND, EMPTY_HEAD, advance
from modeldb_core.log.replay import groups_of
from modeldb_core.model.schema import KINDS, METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.backends._sql.numbers import Remembered
    from modeldb_core.backends._sql.postgres import PostgresDatabase
    from modeldb_core.log.changes import Change, Head

_MAX_CHANGES = 8
_VALUES = ("value_type", "number", "text", "once")
_ALTERED = (*_VALUES, *SUMMARY_COLUMNS)
_DIALECT = Dialect()  # type: ignore[no-untyped-call]
_FOUND = text(
    "SELECT s.stream_pk, e.entity_pk, e.xmin::text, "
    + ", ".join(f"s.{name}" for name in HEAD)
    + ", m.xmin::text, m.key_pk, "
    + ", ".join(f'm."{name}"' for name in _ALTERED)
    + " FROM streams s CROSS JOIN entities e LEFT JOIN metrics m ON m.entity_pk = e.entity_pk AND m.key_pk = ANY(:keys) "
    "WHERE s.stream_id = :stream AND e.entity_id = :entity AND e.kind = :kind AND e.present = 1 "
    "AND NOT EXISTS (SELECT 1 FROM erased WHERE erased.stream_pk = s.stream_pk)"
)
_OF_METRIC = 3 + len(HEAD)
"""Where a row of that question begins to be about a metric."""
_COUNT = _OF_METRIC + 2 + _ALTERED.index("count")
"""Where a row of that question has the length of a series."""
_ALTERED_TYPES = {name: metrics.c[name].type.compile(dialect=_DIALECT).partition(" COLLATE")[0] for name in _ALTERED}
_HEAD_TYPES = {name: streams.c[name].type.compile(dialect=_DIALECT) for name in row_of(EMPTY_HEAD)}
_GIVEN = {
    **dict.fromkeys(("seq", "recorded_at"), "BIGINT"),
    **dict.fromkeys(("salt", "payload_digest", "hash", "payload"), "BYTEA"),
}
"""What comes of each change."""
_SUMMED = {"version": "TEXT", "key_pk": "BIGINT", **_ALTERED_TYPES}
"""What comes of each metric."""
_PARAMETERS = {
    **dict.fromkeys(("stream_pk", "entity_pk", "actor_pk", "old_seq", "expected"), "BIGINT"),
    "old_hash": "BYTEA",
    "entity_version": "TEXT",
    **{f"new_{name}": of for name, of in _HEAD_TYPES.items()},
    "key_pks": "BIGINT[]",
    "changes": "JSON",
    "metrics": "JSON",
}


def _declared(columns: Mapping[str, str]) -> str:
    return ", ".join(f'"{name}" {of}' for name, of in columns.items())


_WRITTEN = (
    "WITH last AS (SELECT coalesce(max(position), 0) AS at FROM changes), "
    f"given AS (SELECT * FROM json_to_recordset({{changes}}) AS each_change ({_declared(_GIVEN)})), "
    "logged AS (INSERT INTO changes "
    "(position, stream_pk, seq, recorded_at, actor_pk, entity_pk, action, salt, payload_digest, hash) "
    f"SELECT at + seq - {{old_seq}}, {{stream_pk}}, seq, recorded_at, {{actor_pk}}, {{entity_pk}}, '{APPEND}', salt, payload_digest, hash "
    "FROM given CROSS JOIN last RETURNING 1), "
    "waiting AS (INSERT INTO pending (position, entity_pk, stream_pk, size, payload) "
    "SELECT at + seq - {old_seq}, {entity_pk}, {stream_pk}, length(payload), payload FROM given CROSS JOIN last RETURNING 1), "
    "moved AS (UPDATE streams SET "
    + ", ".join(f"{name} = {{new_{name}}}" for name in _HEAD_TYPES)
    + " WHERE stream_pk = {stream_pk} AND seq = {old_seq} AND hash = {old_hash} RETURNING 1), "
    "summed AS (UPDATE metrics SET "
    + ", ".join(f'"{name}" = of_key."{name}"' for name in _ALTERED)
    + f" FROM json_to_recordset({{metrics}}) AS of_key ({_declared(_SUMMED)}) "
    "WHERE metrics.entity_pk = {entity_pk} AND metrics.key_pk = ANY({key_pks}) "
    "AND metrics.key_pk = of_key.key_pk AND metrics.xmin::text = of_key.version RETURNING 1), "
    "counted AS MATERIALIZED (SELECT (SELECT count(*) FROM logged) + (SELECT count(*) FROM waiting) + (SELECT count(*) FROM moved) "
    "+ (SELECT count(*) FROM summed) + (SELECT count(*) FROM entities WHERE entity_pk = {entity_pk} "
    "AND xmin::text = {entity_version} AND NOT EXISTS (SELECT 1 FROM erased WHERE erased.stream_pk = {stream_pk})) AS number) "
    f"SELECT ('{SWALLOWED}' || number)::integer FROM counted WHERE number <> {{expected}}"
)
_NAME = f"modeldb_append_{hashlib.sha256(_WRITTEN.encode()).hexdigest()[:16]}"
_PREPARE = (
    f"PREPARE {_NAME} ({', '.join(_PARAMETERS.values())}) AS "
    + _WRITTEN.format_map({name: f"${at}" for at, name in enumerate(_PARAMETERS, 1)})
).encode()
_PLANNING = (
    b"SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true)"
)
"""For a plan that is made while tables are small and is kept while they grow."""
_EXECUTE = f"EXECUTE {_NAME} ({', '.join(f'%({name})s' for name in _PARAMETERS)})"
_DIRECT = _WRITTEN.format_map({name: f"%({name})s::{of}" for name, of in _PARAMETERS.items()})
_VERSION = "SELECT xmin::text FROM %s.streams WHERE stream_pk = %d"
"""The version of what a batch has written: once another has written that row, the stream does not end there any more."""
_MAX_KEYS_LEFT = 64
"""Of an entity of which is remembered what a batch has left."""


@dataclass(slots=True)
class Stored:
    """What is stored of a stream and the entity that it writes to; versions are the transactions that wrote rows."""

    entity: tuple[str, str]
    stream_pk: int
    entity_pk: int
    entity_version: str
    head: Head
    metrics: dict[int, tuple[str, Metric]]


@dataclass(frozen=True, slots=True)
class _Known:
    """What a batch is about, and what this process remembers of that."""

    changes: Sequence[Change]
    appends: Sequence[Append]
    summaries: dict[int, Summary]
    actor_pk: int

    def is_about(self, stored: Stored) -> bool:
        """Return whether what is stored of an entity is all that this alters."""
        first = self.changes[0]
        return stored.entity == (first.kind, first.entity_id) and self.summaries.keys() <= stored.metrics.keys()


def append_shortly(
    database: PostgresDatabase,
    remembered: Remembered,
    changes: Sequence[Change],
    enter: Callable[[Transaction], None],
) -> bool:
    """Record a batch if it is small appends to one entity; return whether that was done. Else nothing was.

    Args:
        database: where to.
        remembered: what the store has learned of numbers.
        changes: the batch.
        enter: sees, under the lock, that the tables are as this process takes them to be.
    """
    left = remembered.take({each.stream_id for each in changes})
    known = _known(remembered, changes)
    if known is None:
        return False
    for stored in (left, None) if left is not None and known.is_about(left) else (None,):
        with suppress(SwallowedError):  # others have written to the run since
            return _append(database, remembered, known, stored, enter)
    return False


def _append(
    database: PostgresDatabase,
    remembered: Remembered,
    known: _Known,
    left: Stored | None,
    enter: Callable[[Transaction], None],
) -> bool:
    """Record a batch by what the one before it has left, or by what is asked for; return whether that was done.

    Raises:
        SwallowedError: that is not so any more.
    """
    learned: list[tuple[Numbers, Stored]] = []

    def ask(transaction: Transaction) -> tuple[bytes, bytes] | None:
        stored = left or _found(transaction, known)
        if stored is None:
            return None
        numbers = Numbers(transaction, remembered)
        learned[:] = [(numbers, stored)]
        statement = _statement(transaction, numbers, known, stored)
        return None if statement is None else (statement, (_VERSION % (database.schema, stored.stream_pk)).encode())

    rows = database.write_at_once(ask, enter)
    if rows is None:
        return False
    numbers, stored = learned[0]
    numbers.learn()
    if rows and len(stored.metrics) <= _MAX_KEYS_LEFT:
        stored.metrics.update({key_pk: (rows[0][0], stored.metrics[key_pk][1]) for key_pk in known.summaries})
        remembered.leave(known.changes[0].stream_id, stored)
    return True


def _known(remembered: Remembered, changes: Sequence[Change]) -> _Known | None:
    first = changes[0]
    name = (first.stream_id, first.kind, first.entity_id, first.actor)
    if len(changes) > _MAX_CHANGES or first.kind not in KINDS or not KINDS[first.kind].has_points:
        return None
    if any(
        (each.stream_id, each.kind, each.entity_id, each.actor) != name or each.action != APPEND or not each.payload
        for each in changes
    ):
        return None
    actor_pk = remembered.actors.get(first.actor)
    if actor_pk is None or sum(len(each.payload or b"") for each in changes) >= DIRECT_BYTES or check_content(changes):
        return None
    appends = [Append(0, 0, each.payload or b"", tuple(groups_of(each))) for each in changes]
    summaries = summarize(group for each in appends for group in each.groups)
    of_keys = {remembered.keys.get((METRICS, key), 0): summary for key, summary in summaries.items()}
    if not summaries or 0 in of_keys or not all(each.is_regular for each in appends):
        return None
    return _Known(changes, appends, of_keys, actor_pk)


def _statement(transaction: Transaction, numbers: Numbers, known: _Known, stored: Stored) -> bytes | None:
    """Return the statement that records a batch; ``None`` where it is not as regular as it looked."""
    old_head, entity_pk = stored.head, stored.entity_pk
    for change in known.changes:
        if change.seq != stored.head.seq + 1 or change.previous_hash != stored.head.hash:
            return None
        stored.head = advance(stored.head, change)
    waits = numbers.known_waiting(entity_pk)
    size = sum(len(each.payload) for each in known.appends)
    if waits is None or waits[0] + len(known.appends) >= MAX_PENDING or waits[1] + size >= MAX_PENDING_BYTES:
        return None
    numbers.waiting[entity_pk] = waits[0] + len(known.appends), waits[1] + size
    parameters = {
        "stream_pk": stored.stream_pk,
        "entity_pk": entity_pk,
        "entity_version": stored.entity_version,
        "old_seq": old_head.seq,
        "old_hash": old_head.hash,
        "actor_pk": known.actor_pk,
        "expected": 2 * len(known.changes) + len(known.summaries) + 2,
        **{f"new_{name}": value for name, value in row_of(stored.head).items()},
        "key_pks": list(known.summaries),
        "changes": _as_json([{name: getattr(each, name) for name in _GIVEN} for each in known.changes]),
        "metrics": _as_json(_summed(stored, known)),
    }
    driver = driver_of(transaction.connection)
    driver.defer(_PLANNING)
    with driver.cursor() as cursor:
        statement: bytes = cursor.mogrify(_EXECUTE if driver.has_prepared(_NAME) else _DIRECT, parameters)
    return statement


def _found(transaction: Transaction, known: _Known) -> Stored | None:
    """Return what is stored; ``None`` where that is not all that the short way alters."""
    first = known.changes[0]
    asked = {"stream": first.stream_id, "entity": first.entity_id, "kind": first.kind}
    with driver_of(transaction.connection).preparing(_NAME, _PREPARE):
        rows = transaction.connection.execute(_FOUND, {**asked, "keys": list(known.summaries)}).all()
    if len(rows) != len(known.summaries) or any(row[_COUNT] is None for row in rows):
        return None  # of a key that has no series yet, more is written than here, such as how many entities carry it
    metrics = {}
    for row in rows:
        version, key_pk, value_type, number, letters, once, *series = row[_OF_METRIC:]
        metrics[key_pk] = version, Metric((value_type, number, letters) if once else None, Summary.from_row(series))
    stream_pk, entity_pk, entity_version, *head = rows[0][:_OF_METRIC]
    return Stored((first.kind, first.entity_id), stream_pk, entity_pk, entity_version, head_of(head), metrics)


def _summed(stored: Stored, known: _Known) -> list[dict[str, Any]]:
    """Return the rows of ``metrics`` with the points of a batch."""
    rows = []
    for key_pk, added in known.summaries.items():
        version, metric = stored.metrics[key_pk]
        if metric.summary is not None:
            metric.summary.add(added)
        rows.append({**metric.row(stored.entity_pk, key_pk), "version": version})
    return rows


def _as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as one text: an array for each column costs the server several times as much."""
    try:
        return _JSON.encode(rows)
    except ValueError:  # JSON has no infinity
        return _JSON.encode([{name: _as_text(value) for name, value in row.items()} for row in rows])


def _as_text(value: Any) -> Any:  # noqa: ANN401 - of a column
    return repr(value) if isinstance(value, float) else value


def _hexadecimal(value: bytes) -> str:
    return f"\\x{value.hex()}"


_JSON = json.JSONEncoder(default=_hexadecimal, allow_nan=False, separators=(",", ":"))
