"""Erasing payloads: what a change said leaves the log, the points, and the entity that it made.

What follows from a payload is not kept apart from what follows from others. So the entity is worked out again from the
log, without the change that is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, null, or_, select, update

from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.backends._sql.documents import load_document
from modeldb_core.backends._sql.entity_rows import EntityRows
from modeldb_core.backends._sql.tables import actors, changes, chunks, documents, entities, erased, metrics, pending
from modeldb_core.changes import APPEND, ERASE, STREAM, UPDATE, Change
from modeldb_core.entities import Document, evolve
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.values import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Select
    from sqlalchemy.sql.dml import Insert

    from modeldb_core.backends._sql.apply import Batch
    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.backends._sql.metrics import MetricRows

_SOME = 1000
"""Append changes whose points are looked at together."""


@dataclass(frozen=True, slots=True)
class Erasures:
    """What one batch erases.

    Attributes:
        named: stream and number of the changes that its ``erase`` changes name.
        early: stream and number of those of its own changes that had been erased before they arrived.
    """

    named: frozenset[tuple[str, int]]
    early: frozenset[tuple[str, int]]

    def __bool__(self) -> bool:
        return bool(self.named or self.early)

    @classmethod
    def of(cls, transaction: Transaction, new: Sequence[Change], affected: dict[int, str]) -> Erasures:
        """Return the erasures that concern new changes; ``affected`` are the streams of theirs that had any.

        Raises:
            InvalidArgumentError: an ``erase`` change does not name one.
        """
        named = frozenset(target_of(change) for change in new if change.action == ERASE and change.payload is not None)
        rows = transaction.rows(_erased, {MANY: transaction.database.many(affected)}) if affected else []
        return cls(named, frozenset((affected[stream_pk], seq) for stream_pk, seq in rows))

    def without_payloads(self, new: Iterable[Change]) -> list[Change]:
        """Return new changes, those that are erased without their payload."""
        gone = self.named | self.early
        return [
            change.erased() if (change.stream_id, change.seq) in gone and _can_go(change) else change for change in new
        ]

    def carry_out(self, batch: Batch) -> None:
        """Erase what the log has of the named changes, and work out their entities again."""
        if not self.named:
            return
        batch.streams.load(stream_id for stream_id, _ in self.named)
        connection, table = batch.transaction.connection, changes.c
        rows = [{"stream_pk": batch.streams.pk(stream_id), "seq": seq} for stream_id, seq in sorted(self.named)]
        batch.transaction.write(_upsert_erased, rows, each_writes=None)
        wanted = [and_(table.stream_pk == row["stream_pk"], table.seq == row["seq"]) for row in rows]
        affected: dict[int, list[int]] = {}
        for at in range(0, len(wanted), 200):
            query = select(table.position, table.entity_pk, table.action)
            found = connection.execute(query.where(table.salt.is_not(None), or_(*wanted[at : at + 200]))).all()
            found = [row for row in found if row.entity_pk is not None and row.action != ERASE]
            positions = [{"at": row.position} for row in found]
            if positions:
                gone = update(changes).where(table.position == bindparam("at")).values(payload=null(), salt=null())
                connection.execute(gone, positions)
            for position, entity_pk, action in found:
                affected.setdefault(entity_pk, []).extend([position] if action == APPEND else [])
        for entity_pk, positions_of_points in affected.items():
            if positions_of_points:
                _drop_points(batch, entity_pk, set(positions_of_points))
            rework(batch, entity_pk)


def target_of(change: Change) -> tuple[str, int]:
    """Return stream and number of the change that an ``erase`` change names.

    Raises:
        InvalidArgumentError: it names none.
    """
    data = change.data()
    stream_id, seq = data.get("stream_id"), data.get("seq")
    if not isinstance(stream_id, str) or not isinstance(seq, int) or isinstance(seq, bool) or not 1 <= seq < 2**63:
        msg = (
            f"change {change.seq} of stream {change.stream_id} erases {data!r}; expected the stream_id (text) and the "
            f"seq (a number from 1) of a change"
        )
        raise InvalidArgumentError(msg)
    return stream_id, seq


def _can_go(change: Change) -> bool:
    # What is said of streams and of erasures stays: without it heads and further copies could not be worked out.
    return change.kind != STREAM and change.action != ERASE


def rework(batch: Batch, entity_pk: int) -> None:
    """Work out an entity again from what the log has of it."""
    connection = batch.transaction.connection
    found = connection.execute(select(entities).where(entities.c.entity_pk == entity_pk)).one()
    text = connection.execute(
        select(documents.c.document).where(documents.c.entity_pk == entity_pk)
    ).scalar_one_or_none()
    if text is None:
        return
    rows = EntityRows(batch.transaction, batch.numbers, batch.streams)
    _rework_series(batch, entity_pk, rows.metrics)
    before, after = load_document(text), replay(batch, entity_pk)
    has_series = rows.metrics.has_series(entity_pk)
    rows.put(entity_pk, found.kind, found.entity_id, before, after, has_series=has_series)
    rows.save()


def replay(batch: Batch, entity_pk: int) -> Document:
    """Return the document that follows from the log."""
    table, document = changes.c, None
    query = select(table.action, actors.c.actor, table.recorded_at, table.payload)
    query = query.join(actors, actors.c.actor_pk == table.actor_pk)
    for action, actor, recorded_at, payload in batch.transaction.connection.execute(
        query.where(table.entity_pk == entity_pk, table.action != ERASE).order_by(table.position)
    ):
        if action != APPEND:
            data: Any = {} if payload is None else decode(payload)
            document = evolve(document, action, data, actor=actor, recorded_at=recorded_at)
        elif document is None:
            document = evolve(None, UPDATE, {}, actor=actor, recorded_at=recorded_at)
    return document or {}


def _rework_series(batch: Batch, entity_pk: int, rows: MetricRows) -> None:
    from modeldb_core.backends._sql.log import rebuild_payloads
    from modeldb_core.backends._sql.summaries import summarize
    from modeldb_core.points import decode_points

    connection, table = batch.transaction.connection, changes.c
    known = select(metrics.c.key_pk).where(metrics.c.entity_pk == entity_pk, metrics.c.count.is_not(None))
    key_pks_before = connection.execute(known).scalars().all()
    rows.load(entity_pk, key_pks_before)
    rows.clear_series(entity_pk, key_pks_before)
    query = select(table.position, table.payload).where(
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
            key_pks = batch.numbers.of_keys(("metrics", key) for key in summaries)
            for key, summary in summaries.items():
                rows.add(entity_pk, key_pks["metrics", key], summary)


def _drop_points(batch: Batch, entity_pk: int, positions: set[int]) -> None:
    """Take the points of changes out of what waits and out of chunks."""
    import numpy as np

    from modeldb_core.backends._sql.chunks import (
        CHUNK_COLUMNS,
        Chunk,
        Segments,
        delete_chunks,
        read_chunks,
        write_chunks,
    )
    from modeldb_core.backends._sql.log import read_lists

    connection, table = batch.transaction.connection, chunks.c
    connection.execute(delete(pending).where(pending.c.position == bindparam("at")), [{"at": at} for at in positions])
    query = select(*CHUNK_COLUMNS).where(
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
        if stays.any():
            left = Chunk(
                chunk.place,
                chunk.key_pks,
                Segments(segments.positions[stays], segments.groups[stays], segments.rows[stays]),
                chunk.steps[points],
                chunk.times[points],
                [column[points] for column in chunk.values],
            )
            write_chunks(batch.transaction, batch.numbers, [left])
        delete_chunks(batch.transaction, [row.chunk_pk])


def _erased(database: Database) -> Select[Any]:
    return select(erased.c.stream_pk, erased.c.seq).where(database.among(erased.c.stream_pk))


def _upsert_erased(database: Database) -> Insert:
    return database.upsert(erased, update=())
