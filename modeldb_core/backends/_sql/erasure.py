"""Erasing payloads: what a change said leaves the log, the points, and the entity that it made.

What follows from a payload is not kept apart from what follows from others. So the entity is worked out again from the
log, without the change that is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.counting import is_countable
from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.backends._sql.documents import load_document
from modeldb_core.backends._sql.entity_rows import EntityRows
from modeldb_core.backends._sql.homes import home_in
from modeldb_core.log.changes import APPEND, DELETE, ERASE, Change, alters
from modeldb_core.log.erasures import MARKS, EntityErasures, Name, Place, target_of
from modeldb_core.model.evolve import evolve, unborn
from modeldb_core.model.schema import METRICS
from modeldb_core.model.values import decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Select
    from sqlalchemy.sql.dml import Insert

    from modeldb_core.backends._sql.chain import Streams
    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.backends._sql.metrics import MetricRows
    from modeldb_core.backends._sql.numbers import Numbers
    from modeldb_core.model.entities import Document

_SOME = 1000
"""Append changes whose points are looked at together."""
_PLACES = 400  # two parameters each, of the 999 that old versions of SQLite allow


class Parts(Protocol):
    """What erasing needs of the batch that is applied."""

    transaction: Transaction
    numbers: Numbers
    streams: Streams


@dataclass(frozen=True, slots=True)
class Erasures:
    """What one batch may erase.

    Attributes:
        named: stream and number of the changes that its ``erase`` changes name.
        names: kind and identifier of the entities to look at: of those changes, of what had been named before it
            arrived, and of what is deleted.
    """

    named: frozenset[Place]
    names: frozenset[Name]

    @classmethod
    def of(cls, transaction: Transaction, new: Sequence[Change], affected: dict[int, str]) -> Erasures:
        """Return the erasures that concern new changes; ``affected`` are the streams of theirs that had any.

        Raises:
            InvalidArgumentError: an ``erase`` change does not name one.
        """
        targets = [target_of(change) for change in new]
        rows = transaction.rows(_erased, {MANY: transaction.database.many(affected)}) if affected else []
        early = {(affected[stream_pk], seq) for stream_pk, seq in rows}
        names = frozenset(
            (change.kind, change.entity_id)
            for change in new
            if change.action in (ERASE, DELETE) or (change.stream_id, change.seq) in early
        )
        return cls(frozenset(target.place for target in targets if target is not None), names)

    def carry_out(self, batch: Parts) -> None:
        """Note what was named, and erase what is to be erased now."""
        transaction = batch.transaction
        batch.streams.load(stream_id for stream_id, _ in self.named)
        batch.streams.save()
        rows = [
            {"stream_pk": batch.streams.pk(stream_id), "seq": seq, "done": 0} for stream_id, seq in sorted(self.named)
        ]
        transaction.write(_insert_erased, rows, each_writes=None)
        many = transaction.database.many({entity_id for _, entity_id in self.names})
        found = transaction.rows(_named, {MANY: many}) if self.names else []
        for entity_pk, kind, entity_id in found:
            if (kind, entity_id) in self.names:
                _erase_of(batch, entity_pk, kind, entity_id)


def places_of(connection: Connection, entity_pk: int, kind: str, entity_id: str) -> dict[Place, tuple[int, int]]:
    """Return what the log says is erased of an entity, each with the numbers of its stream and in it."""
    history = EntityErasures()
    numbers: dict[str, int] = {}
    for change, stream_pk in _history(connection, entity_pk, kind, entity_id):
        history.take(change)
        numbers[change.stream_id] = stream_pk
    return {target.place: (numbers[target.stream_id], target.seq) for target in history.erased}


def _erase_of(batch: Parts, entity_pk: int, kind: str, entity_id: str) -> None:
    connection, table = batch.transaction.connection, tables.changes.c
    places = sorted(places_of(connection, entity_pk, kind, entity_id).values())
    points: set[int] = set()
    must_rework = False
    for at in range(0, len(places), _PLACES):
        some = sa.tuple_(table.stream_pk, table.seq).in_(places[at : at + _PLACES])
        query = sa.select(table.position, table.action).where(some, table.salt.is_not(None))
        rows = connection.execute(query).all()
        if rows:
            gone = (
                sa.update(tables.changes)
                .where(table.position == sa.bindparam("at"))
                .values(payload=sa.null(), salt=sa.null())
            )
            connection.execute(gone, [{"at": row.position} for row in rows])
        points.update(row.position for row in rows if row.action == APPEND)
        must_rework |= bool(rows)
        noted = sa.tuple_(tables.erased.c.stream_pk, tables.erased.c.seq).in_(places[at : at + _PLACES])
        connection.execute(sa.update(tables.erased).where(noted, tables.erased.c.done == 0).values(done=1))
    if points:
        _drop_points(batch, entity_pk, points)
    if must_rework:
        rework(batch, entity_pk)


def _history(connection: Connection, entity_pk: int, kind: str, entity_id: str) -> Iterator[tuple[Change, int]]:
    """Iterate over what decides on the erasures of an entity, in the order of the log, each with its stream's number."""
    table = tables.changes.c
    said = sa.case((table.action.in_((ERASE, DELETE)), table.payload))
    is_named = sa.exists().where(tables.erased.c.stream_pk == table.stream_pk, tables.erased.c.seq == table.seq)
    query = (
        sa.select(
            table.stream_pk,
            tables.streams.c.stream_id,
            table.seq,
            table.recorded_at,
            tables.actors.c.actor,
            table.action,
            table.hash,
            said,
        )
        .join(tables.streams, tables.streams.c.stream_pk == table.stream_pk)
        .join(tables.actors, tables.actors.c.actor_pk == table.actor_pk)
        .where(table.entity_pk == entity_pk, sa.or_(table.action.in_(MARKS), is_named))
        .order_by(table.position)
    )
    for stream_pk, stream_id, seq, recorded_at, actor, action, value, payload in connection.execute(query):
        link = (payload, None, b"", b"", value)
        yield Change(stream_id, seq, recorded_at, actor, action, kind, entity_id, *link), stream_pk


