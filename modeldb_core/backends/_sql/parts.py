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
from modeldb_core.log.packing import unpack_joined
from modeldb_core.log.points import decode_points
from modeldb_core.model.schema import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import ColumnElement, Select

    from modeldb_core.backends._sql.database import Build, Database, Row, Transaction

_NO_TIMES = np.empty(0, np.int64)
AT_ONCE = 16
"""Chunks whose points are looked at together: enough for NumPy, and of a few megabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Points of the series that arrived one after the other, or some of them.

    Attributes:
        number: of the chunk; 0 for a group that waits.
        positions: in the log, of the changes of the first and of the last point.
        origin: which changes all of the points came from, as they lie in the table until somebody needs to know.
        chosen: which of the points these are; ``None``: all.
    """

    number: int
    positions: tuple[int, int]
    origin: bytes | Segments
    steps: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    chosen: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def segments(self) -> Segments:
        """Which changes all of the points came from."""
        return self.origin if isinstance(self.origin, Segments) else Segments.load(self.origin)

    def ends(self) -> tuple[tuple[int, int, int], tuple[int, int]]:
        """Return where it begins (position in the log, group of that change, which piece of the group), and ends."""
        segments = self.segments
        first, last = ((int(segments.positions[at]), int(segments.groups[at])) for at in (0, -1))
        return (*first, self.number), last

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return position and group of each point."""
        segments = self.segments
        found = np.repeat(segments.positions, segments.rows), np.repeat(segments.groups, segments.rows)
        return found if self.chosen is None else (found[0][self.chosen], found[1][self.chosen])

    def take(self, chosen: NDArray[np.intp]) -> Part:
        """Return a part with some of these points."""
        before = chosen if self.chosen is None else self.chosen[chosen]
        columns = self.steps[chosen], self.times[chosen], self.values[chosen]
        return Part(self.number, self.positions, self.origin, *columns, before)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Parts that are looked at together: their columns are views of these, one after the other.

    Attributes:
        parts: none of which is empty.
        begins: int64, shape (m,): the first row of each part.
        ends: int64, shape (m,): the row after the last one of each part.
    """

    parts: Sequence[Part]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    steps: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Batch:
        """Return some parts, at least one, as a batch."""
        ends = np.cumsum([len(part) for part in parts])
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in ("steps", "times", "values")]
        return cls(parts, np.append(0, ends[:-1]), ends, *columns)

    def take(self, chosen: NDArray[np.intp]) -> list[Part]:
        """Return parts with some of the points, whose rows rise."""
        cuts = np.searchsorted(chosen, self.ends).tolist()
        pairs = zip(self.parts, self.begins.tolist(), [0, *cuts], cuts, strict=False)
        return [part.take(chosen[low:high] - begin) for part, begin, low, high in pairs if low < high]


