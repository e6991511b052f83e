"""Streams and their changes: what is new in a batch, and the log that keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, tuple_, update

from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.backends._sql.tables import changes as changes_table
from modeldb_core.backends._sql.tables import streams
from modeldb_core.changes import EMPTY_HEAD, Change, Head, advance, verify_change
from modeldb_core.errors import ConflictError, IntegrityError, InvalidArgumentError, StreamGapError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from sqlalchemy import Connection, Row, Select

    from modeldb_core.backends._sql.numbers import Numbers


@dataclass(slots=True)
class Stream:
    """A stream as stored; ``stored`` is whether its row exists."""

    stream_pk: int
    head: Head
    stored: bool = True


def misfit(change: Change, error: Exception) -> InvalidArgumentError:
    """Return the error of a change whose payload means nothing."""
    return InvalidArgumentError(
        f"the payload of change {change.seq} of stream {change.stream_id} ({change.action} {change.kind} "
        f"{change.entity_id}) does not fit its action: {error}"
    )


def check_content(changes: Iterable[Change]) -> dict[int, IntegrityError]:
    """Return, by place, what is wrong with changes by themselves: hashing is long, and needs no lock.

    It is raised only for those that turn out to be new.
    """
    wrong = {}
    for place, change in enumerate(changes):
        try:
            verify_change(change, change.previous_hash)
        except IntegrityError as error:
            wrong[place] = error
    return wrong


class Streams:
    """The streams that one batch is about."""

    def __init__(self, database: Database, connection: Connection, numbers: Numbers) -> None:
        self._database = database
        self._connection = connection
        self._numbers = numbers
        self._streams: dict[str, Stream] = {}
        self._advanced: set[str] = set()

    def load(self, stream_ids: Iterable[str]) -> None:
        """Look streams up, and number those that are new."""
        wanted = [stream_id for stream_id in dict.fromkeys(stream_ids) if stream_id not in self._streams]
        if not wanted:
            return
        parameters = {MANY: self._database.many(wanted)}
        for row in self._connection.execute(self._database.statement(_streams), parameters):
            self._streams[row.stream_id] = Stream(row.stream_pk, head_of(row))
        new = [stream_id for stream_id in wanted if stream_id not in self._streams]
        if new:
            first = self._numbers.next(streams.c.stream_pk) + sum(not known.stored for known in self._streams.values())
            for number, stream_id in enumerate(new, first):
                self._streams[stream_id] = Stream(number, EMPTY_HEAD, stored=False)

    def pk(self, stream_id: str) -> int:
        """Return the number of a stream that was loaded."""
        return self._streams[stream_id].stream_pk

    def admit(self, changes: Sequence[Change], wrong: dict[int, IntegrityError]) -> list[Change]:
        """Return the changes that are new, each checked to follow the one before.

        Raises:
            ConflictError: another change is stored under the number of one of them.
            StreamGapError: a number is missing.
            IntegrityError: one of them is in ``wrong``, or does not follow the one before.
        """
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
            try:
                stream.head = advance(stream.head, change)
            except (TypeError, ValueError, AttributeError, OverflowError) as error:
                raise misfit(change, error) from error
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
            table = changes_table.c
            query = select(table.stream_pk, table.seq, table.hash)
            query = query.where(tuple_(table.stream_pk, table.seq).in_(wanted[at : at + 400]))
            found.update({(stream_pk, seq): value for stream_pk, seq, value in self._connection.execute(query)})
        return found

    def save(self) -> None:
        """Write the heads that went on, and the streams that are new."""
        rows = {False: list[dict[str, Any]](), True: list[dict[str, Any]]()}
        for stream_id, stream in self._streams.items():
            if not stream.stored or stream_id in self._advanced:
                head = stream.head
                rows[stream.stored].append(
                    {
                        "stream_pk" if not stream.stored else "pk": stream.stream_pk,
                        "stream_id": stream_id,
                        "seq": head.seq,
                        "hash": head.hash,
                        "recorded_at": head.recorded_at,
                        "lease_s": head.lease_s,
                        "lease_until": min(head.lease_until, 2**63 - 1),
                        "closed": int(head.closed),
                    }
                )
        if rows[False]:
            self._connection.execute(insert(streams), rows[False])
        if rows[True]:
            self._connection.execute(update(streams).where(streams.c.stream_pk == bindparam("pk")), rows[True])


def read_heads(connection: Connection) -> dict[str, Head]:
    """Return the heads of all streams of which something has arrived."""
    return {row.stream_id: head_of(row) for row in connection.execute(select(streams).where(streams.c.seq > 0))}


def head_of(row: Row[Any]) -> Head:
    """Return the head in a row of ``streams``."""
    return Head(row.seq, row.hash, row.recorded_at, row.lease_s, bool(row.closed))


def _streams(database: Database) -> Select[Any]:
    return select(streams).where(database.among(streams.c.stream_id))