def rework(batch: Parts, entity_pk: int) -> None:
    """Work out an entity again from what the log has of it."""
    connection = batch.transaction.connection
    found = connection.execute(sa.select(tables.entities).where(tables.entities.c.entity_pk == entity_pk)).one()
    table = tables.documents.c
    wanted = sa.select(table.document, table.apart).where(table.entity_pk == entity_pk)
    stored = connection.execute(wanted).one_or_none()
    if stored is None:
        return
    rows = EntityRows(batch.transaction, batch.numbers, batch.streams)
    if alters(found.kind, APPEND):
        _rework_series(batch, entity_pk, rows.metrics)
    before, after = load_document(stored.document), replay(batch.transaction, entity_pk, found.kind)
    rows.items.load(entity_pk, found.kind, before, stored.apart, None)
    has_series = rows.metrics.has_series(entity_pk)
    is_counted = is_countable(found.kind, found.present, found.deleted_at)
    place = (entity_pk, found.kind, found.entity_id)
    rows.put(*place, before, after, home_in(found), has_series=has_series, is_counted=is_counted)
    rows.save()


def replay(transaction: Transaction, entity_pk: int, kind: str) -> Document:
    """Return the document that follows from the log."""
    table, document = tables.changes.c, None
    query = sa.select(table.action, tables.actors.c.actor, table.recorded_at, table.payload)
    query = query.join(tables.actors, tables.actors.c.actor_pk == table.actor_pk)
    for action, actor, recorded_at, payload in transaction.connection.execute(
        query.where(table.entity_pk == entity_pk, table.action != ERASE).order_by(table.position)
    ):
        if not alters(kind, action):
            continue
        if action != APPEND:
            data: Any = {} if payload is None else decode(payload)
            document = evolve(document, action, data, actor=actor, recorded_at=recorded_at, kind=kind)
        elif document is None:
            document = unborn(actor=actor, recorded_at=recorded_at)
    return document or {}


