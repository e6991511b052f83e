"""The parts of a series: its columns in chunks, and its groups in payloads that still wait to become one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import and_, bindparam, select

from modeldb_core.backends._sql.chunks import MAX_ROWS, Segments
from modeldb_core.backends._sql.database import MANY
from modeldb_core.backends._sql.outlines import Outlines
from modeldb_core.backends._sql.tables import chunks, columns, entities, keys, metrics, pending
from modeldb_core.errors import IntegrityError, NotFoundError
from modeldb_core.log.packing import unpack_floats, unpack_ints
from modeldb_core.log.points import decode_points
from modeldb_core.model.schema import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import ColumnElement, Select

    from modeldb_core.backends._sql.database import Build, Database, Row, Transaction

_NOT_READ, _NO_TIMES = Segments.of([]), np.empty(0, np.int64)
AT_ONCE = 16
"""Chunks whose points are looked at together: enough for NumPy, and of a few megabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Points of the series that arrived one after the other, or some of them.

    Attributes:
        number: of the chunk; 0 for a group that waits.
        segments: which changes all of the points came from; none where they were not read.
        chosen: which of the points these are; ``None``: all.
    """

    number: int
    segments: Segments
    steps: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    chosen: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def first(self) -> tuple[int, int, int]:
        """Where it begins: position in the log, group of that change, and which piece of the group."""
        return int(self.segments.positions[0]), int(self.segments.groups[0]), self.number

    @property
    def last(self) -> tuple[int, int]:
        """Position and group of the last point."""
        return int(self.segments.positions[-1]), int(self.segments.groups[-1])

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return position and group of each point."""
        found = (
            np.repeat(self.segments.positions, self.segments.rows),
            np.repeat(self.segments.groups, self.segments.rows),
        )
        return found if self.chosen is None else (found[0][self.chosen], found[1][self.chosen])

    def take(self, chosen: NDArray[np.intp]) -> Part:
        """Return a part with some of these points."""
        before = chosen if self.chosen is None else self.chosen[chosen]
        return Part(self.number, self.segments, self.steps[chosen], self.times[chosen], self.values[chosen], before)

    def between(self, steps: tuple[int, int] | None) -> Part:
        """Return a part with the points in a range of steps."""
        if steps is None:
            return self
        inside = np.flatnonzero((self.steps >= steps[0]) & (self.steps <= steps[1]))
        return self if len(inside) == len(self) else self.take(inside)


