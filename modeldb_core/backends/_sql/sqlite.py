"""SQLite: what is particular to it. Connections, transactions, locks and errors."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import sys
import warnings
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from modeldb_core.backends._sql import prepared, sa
from modeldb_core.backends._sql.database import (
    MANY,
    Build,
    Row,
    SwallowedError,
    Transaction,
    lacks,
)
from modeldb_core.backends._sql.retrying import RetryingDatabase
from modeldb_core.backends._sql.sqlite_connections import Connections, SQLiteTransaction
from modeldb_core.backends._sql.sqlite_files import PREFIX, make_private, may_write, prepare_folder
from modeldb_core.backends._sql.sqlite_functions import add_functions
from modeldb_core.backends._sql.sqlite_watch import Watch
from modeldb_core.errors import (
    ConfigurationError,
    IntegrityError,
    ModelDBError,
    ModelDBWarning,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from modeldb_core.runtime import time_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import BindParameter, ColumnElement, Connection, Engine, Table
    from sqlalchemy.dialects.sqlite.dml import Insert

Durability = Literal["normal", "fsync"]

BUSY_TIMEOUT_S = 60.0
"""How long an operation waits for the locks of other processes before it gives up."""

_CACHE_KIB = 65_536  # of pages, for each connection: the narrow tables of some 100,000 runs
_CHECKPOINT_PAGES = 16_384  # of the write-ahead log, 64 MiB: a page that is written often meanwhile is copied once
_JOURNAL_LIMIT_BYTES = 64 * 2**20  # to which the write-ahead log is cut after a checkpoint
_DRIVER_TIMEOUT_S = 5.0  # beyond that this process waits by itself, with jitter
_CONNECTIONS = 8  # kept while nobody uses them
_STEPS = 20_000  # of SQLite's machine between two looks at the clock: some tenths of a millisecond

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_READ_ONLY = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})
_LACKING = re.compile("^no such (?:table|column):|has no column named")
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT})


class SQLiteDatabase(RetryingDatabase):
    """Connections to one SQLite file; see :class:`SQLiteStore` for the arguments.

    Attributes:
        further_tables: names of tables that belong there beside those of the migrations.
    """

    further_tables: frozenset[str] = frozenset()
    why_read_only = "check the permissions of the file and its folder"

    def __init__(
        self,
        path: Path,
        *,
        durability: Durability = "normal",
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        read_only: bool = False,
    ) -> None:
        if durability not in ("normal", "fsync"):
            msg = f"durability {durability!r} is unknown; expected 'normal' or 'fsync'"
            raise ConfigurationError(msg)
        self.path = path
        self._durability = durability
        may_write_folder = prepare_folder(path, create=not read_only)
        # Files beside somebody else's database would be this user's: its owner could write no more.
        self._may_add_files = may_write_folder and may_write(path)
        self._is_initialized = False
        self._compiled: dict[Build, _Compiled] = {}
        may_only_read = read_only or not self._may_add_files
        super().__init__(f"{PREFIX}{quote(str(path))}", read_only=may_only_read, timeout_s=busy_timeout_s)

    def _begin(self) -> None:
        super()._begin()
        self._watch = Watch(partial(self._connect, timeout_s=0.0))
        # A database that may not be written is looked at afresh for each question: see _uri.
        self._connections = Connections(self._connect, keeps=0 if self.read_only else _CONNECTIONS)

    # Transactions

    @contextmanager
    def _transaction(self, *, writing: bool) -> Iterator[Transaction]:
        with self._connections.one() as held:
            driver = held.driver
            is_limited = not writing and time_limits.until() is not None
            if is_limited:
                driver.set_progress_handler(time_limits.is_over, _STEPS)  # one that says yes ends the statement
            try:
                driver.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
                yield SQLiteTransaction(self, self._connections, held)
                driver.execute("COMMIT")
            except BaseException:
                # A failed COMMIT may have ended the transaction already.
                if driver.in_transaction:
                    driver.set_progress_handler(None, 0)
                    driver.execute("ROLLBACK")
                raise
            finally:
                if is_limited:
                    driver.set_progress_handler(None, 0)

    @property
    def errors(self) -> tuple[type[BaseException], ...]:  # type: ignore[override]
        """What the driver raises, by itself or through SQLAlchemy, where somebody has imported that."""
        of_sqlalchemy = sys.modules.get("sqlalchemy.exc")
        return (sqlite3.Error,) if of_sqlalchemy is None else (sqlite3.Error, of_sqlalchemy.DBAPIError)

    @property
    def engine(self) -> Engine:
        """The engine of SQLAlchemy, for those who look at what it runs."""
        return self._connections.engine

    def may_pass(self, error: BaseException | None) -> bool:
        return isinstance(error, sqlite3.Error) and (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _BUSY

    def write_mark(self) -> object:
        if self.read_only or self._closed:
            return None
        with self._gate.inside():
            return self._watch.write_mark()

    # What SQLite says otherwise

    def run(self, connection: Any, build: Build, parameters: Mapping[str, Any]) -> Sequence[Row]:  # noqa: ANN401
        compiled = self.compiled(build)
        rows: list[Row] = connection.execute(compiled.text, compiled.row(parameters)).fetchall()
        return rows

    def run_many(
        self,
        connection: Any,  # noqa: ANN401 - of the driver
        build: Build,
        rows: Sequence[Mapping[str, Any]],
        written: int | None,
    ) -> None:
        compiled = self.compiled(build)
        if len(rows) == 1:
            cursor = connection.execute(compiled.text, compiled.row(rows[0]))
        else:
            cursor = connection.executemany(compiled.text, map(compiled.row, rows))
        if written is not None and cursor.rowcount != written:
            raise SwallowedError

    def compiled(self, build: Build) -> _Compiled:
        """Return the statement of ``build`` as SQLite takes it."""
        try:
            return self._compiled[build]
        except KeyError:
            return self._compiled.setdefault(
                build, _Compiled(*(prepared.find(build) or compile_statement(self.statement(build))))
            )

    def insert(self, table: Table) -> Insert:
        from sqlalchemy.dialects.sqlite import insert

        return insert(table)

    def among(
        self,
        column: ColumnElement[Any],
        values: Iterable[int] | Iterable[str] | None = None,
        *,
        parameter: str = MANY,
    ) -> ColumnElement[bool]:
        many: BindParameter[Any] = (
            sa.bindparam(parameter) if values is None else sa.bindparam(parameter, self.many(values), unique=True)
        )
        return column.in_(sa.select(sa.func.json_each(many).table_valued("value").c.value))

    def each(self, parameter: str) -> ColumnElement[str]:
        return sa.func.json_each(sa.bindparam(parameter)).table_valued(sa.column("value", sa.Text)).c.value

    def many(self, values: Iterable[int] | Iterable[str]) -> str:
        return json.dumps(list(values))

    # Connections

    def check(self, connection: Connection) -> Iterator[str]:
        for (line,) in connection.exec_driver_sql("PRAGMA integrity_check(20)"):
            if line != "ok":
                yield f"SQLite says: {line}"

    def create_tables(self, transaction: Transaction) -> None:
        assert isinstance(transaction, SQLiteTransaction)
        for text in prepared.TABLES:
            transaction.driver.execute(text)

    def table_names(self, transaction: Transaction) -> set[str]:
        assert isinstance(transaction, SQLiteTransaction)
        query = r"SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'"
        return {name for (name,) in transaction.driver.execute(query)}

    def check_schema(self, transaction: Transaction, version: str) -> Iterator[str]:
        from modeldb_core.backends._sql.sqlite_schema import check_schema

        yield from check_schema(transaction.connection, version, self.further_tables)

    @property
    def is_own(self) -> bool:  # type: ignore[override]
        """Whether this user owns the file."""
        return not hasattr(os, "geteuid") or self.path.stat().st_uid == os.geteuid()

    def initialize(self) -> None:
        if self._is_initialized:
            return

        def work() -> str:
            with closing(self._connect()) as connection:
                (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
                if mode != "wal":
                    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                return str(mode)

        mode = self._retried(work)
        self._is_initialized = True
        if mode != "wal":
            warnings.warn(
                f"SQLite cannot keep a write-ahead log beside {self.path} (it uses {mode!r}), so readers and writers "
                f"wait for one another; put the database on a local disk",
                ModelDBWarning,
                stacklevel=2,
            )

    def backup(self, transaction: Transaction, version: str) -> str:
        del transaction  # a connection of its own sees what is committed
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        path = f"{self.path}.backup-{version}-{now}"
        unfinished = Path(f"{self.path}.backup-{version}.part")  # of one name: there is one upgrade at a time
        try:
            for left in (unfinished, Path(f"{unfinished}-journal")):  # by an upgrade that was killed
                left.unlink(missing_ok=True)
            make_private(unfinished)
            with closing(self._connect()) as source, closing(sqlite3.connect(unfinished)) as target:
                source.backup(target)
            unfinished.chmod(stat.S_IMODE(self.path.stat().st_mode))
            unfinished.rename(path)
        except BaseException as error:
            unfinished.unlink(missing_ok=True)
            if isinstance(error, OSError):
                msg = f"{self.path} cannot be backed up before its upgrade: {error}; check its folder, and try again"
                raise StoreUnavailableError(msg) from error
            raise
        return path

    def _connect(self, timeout_s: float = _DRIVER_TIMEOUT_S) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._uri(),
            uri=True,
            timeout=min(self.timeout_s, timeout_s),
            isolation_level=None,  # transactions begin and end where this module says so
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            self._configure(connection)
            add_functions(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _uri(self) -> str:
        name = f"file:{quote(str(self.path))}"
        if not self.read_only:
            return f"{name}?mode=rwc"
        # Where no file may be added, a database can only be read together with others if they have made the files that
        # SQLite shares with them. Where one of those is missing, nobody has it open, so it stands still.
        if self._may_add_files or (self._has("-wal") and self._has("-shm")):
            return f"{name}?mode=ro"
        if self._has(
            "-wal"
        ):  # left by a process that was killed: what is in it counts, and is looked through in memory
            return f"{name}?mode=ro&vfs=unix-none" if os.name == "posix" else f"{name}?mode=ro"
        return f"{name}?mode=ro&immutable=1"

    def _has(self, suffix: str) -> bool:
        return Path(f"{self.path}{suffix}").exists()

    def _configure(self, connection: sqlite3.Connection) -> None:
        if self.read_only and not self._may_add_files and self._has("-wal") and not self._has("-shm"):
            connection.execute(
                "PRAGMA locking_mode = EXCLUSIVE"
            )  # needs no file that is shared with others; comes first
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(
            "PRAGMA trusted_schema = OFF"
        )  # a view or trigger of somebody else calls no function of ours
        if self.read_only:
            connection.execute("PRAGMA query_only = ON")
            return
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._durability == 'fsync' else 'NORMAL'}")
        connection.execute(f"PRAGMA fullfsync = {int(self._durability == 'fsync')}")  # of macOS: past the drive's cache
        connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT_BYTES}")

    def _release(self) -> None:
        for connections in (self._watch.connections, self._connections):
            connections.release(for_good=self._closed)

    def _leave_to_parent(self) -> None:
        _inherited.extend((self._watch.connections, self._connections))

    # Errors

    def translate(self, error: BaseException | None) -> ModelDBError:
        """Return the error of ModelDB for one of the driver."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_INTERRUPT:
            return time_limits.time_is_up()
        if code in _BUSY:
            return StoreUnavailableError(
                f"{self.path} is locked by another process for more than {self.timeout_s:g} s; "
                f"look for a process that holds it open, or raise busy_timeout_s"
            )
        if code == sqlite3.SQLITE_FULL:
            return StoreUnavailableError(f"the disk that holds {self.path} is full; free space, and send again")
        if code in _READ_ONLY:
            return StoreReadOnlyError(
                f"{self.path} may not be written: {error}; check its permissions and its folder's"
            )
        if code == sqlite3.SQLITE_NOTADB:
            return ConfigurationError(f"{self.path} is not a SQLite database; choose another path, or restore a backup")
        if code in _DAMAGED:
            return IntegrityError(
                f"{self.path} is damaged: {error}; restore a backup, or save what can be read with "
                f"sqlite3 {self.path} .recover"
            )
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM):
            return StoreUnavailableError(f"{self.path} cannot be read or written now: {error}")
        if _LACKING.search(str(error)):
            return lacks(self.url, error)
        return StoreUnavailableError(f"{self.path}: SQLite refused an operation: {error}")


class _Compiled:
    """A statement as text, and how its parameters become a row."""

    def __init__(self, text: str, names: Sequence[str], constants: Mapping[str, Any]) -> None:
        self.text = text
        self._names = names
        self._constants = constants
        self.row: Callable[[Mapping[str, Any]], tuple[Any, ...]] = self._row_of_any
        """Returns the values of parameters in their order."""
        if len(names) > 1 and not constants:
            self.row = itemgetter(*names)  # the same, without a line of Python

    def _row_of_any(self, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
        if self._constants:
            parameters = {**self._constants, **parameters}
        return tuple([parameters[name] for name in self._names])


def compile_statement(statement: Any) -> tuple[str, tuple[str, ...], dict[str, Any]]:  # noqa: ANN401 - of SQLAlchemy
    """Return a statement as SQLite takes it: text, names of its parameters, and the values of those that are constant."""
    from sqlalchemy.dialects.sqlite.pysqlite import dialect

    compiled = statement.compile(dialect=dialect())
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return str(compiled), tuple(compiled.positiontup or ()), constants


_inherited: list[Connections] = []  # of the parent of this process: a connection that is collected is closed
