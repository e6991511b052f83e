"""Connections to one SQLite file, kept between transactions. SQLAlchemy comes where somebody asks for its own connection."""

from __future__ import annotations

import threading
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from modeldb_core.backends._sql.database import Transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

    from modeldb_core.backends._sql.database import Database


class Held:
    """A connection, and that of SQLAlchemy over it once there is one."""

    __slots__ = ("driver", "of_sqlalchemy")

    def __init__(self, driver: sqlite3.Connection) -> None:
        self.driver = driver
        self.of_sqlalchemy: Connection | None = None

    def __del__(self) -> None:
        with suppress(Exception):  # of a store that nobody has closed
            self.driver.close()

    def close(self) -> None:
        """Close both."""
        if self.of_sqlalchemy is not None:
            self.of_sqlalchemy.close()
        self.driver.close()


class Borrowed:
    """A connection as SQLAlchemy gets it: where transactions begin and end is not its business.

    It would end the one under way: it rolls back what it has connected to, and setting an isolation level commits.
    """

    isolation_level = None

    def __init__(self, driver: sqlite3.Connection) -> None:
        self.driver = driver

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of the driver
        return getattr(self.driver, name)

    def commit(self) -> None:
        """Do nothing."""

    def rollback(self) -> None:
        """Do nothing."""


class Connections:
    """Keeps connections that nobody uses.

    Args:
        connect: opens one.
        keeps: how many at most.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], *, keeps: int) -> None:
        self.connect = connect
        self._keeps = keeps
        self._idle: list[Held] = []
        self._lent = threading.local()
        self._engine: Engine | None = None

    @contextmanager
    def one(self) -> Iterator[Held]:
        """Lend a connection."""
        idle = self._idle
        try:
            held = idle.pop()
        except IndexError:
            held = Held(self.connect())
        try:
            yield held
        finally:
            # One that could not end its transaction would go on with it.
            if held.driver.in_transaction or len(idle) >= self._keeps:
                held.close()
            else:
                idle.append(held)
            if idle is not self._idle:
                _close_all(idle)

    def release(self, *, for_good: bool = False) -> None:
        """Close those that nobody uses now, and the others when they come back; ``for_good``: also those opened later."""
        if for_good:
            self._keeps = 0
        idle, self._idle = self._idle, []
        _close_all(idle)

    @property
    def engine(self) -> Engine:
        """The engine of SQLAlchemy; its connections are those that are lent, and others for those who ask it for one."""
        if self._engine is None:
            from sqlalchemy import create_engine
            from sqlalchemy.pool import NullPool

            # SQLAlchemy keeps the pool of a connection that is in use, and the pool what makes connections.
            connect = weakref.WeakMethod(self._connect_for_sqlalchemy)
            self._engine = create_engine(
                "sqlite+pysqlite://",
                creator=lambda: connect()(),  # type: ignore[misc] # who asks has it
                poolclass=NullPool,
                isolation_level="AUTOCOMMIT",
                enable_from_linting=False,
            )
        return self._engine

    def of_sqlalchemy(self, held: Held) -> Connection:
        """Return the connection of SQLAlchemy over one that is lent."""
        if held.of_sqlalchemy is None:
            self._lent.driver = held.driver
            try:
                held.of_sqlalchemy = self.engine.connect()
            finally:
                self._lent.driver = None
        return held.of_sqlalchemy

    def _connect_for_sqlalchemy(self) -> Any:  # noqa: ANN401 - what pretends to be a connection of the driver
        return Borrowed(getattr(self._lent, "driver", None) or self.connect())


def _close_all(idle: list[Held]) -> None:
    with suppress(IndexError):  # another thread may do the same
        while True:
            idle.pop().close()


class SQLiteTransaction(Transaction):
    """A transaction whose statements that are always the same go past SQLAlchemy."""

    def __init__(self, database: Database, connections: Connections, held: Held) -> None:
        super().__init__(database, cast("Connection", held.driver))  # what run() and run_many() are handed
        self._connections = connections
        self._held = held

    @property
    def driver(self) -> sqlite3.Connection:
        """The connection, of the driver."""
        return self._held.driver

    @property
    def connection(self) -> Connection:
        return self._connections.of_sqlalchemy(self._held)
