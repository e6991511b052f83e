"""The default store: one SQLite file.

What is particular to SQLite is here: connections, transactions, locks, forks and errors. The rest is in ``_sql``.
``docs/stores/sqlite.md`` says what is promised when.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
import time
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote, unquote

from sqlalchemy import bindparam, create_engine, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.dialects.sqlite.pysqlite import dialect as _Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from modeldb_core.backends._sql.database import MANY, Build, Database, Result, Row, Transaction
from modeldb_core.backends._sql.store import SQLMetadataStore
from modeldb_core.errors import (
    ConfigurationError,
    IntegrityError,
    ModelDBError,
    StoreReadOnlyError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, Table
    from sqlalchemy.dialects.sqlite.dml import Insert

Durability = Literal["normal", "fsync"]

BUSY_TIMEOUT_S = 60.0
"""How long an operation waits for the locks of other processes before it gives up."""
_CACHE_KIB = 65_536  # of pages, for each connection: the narrow tables of some 100,000 runs
_CHECKPOINT_PAGES = 4000  # of the write-ahead log: each checkpoint waits for the disk twice
_JOURNAL_LIMIT_BYTES = 64 * 2**20  # to which the write-ahead log is cut after a checkpoint
_FORK_PATIENCE_S = 10.0
_PREFIX = "sqlite:///"
_DIALECT = _Dialect()

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_READ_ONLY = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})


class SQLiteStore(SQLMetadataStore):
    """A store in one SQLite file.

    Args:
        url: ``sqlite:///relative/path.db`` or ``sqlite:////absolute/path.db``. A relative path is taken from the
            current directory at once. The file and its folder are created when needed.
        durability: "normal" survives the death of any process; "fsync" waits for the disk at every ``apply``, and so
            survives the loss of power too.
        busy_timeout_s: how long to wait for other processes that write.
        read_only: refuse to write, even where it would be possible.

    Raises:
        ConfigurationError: the URL is not of that form, or the file is not a database of ModelDB.
        StoreReadOnlyError: there is no file, and it may not be created.
        StoreVersionError: the file was written by a newer version of ModelDB.
        StoreUnavailableError: the file cannot be opened now.
    """

    def __init__(
        self,
        url: str,
        *,
        durability: Durability = "normal",
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        read_only: bool = False,
    ) -> None:
        from modeldb_core.backends._sql.schema import prepare

        database = SQLiteDatabase(
            path_of(url), durability=durability, busy_timeout_s=busy_timeout_s, read_only=read_only
        )
        try:
            prepare(database)
        except BaseException:
            database.close()
            raise
        super().__init__(database)


def path_of(url: str) -> Path:
    """Return the absolute path that a URL names.

    Raises:
        ConfigurationError: it is not a URL of a SQLite file.
    """
    path = unquote(url.removeprefix(_PREFIX))
    if not url.startswith(_PREFIX) or not path or path == ":memory:" or "\0" in path or path.endswith("/"):
        msg = (
            f"{url!r} does not name a SQLite file; write sqlite:///relative/path.db or sqlite:////absolute/path.db "
            f"(for a store in memory: memory://)"
        )
        raise ConfigurationError(msg)
    return Path(os.path.abspath(os.path.expanduser(path)))


class SQLiteDatabase(Database):
    """Connections to one SQLite file; see :class:`SQLiteStore` for the arguments."""

    def __init__(
        self,
        path: Path,
        *,
        durability: Durability = "normal",
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        read_only: bool = False,
    ) -> None:
        super().__init__()
        if durability not in ("normal", "fsync"):
            msg = f"durability {durability!r} is unknown; expected 'normal' or 'fsync'"
            raise ConfigurationError(msg)
        self.path = path
        self.url = f"{_PREFIX}{quote(str(path))}"
        self._durability = durability
        self._busy_timeout_s = busy_timeout_s
        self.read_only = read_only or not _prepare_folder(path)
        self._closed = False
        self._compiled: dict[Build, _Compiled] = {}
        self._gate = _Gate()
        self._write_lock = threading.Lock()
        self._engine = self._make_engine()
        _databases.add(self)

    # Transactions

    def read(self, work: Callable[[Transaction], Result]) -> Result:
        return self._retried(lambda: self._run("BEGIN", work))

    def write(self, work: Callable[[Transaction], Result]) -> Result:
        if self.read_only:
            msg = f"{self.path} may only be read by this process; check the permissions of the file and its folder"
            raise StoreReadOnlyError(msg)
        with self._write_lock:
            return self._retried(lambda: self._run("BEGIN IMMEDIATE", work))

    def _run(self, begin: str, work: Callable[[Transaction], Result]) -> Result:
        with self._gate.inside(), self._engine.connect() as connection:
            connection.exec_driver_sql(begin)
            try:
                result = work(Transaction(self, connection))
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                # A failed COMMIT may have ended the transaction already.
                if _driver(connection).in_transaction:
                    connection.exec_driver_sql("ROLLBACK")
                raise
            return result

    def _retried(self, work: Callable[[], Result]) -> Result:
        """Call ``work`` until no lock stands in its way, or time is up."""
        if self._closed:
            msg = f"the store {self.url} was closed; open it again"
            raise StoreUnavailableError(msg)
        deadline = time.monotonic() + self._busy_timeout_s
        pause_s = 0.001
        while True:
            try:
                return work()
            except (DBAPIError, sqlite3.Error) as error:
                original = error.orig if isinstance(error, DBAPIError) else error
                if not _is_busy(original) or time.monotonic() > deadline:
                    raise self.translate(original) from error
            time.sleep(pause_s * (0.5 + random.random()))
            pause_s = min(2 * pause_s, 0.1)

    # What SQLite says otherwise

    def run(self, connection: Connection, build: Build, parameters: Mapping[str, Any]) -> Sequence[Row]:
        compiled = self.compiled(build)
        return _driver(connection).execute(compiled.text, compiled.row(parameters)).fetchall()

    def run_many(self, connection: Connection, build: Build, rows: Sequence[Mapping[str, Any]]) -> None:
        compiled = self.compiled(build)
        if len(rows) == 1:
            _driver(connection).execute(compiled.text, compiled.row(rows[0]))
        else:
            _driver(connection).executemany(compiled.text, [compiled.row(row) for row in rows])

    def compiled(self, build: Build) -> _Compiled:
        """Return the statement of ``build`` as SQLite takes it."""
        try:
            return self._compiled[build]
        except KeyError:
            return self._compiled.setdefault(build, _Compiled(self.statement(build)))

    def upsert(self, table: Table, *, update: Sequence[str]) -> Insert:
        statement = insert(table)
        primary = list(table.primary_key.columns)
        if not update:
            return statement.on_conflict_do_nothing(index_elements=primary)
        return statement.on_conflict_do_update(
            index_elements=primary, set_={name: statement.excluded[name] for name in update}
        )

    def among(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        return column.in_(select(func.json_each(bindparam(MANY)).table_valued("value").c.value))

    def many(self, values: Iterable[int] | Iterable[str]) -> str:
        return json.dumps(list(values))

    # Connections

    def connect_raw(self) -> sqlite3.Connection:
        """Return a new connection of the driver, outside the pool; for backups and migrations."""
        try:
            return self._connect()
        except sqlite3.Error as error:
            raise self.translate(error) from error

    def close(self) -> None:
        self._closed = True
        _databases.discard(self)
        self._engine.dispose()

    def _make_engine(self) -> Engine:
        # A database that may not be written is looked at afresh for each question: see _uri.
        pool: Any = NullPool if self.read_only else QueuePool
        options: dict[str, Any] = {} if self.read_only else {"pool_size": 8, "max_overflow": -1}
        return create_engine(
            "sqlite+pysqlite://",
            creator=self._connect,
            poolclass=pool,
            isolation_level="AUTOCOMMIT",
            enable_from_linting=False,
            **options,
        )

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._uri(),
            uri=True,
            timeout=min(self._busy_timeout_s, 5.0),  # beyond that this process waits by itself, with jitter
            isolation_level=None,  # transactions begin and end where this module says so
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            self._configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _uri(self) -> str:
        name = f"file:{quote(str(self.path))}"
        if not self.read_only:
            return f"{name}?mode=rwc"
        # Without its write-ahead log a database has no reader or writer elsewhere, and without the right to write
        # SQLite could not make the files that it shares with them: so it may, and must, take it as unchanging.
        has_log = Path(f"{self.path}-wal").exists()
        return f"{name}?mode=ro" if has_log else f"{name}?mode=ro&immutable=1"

    def _configure(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute("PRAGMA temp_store = MEMORY")
        if self.read_only:
            connection.execute("PRAGMA query_only = ON")
            return
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._durability == 'fsync' else 'NORMAL'}")
        connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT_BYTES}")

    # Forks

    def before_fork(self) -> None:
        """Close all connections: SQLite's locks do not survive a fork, and closing them in the child would break ours."""
        self._write_lock_held = self._write_lock.acquire(timeout=_FORK_PATIENCE_S)
        self._gate.shut(_FORK_PATIENCE_S)
        self._engine.dispose()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on in the parent; begin afresh in the child."""
        if in_child:
            self._gate = _Gate()
            self._write_lock = threading.Lock()
            _inherited.append(self._engine)  # whatever could not be closed must never be
            self._engine = self._make_engine()
            return
        self._gate.open()
        if self._write_lock_held:
            self._write_lock.release()

    # Errors

    def translate(self, error: BaseException | None) -> ModelDBError:
        """Return the error of ModelDB for one of the driver."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BUSY:
            return StoreUnavailableError(
                f"{self.path} is locked by another process for more than {self._busy_timeout_s:g} s; "
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
        return StoreUnavailableError(f"{self.path}: SQLite refused an operation: {error}")


class _Compiled:
    """A statement as text, and how its parameters become a row."""

    def __init__(self, statement: Any) -> None:  # noqa: ANN401 - of SQLAlchemy
        compiled = statement.compile(dialect=_DIALECT)
        self.text = str(compiled)
        self._names = tuple(compiled.positiontup or ())
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}

    def row(self, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the values of the parameters in their order."""
        if self._constants:
            parameters = {**self._constants, **parameters}
        return tuple([parameters[name] for name in self._names])


class _Gate:
    """Lets operations in while it is open, and waits for them when it is shut."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0
        self._is_shut = False
        self._shut_by: int | None = None

    @contextmanager
    def inside(self) -> Iterator[None]:
        with self._condition:
            while self._is_shut and self._shut_by != threading.get_ident():
                self._condition.wait()
            self._count += 1
        try:
            yield
        finally:
            with self._condition:
                self._count -= 1
                self._condition.notify_all()

    def shut(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        with self._condition:
            self._is_shut, self._shut_by = True, threading.get_ident()
            while self._count and (left := deadline - time.monotonic()) > 0:
                self._condition.wait(left)

    def open(self) -> None:
        with self._condition:
            self._is_shut, self._shut_by = False, None
            self._condition.notify_all()


_databases: weakref.WeakSet[SQLiteDatabase] = weakref.WeakSet()
_inherited: list[Engine] = []
_forking: list[SQLiteDatabase] = []


def _before_fork() -> None:
    _forking[:] = list(_databases)
    for database in _forking:
        database.before_fork()


def _after_fork_in_parent() -> None:
    for database in _forking:
        database.after_fork(in_child=False)
    _forking.clear()


def _after_fork_in_child() -> None:
    for database in _forking:
        database.after_fork(in_child=True)
    _forking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _prepare_folder(path: Path) -> bool:
    """Make the folder of a database where it is missing; return whether the database may be written.

    Raises:
        StoreReadOnlyError: there is no file, and it may not be made.
        ConfigurationError: the path leads to or through something that is not what it must be.
    """
    try:
        if path.is_dir() or (path.exists() and not path.is_file()):
            msg = f"{path} is not a file; name one in it, such as sqlite:///{path / 'modeldb.db'}"
            raise ConfigurationError(msg)
        path.parent.mkdir(parents=True, exist_ok=True)
        may_write_folder = os.access(
            path.parent, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
        )
        if path.exists():
            return may_write_folder and os.access(path, os.W_OK)
    except PermissionError as error:
        msg = f"{path} cannot be created: {error.strerror}: {error.filename}; choose a folder that may be written"
        raise StoreReadOnlyError(msg) from error
    except (FileExistsError, NotADirectoryError) as error:
        msg = f"{path} cannot be created: {error.filename} is not a folder"
        raise ConfigurationError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be created: {error}"
        kind = StoreReadOnlyError if error.errno == 30 else StoreUnavailableError  # EROFS
        raise kind(msg) from error
    if not may_write_folder:
        msg = f"{path} does not exist, and the folder {path.parent} may not be written; choose another"
        raise StoreReadOnlyError(msg)
    return True


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.dbapi_connection)


def _is_busy(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.Error) and (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _BUSY
