"""The database of accounts: where it is, making and upgrading its tables, and transactions on it."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode

from alembic import command
from alembic.config import Config
from sqlalchemy import QueuePool, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.schema import CreateSchema

from modeldb_core.errors import ConfigurationError, MissingDependencyError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection, Engine

VERSION_TABLE = "accounts_version"
SCHEMA = "modeldb_accounts"
"""That of PostgreSQL which holds the tables, beside the schema of a store in the same database."""
_MIGRATIONS = "modeldb_server.accounts:migrations"
_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")
_TIMEOUT_S = 30
_CONNECT_TIMEOUT_S = 3
_PAUSE_S = 5.0
_LOCK = 7_305_120_533
"""The advisory lock under which one process upgrades."""
OPTIONS_OF_STORES = frozenset({"schema", "read_only", "timeout_s", "connect_timeout_s", "pool_size", "idle_timeout_s"})
"""Of the URL of a store of PostgreSQL; libpq knows none of them."""


class AccountsDatabase:
    """Transactions on the tables of accounts. Safe for any number of threads and processes.

    Args:
        url: ``sqlite:///PATH`` or ``postgresql://...``.

    Raises:
        ConfigurationError: the URL is another one.
        MissingDependencyError: the driver of PostgreSQL is not installed.
    """

    def __init__(self, url: str) -> None:
        self.path: Path | None = None
        self._schema: str | None = None
        self._down_until = float("-inf")
        if url.startswith(_SQLITE):
            self.path = Path(unquote(url.removeprefix(_SQLITE).partition("?")[0]))
            self.name = f"{_SQLITE}{self.path}"
            self._engine = _sqlite_engine(self.path)
        elif url.startswith(_POSTGRES):
            self._schema = SCHEMA
            self.name, self._engine = _postgres_engine(url)
        else:
            scheme = url.partition("://")[0][:20]  # no more: there may be a password
            msg = f"server.accounts names a database of {scheme!r}; expected sqlite:///PATH or postgresql://..., 'on' or 'off'"
            raise ConfigurationError(msg)

    def exists(self) -> bool:
        """Return whether there are tables of accounts. Nothing is made.

        Raises:
            StoreUnavailableError: the database cannot be reached.
        """
        if self.path is not None and not self.path.exists():
            return False
        with self.transaction() as connection:
            return inspect(connection).has_table(VERSION_TABLE, schema=self._schema)

    def prepare(self) -> None:
        """Make the tables, or upgrade them; nothing happens where they are those that this code knows.

        Raises:
            ConfigurationError: the file cannot be made.
            StoreUnavailableError: the database cannot be reached.
        """
        if self.path is not None:
            _make_private(self.path)
        config = Config()
        config.set_main_option("script_location", _MIGRATIONS)
        with self.transaction(writing=True) as connection:
            if self._schema is not None:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                if not inspect(connection).has_schema(self._schema):  # who may not make it may find it there
                    connection.execute(CreateSchema(self._schema))
            config.attributes.update(connection=connection, schema=self._schema)
            command.upgrade(config, "head")

    @contextmanager
    def transaction(self, *, writing: bool = False) -> Iterator[Connection]:
        """Enter a transaction; what was written is durable when it is left.

        Raises:
            StoreUnavailableError: the database cannot be reached, or others kept it locked for too long.
        """
        engine = self._engine.execution_options(modeldb_writing=True) if writing else self._engine
        try:
            with engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            reason = str(error.orig if isinstance(error, DBAPIError) else error).strip().partition("\n")[0]
            msg = f"the accounts in {self.name} cannot be reached: {reason}"
            raise StoreUnavailableError(msg) from error

    def writing(self) -> AbstractContextManager[Connection]:
        """Enter a transaction that writes; see :meth:`transaction`."""
        return self.transaction(writing=True)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Refuse, for a moment, to ask a database that could not be reached: for those who must not wait again and again.

        Raises:
            StoreUnavailableError: it could not, a moment ago or in the block.
        """
        if time.monotonic() < self._down_until:
            msg = f"the accounts in {self.name} cannot be reached"
            raise StoreUnavailableError(msg)
        try:
            yield
        except StoreUnavailableError:
            self._down_until = time.monotonic() + _PAUSE_S
            raise

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _make_private(path: Path) -> None:
    """Make an empty file that nobody else may read, which SQLite then fills."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        msg = f"the accounts cannot be kept in {path}: {error.strerror}; name another place with server.accounts"
        raise ConfigurationError(msg) from error


def _sqlite_engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}", poolclass=QueuePool, connect_args={"timeout": _TIMEOUT_S, "check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: object) -> None:  # noqa: ANN401 - of the driver
        connection.isolation_level = None  # the driver begins no transaction: _begin does
        with closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        is_writing = connection.get_execution_options().get("modeldb_writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")  # who reads first may not write later

    return engine


def _postgres_engine(url: str) -> tuple[str, Engine]:
    try:
        import psycopg2
    except ImportError as error:
        msg = "accounts in PostgreSQL need a package that is not installed; pip install 'modeldb-core[postgres]'"
        raise MissingDependencyError(msg) from error
    address = _url_of_libpq(url)
    said = _parsed(address)

    def connect() -> Any:  # noqa: ANN401 - of the driver
        return psycopg2.connect(address, connect_timeout=_CONNECT_TIMEOUT_S, application_name="modeldb accounts")

    engine = create_engine(
        "postgresql+psycopg2://",
        creator=connect,
        pool_size=5,
        max_overflow=10,
        pool_pre_ping=True,
        # Not the search path of a session: behind PgBouncer that is not ours.
        execution_options={"schema_translate_map": {None: SCHEMA}},
    )
    return f"postgresql://{said.get('host', '')}/{said.get('dbname', '')}", engine


def with_options(url: str, options: Mapping[str, object]) -> str:
    """Return the URL of a store of PostgreSQL with the parameters of libpq among its options; those of the URL itself win."""
    said = {*OPTIONS_OF_STORES, *_parsed(_url_of_libpq(url))}
    more = {name: value for name, value in options.items() if value and isinstance(value, str) and name not in said}
    return f"{url}{'&' if '?' in url else '?'}{urlencode(more, quote_via=quote)}" if more else url


def _url_of_libpq(url: str) -> str:
    bare, _, query = url.partition("?")
    items = [item for item in query.split("&") if item and unquote(item.partition("=")[0]) not in OPTIONS_OF_STORES]
    return f"{bare}?{'&'.join(items)}" if items else bare


def _parsed(address: str) -> Mapping[str, str]:
    """Return what a URL says to libpq, whose own words for what it cannot say would show parts of a password."""
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    with suppress(ProgrammingError):
        said: Mapping[str, str] = parse_dsn(address)
        host, ports = said.get("host", ""), said.get("port", "").split(",")
        if all(port.isdecimal() or not port for port in ports) and ("@" not in host or host.startswith(("/", "@"))):
            return said
    msg = (
        "server.accounts does not name a PostgreSQL database, or has an option that libpq does not know; write"
        " postgresql://user@host:5432/database, with %2F for /, %3F for ?, %40 for @ and %25 for % in a password"
    )
    raise ConfigurationError(msg)