class StoredSeries:
    """A series as it lies in the tables, found but not read.

    Args:
        transaction: which reads.
        url: of the store, for messages.
        run_id: of the run.
        key: of the series.
        steps: the range that is asked for.

    Raises:
        NotFoundError: the run has no such series.
        IntegrityError: it has other points than it should.
    """

    def __init__(
        self, transaction: Transaction, url: str, run_id: str, key: str, steps: tuple[int, int] | None
    ) -> None:
        self._transaction = transaction
        self._name = f"{key!r} of run {run_id}"
        found = transaction.rows(_find, {"run_id": run_id, "key": key})
        if not found:
            msg = f"run {run_id!r} in {url} has no series {key!r}"
            raise NotFoundError(msg)
        ((self.entity_pk, self.key_pk, count),) = found
        self.waiting, streams = self._read_waiting(key)
        self.outlines = Outlines.read(transaction, self.entity_pk, self.key_pk, steps)
        self.has_several_streams = len(streams | self.outlines.stream_pks) > 1
        self._check(self.outlines.total + sum(map(len, self.waiting)) == count)

    def chunks(self, chunk_pks: Sequence[int] | NDArray[np.int64]) -> Iterator[list[Part]]:
        """Iterate over the parts in chunks, some at a time."""
        for rows in self._read(_chunks, chunk_pks):
            yield [
                self._part(number, count, Segments.load(segments), steps, times, values)
                for number, count, segments, steps, times, values in rows
            ]

    def chunks_by_step(self, chunk_pks: Sequence[int] | NDArray[np.int64]) -> Iterator[list[Part]]:
        """Iterate over parts without times and segments, for those who need neither."""
        for rows in self._read(_chunks_by_step, chunk_pks):
            yield [self._part(number, count, _NOT_READ, steps, None, values) for number, count, steps, values in rows]

    def segments(self, chunk_pks: Sequence[int]) -> dict[int, Segments]:
        """Return which changes the points of chunks came from, by chunk."""
        rows = self._transaction.rows(_segments, {MANY: self._transaction.database.many(chunk_pks)})
        self._check(len(rows) == len(chunk_pks))
        return {number: Segments.load(packed) for number, packed in rows}

    def in_order(self, parts: list[Part]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return steps, times and values of parts, in the order of logging; where several streams wrote, by time."""
        parts.sort(key=lambda part: part.first)
        columns = [
            np.concatenate([getattr(part, name) for part in parts] or [np.empty(0, dtype)])
            for name, dtype in (("steps", np.int64), ("times", np.int64), ("values", np.float64))
        ]
        if not all(part.last <= after.first[:2] for part, after in pairwise(parts)):
            positions, groups = (
                np.concatenate(column) for column in zip(*(part.places() for part in parts), strict=True)
            )
            arrived = np.lexsort((groups, positions))
            columns = [column[arrived] for column in columns]
        if self.has_several_streams:
            by_time = np.argsort(columns[1], kind="stable")
            columns = [column[by_time] for column in columns]
        return columns[0], columns[1], columns[2]

    def _read_waiting(self, key: str) -> tuple[list[Part], set[int]]:
        """Return the groups that wait, and the streams that wrote them."""
        parts, streams = [], set()
        for position, stream_pk, payload in self._transaction.rows(_pending, {"entity": self.entity_pk}):
            for index, group in enumerate(decode_points(payload)):
                if key in group.keys and len(group):
                    segments = Segments.of([(position, index, len(group))])
                    values = group.values[group.keys.index(key)]
                    parts.append(Part(0, segments, group.steps, group.times, values))
                    streams.add(stream_pk)
        return parts, streams

    def _read(self, build: Build, chunk_pks: Sequence[int] | NDArray[np.int64]) -> Iterator[Sequence[Row]]:
        for at in range(0, len(chunk_pks), AT_ONCE):
            some = [int(number) for number in chunk_pks[at : at + AT_ONCE]]
            parameters = {"entity": self.entity_pk, "key": self.key_pk, MANY: self._transaction.database.many(some)}
            rows = self._transaction.rows(build, parameters)
            self._check(len(rows) == len(some))
            yield rows

    def _part(
        self, number: int, count: int, segments: Segments, steps: bytes, times: bytes | None, values: bytes
    ) -> Part:
        own_steps, own_values = unpack_ints(steps, MAX_ROWS), unpack_floats(values, MAX_ROWS)
        own_times = _NO_TIMES if times is None else unpack_ints(times, MAX_ROWS)
        if not count == len(own_steps) == len(own_values) == (count if times is None else len(own_times)):
            msg = f"a chunk of points of {self._name} is damaged: its columns are of different lengths"
            raise IntegrityError(msg)
        return Part(number, segments, own_steps, own_times, own_values)

    def _check(self, has_all: object) -> None:
        if not has_all:
            msg = f"points of {self._name} are missing: some were lost or altered"
            raise IntegrityError(msg)


def _find(_database: Database) -> Select[Any]:
    joined = entities.join(metrics, metrics.c.entity_pk == entities.c.entity_pk)
    joined = joined.join(keys, and_(keys.c.key_pk == metrics.c.key_pk, keys.c.section == METRICS))
    wanted = select(entities.c.entity_pk, keys.c.key_pk, metrics.c.count).select_from(joined)
    return wanted.where(
        entities.c.entity_id == bindparam("run_id"),
        entities.c.kind == "run",
        keys.c.key == bindparam("key"),
        metrics.c.count.is_not(None),
    )


def _chunks(database: Database) -> Select[Any]:
    table = chunks.c
    return _of_chunks(
        database, table.chunk_pk, table.rows, table.segments, table.steps, table.times, columns.c["values"]
    )


def _chunks_by_step(database: Database) -> Select[Any]:
    return _of_chunks(database, chunks.c.chunk_pk, chunks.c.rows, chunks.c.steps, columns.c["values"])


def _of_chunks(database: Database, *wanted: ColumnElement[Any]) -> Select[Any]:
    query = select(*wanted).select_from(columns.join(chunks, chunks.c.chunk_pk == columns.c.chunk_pk))
    return query.where(
        columns.c.entity_pk == bindparam("entity"),
        columns.c.key_pk == bindparam("key"),
        database.among(columns.c.chunk_pk),
    )


def _pending(_database: Database) -> Select[Any]:
    table = pending.c
    wanted = select(table.position, table.stream_pk, table.payload).where(table.entity_pk == bindparam("entity"))
    return wanted.order_by(table.position)


def _segments(database: Database) -> Select[Any]:
    return select(chunks.c.chunk_pk, chunks.c.segments).where(database.among(chunks.c.chunk_pk))
