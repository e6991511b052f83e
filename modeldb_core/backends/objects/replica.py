"""The local replica: a SQLite store that answers every question, and knows which objects it has taken in.

It can be thrown away at any time: all that it holds comes from the bucket. Its tables beside those of every SQL store:

- ``bucket_objects``: the objects that were read, and what was found in them.
- ``bucket_parts``: which object brought which changes; by the stamps, and to know what compaction may put together.
- ``bucket_inbox``: parts on their way in. They are taken by the order of their stamps; one whose stream has not come so
  far waits here.
- ``bucket_state``: when the bucket was listed, and the like.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import DBAPIError

from modeldb_core.backends._sql.chain import Streams, check_content
from modeldb_core.backends._sql.log import read_changes
from modeldb_core.backends._sql.numbers import Numbers
from modeldb_core.backends._sql.schema import prepare
from modeldb_core.backends._sql.sqlite import SQLiteDatabase
from modeldb_core.backends._sql.store import SQLMetadataStore
from modeldb_core.backends.objects.layout import DECISIONS_LIKE, number_of_decision
from modeldb_core.errors import (
    ConfigurationError,
    IntegrityError,
    StoreVersionError,
)
from modeldb_core.model.entities import now_us
from modeldb_core.runtime.owned import NotOursError, check_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from modeldb_core.backends._sql.apply import Batch
    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.log.changes import Change, Head
    from modeldb_core.log.conditions import Condition

Result = TypeVar("Result")

APPLIED, DAMAGED = "applied", "damaged"
UNLISTED = ""
"""The mark of an object that was written here and has not been listed yet."""
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_NOTADB})
_SOME_CHANGES = 2000  # that are applied in one transaction
_SOME_BYTES = 16 << 20
_MAX_BYTES = 1 << 31

_TABLES = (
    "CREATE TABLE IF NOT EXISTS bucket_objects ("
    "name TEXT PRIMARY KEY, mark TEXT NOT NULL, size INTEGER NOT NULL, state TEXT NOT NULL, note TEXT) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS bucket_parts ("
    "stream_id TEXT, first INTEGER, name TEXT, last INTEGER, stamp INTEGER, tie TEXT, gone TEXT,"
    "PRIMARY KEY (stream_id, first, stamp, tie, name)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS bucket_parts_by_name ON bucket_parts (name)",
    "CREATE INDEX IF NOT EXISTS bucket_parts_by_stamp ON bucket_parts (stamp, tie)",
    "CREATE TABLE IF NOT EXISTS bucket_inbox ("
    "stamp INTEGER, tie TEXT, name TEXT, size INTEGER, content BLOB, PRIMARY KEY (stamp, tie, name))",
    "CREATE TABLE IF NOT EXISTS bucket_state (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
)

_TABLE_NAMES = frozenset({"bucket_objects", "bucket_parts", "bucket_inbox", "bucket_state"})


class Replica(SQLMetadataStore):
    """A SQLite store that is filled from a bucket.

    Args:
        path: its file; created where it is missing.
        url: of the bucket, for messages.

    Raises:
        StoreUnavailableError: the file cannot be used now.
        ConfigurationError: it may not be written.
        IntegrityError: it is damaged.
    """

    def __init__(self, path: Path, url: str) -> None:
        try:
            check_file(path)
        except NotOursError as error:
            msg = f"the replica of {url} cannot be kept there: {error}; move it away, or set another cache_dir"
            raise ConfigurationError(msg) from error
        database = SQLiteDatabase(path)
        database.further_tables = _TABLE_NAMES
        try:
            _prepare(database, url)
            super().__init__(database)
            self.path = path
            self.inode = path.stat().st_ino
            if self.state("inode") != self.inode:  # a copy goes its own way: cursors are of one file
                self.set_state(base=now_us(), inode=self.inode)
            self.base = int(self.state("base"))
        except BaseException:
            database.close()
            raise
        self.url = url

    # State

    def state(self, name: str) -> Any:  # noqa: ANN401 - a number or a text
        """Return a value of ``bucket_state``, ``None`` where it is not set."""
        rows = self.query("SELECT value FROM bucket_state WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def set_state(self, **values: Any) -> None:  # noqa: ANN401 - as above
        """Set values of ``bucket_state``."""
        self.execute_many("INSERT OR REPLACE INTO bucket_state VALUES (?, ?)", list(values.items()))

    def query(self, text: str, parameters: tuple[Any, ...] = ()) -> Sequence[Any]:
        """Return the rows that a statement gives."""
        return self._database.read(lambda read: read.connection.exec_driver_sql(text, parameters).all())

    def ask(self, work: Callable[[Transaction], Result]) -> Result:
        """Return what ``work`` returns, called inside a transaction."""
        return self._database.read(work)

    def execute_many(self, text: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement that writes once for each row, in one transaction."""
        if rows:
            self._database.write(lambda write: many(write, text, rows))

    def write(self, work: Callable[[Transaction], None]) -> None:
        """Call ``work`` inside a transaction."""
        self._database.write(work)

    def apply_and(self, changes: Sequence[Change], also: Callable[[Transaction], None]) -> None:
        """Apply changes, and do something else in the same transaction.

        Raises:
            ModelDBError: what ``apply`` raises; then nothing is done.
        """
        from modeldb_core.backends._sql.apply import Batch

        wrong = check_content(changes)

        def work(write: Transaction) -> Batch:
            batch = Batch(write, self._remembered)
            batch.apply(changes, wrong)
            also(write)
            return batch

        self._database.write(work).learn()

    def is_current(self) -> bool:
        """Return whether the file is still the one that was opened."""
        try:
            return self.path.stat().st_ino == self.inode
        except OSError:
            return False

    def objects(self) -> dict[str, tuple[str, str]]:
        """Return the mark and the state of every object that is known."""
        return {name: (mark, state) for name, mark, state in self.query("SELECT name, mark, state FROM bucket_objects")}

    def knows(self, name: str) -> bool:
        """Return whether an object was taken in."""
        return bool(self.query("SELECT 1 FROM bucket_objects WHERE name = ?", (name,)))

    def mark(self, marks: Mapping[str, str]) -> None:
        """Set the marks of objects."""
        rows = [(mark, name) for name, mark in marks.items()]
        self.execute_many("UPDATE bucket_objects SET mark = ? WHERE name = ?", rows)

    def problems(self) -> list[tuple[str, str]]:
        """Return the objects of which something could not be taken in, and why."""
        rows = self.query("SELECT name, note FROM bucket_objects WHERE note IS NOT NULL ORDER BY name")
        return [(name, note) for name, note in rows]

    def forget(self, names: Iterable[str]) -> None:
        """Forget objects that are gone; what they brought stays."""
        rows = [(name,) for name in names]
        if rows:

            def work(write: Transaction) -> None:
                many(write, "DELETE FROM bucket_objects WHERE name = ?", rows)
                many(write, "DELETE FROM bucket_parts WHERE name = ?", rows)

            self._database.write(work)

    # What writers and compactors ask

    def stored(self, stream_id: str, first: int, last: int) -> tuple[Change, ...]:
        """Return the changes of a stream from one number to another, as far as they are there."""

        def work(read: Transaction) -> tuple[Change, ...]:
            positions = read.connection.exec_driver_sql(
                "SELECT min(position), max(position) FROM changes JOIN streams USING (stream_pk) "
                "WHERE stream_id = ? AND changes.seq BETWEEN ? AND ?",
                (stream_id, first, last),
            ).one()
            if positions[0] is None:
                return ()
            count = last - first + 1
            return read_changes(read, after=positions[0] - 1, limit=count, stream_id=stream_id).changes

        return self._database.read(work)

    def admit(self, changes: Sequence[Change]) -> tuple[list[Change], dict[str, Head]]:
        """Return those of ``changes`` that are new, and the heads of their streams after them.

        Raises:
            ConflictError: another change is stored under the number of one of them.
            StreamGapError: a number is missing.
            IntegrityError: a change does not match its hash, or not the one before it.
        """
        wrong = check_content(changes)
        stream_ids = {change.stream_id for change in changes}

        def work(read: Transaction) -> tuple[list[Change], dict[str, Head]]:
            streams = Streams(read, Numbers(read, self._remembered))
            new = streams.admit(changes, wrong)
            return new, {stream_id: streams.head(stream_id) for stream_id in stream_ids}

        return self._database.read(work)

    def check(self, expect: Sequence[Condition]) -> None:
        """See whether conditions hold.

        Raises:
            PreconditionError: one of them does not.
        """
        from modeldb_core.backends._sql.deciding import check

        self._database.read(lambda read: check(read, expect))

    def next_decision(self) -> int | None:
        """Return the number of the decision that comes next; ``None`` where one before the last is missing here."""
        rows = self.query("SELECT name FROM bucket_objects WHERE name LIKE ?", (DECISIONS_LIKE,))
        numbers = {number for (name,) in rows if (number := number_of_decision(name)) is not None}
        return len(numbers) + 1 if max(numbers, default=0) == len(numbers) else None

    def newest_key(self) -> tuple[int, str] | None:
        """Return stamp and tie of the last of all parts that were taken in, ``None`` where there are none."""
        rows = self.query("SELECT stamp, tie FROM bucket_parts ORDER BY stamp DESC, tie DESC LIMIT 1")
        return (rows[0][0], rows[0][1]) if rows else None

    def newest_stamp(self) -> int:
        """Return the highest stamp that was taken in."""
        newest = self.newest_key()
        return 0 if newest is None else newest[0]

    def last_position(self) -> int:
        """Return the last position of the log, 0 where it is empty."""
        ((position,),) = self.query("SELECT max(position) FROM changes")
        return int(position or 0)


