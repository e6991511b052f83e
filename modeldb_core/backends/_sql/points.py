"""How points are stored: small appends wait as they came, and are merged into ever larger chunks.

A payload of at least ``DIRECT_BYTES`` becomes a chunk at once. A smaller one waits in ``pending``, which costs one row.
Once ``MAX_PENDING`` payloads of a run wait, or ``MAX_PENDING_BYTES``, they become one chunk for each list of keys. Chunks
are merged as in a log-structured merge tree (O'Neil et al., 1996): whenever ``FAN_IN`` of the newest chunks of a list are
of one size class, they become one of the next; classes grow by ``FAN_IN``, up to ``FULL_ROWS``. So every point is
rewritten at most three times, and a series of n points lies in about ``n / FULL_ROWS`` chunks and a few dozen small ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.chunks import (
    Chunk,
    Place,
    Segments,
    chunk_columns,
    delete_chunks,
    read_chunks,
    write_chunks,
)
from modeldb_core.backends._sql.database import MANY
from modeldb_core.backends._sql.spans import gather
from modeldb_core.log.points import PointGroup, decode_points
from modeldb_core.model.schema import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select
    from sqlalchemy.sql.dml import Delete, Insert

    from modeldb_core.backends._sql.database import Database, Transaction
    from modeldb_core.backends._sql.numbers import Numbers

DIRECT_BYTES = 16_384
MAX_PENDING = 32
MAX_PENDING_BYTES = 131_072
FAN_IN = 16
FULL_ROWS = 4_096
"""Of a chunk that is merged no more. Small enough that a plot reads few points beyond those of the edges of its columns,
and a zoom few beyond its range; large enough that the columns are packed as well as larger ones."""


@dataclass(frozen=True, slots=True)
class Append:
    """An append change on its way into the tables: where it stands in the log, and its points."""

    position: int
    stream_pk: int
    payload: bytes
    groups: tuple[PointGroup, ...]

    @property
    def is_regular(self) -> bool:
        """Whether the payload can be rebuilt from chunks: no group names a key twice."""
        return all(len(set(group.keys)) == len(group.keys) for group in self.groups)


class _Touched(NamedTuple):
    """A place that got chunks, the keys of its list, and whether one of the chunks is full."""

    place: Place
    key_pks: tuple[int, ...]
    has_full: bool


class PointsWriter:
    """Writes the points of one entity within a transaction."""

    def __init__(self, transaction: Transaction, numbers: Numbers, entity_pk: int) -> None:
        self._transaction = transaction
        self._numbers = numbers
        self._entity_pk = entity_pk

    def append(self, appends: Sequence[Append], *, is_new: bool) -> None:
        """Store the points of changes, which are later in the log than all that is stored of the entity."""
        small: list[Append] = []
        for item in appends:
            if len(item.payload) < DIRECT_BYTES and item.is_regular:
                small.append(item)
                continue
            self._wait(small)
            if small or not is_new:
                self.merge_pending()
            small = []
            self._merge(self._write([item]))
            is_new = False
        self._wait(small)
        if small:
            # A rough number will do: it only decides when to merge.
            known = (0, 0) if is_new else self._numbers.known_waiting(self._entity_pk)
            if known is None:
                count, size = self._waiting()
            else:
                count, size = known[0] + len(small), known[1] + sum(len(item.payload) for item in small)
            self._numbers.waiting[self._entity_pk] = count, size
            if count >= MAX_PENDING or size >= MAX_PENDING_BYTES:
                self.merge_pending()

    def merge_pending(self) -> None:
        """Turn what waits into chunks."""
        rows = self._transaction.rows(_pending, {"entity": self._entity_pk})
        if rows:
            items = [Append(at, pk, payload, tuple(decode_points(payload))) for at, pk, payload in rows]
            self._merge(self._write(items))
            self._transaction.write(_delete_pending, [{"entity": self._entity_pk}], each_writes=None)
        self._numbers.waiting[self._entity_pk] = (0, 0)

    def settle(self) -> None:
        """Merge what is left of a run that has ended, where that saves space: nothing more is likely to come."""
        if self._waiting()[1] >= DIRECT_BYTES:
            self.merge_pending()

    def _wait(self, items: Sequence[Append]) -> None:
        rows = [
            {
                "position": item.position,
                "entity_pk": self._entity_pk,
                "stream_pk": item.stream_pk,
                "size": len(item.payload),
                "payload": item.payload,
            }
            for item in items
        ]
        self._transaction.write(_insert_pending, rows)

    def _waiting(self) -> tuple[int, int]:
        ((count, size),) = self._transaction.rows(_waiting, {"entity": self._entity_pk})
        return count, size

    def _write(self, items: Sequence[Append]) -> list[_Touched]:
        """Insert chunks with the points of changes; return the places that got some."""
        gathered: dict[tuple[int, tuple[str, ...]], list[tuple[int, int, PointGroup]]] = {}
        for item in items:
            for index, group in enumerate(item.groups):
                for part in _with_distinct_keys(group):
                    gathered.setdefault((item.stream_pk, part.keys), []).append((item.position, index, part))
        numbers = self._numbers.of_keys((METRICS, key) for _, keys in gathered for key in keys)
        touched = []
        for (stream_pk, keys), parts in gathered.items():
            key_pks = tuple(numbers[METRICS, key] for key in keys)
            place = Place(self._entity_pk, self._numbers.of_list(key_pks), stream_pk)
            segments = Segments.of([(position, index, len(group)) for position, index, group in parts])
            groups = [group for _, _, group in parts]
            values = groups[0].values if len(groups) == 1 else np.concatenate([group.values for group in groups], 1)
            steps = np.concatenate([group.steps for group in groups])
            times = np.concatenate([group.times for group in groups])
            chunk = Chunk(place, key_pks, segments, steps, times, list(values))
            write_chunks(self._transaction, self._numbers, chunk.split(FULL_ROWS))
            touched.append(_Touched(place, key_pks, len(chunk) >= FULL_ROWS))
        return touched

    def _merge(self, touched: Sequence[_Touched]) -> None:
        """Merge the newest chunks of places while there are enough of a size class."""
        for place, key_pks, has_full in touched:
            must_gather = has_full
            while chosen := self._mergeable(place):
                rows = self._transaction.rows(_chosen, {MANY: self._transaction.database.many(chosen)})
                merged = Chunk.concatenate(read_chunks(self._transaction, rows, {place.list_pk: key_pks}))
                write_chunks(self._transaction, self._numbers, [merged])
                delete_chunks(self._transaction, chosen)
                must_gather |= len(merged) >= FULL_ROWS
            if must_gather:
                gather(self._transaction, place.entity_pk, place.stream_pk, key_pks, FULL_ROWS)

    def _mergeable(self, place: Place) -> list[int]:
        """Return the chunks of a place that are to become one, the oldest first; none where all is well."""
        parameters = {"entity": place.entity_pk, "list": place.list_pk, "stream": place.stream_pk}
        rows = self._transaction.rows(_newest, parameters)
        for size_class in range(_class_of(FULL_ROWS)):
            suffix: list[tuple[int, int]] = []
            for chunk_pk, row_count in rows:
                if _class_of(row_count) > size_class:
                    break
                suffix.append((chunk_pk, row_count))
            if len(suffix) >= FAN_IN:
                return _take(suffix[::-1])
        return []


def _take(oldest_first: Sequence[tuple[int, int]]) -> list[int]:
    """Return the chunks to merge: all, or as many of the oldest as fill a chunk."""
    taken, total = [], 0
    for chunk_pk, rows in oldest_first:
        taken.append(chunk_pk)
        total += rows
        if total >= FULL_ROWS:
            break
    return taken


def _class_of(rows: int) -> int:
    return max(rows.bit_length() - 1, 0) // (FAN_IN.bit_length() - 1)


def _with_distinct_keys(group: PointGroup) -> list[PointGroup]:
    """Return groups in which no key stands twice, with the points of ``group`` in their order."""
    if len(set(group.keys)) == len(group.keys):
        return [group]
    rounds: list[dict[str, int]] = []
    for row, key in enumerate(group.keys):
        for found in rounds:
            if key not in found:
                found[key] = row
                break
        else:
            rounds.append({key: row})
    return [PointGroup(tuple(found), group.steps, group.times, group.values[list(found.values())]) for found in rounds]


def _pending(_database: Database) -> Select[Any]:
    wanted = sa.select(tables.pending.c.position, tables.pending.c.stream_pk, tables.pending.c.payload)
    return wanted.where(tables.pending.c.entity_pk == sa.bindparam("entity")).order_by(tables.pending.c.position)


def _waiting(_database: Database) -> Select[int, int]:
    # The sum of large integers is a decimal number in some databases.
    wanted = sa.select(sa.func.count(), sa.cast(sa.func.coalesce(sa.func.sum(tables.pending.c.size), 0), sa.BigInteger))
    return wanted.where(tables.pending.c.entity_pk == sa.bindparam("entity"))


def _newest(_database: Database) -> Select[Any]:
    # A chunk that is not among these many newest ones was merged, or stands before a full one.
    table = tables.chunks.c
    wanted = sa.select(table.chunk_pk, table.rows).where(
        table.entity_pk == sa.bindparam("entity"),
        table.list_pk == sa.bindparam("list"),
        table.stream_pk == sa.bindparam("stream"),
    )
    return wanted.order_by(table.first_position.desc(), table.chunk_pk.desc()).limit(8 * FAN_IN)


def _chosen(database: Database) -> Select[Any]:
    table = tables.chunks.c
    return (
        sa.select(*chunk_columns()).where(database.among(table.chunk_pk)).order_by(table.first_position, table.chunk_pk)
    )


def _insert_pending(_database: Database) -> Insert:
    return sa.insert(tables.pending)


def _delete_pending(_database: Database) -> Delete:
    return sa.delete(tables.pending).where(tables.pending.c.entity_pk == sa.bindparam("entity"))
