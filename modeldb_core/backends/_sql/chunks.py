"""Chunks: points of one run, one stream and one list of keys, as compressed columns.

A chunk holds a column of steps, one of times, and one of values for each key. Its *segments* say which changes it was
put together from, so that the payload of each can be rebuilt bit for bit: for every group of points of a change its
position in the log, its index among the groups of that change, and its number of rows.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.backends._sql.outlines import Placed, summarize
from modeldb_core.errors import IntegrityError
from modeldb_core.log.packing import pack, unpack_floats, unpack_ints

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.sql.dml import Delete, Insert

    from modeldb_core.backends._sql.database import Row, Transaction
    from modeldb_core.backends._sql.numbers import Numbers

_LENGTHS = struct.Struct("<III")
MAX_ROWS = 1 << 20
"""Of a chunk that is read: those that are written hold a fraction of it."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Where the rows of a chunk came from; three int64 columns of the same length."""

    positions: NDArray[np.int64]
    groups: NDArray[np.int64]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, items: Sequence[tuple[int, int, int]]) -> Segments:
        """Return the segments in a list of (position, group, rows)."""
        positions, groups, rows = np.asarray(items, np.int64).reshape(-1, 3).T
        return cls(positions, groups, rows)

    @classmethod
    def concatenate(cls, parts: Sequence[Segments]) -> Segments:
        """Return the segments of several chunks, one after the other; pieces of one group become one again."""
        positions = np.concatenate([part.positions for part in parts])
        groups = np.concatenate([part.groups for part in parts])
        rows = np.concatenate([part.rows for part in parts])
        starts = np.ones(len(positions), bool)
        starts[1:] = (positions[1:] != positions[:-1]) | (groups[1:] != groups[:-1])
        places = np.flatnonzero(starts)
        return cls(positions[places], groups[places], np.add.reduceat(rows, places))

    def split(self, at: int) -> tuple[Segments, Segments]:
        """Return the segments of the first ``at`` rows and those of the rest."""
        ends = np.cumsum(self.rows)
        whole = int(np.searchsorted(ends, at, "right"))
        head = [self.positions[:whole], self.groups[:whole], self.rows[:whole]]
        tail = [self.positions[whole:], self.groups[whole:], self.rows[whole:].copy()]
        taken = at - (int(ends[whole - 1]) if whole else 0)
        if taken:
            first = (self.positions[whole : whole + 1], self.groups[whole : whole + 1], np.array([taken], np.int64))
            head = [np.concatenate(pair) for pair in zip(head, first, strict=True)]
            tail[2][0] -= taken
        return Segments(*head), Segments(*tail)

    def dump(self) -> bytes:
        """Return them as bytes."""
        parts = [pack(self.positions), pack(self.groups), pack(self.rows)]
        return _LENGTHS.pack(*map(len, parts)) + b"".join(parts)

    @classmethod
    def load(cls, data: bytes) -> Segments:
        """Return the segments that :meth:`dump` wrote.

        Raises:
            IntegrityError: the bytes are not what it writes.
        """
        positions, groups, rows = _LENGTHS.unpack(data[: _LENGTHS.size]) if len(data) >= _LENGTHS.size else (0, 0, 0)
        ends = list(accumulate((positions, groups, rows), initial=_LENGTHS.size))
        if ends[-1] != len(data):
            msg = "the segments of a chunk of points are damaged"
            raise IntegrityError(msg)
        return cls(*(unpack_ints(data[start:end], MAX_ROWS) for start, end in pairwise(ends)))


