"""PostgreSQL: what is particular to it. Connections, transactions, locks, errors, and statements that it takes better.

One transaction at a time writes: it holds an advisory lock until it has committed. So the positions of changes become
visible in their order, and the next free number is one more than the largest, as in SQLite. Readers see one state
throughout and wait for nobody.

Waiting for the disk takes longer than writing, and many can wait for it together. So a transaction commits without
waiting, which frees the lock, and waits before it returns. Until then others may see what a crash of the server could
take back; ``decisions/0010-commit-before-the-disk.md`` says why that harms nobody.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy import BigInteger, String, Text, any_, bindparam, create_engine, func, text
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.pool import QueuePool

from modeldb_core.backends._sql.database import MANY, Database, SwallowedError, Transaction, VersionChangedError
from modeldb_core.backends._sql.postgres_connections import Address, Connector, literal, quoted
from modeldb_core.backends._sql.postgres_driver import DIALECT_NAME, DriverConnection, driver_of, send, undo
from modeldb_core.backends._sql.postgres_errors import Translator, hope_of
from modeldb_core.backends._sql.postgres_idle import IdleConnections
from modeldb_core.backends._sql.postgres_statements import SWALLOWED, Compiled, counted
from modeldb_core.backends._sql.tables import hashed_index, partial_indexes
from modeldb_core.errors import ModelDBError, StoreReadOnlyError, StoreUnavailableError
from modeldb_core.runtime import forks, time_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, Table
    from sqlalchemy.dialects.postgresql.dml import Insert

    from modeldb_core.backends._sql.database import Build, Result, Row
    from modeldb_core.backends._sql.postgres_errors import Hope

_BEGIN_READING = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BEGIN_WRITING = b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_COMMIT = b"SET LOCAL synchronous_commit = off; COMMIT"
# A message in the log of the server costs some bytes, needs no right, and its commit waits for all before it. A server
# may wait for more than its own disk, and that is left to it; but not for less.
_FLUSH = (
    b"SELECT CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END,"
    b" pg_logical_emit_message(true, 'modeldb', '')"
)
_IS_FLUSHED = b"SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()"
_VERSION_CHANGED = "the tables of ModelDB are now of version "
_MAX_PAUSE_S = 1.0
_ROWS_AT_ONCE = 1000

for _index, _where in partial_indexes.items():
    _index.dialect_options["postgresql"]["where"] = _where
hashed_index.dialect_options["postgresql"]["using"] = "hash"


class PostgresDatabase(Database):
    """Connections to one database; see :class:`PostgresStore` for the arguments."""

    alternative = "schema of its own, such as ?schema=modeldb"

    def __init__(
        self,
        address: Address,
        *,
        connect_timeout_s: float,
        timeout_s: float,
        idle_timeout_s: float,
        pool_size: int,
        read_only: bool,
    ) -> None:
        super().__init__()
        self.url = address.url
        self.read_only = read_only
        self.schema = quoted(address.schema)
        self._address = address
        self._connector = Connector(address=address, connect_timeout_s=connect_timeout_s, timeout_s=timeout_s)
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._pool_size = pool_size
        self._idle = IdleConnections(idle_timeout_s)
        self._must_not_write = read_only
        self._has_schema = True
        self._is_standby = False
        self._was_connected = False
        self._closed = False
        self._compiled: dict[Build, Compiled] = {}
        key = hashlib.sha256(f"modeldb {address.schema}".encode()).digest()[:8]
        self._lock = b"SELECT pg_advisory_xact_lock(%d)" % int.from_bytes(key, signed=True)
        self._translator = Translator(
            url=address.url,
            server=address.server,
            database=str(address.parameters.get("dbname", "")),
            user=str(address.parameters.get("user", "")),
            schema=address.schema,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
        )
        self._gate = forks.Gate()
        self._write_lock = threading.Lock()
        self._engine = self._make_engine()
        forks.register(self)

    # Transactions

    def read(self, work: Callable[[Transaction], Result], *, settled: bool = False) -> Result:
        time_limits.check_time()

        def run() -> Result:
            with self._transaction(_BEGIN_READING, *self._time_left(), is_reading=True) as transaction:
                result = self.carried_out(work, transaction)
                self._end_reading(transaction.connection, settled=settled)
                return result

        return self._retried(run, is_reading=True)

    def _time_left(self) -> tuple[bytes, ...]:
        """Return the statement that gives the questions of a transaction no more time than there is for the request."""
        until = time_limits.until()
        left_s = self._timeout_s if until is None else until - time.monotonic()
        if left_s >= self._timeout_s:
            return ()  # what every transaction is given
        return (b"SET LOCAL statement_timeout = %d" % max(int(left_s * 1000), 1),)

    def write(self, work: Callable[[Transaction], Result]) -> Result:
        if self.read_only:
            msg = (
                f"{self.url} may only be read: it was opened so, the server is a standby, or {self._translator.who} "
                f"may not write its tables"
            )
            raise StoreReadOnlyError(msg)

        def run() -> Result:
            # Of the threads of a process one waits for the lock of the database; the others take no connection.
            if not self._write_lock.acquire(timeout=self._timeout_s):
                msg = (
                    f"another thread of this process wrote to {self.url} for more than {self._timeout_s:g} s; try again"
                )
                raise StoreUnavailableError(msg)
            try:
                with self._transaction(_BEGIN_WRITING, self._lock, is_reading=False) as transaction:
                    result = self.carried_out(work, transaction)
                    send(transaction.connection, _COMMIT, _FLUSH)  # with all that was deferred
                    return result
            finally:
                self._write_lock.release()

        return self._retried(run, is_reading=False)

    def write_at_once(
        self, ask: Callable[[Transaction], tuple[bytes, bytes] | None], enter: Callable[[Transaction], None]
    ) -> Sequence[Row] | None:
        """Run the first statement of ``ask`` and commit, return the rows of the second; ``None``: :meth:`write` says why not.

        Only the first has the lock, under which ``enter`` is called: it must be an error where what was read is so no more.
        """
        if self.read_only or not self._write_lock.acquire(timeout=self._timeout_s):
            return None
        try:
            with self._transaction(_BEGIN_WRITING, is_reading=False) as transaction:
                if (statements := self.carried_out(ask, transaction)) is None:
                    undo(transaction.connection)
                    return None
                driver_of(transaction.connection).defer(self._lock)
                enter(transaction)
                return send(transaction.connection, statements[0], _COMMIT, _FLUSH, statements[1])
        except (ModelDBError, DBAPIError, NoConnectionError, psycopg2.Error) as error:
            if SWALLOWED in str(error):
                raise SwallowedError from error
            return None
        finally:
            self._write_lock.release()

    @contextmanager
    def _transaction(self, *begin: bytes, is_reading: bool) -> Iterator[Transaction]:
        with self._gate.inside(), self._engine.connect() as connection:
            driver = driver_of(connection)
            driver.is_reading = is_reading
            driver.forget_deferred()
            first, *others = begin
            for statement in (first, driver.settings, *others):
                driver.defer(statement)
            try:
                yield Transaction(self, connection)
            except BaseException:
                driver.forget_deferred()
                undo(connection)
                raise

    def _end_reading(self, connection: Connection, *, settled: bool) -> None:
        if not settled or self._is_standby:  # a standby gets what is on the disk already
            send(connection, b"COMMIT")
        elif not send(connection, b"COMMIT", _IS_FLUSHED)[0][0]:
            send(connection, _FLUSH)

    def _retried(self, work: Callable[[], Result], *, is_reading: bool) -> Result:
        """Call ``work`` until nothing that passes by itself stands in its way, or time is up."""
        started, lost_at = time.monotonic(), 0.0
        pause_s, translate = 0.01, self._translator.translate
        while True:
            if self._closed:
                msg = f"the store {self.url} was closed; open it again"
                raise StoreUnavailableError(msg)
            was_connected = self._was_connected
            try:
                return work()
            except NoConnectionError as error:
                msg = (
                    f"all {self._pool_size} connections to {self.url} were in use for {self._timeout_s:g} s; "
                    f"raise pool_size, or use fewer threads"
                )
                raise StoreUnavailableError(msg) from error
            except (DBAPIError, psycopg2.Error) as error:
                original = error.orig if isinstance(error, DBAPIError) else error
                assert original is not None
                is_connecting = isinstance(error, DBAPIError) and error.statement is None
                hope = self._hope_of(error, original, was_connected=was_connected)
                if _VERSION_CHANGED in str(original):
                    raise VersionChangedError from original
                if SWALLOWED in str(original):
                    raise self.swallowed() from original
                lost_at = lost_at or time.monotonic()
                deadlines = {"lock": started + self._timeout_s, "connection": lost_at + self._connect_timeout_s}
                if time.monotonic() >= deadlines.get(hope, 0.0):
                    raise translate(original, is_connecting=is_connecting, is_reading=is_reading) from original
            time.sleep(pause_s * (0.5 + random.random()))
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    def _hope_of(self, error: BaseException, original: BaseException, *, was_connected: bool) -> Hope:
        is_lost = isinstance(error, DBAPIError) and (error.statement is None or error.connection_invalidated)
        is_lost = is_lost or isinstance(original, (psycopg2.OperationalError, psycopg2.InterfaceError))
        hope = hope_of(original, is_closed=is_lost and was_connected)
        if hope == "connection" and getattr(error, "statement", "") is not None:
            self._engine.dispose()  # one was lost: the other idle connections are as dead as this one
        return hope

    # What PostgreSQL says otherwise

    def run(self, connection: Connection, build: Build, parameters: Mapping[str, Any]) -> Sequence[Row]:
        compiled = self.compiled(build)
        with driver_of(connection).cursor() as cursor:
            cursor.execute(compiled.text, compiled.all(parameters))
            rows: Sequence[Row] = cursor.fetchall()
        return rows

    def run_many(
        self, connection: Connection, build: Build, rows: Sequence[Mapping[str, Any]], written: int | None
    ) -> None:
        compiled, driver = self.compiled(build), driver_of(connection)
        each = None if written is None else written // len(rows)
        with driver.cursor() as cursor:
            for at in range(0, len(rows), _ROWS_AT_ONCE):
                some = [compiled.all(row) for row in rows[at : at + _ROWS_AT_ONCE]]
                if compiled.values is None:
                    driver.defer(b";".join([counted(cursor.mogrify(compiled.text, row), each) for row in some]))
                else:
                    head, row_text, tail = compiled.values
                    statement = head + b",".join([cursor.mogrify(row_text, row) for row in some]) + tail
                    driver.defer(counted(statement, None if each is None else each * len(some)))

    def compiled(self, build: Build) -> Compiled:
        """Return the statement of ``build`` as psycopg2 takes it."""
        try:
            return self._compiled[build]
        except KeyError:
            return self._compiled.setdefault(build, Compiled(self.statement(build)))

    def insert(self, table: Table) -> Insert:
        return insert(table)

    def among(
        self,
        column: ColumnElement[Any],
        values: Iterable[int] | Iterable[str] | None = None,
        *,
        parameter: str = MANY,
    ) -> ColumnElement[bool]:
        kind = ARRAY(Text() if isinstance(column.type, String) else BigInteger())
        given: dict[str, Any] = {} if values is None else {"value": list(values), "unique": True}
        return column == any_(bindparam(parameter, type_=kind, **given))

    def each(self, parameter: str) -> ColumnElement[str]:
        return func.unnest(bindparam(parameter, type_=ARRAY(Text()))).column_valued()

    def many(self, values: Iterable[int] | Iterable[str]) -> list[int] | list[str]:
        return list(values)  # type: ignore[return-value]

    def check(self, connection: Connection) -> Iterator[str]:
        from modeldb_core.backends._sql.postgres_schema import check_indexes

        yield from check_indexes(connection, self._address.schema)

    def check_schema(self, transaction: Transaction, version: str) -> Iterator[str]:
        from modeldb_core.backends._sql.postgres_schema import check_schema

        yield from check_schema(transaction.connection, self._address.schema, version)

    def table_names(self, transaction: Transaction) -> set[str]:
        query = text(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(:name) AND relkind = ANY(:kinds)"
        )
        found = transaction.connection.execute(
            query, {"name": quoted(self._address.schema), "kinds": ["r", "p", "f", "v", "m"]}
        )
        return set(found.scalars())

    def expect_version(self, transaction: Transaction, version: str, stamp: str) -> None:
        # Travels with the next statement. It evaluates nothing where the version is the expected one, and is an error
        # where it is another: a text with letters is not a number.
        driver_of(transaction.connection).defer(
            f"SELECT ({literal(_VERSION_CHANGED)} || version_num)::integer FROM modeldb_version "
            f"WHERE version_num <> {literal(version)} "
            f"OR (SELECT stamp FROM modeldb_compatibility) IS DISTINCT FROM {literal(stamp)}".encode()
        )

    def initialize(self) -> None:
        if not self._has_schema:
            # Two at once could both find that it is missing: not under the lock.
            statement = f"CREATE SCHEMA IF NOT EXISTS {quoted(self._address.schema)}".encode()
            self.write(lambda transaction: send(transaction.connection, statement))
            self._has_schema = True

    def backup(self, transaction: Transaction, version: str) -> str:
        from modeldb_core.backends._sql.postgres_schema import copying

        now = datetime.now(UTC).strftime("%Y%m%dt%H%M%S%f")
        name = f"modeldb_backup_{version}_{now}"
        for statement in copying(self._address.schema, name, sorted(self.table_names(transaction))):
            send(transaction.connection, statement.encode())
        return f"{self.url.partition('?')[0]}?schema={name}"

    def close(self) -> None:
        self._closed = True
        forks.forget(self)
        self._engine.dispose()

    # Connections

    def _make_engine(self) -> Engine:
        engine = create_engine(
            f"{DIALECT_NAME}://",
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=self._pool_size,
            max_overflow=0,
            pool_timeout=self._timeout_s,
            pool_use_lifo=True,  # the others rest, and go back to the server after a while
            pool_reset_on_return=None,
            use_native_hstore=False,
            hide_parameters=True,
            enable_from_linting=False,
        )
        self._idle.watch(engine)
        return engine

    def _connect(self) -> DriverConnection:
        connection, facts = self._connector.open()
        self._has_schema, self._is_standby = facts.has_schema, facts.is_standby
        self.read_only = self._must_not_write or facts.is_read_only
        self._was_connected = True
        self.generation += 1
        return connection

    # Forks

    def before_fork(self) -> None:
        """Wait for the operations under way and close all connections."""
        self._gate.shut()
        self._engine.dispose()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on in the parent; begin afresh in the child."""
        if in_child:
            # What could not be closed must never be: that would end the parent's connections.
            _inherited.append(self._engine)
            self._gate, self._write_lock = forks.Gate(), threading.Lock()
            self._idle = IdleConnections(self._idle.timeout_s)
            self._engine = self._make_engine()
        else:
            self._gate.open()


_inherited: list[Engine] = []
