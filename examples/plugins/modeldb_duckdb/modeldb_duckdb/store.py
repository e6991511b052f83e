"""The store on DuckDB: what its URLs mean, and what is particular to the database.

One process at a time has a DuckDB file open, readers included. So this one releases what it holds of it whenever it has not been asked for
a moment, and for a moment while it is asked all the time; others wait meanwhile, as they wait for a lock.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import duckdb
from duckdb_engine import ConnectionWrapper
from sqlalchemy import Float, Numeric, create_engine, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateColumn

from modeldb_core.backends.sql import EngineDatabase, SQLStore, metadata, split_options
from modeldb_core.errors import (
    ConfigurationError,
    IntegrityError,
    ModelDBError,
    StoreReadOnlyError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine, Table

    from modeldb_core.backends.sql import Transaction

PREFIX = "duckdb:///"
TIMEOUT_S = 60.0
IDLE_S = 0.05
"""After how long without a transaction the file is given back."""
HELD_S = 0.25
"""After how long it is given back while one transaction follows the other."""
_OPTIONS = {"read_only": bool, "timeout_s": float}
_NUMBERED = metadata.tables["columns"].c.column_pk
"""The one column that the database numbers by itself."""


@compiles(Float, "duckdb")
def _double(type_: Float[Any], compiler: Any, **options: Any) -> str:
    """Keep all 64 bits: DuckDB's FLOAT has 32."""
    return "DOUBLE"


@compiles(Numeric, "duckdb")
def _whole(type_: Numeric[Any], compiler: Any, **options: Any) -> str:
    """Subtract times exactly: DuckDB's NUMERIC has 18 digits, three of them behind the point."""
    return "DECIMAL(38, 0)"


@compiles(CreateColumn, "duckdb")
def _numbered(create: CreateColumn, compiler: Any, **options: Any) -> str:
    """Number rows by a sequence: DuckDB has no SERIAL."""
    if create.element is _NUMBERED:
        return f"{_NUMBERED.name} BIGINT NOT NULL DEFAULT nextval('columns_numbers')"
    return str(compiler.visit_create_column(create, **options))


class DuckDBStore(SQLStore):
    """A store in one DuckDB file.

    Args:
        url: ``duckdb:///relative/path.duckdb`` or ``duckdb:////absolute/path.duckdb``; the options may follow a question mark.
        read_only: refuse to write.
        timeout_s: how long to wait for other processes that have the file open.

    Raises:
        ConfigurationError: the URL is not of that form, or the file is not a database of ModelDB.
        StoreReadOnlyError: there is no file, and it may not be created.
        StoreUnavailableError: the file cannot be opened now.
    """

    is_local = True

    def __init__(self, url: str, *, read_only: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(self.database_at(url, read_only=read_only, timeout_s=timeout_s))

    @classmethod
    def database_at(cls, url: str, **options: Any) -> DuckDBDatabase:
        """Return the database in the file that a URL names; the options in it win over ``options``."""
        bare, found = split_options(url, _OPTIONS)
        path = unquote(bare.removeprefix(PREFIX))
        if not bare.startswith(PREFIX) or not path or path.startswith(":") or "\0" in path or path.endswith("/"):
            msg = f"{url!r} does not name a DuckDB file; write duckdb:///relative/path or duckdb:////absolute/path"
            raise ConfigurationError(msg)
        return DuckDBDatabase(Path(os.path.abspath(os.path.expanduser(path))), **{**options, **found})


class DuckDBDatabase(EngineDatabase):
    """Connections to one DuckDB file."""

    def __init__(self, path: Path, *, read_only: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        self.path = path
        if not path.exists():
            if read_only:
                msg = f"there is no DuckDB file at {path}, and it may only be read; open it once without read_only"
                raise StoreReadOnlyError(msg)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                msg = f"the folder of {path} cannot be made: {error}"
                raise StoreUnavailableError(msg) from error
        self._file = _File(path)
        super().__init__(f"{PREFIX}{quote(str(path))}", read_only=read_only, timeout_s=timeout_s)

    def make_engine(self) -> Engine:
        return create_engine("duckdb://", creator=self._file.connect, poolclass=NullPool, enable_from_linting=False)

    def _run(self, work: Any, *, writing: bool) -> Any:
        with self._file:
            return super()._run(work, writing=writing)

    def insert(self, table: Table) -> Any:
        return insert(table)

    def may_pass(self, error: BaseException | None) -> bool:
        return isinstance(error, duckdb.TransactionException) or (
            isinstance(error, duckdb.IOException) and "Could not set lock" in str(error)
        )

    def translate(self, error: BaseException | None) -> ModelDBError:
        said = str(error).partition("\n")[0]
        if self.may_pass(error):
            return StoreUnavailableError(
                f"another process has had {self.path} open for more than {self.timeout_s:g} s; let that one serve it"
                f" (modeldb server), or raise timeout_s"
            )
        if isinstance(error, duckdb.IOException) and "not a valid DuckDB" in said:
            return ConfigurationError(f"{self.path} is not a DuckDB file; choose another path, or restore a backup")
        if isinstance(error, (duckdb.SerializationException, duckdb.FatalException)):
            return IntegrityError(f"{self.path} is damaged: {said}; restore a backup")
        return StoreUnavailableError(f"{self.path}: DuckDB refused an operation: {said}")

    def create_tables(self, transaction: Transaction) -> None:
        transaction.connection.execute(text("CREATE SEQUENCE columns_numbers"))
        super().create_tables(transaction)

    def backup(self, transaction: Transaction, version: str) -> str:
        del transaction  # it has written nothing yet, and no other one writes
        path = f"{self.path}.backup-{version}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        for suffix in ("", ".wal"):
            if Path(f"{self.path}{suffix}").exists():
                shutil.copy2(f"{self.path}{suffix}", f"{path}{suffix}")
        return path

    def close(self) -> None:
        super().close()
        self._file.close()

    def before_fork(self) -> None:
        super().before_fork()
        self._file.close()

    def after_fork(self, *, in_child: bool) -> None:
        if in_child:
            self._file = _File(self.path)
        super().after_fork(in_child=in_child)


class _File:
    """The file while this process has it open: as a context manager, for one transaction."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._lock = threading.Lock()
        self._open: duckdb.DuckDBPyConnection | None = None
        self._opened_at = self._used_at = 0.0
        self._users = 0
        self._timer: threading.Timer | None = None

    def connect(self) -> ConnectionWrapper:
        with self._lock:
            if self._open is None:
                self._open = duckdb.connect(self._path, config={"threads": 1})
                self._opened_at = time.monotonic()
            return ConnectionWrapper(self._open.cursor())

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            self._used_at = time.monotonic()
            gives_way = not self._users and self._open is not None and self._used_at - self._opened_at > HELD_S
            if gives_way:
                self._release()
            elif self._timer is None and self._open is not None:
                self._wait(IDLE_S)
        if gives_way:
            time.sleep(IDLE_S)  # for one that waits

    def _wait(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        """Give the file back if nobody has used it for a while."""
        with self._lock:
            self._timer = None
            if self._open is None:
                return
            left = IDLE_S if self._users else IDLE_S - (time.monotonic() - self._used_at)
            if left <= 0:
                self._release()
            else:
                self._wait(left)

    def _release(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def close(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._release()
