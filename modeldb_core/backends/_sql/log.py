"""Reading the log: changes as their writers sealed them, the payloads of points put together again from chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.database import MANY, Database, Transaction
from modeldb_core.errors import IntegrityError
from modeldb_core.log.changes import APPEND, GENESIS, STREAM, Change
from modeldb_core.stores import ChangePage, Touch, TouchPage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from modeldb_core.backends._sql.chunks import Chunk
    from modeldb_core.log.points import PointGroup

_SOME = 10_000


def read_changes(
    transaction: Transaction,
    *,
    after: int,
    limit: int,
    entity_id: str | None = None,
    stream_id: str | None = None,
) -> ChangePage:
    """Return a page of the log; see ``MetadataStore.read_changes``."""
    after = max(after, 0)
    if limit <= 0:
        return ChangePage((), after)
    connection = transaction.connection
    query = transaction.database.statement(_log)
    if stream_id is not None:
        query = query.where(tables.streams.c.stream_id == stream_id)
    if entity_id is not None:
        # A stream's own changes name no entity: their subject is the stream.
        entity_pks = connection.execute(
            sa.select(tables.entities.c.entity_pk).where(tables.entities.c.entity_id == entity_id)
        ).scalars()
        of_entity: ColumnElement[bool] = tables.changes.c.entity_pk.in_(entity_pks.all())
        stream = sa.select(tables.streams.c.stream_pk).where(tables.streams.c.stream_id == entity_id)
        stream_pk = connection.execute(stream).scalar_one_or_none()
        if stream_pk is not None:
            of_entity = sa.or_(
                of_entity, sa.and_(tables.changes.c.stream_pk == stream_pk, tables.changes.c.entity_pk.is_(None))
            )
        query = query.where(of_entity)
    rows = connection.execute(query, {"after": after, "limit": min(limit, 2**62)}).all()
    payloads = _payloads(transaction, rows)
    previous = _previous_hashes(connection, rows)
    found = tuple(_change(row, payloads, previous) for row in rows)
    if len(rows) < limit:
        return ChangePage(found, max(after, end_of_log(transaction)))
    return ChangePage(found, rows[-1].position)


def read_touches(transaction: Transaction, *, after: int, limit: int) -> TouchPage:
    """Return what changes are about; see ``MetadataStore.read_touches``."""
    after = max(after, 0)
    if limit <= 0:
        return TouchPage((), after)
    rows = transaction.rows(_touches, {"after": after, "limit": min(limit, 2**62)})
    found = tuple(
        Touch(stream_id, STREAM if is_stream else kind, stream_id if is_stream else entity_id, action)
        for _, stream_id, kind, entity_id, action, is_stream in rows
    )
    return TouchPage(found, rows[-1][0] if len(rows) == limit else max(after, end_of_log(transaction)))


def end_of_log(transaction: Transaction) -> int:
    """Return the position of the last change; 0 where there is none."""
    return int(transaction.scalar(_end) or 0)


def read_order(transaction: Transaction, *, after: int) -> Sequence[tuple[int, str, int, bytes]]:
    """Return position, stream, number and hash of the next changes in the log; none where it ends."""
    rows = transaction.rows(_order, {"after": after, "limit": _SOME})
    return [(position, stream_id, seq, bytes(value)) for position, stream_id, seq, value in rows]


def _change(row: Any, payloads: dict[int, bytes], previous: dict[tuple[int, int], bytes]) -> Change:  # noqa: ANN401 - a row
    is_stream = row.entity_pk is None
    payload = row.payload
    if payload is None and row.salt is not None:
        payload = payloads.get(row.position)
    return Change(
        stream_id=row.stream_id,
        seq=row.seq,
        recorded_at=row.recorded_at,
        actor=row.actor,
        action=row.action,
        kind=STREAM if is_stream else row.kind,
        entity_id=row.stream_id if is_stream else row.entity_id,
        payload=payload,
        salt=row.salt,
        payload_digest=row.payload_digest,
        previous_hash=GENESIS if row.seq == 1 else previous.get((row.stream_pk, row.seq - 1), b""),
        hash=row.hash,
    )


def _previous_hashes(connection: Connection, rows: Sequence[Any]) -> dict[tuple[int, int], bytes]:
    """Return the hashes of the changes before those of ``rows``, by stream and number."""
    known = {(row.stream_pk, row.seq): row.hash for row in rows}
    ranges: dict[int, tuple[int, int]] = {}
    for row in rows:
        if row.seq > 1 and (row.stream_pk, row.seq - 1) not in known:
            low, high = ranges.get(row.stream_pk, (row.seq - 1, row.seq - 1))
            ranges[row.stream_pk] = (min(low, row.seq - 1), max(high, row.seq - 1))
    table = tables.changes.c
    for stream_pk, (low, high) in ranges.items():
        query = sa.select(table.seq, table.hash).where(table.stream_pk == stream_pk, table.seq.between(low, high))
        known.update({(stream_pk, seq): value for seq, value in connection.execute(query)})
    return known


def _payloads(transaction: Transaction, rows: Sequence[Any]) -> dict[int, bytes]:
    """Return the payloads of the append changes among ``rows``, by position."""
    wanted: dict[int, list[int]] = {}
    for row in rows:
        if row.action == APPEND and row.payload is None and row.salt is not None:
            wanted.setdefault(row.entity_pk, []).append(row.position)
    payloads: dict[int, bytes] = {}
    for entity_pk, positions in wanted.items():
        payloads.update(rebuild_payloads(transaction, entity_pk, positions))
    return payloads


def rebuild_payloads(transaction: Transaction, entity_pk: int, positions: Sequence[int]) -> dict[int, bytes]:
    """Return the payloads of append changes of one entity, by position; the positions rise.

    Raises:
        IntegrityError: what holds the points is damaged.
    """
    from modeldb_core.log.points import encode_points

    first, last = positions[0], positions[-1]
    parameters = {"entity": entity_pk, "first": first, "last": last}
    asked = set(positions)
    rows = transaction.rows(_pending, parameters)
    payloads = {position: payload for position, payload in rows if position in asked}
    asked -= payloads.keys()
    if asked:
        groups = {position: list[_Piece]() for position in asked}
        for chunk, names in chunks_between(transaction, entity_pk, min(asked), max(asked)):
            for piece in _pieces(chunk, names, asked):
                groups[piece.position].append(piece)
        for position, pieces in groups.items():
            payloads[position] = encode_points(_groups(pieces))
    return payloads


def chunks_between(
    transaction: Transaction, entity_pk: int, first: int, last: int
) -> list[tuple[Chunk, tuple[str, ...]]]:
    """Return the chunks of an entity that hold points of changes from ``first`` to ``last``, with the names of keys."""
    from modeldb_core.backends._sql.chunks import read_chunks

    parameters = {"entity": entity_pk, "first": first, "last": last}
    rows = transaction.rows(_chunks, parameters)
    lists = read_lists(transaction, {list_pk for _, _, list_pk, *_ in rows})
    found = read_chunks(transaction, rows, lists)
    names = read_names(transaction, {key_pk for listed in lists.values() for key_pk in listed})
    return [(chunk, tuple(names[key_pk] for key_pk in chunk.key_pks)) for chunk in found]


def read_lists(transaction: Transaction, list_pks: set[int]) -> dict[int, tuple[int, ...]]:
    """Return the numbers of the keys in lists of keys.

    Raises:
        IntegrityError: a list is missing.
    """
    import numpy as np

    rows = transaction.rows(_lists, {MANY: transaction.database.many(list_pks)})
    found = {list_pk: tuple(np.frombuffer(data, "<i8").tolist()) for list_pk, data in rows}
    if len(found) < len(list_pks):
        msg = f"lists of keys are missing: {sorted(list_pks - found.keys())}"
        raise IntegrityError(msg)
    return found


def read_names(transaction: Transaction, key_pks: set[int]) -> dict[int, str]:
    """Return the names of keys.

    Raises:
        IntegrityError: a key is missing.
    """
    found: dict[int, str] = dict(transaction.rows(_names, {MANY: transaction.database.many(key_pks)}))
    if len(found) < len(key_pks):
        msg = f"keys are missing: {sorted(key_pks - found.keys())[:10]}"
        raise IntegrityError(msg)
    return found


class _Piece(NamedTuple):
    """Rows of one group of one change, in one chunk."""

    position: int
    group: int
    start: int
    end: int
    chunk: Chunk
    names: tuple[str, ...]


def _pieces(chunk: Chunk, names: tuple[str, ...], asked: set[int]) -> list[_Piece]:
    segments = chunk.segments
    inside = (segments.positions >= min(asked)) & (segments.positions <= max(asked))
    ends = segments.rows.cumsum()
    starts = ends - segments.rows
    columns = (segments.positions, segments.groups, starts, ends)
    places = zip(*(column[inside].tolist() for column in columns), strict=True)
    return [_Piece(at, group, start, end, chunk, names) for at, group, start, end in places if at in asked]


def _groups(pieces: list[_Piece]) -> list[PointGroup]:
    """Return the groups of a change; a group that was cut into several chunks is put together."""
    import numpy as np

    from modeldb_core.log.points import PointGroup

    groups: dict[int, list[PointGroup]] = {}
    for piece in pieces:
        chunk, start, end = piece.chunk, piece.start, piece.end
        columns = [column[start:end] for column in chunk.values]
        values = np.stack(columns) if columns else np.empty((0, end - start))
        part = PointGroup(piece.names, chunk.steps[start:end], chunk.times[start:end], values)
        groups.setdefault(piece.group, []).append(part)
    return [_joined(groups[index]) for index in sorted(groups)]


def _joined(parts: list[PointGroup]) -> PointGroup:
    from modeldb_core.log.points import concatenate

    return concatenate(parts)


def _log(_database: Database) -> Select[Any]:
    joined = (
        tables.changes.join(tables.streams, tables.streams.c.stream_pk == tables.changes.c.stream_pk)
        .join(tables.actors, tables.actors.c.actor_pk == tables.changes.c.actor_pk)
        .outerjoin(tables.entities, tables.entities.c.entity_pk == tables.changes.c.entity_pk)
    )
    wanted = sa.select(
        tables.changes,
        tables.streams.c.stream_id,
        tables.actors.c.actor,
        tables.entities.c.kind,
        tables.entities.c.entity_id,
    )
    wanted = wanted.select_from(joined).where(tables.changes.c.position > sa.bindparam("after"))
    return wanted.order_by(tables.changes.c.position).limit(sa.bindparam("limit"))


def _touches(_database: Database) -> Select[Any]:
    joined = tables.changes.join(tables.streams, tables.streams.c.stream_pk == tables.changes.c.stream_pk)
    joined = joined.outerjoin(tables.entities, tables.entities.c.entity_pk == tables.changes.c.entity_pk)
    named = (
        tables.changes.c.position,
        tables.streams.c.stream_id,
        tables.entities.c.kind,
        tables.entities.c.entity_id,
        tables.changes.c.action,
    )
    wanted = sa.select(*named, tables.changes.c.entity_pk.is_(None)).select_from(joined)
    return (
        wanted.where(tables.changes.c.position > sa.bindparam("after"))
        .order_by(tables.changes.c.position)
        .limit(sa.bindparam("limit"))
    )


def _end(_database: Database) -> Select[Any]:
    return sa.select(sa.func.max(tables.changes.c.position))


def _order(_database: Database) -> Select[Any]:
    wanted = sa.select(
        tables.changes.c.position, tables.streams.c.stream_id, tables.changes.c.seq, tables.changes.c.hash
    )
    wanted = wanted.join(tables.streams, tables.streams.c.stream_pk == tables.changes.c.stream_pk).where(
        tables.changes.c.position > sa.bindparam("after")
    )
    return wanted.order_by(tables.changes.c.position).limit(sa.bindparam("limit"))


def _pending(_database: Database) -> Select[Any]:
    table = tables.pending.c
    return sa.select(table.position, table.payload).where(
        table.entity_pk == sa.bindparam("entity"), table.position.between(sa.bindparam("first"), sa.bindparam("last"))
    )


def _chunks(_database: Database) -> Select[Any]:
    from modeldb_core.backends._sql.chunks import chunk_columns

    table = tables.chunks.c
    wanted = sa.select(*chunk_columns()).where(
        table.entity_pk == sa.bindparam("entity"),
        table.last_position >= sa.bindparam("first"),
        table.first_position <= sa.bindparam("last"),
    )
    return wanted.order_by(table.first_position, table.chunk_pk)


def _lists(database: Database) -> Select[Any]:
    return sa.select(tables.key_lists.c.list_pk, tables.key_lists.c.key_pks).where(
        database.among(tables.key_lists.c.list_pk)
    )


def _names(database: Database) -> Select[Any]:
    return sa.select(tables.keys.c.key_pk, tables.keys.c.key).where(database.among(tables.keys.c.key_pk))
