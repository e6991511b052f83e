"""What an audit looks at of the rows that hold points: chunks, the points that wait for one, and lists of keys.

Whether the points are those that were logged, the hashes of the changes say; here it is where they lie.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import BigInteger, and_, cast, func, select

from modeldb_core.backends._sql.chunks import chunk_columns, outlines_of, read_chunks
from modeldb_core.backends._sql.log import read_lists
from modeldb_core.backends._sql.outlines import OUTLINE, is_same, load_outlines
from modeldb_core.backends._sql.spans import rows_of, span_of
from modeldb_core.backends._sql.tables import changes, chunks, columns, key_lists, keys, outlines, pending, spans
from modeldb_core.log.changes import APPEND
from modeldb_core.model.schema import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Row

    from modeldb_core.backends._sql.database import Transaction

_BOUNDS = tuple(chunks.c[name] for name in ("first_position", "last_position"))
_SOME = 200  # chunks that are looked at together


def check_points(transaction: Transaction) -> Iterator[str]:
    """Iterate over sentences on rows of points that contradict others."""
    yield from _check_lists(transaction.connection)
    yield from _check_pending(transaction.connection)
    yield from _check_chunks(transaction)
    yield from _check_spans(transaction.connection)
    yield from _check_counts(transaction.connection)


def _check_counts(connection: Connection) -> Iterator[str]:
    """Compare the numbers of rows: that each column has its outline is looked at with its chunk."""
    counts = [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in (outlines, columns)]
    packed = connection.execute(select(cast(func.sum(func.length(spans.c.outlines)), BigInteger))).scalar_one() or 0
    found = counts[0] + packed / OUTLINE.itemsize
    if found != counts[1]:
        yield f"there are {found:,.12g} outlines of {counts[1]:,} columns of points"


def _check_spans(connection: Connection) -> Iterator[str]:
    """Look whether spans say of themselves what their outlines say; those are looked at with their chunks."""
    for row in connection.execute(select(spans)):
        place = row.entity_pk, row.key_pk, row.stream_pk
        if dict(row._mapping) != span_of(*place, load_outlines([row.outlines])):
            yield f"the span of key {row.key_pk} from chunk {row.first_chunk} on does not follow from its outlines"


def _check_lists(connection: Connection) -> Iterator[str]:
    known = {key_pk for (key_pk,) in connection.execute(select(keys.c.key_pk).where(keys.c.section == METRICS))}
    for list_pk, digest, data in connection.execute(select(key_lists)):
        if hashlib.sha256(data).digest() != digest or len(data) % 8:
            yield f"list {list_pk} of keys does not match its digest"
        elif not known.issuperset(np.frombuffer(data, "<i8").tolist()):
            yield f"list {list_pk} of keys names one that is not there"


def _check_pending(connection: Connection) -> Iterator[str]:
    joined = select(pending, changes.c.entity_pk.label("owner"), changes.c.stream_pk.label("writer"), changes.c.action)
    joined = joined.outerjoin(changes, changes.c.position == pending.c.position)
    for row in connection.execute(joined):
        fits = (row.entity_pk, row.stream_pk, APPEND) == (row.owner, row.writer, row.action)
        if not fits or row.size != len(row.payload):
            yield f"the points that wait under position {row.position} are not those of that change"


def _check_chunks(transaction: Transaction) -> Iterator[str]:
    """Look into every chunk; whether its points are the logged ones, the hashes of the changes say."""
    connection, last = transaction.connection, 0
    while True:
        query = (
            select(*chunk_columns(), *_BOUNDS).where(chunks.c.chunk_pk > last).order_by(chunks.c.chunk_pk).limit(_SOME)
        )
        rows = connection.execute(query).all()
        if not rows:
            return
        last = rows[-1].chunk_pk
        listed = read_lists(transaction, {row.list_pk for row in rows})
        found = read_chunks(transaction, [row[: -len(_BOUNDS)] for row in rows], listed)
        outlined = _outlines(connection, rows)
        for row, chunk in zip(rows, found, strict=True):
            positions = chunk.segments.positions
            if (row.first_position, row.last_position) != (positions[0], positions[-1]):
                yield f"chunk {row.chunk_pk} holds other points than its row says"
            for expected in outlines_of(chunk, row.chunk_pk):
                stored = outlined.get((row.chunk_pk, expected["key_pk"]))
                if stored is None or not _is_outline(stored, expected):
                    yield f"the outline of key {expected['key_pk']} in chunk {row.chunk_pk} does not follow from its points"
            own = (
                changes.c.entity_pk == row.entity_pk,
                changes.c.stream_pk == row.stream_pk,
                changes.c.action == APPEND,
            )
            unique = np.unique(positions).tolist()
            inside = changes.c.position.between(unique[0], unique[-1])
            there = set(connection.execute(select(changes.c.position).where(inside, *own)).scalars())
            if not there.issuperset(unique):
                yield f"chunk {row.chunk_pk} holds points of changes of another run or stream"
        wrong = select(columns.c.column_pk).join(chunks, chunks.c.chunk_pk == columns.c.chunk_pk)
        for (column_pk,) in connection.execute(wrong.where(columns.c.entity_pk != chunks.c.entity_pk).limit(20)):
            yield f"column {column_pk} of points belongs to another run than its chunk"


def _outlines(connection: Connection, of: Sequence[Row[Any]]) -> dict[tuple[int, int], dict[str, Any]]:
    """Return the outlines of chunks, by number of the chunk and of the key."""
    numbers = {row.chunk_pk for row in of}
    same = [outlines.c[name] == columns.c[name] for name in ("entity_pk", "key_pk", "chunk_pk")]
    query = select(outlines).join(columns, and_(*same)).where(columns.c.chunk_pk.in_(numbers))
    found = {(row.chunk_pk, row.key_pk): dict(row._mapping) for row in connection.execute(query)}
    around = select(spans).where(
        spans.c.entity_pk.in_({row.entity_pk for row in of}),
        spans.c.first_chunk <= max(numbers),
        spans.c.last_chunk >= min(numbers),
    )
    for span in connection.execute(around):
        members = load_outlines([span.outlines])
        for row in rows_of(span.entity_pk, span.key_pk, span.stream_pk, members):
            if row["chunk_pk"] in numbers:
                found[row["chunk_pk"], span.key_pk] = row
    return found


def _is_outline(stored: dict[str, Any], expected: dict[str, Any]) -> bool:
    plain = all(stored[name] == value for name, value in expected.items() if name != "summary")
    return plain and is_same(stored["summary"], expected["summary"])
