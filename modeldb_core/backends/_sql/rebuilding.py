"""Making the rows of outdated entities again, some in each transaction, so that it can end at any point and go on later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.apply import Batch
from modeldb_core.backends._sql.counting import recount
from modeldb_core.backends._sql.deciding import StoredClaims
from modeldb_core.backends._sql.declared import (
    Declared,
    can_be_interpreted,
    has_outdated,
    outdated_of,
    read_declared,
    take_over,
)
from modeldb_core.backends._sql.documents import load_document
from modeldb_core.backends._sql.erasure import replay
from modeldb_core.backends._sql.homes import home_in
from modeldb_core.backends._sql.items import complete
from modeldb_core.backends._sql.numbers import Remembered
from modeldb_core.log.changes import ALTERING, APPEND, ERASE
from modeldb_core.log.settling import settle
from modeldb_core.model.claims import claims_of, may_claim
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from modeldb_core.backends._sql.database import Database, Transaction
    from modeldb_core.log.changes import Change
    from modeldb_core.model.entities import Document

_SOME = 500
"""Entities whose rows are made again in one transaction."""
_KNOWN = (*sorted(ALTERING), APPEND, ERASE)


def bring_up_to_date(
    database: Database, *, takes_over: bool, progress: Callable[[int], object] = int
) -> tuple[Declared, int]:
    """Make the rows again that code with older declarations made; return what is declared, and of how many entities.

    Args:
        database: which may be written.
        takes_over: whether this process's declarations are to hold where they are not older: once for each process, or
            two with different ones would take turns for ever.
        progress: told of how many entities the rows are made again.
    """

    def look(transaction: Transaction) -> tuple[Declared, bool]:
        declared = read_declared(transaction)
        kinds = [kind for kind in KINDS if declared.is_current(kind)]
        return declared, has_outdated(transaction, kinds)

    declared, has_some = database.read(look)
    if takes_over and declared.to_take_over:
        database.write(take_over)
        declared, has_some = database.read(look)
    done = 0
    if has_some:
        while count := database.write(rebuild_some):
            done += count
            progress(done)
    return declared, done


def rebuild_some(transaction: Transaction) -> int:
    """Make the rows of some outdated entities again; return of how many, 0 once there are no more."""
    declared = read_declared(transaction)
    kinds = [kind for kind in KINDS if declared.is_current(kind)]
    found = transaction.connection.execute(outdated_of(kinds).limit(_SOME + 1)).all()
    is_last, found = len(found) <= _SOME, found[:_SOME]
    if found:
        pks = [row.entity_pk for row in found]
        stored = _documents_of(transaction, found)
        for table in (tables.items, tables.facts, tables.links, tables.unique_values):
            transaction.connection.execute(sa.delete(table).where(table.c.entity_pk.in_(pks)))
        _put(transaction, found, stored)
        _claim(transaction, [row for row in found if may_claim(row.kind)])
        gone = sa.delete(tables.outdated).where(tables.outdated.c.entity_pk.in_(pks), can_be_interpreted())
        transaction.connection.execute(gone)
    if is_last:  # until then nobody goes by the counts
        recount(transaction, kinds)
    return len(found)


def _documents_of(transaction: Transaction, found: Sequence[Any]) -> Mapping[int, Document]:
    """Return documents by the numbers of entities; those to which something happened that was not understood, from the log."""
    connection, pks = transaction.connection, [row.entity_pk for row in found]
    table = tables.documents.c
    rows = sa.select(table.entity_pk, table.document, table.apart).where(table.entity_pk.in_(pks))
    read = {pk: (pk, load_document(text), apart) for pk, text, apart in connection.execute(rows)}
    complete(transaction, read.values())
    stored = {pk: document for pk, document, _ in read.values()}
    special = sa.select(tables.changes.c.entity_pk).where(
        tables.changes.c.entity_pk.in_(pks), tables.changes.c.action.not_in(_KNOWN)
    )
    waiting = sa.select(tables.outdated.c.entity_pk).where(
        tables.outdated.c.entity_pk.in_(pks), tables.outdated.c.action != ""
    )
    again = {*connection.execute(special).scalars(), *connection.execute(waiting).scalars()}
    stored.update(
        {row.entity_pk: replay(transaction, row.entity_pk, row.kind) for row in found if row.entity_pk in again}
    )
    return {pk: document for pk, document in stored.items() if document}


def _put(transaction: Transaction, found: Sequence[Any], stored: Mapping[int, Document]) -> None:
    has_series = sa.select(tables.metrics.c.entity_pk).where(
        tables.metrics.c.entity_pk.in_(stored), tables.metrics.c.count.is_not(None)
    )
    with_series = set(transaction.connection.execute(has_series).scalars())
    batch = Batch(transaction, Remembered())
    for row in found:
        if row.entity_pk in stored:
            place = (row.entity_pk, row.kind, row.entity_id)
            document, is_there = stored[row.entity_pk], row.entity_pk in with_series
            # Not counted here, entity by entity: all counts are made again at the end.
            batch.rows.put(*place, None, document, home_in(row), has_series=is_there, claims=False, is_counted=True)
    batch.rows.save()
    batch.streams.save()


class _Again(StoredClaims):
    """What a store held before the changes that are gone through again."""

    def __init__(self, transaction: Transaction, names: Iterable[tuple[str, str]], streams: set[str]) -> None:
        super().__init__(transaction, dict.fromkeys(names))
        self._streams = streams

    def has_stream(self, stream_id: str) -> bool:
        return stream_id not in self._streams and super().has_stream(stream_id)


def _claim(transaction: Transaction, found: Sequence[Any]) -> None:
    """Let entities claim their unique values, and settle who keeps those that several claim."""
    if not found:
        return
    names = {(row.kind, row.entity_id): row.entity_pk for row in found}
    stored = StoredClaims(transaction, {})
    history: list[Change] = [change for name in names for change in stored.history(*name)]
    place = sa.select(tables.streams.c.stream_id, tables.changes.c.seq, tables.changes.c.position)
    place = place.join(tables.streams, tables.streams.c.stream_pk == tables.changes.c.stream_pk).where(
        tables.changes.c.entity_pk.in_(names.values())
    )
    places = {(stream_id, seq): position for stream_id, seq, position in transaction.connection.execute(place)}
    history.sort(key=lambda change: places[change.stream_id, change.seq])
    settled = settle(history, _Again(transaction, names, {change.stream_id for change in history}))
    passed = {id(change) for change in history}
    Batch(transaction, Remembered()).apply([change for change in settled if id(change) not in passed], {})
    rows = {
        claim.digest: row.entity_pk
        for row, document in zip(found, _current(transaction, found), strict=True)
        for claim in claims_of(row.kind, document)
    }
    transaction.connection.execute(
        sa.delete(tables.unique_values).where(tables.unique_values.c.entity_pk.in_(names.values()))
    )
    if rows:
        made = [{"digest": digest, "entity_pk": entity_pk} for digest, entity_pk in rows.items()]
        transaction.connection.execute(sa.insert(tables.unique_values), made)


def _current(transaction: Transaction, found: Sequence[Any]) -> Iterable[Document | None]:
    stored = _documents_of(transaction, found)
    return [stored.get(row.entity_pk) for row in found]
