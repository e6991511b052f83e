"""Streams and their changes: what is new in a batch, and the log that keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.errors import ConflictError, IntegrityError, InvalidArgumentError, ModelDBError, StreamGapError
from modeldb_core.log.changes import EMPTY_HEAD, Change, Head, advance, verify_change

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Select
    from sqlalchemy.sql.dml import Insert, Update

    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.backends._sql.numbers import Numbers


@dataclass(slots=True)
class Stream:
    """A stream; ``stored`` is whether its row exists, ``has_erased`` whether payloads of it were to be erased."""

    stream_pk: int
    head: Head
    stored: bool = True
    has_erased: bool = False


def check_content(changes: Iterable[Change]) -> dict[int, ModelDBError]:
    """Return, by place, what is wrong with changes by themselves: hashing is long, and needs no lock.

    It is raised only for those that turn out to be new.
    """
    wrong: dict[int, ModelDBError] = {}
    for place, change in enumerate(changes):
        try:
            verify_change(change, change.previous_hash)
        except (IntegrityError, InvalidArgumentError) as error:
            wrong[place] = error
    return wrong


class Streams:
    """The streams that one batch is about."""

    def __init__(self, transaction: Transaction, numbers: Numbers) -> None:
        self._transaction = transaction
        self._numbers = numbers
        self._streams: dict[str, Stream] = {}
        self._last_position: int | None = None
        self._advanced: set[str] = set()

    def load(self, stream_ids: Iterable[str]) -> None:
        """Look streams up, and number those that are new."""
        wanted = [stream_id for stream_id in dict.fromkeys(stream_ids) if stream_id not in self._streams]
        if not wanted:
            return
        parameters = {MANY: self._transaction.database.many(wanted)}
        for position, stream_pk, stream_id, has_erased, *head in self._transaction.rows(_streams, parameters):
            self._last_position = position
            self._streams[stream_id] = Stream(stream_pk, head_of(head), has_erased=bool(has_erased))
        new = [stream_id for stream_id in wanted if stream_id not in self._streams]
        if new:
            first = self._numbers.next(_last_stream) + sum(not known.stored for known in self._streams.values())
            for number, stream_id in enumerate(new, first):
                self._streams[stream_id] = Stream(number, EMPTY_HEAD, stored=False)

    def next_position(self) -> int:
        """Return the first free position of the log, to be called before one is taken."""
        # A trip less to the database where a stream was found: its row came with the last position.
        if self._last_position is not None:
            return self._last_position + 1
        return self._numbers.next(_last_position)

    def pk(self, stream_id: str) -> int:
        """Return the number of a stream that was loaded."""
        return self._streams[stream_id].stream_pk

    def head(self, stream_id: str) -> Head:
        """Return the head of a stream that was loaded."""
        return self._streams[stream_id].head

    def erased_pks(self, stream_ids: Iterable[str]) -> dict[int, str]:
        """Return the numbers of those streams of which payloads were to be erased, with their identifiers."""
        found = {stream_id: self._streams[stream_id] for stream_id in stream_ids}
        return {stream.stream_pk: stream_id for stream_id, stream in found.items() if stream.has_erased}

    def admit(self, changes: Sequence[Change], wrong: dict[int, ModelDBError]) -> list[Change]:
        """Return the changes that are new, each checked to follow the one before.

        Raises:
            ConflictError: another change is stored under the number of one of them.
            StreamGapError: a number is missing.
            IntegrityError, InvalidArgumentError: one of them is in ``wrong``, or does not follow the one before.
        """
        for error in wrong.values():
            if isinstance(error, InvalidArgumentError):  # of a head that no change has: no database need take its names
                raise error
        self.load(change.stream_id for change in changes)
        seen = self._seen_hashes(changes)
        new = []
        for place, change in enumerate(changes):
            stream = self._streams[change.stream_id]
            where = f"change {change.seq} of stream {change.stream_id}"
            if change.seq <= stream.head.seq:
                if seen.get((stream.stream_pk, change.seq)) != change.hash:
                    msg = f"{where} differs from the one stored under that number: two writers used one stream"
                    raise ConflictError(msg)
                continue
            if change.seq > stream.head.seq + 1:
                expected = stream.head.seq + 1
                msg = f"{where} arrived, but {expected} is missing; send the stream from there"
                raise StreamGapError(msg, expected=expected)
            if place in wrong:
                raise wrong[place]
            if change.previous_hash != stream.head.hash:
                verify_change(change, stream.head.hash)  # raises, and says what is wrong
            stream.head = advance(stream.head, change)
            seen[stream.stream_pk, change.seq] = change.hash
            self._advanced.add(change.stream_id)
            new.append(change)
        return new

    def _seen_hashes(self, changes: Sequence[Change]) -> dict[tuple[int, int], bytes]:
        """Return the stored hashes of those changes that the store has, by the number of their stream and their own."""
        wanted = []
        for change in changes:
            stream = self._streams[change.stream_id]
            if change.seq <= stream.head.seq:
                wanted.append((stream.stream_pk, change.seq))
        found = {}
        for at in range(0, len(wanted), 400):  # two parameters each, of the 999 that old versions of SQLite allow
            table = tables.changes.c
            query = sa.select(table.stream_pk, table.seq, table.hash)
            query = query.where(sa.tuple_(table.stream_pk, table.seq).in_(wanted[at : at + 400]))
            found.update(
                {(stream_pk, seq): value for stream_pk, seq, value in self._transaction.connection.execute(query)}
            )
        return found

    def save(self) -> None:
        """Write the heads that went on, and the streams that are new."""
        rows = {False: list[dict[str, Any]](), True: list[dict[str, Any]]()}
        for stream_id, stream in self._streams.items():
            if not stream.stored or stream_id in self._advanced:
                own = (
                    {"pk": stream.stream_pk}
                    if stream.stored
                    else {"stream_pk": stream.stream_pk, "stream_id": stream_id}
                )
                rows[stream.stored].append({**own, **row_of(stream.head)})
        self._transaction.write(_insert_stream, rows[False])
        self._transaction.write(_update_stream, rows[True])
        self._advanced.clear()
        for stream in self._streams.values():
            stream.stored = True


def read_heads(transaction: Transaction) -> dict[str, Head]:
    """Return the heads of all streams of which something has arrived."""
    return {stream_id: head_of(head) for stream_id, *head in transaction.rows(_heads)}


def read_heads_after(transaction: Transaction, stream_id: str, limit: int) -> dict[str, Head]:
    """Return the heads of the next streams, in the order of their identifiers."""
    rows = transaction.rows(_heads_after, {"stream_id": stream_id, "limit": max(0, min(limit, 2**62))})
    return {stream_id: head_of(head) for stream_id, *head in rows}


def read_head(transaction: Transaction, stream_id: str) -> Head:
    """Return the head of one stream."""
    rows = transaction.rows(_one_head, {"stream_id": stream_id})
    return head_of(rows[0]) if rows else EMPTY_HEAD


HEAD = ("seq", "hash", "recorded_at", "lease_s", "closed")
"""The columns that a head is read from."""


def head_of(values: Sequence[Any]) -> Head:
    """Return a head by the values of those columns."""
    seq, value, recorded_at, lease_s, closed = values
    return Head(seq, bytes(value), recorded_at, lease_s, bool(closed))


def row_of(head: Head) -> dict[str, Any]:
    """Return the columns that the row of a stream has for its head."""
    return {
        "seq": head.seq,
        "hash": head.hash,
        "recorded_at": head.recorded_at,
        "lease_s": head.lease_s,
        "lease_until": min(head.lease_until, 2**63 - 1),
        "closed": int(head.closed),
    }


def _streams(database: Database) -> Select[Any]:
    has_erased = sa.exists().where(tables.erased.c.stream_pk == tables.streams.c.stream_pk)
    last_position = _last_position(database).scalar_subquery()
    wanted = (
        tables.streams.c.stream_pk,
        tables.streams.c.stream_id,
        has_erased,
        *(tables.streams.c[name] for name in HEAD),
    )
    return sa.select(last_position, *wanted).where(database.among(tables.streams.c.stream_id))


def _heads(_database: Database) -> Select[Any]:
    return sa.select(tables.streams.c.stream_id, *(tables.streams.c[name] for name in HEAD)).where(
        tables.streams.c.seq > 0
    )


def _heads_after(database: Database) -> Select[Any]:
    behind = _heads(database).where(tables.streams.c.stream_id > sa.bindparam("stream_id"))
    return behind.order_by(tables.streams.c.stream_id).limit(sa.bindparam("limit"))


def _one_head(database: Database) -> Select[Any]:
    own = sa.select(*(tables.streams.c[name] for name in HEAD)).where(tables.streams.c.seq > 0)
    return own.where(tables.streams.c.stream_id == sa.bindparam("stream_id"))


def _last_position(_database: Database) -> Select[Any]:
    return sa.select(sa.func.max(tables.changes.c.position))


def _last_stream(_database: Database) -> Select[Any]:
    return sa.select(sa.func.max(tables.streams.c.stream_pk))


def _insert_stream(_database: Database) -> Insert:
    return sa.insert(tables.streams)


def _update_stream(_database: Database) -> Update:
    names = (*HEAD, "lease_until")
    return (
        sa.update(tables.streams)
        .where(tables.streams.c.stream_pk == sa.bindparam("pk"))
        .values({n: sa.bindparam(n) for n in names})
    )