@dataclass(frozen=True, slots=True)
class Place:
    """What all points of a chunk have in common."""

    entity_pk: int
    list_pk: int
    stream_pk: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk with its columns; ``values`` holds one for each key of the list, in its order."""

    place: Place
    key_pks: tuple[int, ...]
    segments: Segments
    steps: NDArray[np.int64]
    times: NDArray[np.int64]
    values: Sequence[NDArray[np.float64]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.steps)

    def split(self, rows: int) -> Iterator[Chunk]:
        """Iterate over chunks of at most ``rows`` rows that together hold the same."""
        rest = self.segments
        for start in range(0, max(len(self), 1), rows):
            end = min(start + rows, len(self))
            part, rest = (rest, rest) if end == len(self) else rest.split(end - start)
            values = [column[start:end] for column in self.values]
            yield Chunk(self.place, self.key_pks, part, self.steps[start:end], self.times[start:end], values)

    @classmethod
    def concatenate(cls, parts: Sequence[Chunk]) -> Chunk:
        """Return the points of chunks of one place, one chunk after the other."""
        return cls(
            parts[0].place,
            parts[0].key_pks,
            Segments.concatenate([part.segments for part in parts]),
            np.concatenate([part.steps for part in parts]),
            np.concatenate([part.times for part in parts]),
            [np.concatenate(column) for column in zip(*(part.values for part in parts), strict=True)],
        )


def write_chunks(
    transaction: Transaction, numbers: Numbers, written: Iterable[Chunk], *, in_place_of: int | None = None
) -> None:
    """Insert chunks, and what is said of them.

    Args:
        transaction: which writes.
        numbers: finds free ones.
        written: the chunks.
        in_place_of: the number of a chunk that was deleted, of which the only one that is written is what is left. It
            takes its number too: by those the pieces of a group that was cut into several chunks stay in their order.
    """
    chunk_pk = numbers.next(_last_chunk) if in_place_of is None else in_place_of
    chunk_rows, column_rows, outline_rows = [], [], []
    for chunk in written:
        place, positions = chunk.place, chunk.segments.positions
        chunk_rows.append(
            {
                "chunk_pk": chunk_pk,
                "entity_pk": place.entity_pk,
                "list_pk": place.list_pk,
                "stream_pk": place.stream_pk,
                "rows": len(chunk),
                "first_position": int(positions[0]),
                "last_position": int(positions[-1]),
                "segments": chunk.segments.dump(),
                "steps": pack(chunk.steps),
                "times": pack(chunk.times),
            }
        )
        column_rows += [
            {"entity_pk": place.entity_pk, "key_pk": key_pk, "chunk_pk": chunk_pk, "values": pack(column)}
            for key_pk, column in zip(chunk.key_pks, chunk.values, strict=True)
        ]
        outline_rows += outlines_of(chunk, chunk_pk)
        chunk_pk += 1
    transaction.write(_insert_chunk, chunk_rows)
    transaction.write(_insert_column, column_rows)
    transaction.write(_insert_outline, outline_rows)


def outlines_of(chunk: Chunk, chunk_pk: int) -> list[dict[str, Any]]:
    """Return the rows of ``outlines`` that follow from a chunk."""
    place, segments = chunk.place, chunk.segments
    row = {
        "entity_pk": place.entity_pk,
        "chunk_pk": chunk_pk,
        "stream_pk": place.stream_pk,
        "rows": len(chunk),
        "min_step": int(chunk.steps.min()) if len(chunk) else None,
        "max_step": int(chunk.steps.max()) if len(chunk) else None,
    }
    placed = Placed(chunk.steps, chunk.times, np.cumsum(segments.rows), segments.positions, segments.groups)
    summaries = zip(chunk.key_pks, summarize(placed, chunk.values), strict=True)
    return [{**row, "key_pk": key_pk, "summary": summary} for key_pk, summary in summaries]


def delete_chunks(transaction: Transaction, chunk_pks: Sequence[int]) -> None:
    """Delete chunks and what is said of them; where others replace them, after those were written, or in their place."""
    rows = [{"pk": chunk_pk} for chunk_pk in chunk_pks]
    many = {MANY: transaction.database.many(chunk_pks)}
    found = [{"entity": entity, "column": key, "pk": pk} for entity, key, pk in transaction.rows(_columns_of, many)]
    transaction.write(_delete_outlines, found, each_writes=None)
    transaction.write(_delete_columns, rows, each_writes=None)
    transaction.write(_delete_chunk, rows)


def read_chunks(transaction: Transaction, rows: Sequence[Row], key_pks: dict[int, tuple[int, ...]]) -> list[Chunk]:
    """Return the chunks of rows with the columns :func:`chunk_columns`; ``key_pks`` gives the keys of each of their lists.

    Raises:
        IntegrityError: columns are missing, damaged, or of different lengths.
    """
    values: dict[int, dict[int, NDArray[np.float64]]] = {row[0]: {} for row in rows}
    for chunk_pk, key_pk, data in transaction.rows(_columns, {MANY: transaction.database.many(values)}):
        values[chunk_pk][key_pk] = unpack_floats(data, MAX_ROWS)
    found = []
    for chunk_pk, entity_pk, list_pk, stream_pk, row_count, *blobs in rows:
        listed = key_pks[list_pk]
        segments = Segments.load(blobs[0])
        steps, times = (unpack_ints(blob, MAX_ROWS) for blob in blobs[1:])
        own = [values[chunk_pk].get(key_pk) for key_pk in listed]
        sizes = {len(steps), len(times), row_count, int(segments.rows.sum())}
        sizes.update(-1 if column is None else len(column) for column in own)
        if len(sizes) > 1:
            msg = f"chunk {chunk_pk} of points is damaged: its columns are missing or of different lengths"
            raise IntegrityError(msg)
        place = Place(entity_pk, list_pk, stream_pk)
        found.append(Chunk(place, listed, segments, steps, times, [column for column in own if column is not None]))
    return found


def chunk_columns() -> tuple[ColumnElement[Any], ...]:
    """Return the columns that chunks are read from."""
    names = ("chunk_pk", "entity_pk", "list_pk", "stream_pk", "rows", "segments", "steps", "times")
    return tuple(tables.chunks.c[name] for name in names)


def _columns(database: Database) -> Select[Any]:
    wanted = sa.select(tables.columns.c.chunk_pk, tables.columns.c.key_pk, tables.columns.c["values"])
    return wanted.where(database.among(tables.columns.c.chunk_pk))


def _last_chunk(_database: Database) -> Select[Any]:
    return sa.select(sa.func.max(tables.chunks.c.chunk_pk))


def _insert_chunk(_database: Database) -> Insert:
    return sa.insert(tables.chunks)


def _insert_column(_database: Database) -> Insert:
    names = ("entity_pk", "key_pk", "chunk_pk", "values")
    return sa.insert(tables.columns).values({name: sa.bindparam(name) for name in names})


def _insert_outline(_database: Database) -> Insert:
    return sa.insert(tables.outlines)


def _columns_of(database: Database) -> Select[Any]:
    wanted = sa.select(tables.columns.c.entity_pk, tables.columns.c.key_pk, tables.columns.c.chunk_pk)
    return wanted.where(database.among(tables.columns.c.chunk_pk))


def _delete_outlines(_database: Database) -> Delete:
    table = tables.outlines.c
    return sa.delete(tables.outlines).where(
        table.entity_pk == sa.bindparam("entity"),
        table.key_pk == sa.bindparam("column"),
        table.chunk_pk == sa.bindparam("pk"),
    )


def _delete_columns(_database: Database) -> Delete:
    return sa.delete(tables.columns).where(tables.columns.c.chunk_pk == sa.bindparam("pk"))


def _delete_chunk(_database: Database) -> Delete:
    return sa.delete(tables.chunks).where(tables.chunks.c.chunk_pk == sa.bindparam("pk"))