def _rework_series(batch: Parts, entity_pk: int, rows: MetricRows) -> None:
    from modeldb_core.backends._sql.log import rebuild_payloads
    from modeldb_core.backends._sql.summaries import summarize
    from modeldb_core.log.points import decode_points

    connection, table = batch.transaction.connection, tables.changes.c
    known = sa.select(tables.metrics.c.key_pk).where(
        tables.metrics.c.entity_pk == entity_pk, tables.metrics.c.count.is_not(None)
    )
    key_pks_before = connection.execute(known).scalars().all()
    rows.load(entity_pk, key_pks_before)
    rows.clear_series(entity_pk, key_pks_before)
    query = sa.select(table.position, table.payload).where(
        table.entity_pk == entity_pk, table.action == APPEND, table.salt.is_not(None)
    )
    appends = connection.execute(query.order_by(table.position)).all()
    for at in range(0, len(appends), _SOME):
        kept: dict[int, bytes | None] = dict(tuple(row) for row in appends[at : at + _SOME])
        positions = [position for position, payload in kept.items() if payload is None]
        if positions:
            kept.update(rebuild_payloads(batch.transaction, entity_pk, positions))
        for payload in kept.values():
            summaries = summarize(decode_points(payload or b""))
            key_pks = batch.numbers.of_keys((METRICS, key) for key in summaries)
            for key, summary in summaries.items():
                rows.add(entity_pk, key_pks[METRICS, key], summary)


def _drop_points(batch: Parts, entity_pk: int, positions: set[int]) -> None:
    """Take the points of changes out of what waits and out of chunks."""
    import numpy as np

    from modeldb_core.backends._sql.chunks import (
        Chunk,
        Segments,
        chunk_columns,
        delete_chunks,
        read_chunks,
        write_chunks,
    )
    from modeldb_core.backends._sql.log import read_lists
    from modeldb_core.backends._sql.spans import scatter

    connection, table = batch.transaction.connection, tables.chunks.c
    connection.execute(
        sa.delete(tables.pending).where(tables.pending.c.position == sa.bindparam("at")),
        [{"at": at} for at in positions],
    )
    query = sa.select(*chunk_columns()).where(
        table.entity_pk == entity_pk, table.last_position >= min(positions), table.first_position <= max(positions)
    )
    for row in connection.execute(query.order_by(table.first_position, table.chunk_pk)).all():
        lists = read_lists(batch.transaction, {row.list_pk})
        (chunk,) = read_chunks(batch.transaction, [row], lists)
        segments = chunk.segments
        stays = ~np.isin(segments.positions, list(positions))
        if stays.all():
            continue
        points = np.repeat(stays, segments.rows)
        scatter(batch.transaction, entity_pk, row.chunk_pk)
        delete_chunks(batch.transaction, [row.chunk_pk])
        if stays.any():
            left = Chunk(
                chunk.place,
                chunk.key_pks,
                Segments(segments.positions[stays], segments.groups[stays], segments.rows[stays]),
                chunk.steps[points],
                chunk.times[points],
                [column[points] for column in chunk.values],
            )
            write_chunks(batch.transaction, batch.numbers, [left], in_place_of=row.chunk_pk)


def _erased(database: Database) -> Select[Any]:
    return sa.select(tables.erased.c.stream_pk, tables.erased.c.seq).where(database.among(tables.erased.c.stream_pk))


def _insert_erased(database: Database) -> Insert:
    return database.upsert(tables.erased, update=())


def _named(database: Database) -> Select[Any]:
    table = tables.entities.c
    return sa.select(table.entity_pk, table.kind, table.entity_id).where(database.among(table.entity_id))