def rises(x: NDArray[np.int64], begins: NDArray[np.int64]) -> bool:
    """Return whether numbers never fall, and rise from each part to the next, which begin at ``begins``."""
    return not bool(np.any(x[1:] < x[:-1])) and not bool(np.any(x[begins[1:]] == x[begins[1:] - 1]))


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

    def chunks(self, chunk_pks: Sequence[int] | NDArray[np.int64]) -> Iterator[Batch]:
        """Iterate over the parts in chunks, in the given order, some at a time."""
        for rows in self._read(_chunks, chunk_pks):
            yield self._batch(rows)

    def chunks_by_step(self, chunk_pks: Sequence[int] | NDArray[np.int64]) -> Iterator[Batch]:
        """Iterate over parts without times and segments, for those who need neither."""
        for rows in self._read(_chunks_by_step, chunk_pks):
            yield self._batch([(*row, 0, 0, b"", None) for row in rows])

    def waiting_batch(self) -> Iterator[Batch]:
        """Iterate over the parts that wait to become a chunk, as one batch, or none."""
        if self.waiting:
            yield Batch.of(self.waiting)

    def segments(self, chunk_pks: Sequence[int]) -> dict[int, Segments]:
        """Return which changes the points of chunks came from, by chunk."""
        rows = self._transaction.rows(_segments, {MANY: self._transaction.database.many(chunk_pks)})
        self._check(len(rows) == len(chunk_pks))
        return {number: Segments.load(packed) for number, packed in rows}

    def in_order(self, parts: list[Part]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return steps, times and values of parts, in the order of logging; where several streams wrote, by time."""
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        batch, order = self.arrange(parts)
        columns = batch.steps, batch.times, batch.values
        return columns if order is None else (columns[0][order], columns[1][order], columns[2][order])

    def arrange(self, parts: list[Part]) -> tuple[Batch, NDArray[np.intp] | None]:
        """Return parts, at least one, as a batch, and its rows in the order of :meth:`in_order`; ``None``: as they lie."""
        parts.sort(key=lambda part: (part.positions, part.number))
        is_ordered = all(part.positions[1] < after.positions[0] for part, after in pairwise(parts))
        if not is_ordered:
            known = sorted(((part.ends(), part) for part in parts), key=lambda each: each[0])
            parts = [part for _, part in known]
            is_ordered = all(last <= first[:2] for ((_, last), _), ((first, _), _) in pairwise(known))
        batch, order = Batch.of(parts), None
        if not is_ordered:
            positions, groups = (
                np.concatenate(column) for column in zip(*(part.places() for part in parts), strict=True)
            )
            order = np.lexsort((groups, positions))
        if self.has_several_streams:
            by_time = np.argsort(batch.times if order is None else batch.times[order], kind="stable")
            order = by_time if order is None else order[by_time]
        return batch, order

    def _read_waiting(self, key: str) -> tuple[list[Part], set[int]]:
        """Return the groups that wait, and the streams that wrote them."""
        parts, streams = [], set()
        for position, stream_pk, payload in self._transaction.rows(_pending, {"entity": self.entity_pk}):
            for index, group in enumerate(decode_points(payload)):
                if key in group.keys and len(group):
                    segments = Segments.of([(position, index, len(group))])
                    values = group.values[group.keys.index(key)]
                    parts.append(Part(0, (position, position), segments, group.steps, group.times, values))
                    streams.add(stream_pk)
        return parts, streams

    def _read(self, build: Build, chunk_pks: Sequence[int] | NDArray[np.int64]) -> Iterator[Sequence[Row]]:
        for at in range(0, len(chunk_pks), AT_ONCE):
            some = [int(number) for number in chunk_pks[at : at + AT_ONCE]]
            parameters = {"entity": self.entity_pk, "key": self.key_pk, MANY: self._transaction.database.many(some)}
            rows = self._transaction.rows(build, parameters)
            found = {row[0]: row for row in rows}
            self._check(len(rows) == len(found) == len(some))
            yield [found[number] for number in some]

    def _batch(self, rows: Sequence[Row]) -> Batch:
        """Return the points of rows, each of which is number, count, steps, values, positions, segments and times."""
        numbers, counts, steps, values, first, last, segments, times = zip(*rows, strict=True)
        if not all(0 < count <= MAX_ROWS for count in counts):
            msg = f"a chunk of points of {self._name} is damaged: it is said to hold {min(counts)} to {max(counts)} points"
            raise IntegrityError(msg)
        ends = np.cumsum(counts)
        begins = np.append(0, ends[:-1])
        own_steps, own_values = unpack_joined(steps, counts, np.int64), unpack_joined(values, counts, np.float64)
        own_times = _NO_TIMES if times[0] is None else unpack_joined(times, counts, np.int64)
        cuts = [slice(*pair) for pair in zip(begins.tolist(), ends.tolist(), strict=True)]
        parts = [
            Part(number, (low, high), origin, own_steps[cut], own_times[cut], own_values[cut])
            for number, low, high, origin, cut in zip(numbers, first, last, segments, cuts, strict=True)
        ]
        return Batch(parts, begins, ends, own_steps, own_times, own_values)

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
    origin = table.first_position, table.last_position, table.segments
    return _of_chunks(database, table.chunk_pk, table.rows, table.steps, columns.c["values"], *origin, table.times)


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
