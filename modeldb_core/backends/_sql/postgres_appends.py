"""The short way of points into PostgreSQL: two trips, and the lock over the store held for one statement alone.

Most of what a team writes are small appends to a run that is there, under keys that are there. What such a batch needs to
know is read without the lock. Then one statement takes the next positions, and writes all rows, if what was read is still so:
the stream ends where it did, and no row that it alters was altered since (its ``xmin``, the transaction that wrote it, is the
same). Where it is not, or anything else is out of the ordinary, nothing is written, and the batch goes the long way.

Positions are taken, and become visible, under the same lock as those of all other batches: who follows the log misses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from modeldb_core.backends._sql.chain import HEAD, check_content, head_of, row_of
from modeldb_core.backends._sql.layout import SUMMARY_COLUMNS
from modeldb_core.backends._sql.metrics import Metric
from modeldb_core.backends._sql.numbers import Numbers
from modeldb_core.backends._sql.points import DIRECT_BYTES, MAX_PENDING, MAX_PENDING_BYTES, Append
from modeldb_core.backends._sql.postgres_driver import Dialect, driver_of
from modeldb_core.backends._sql.postgres_statements import SWALLOWED
from modeldb_core.backends._sql.summaries import Summary, summarize
from modeldb_core.backends._sql.tables import metrics
from modeldb_core.log.changes import APPEND, EMPTY_HEAD, advance
from modeldb_core.log.replay import groups_of
from modeldb_core.model.schema import KINDS, METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.backends._sql.numbers import Remembered
    from modeldb_core.backends._sql.postgres import PostgresDatabase
    from modeldb_core.log.changes import Change

_MAX_CHANGES = 8
_VALUES = ("value_type", "number", "text", "once")
_ALTERED = (*_VALUES, *SUMMARY_COLUMNS)
_DIALECT = Dialect()  # type: ignore[no-untyped-call]
_TYPES = {name: metrics.c[name].type.compile(dialect=_DIALECT) for name in _ALTERED}
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
_CHANGES = "position, stream_pk, seq, recorded_at, actor_pk, entity_pk, action, salt, payload_digest, hash, payload"
_WRITTEN = (
    "WITH last AS (SELECT coalesce(max(position), 0) AS at FROM changes), "
    f"logged AS (INSERT INTO changes ({_CHANGES}) VALUES {{changes}} RETURNING 1), "
    "waiting AS (INSERT INTO pending (position, entity_pk, stream_pk, size, payload) VALUES {pending} RETURNING 1), "
    "moved AS (UPDATE streams SET "
    + ", ".join(f"{name} = %({name})s" for name in row_of(EMPTY_HEAD))
    + " WHERE stream_pk = %(stream_pk)s AND seq = %(old_seq)s AND hash = %(old_hash)s RETURNING 1), "
    "summed AS (UPDATE metrics SET "
    + ", ".join(f'"{name}" = v."{name}"::{_TYPES[name]}' for name in _ALTERED)
    + " FROM (VALUES {metrics}) AS v (row_version, of_key, "
    + ", ".join(f'"{name}"' for name in _ALTERED)
    + ") WHERE metrics.entity_pk = %(entity_pk)s AND metrics.key_pk = v.of_key AND metrics.xmin::text = v.row_version RETURNING 1), "
    "counted AS (SELECT (SELECT count(*) FROM logged) + (SELECT count(*) FROM waiting) + (SELECT count(*) FROM moved) "
    "+ (SELECT count(*) FROM summed) + (SELECT count(*) FROM entities WHERE entity_pk = %(entity_pk)s "
    "AND xmin::text = %(entity_version)s AND NOT EXISTS (SELECT 1 FROM erased WHERE erased.stream_pk = %(stream_pk)s)) AS number) "
    f"SELECT ('{SWALLOWED}' || number)::integer FROM counted WHERE number <> %(expected)s"
)
_CHANGE = "((SELECT at FROM last) + %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, NULL)"
_PENDING = "((SELECT at FROM last) + %s, %s, %s, %s, %s)"
_METRIC = "(" + ", ".join(["%s"] * (2 + len(_ALTERED))) + ")"


@dataclass(frozen=True, slots=True)
class _Known:
    """What a batch is about, and what this process remembers of that."""

    changes: Sequence[Change]
    appends: Sequence[Append]
    summaries: dict[str, Summary]
    key_pks: dict[str, int]
    actor_pk: int


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
    known = _known(remembered, changes)
    if known is None:
        return False
    learned: list[Numbers] = []

    def ask(transaction: Transaction) -> bytes | None:
        numbers = Numbers(transaction, remembered)
        learned[:] = [numbers]
        return _statement(transaction, numbers, known)

    if not database.write_at_once(ask, enter):
        return False
    learned[0].learn()
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
    key_pks = {key: remembered.keys.get((METRICS, key), 0) for key in summaries}
    if not summaries or not all(key_pks.values()) or not all(each.is_regular for each in appends):
        return None
    return _Known(changes, appends, summaries, key_pks, actor_pk)


def _statement(transaction: Transaction, numbers: Numbers, known: _Known) -> bytes | None:
    """Return the statement that records a batch; ``None`` where it is not as regular as it looked."""
    first = known.changes[0]
    asked = {"stream": first.stream_id, "entity": first.entity_id, "kind": first.kind}
    rows = transaction.connection.execute(_FOUND, {**asked, "keys": list(known.key_pks.values())}).all()
    if len(rows) != len(known.key_pks) or any(row[_COUNT] is None for row in rows):
        return None  # of a key that has no series yet, more is written than here, such as how many entities carry it
    stream_pk, entity_pk, entity_version, *old = rows[0][:_OF_METRIC]
    head = old_head = head_of(old)
    for change in known.changes:
        if change.seq != head.seq + 1 or change.previous_hash != head.hash:
            return None
        head = advance(head, change)
    waits = numbers.known_waiting(entity_pk)
    size = sum(len(each.payload) for each in known.appends)
    if waits is None or waits[0] + len(known.appends) >= MAX_PENDING or waits[1] + size >= MAX_PENDING_BYTES:
        return None
    numbers.waiting[entity_pk] = waits[0] + len(known.appends), waits[1] + size
    parameters = {
        "stream_pk": stream_pk,
        "entity_pk": entity_pk,
        "entity_version": entity_version,
        "old_seq": old_head.seq,
        "old_hash": old_head.hash,
        **row_of(head),
        "expected": 2 * len(known.changes) + len(rows) + 2,
    }
    named = (known.actor_pk, entity_pk, APPEND)
    logged = [
        (at, stream_pk, each.seq, each.recorded_at, *named, each.salt, each.payload_digest, each.hash)
        for at, each in enumerate(known.changes, 1)
    ]
    waiting = [(at, entity_pk, stream_pk, len(each.payload), each.payload) for at, each in enumerate(known.appends, 1)]
    return _filled(transaction, parameters, logged, waiting, _summed(rows, entity_pk, known))


def _summed(rows: Sequence[Any], entity_pk: int, known: _Known) -> list[tuple[Any, ...]]:
    """Return the rows of ``metrics`` with the points of a batch, each behind its version and its key."""
    added = {known.key_pks[key]: summary for key, summary in known.summaries.items()}
    found = []
    for row in rows:
        version, key_pk, value_type, number, letters, once, *series = row[_OF_METRIC:]
        series_after = Summary.from_row(series)
        series_after.add(added[key_pk])
        after = Metric((value_type, number, letters) if once else None, series_after).row(entity_pk, key_pk)
        found.append((version, key_pk, *(after[name] for name in _ALTERED)))
    return found


def _filled(
    transaction: Transaction,
    parameters: dict[str, Any],
    logged: list[tuple[Any, ...]],
    waiting: list[tuple[Any, ...]],
    summed: list[tuple[Any, ...]],
) -> bytes:
    with driver_of(transaction.connection).cursor() as cursor:
        mogrify: Callable[..., bytes] = cursor.mogrify
        filled = {
            b"{changes}": b", ".join(mogrify(_CHANGE, row) for row in logged),
            b"{pending}": b", ".join(mogrify(_PENDING, row) for row in waiting),
            b"{metrics}": b", ".join(mogrify(_METRIC, row) for row in summed),
        }
        statement = mogrify(_WRITTEN, parameters)
    pieces = statement
    for place, rows in filled.items():
        head, _, tail = pieces.partition(place)
        pieces = head + rows + tail
    return pieces