def _prepare(database: SQLiteDatabase, url: str) -> None:
    if database.read_only:
        msg = f"the replica {database.path} of {url} may not be written; set cache_dir to a folder that may"
        raise ConfigurationError(msg)
    try:
        prepare(database)
        database.initialize()
    except (ConfigurationError, StoreVersionError) as error:
        msg = f"the replica of {url} is not a database of this version: {error}"
        raise IntegrityError(msg) from error
    database.write(_make_tables)


def _make_tables(write: Transaction) -> None:
    for text in _TABLES:
        write.connection.exec_driver_sql(text)
    # Positions in the log count from here on, so that a cursor of an older replica is known for one.
    write.connection.exec_driver_sql("INSERT OR IGNORE INTO bucket_state VALUES ('base', ?)", (now_us(),))


def many(write: Transaction, text: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement once for each row; none is fine."""
    if rows:
        write.connection.exec_driver_sql(text, list(rows))


def is_damage(error: BaseException) -> bool:
    """Return whether an error tells that the file of a replica is damaged or gone, so that it is to be made again."""
    cause = error.__cause__
    original = cause.orig if isinstance(cause, DBAPIError) else cause
    if isinstance(error, IntegrityError):
        return True
    if not isinstance(original, sqlite3.Error):
        return False
    # Where somebody deleted the file, SQLite makes an empty one for the next connection.
    return getattr(original, "sqlite_errorcode", 0) & 0xFF in _DAMAGE or "no such table" in str(original)
