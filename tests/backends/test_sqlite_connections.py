"""Connections to a SQLite file: kept between transactions, with SQLAlchemy's over them, which end no transaction of theirs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from modeldb_core.backends._sql.sqlite import SQLiteDatabase
from modeldb_core.backends._sql.sqlite_connections import Connections


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SQLiteDatabase]:
    database = SQLiteDatabase(tmp_path / "modeldb.db")
    database.write(lambda write: write.connection.exec_driver_sql("CREATE TABLE t (value)"))
    database._release()  # its connection has one of SQLAlchemy
    yield database
    database.close()


def values(database: SQLiteDatabase) -> list[Any]:
    return database.read(lambda read: list(read.connection.exec_driver_sql("SELECT value FROM t").scalars()))


def counted(connect: Callable[[], sqlite3.Connection], made: list[sqlite3.Connection]) -> Callable[..., Any]:
    """Return a function that opens a connection, and adds it to ``made``."""

    def connected() -> sqlite3.Connection:
        made.append(connect())
        return made[-1]

    return connected


def is_open(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


def test_asking_for_sqlalchemy_in_the_midst_of_a_transaction_ends_it_neither_way(database: SQLiteDatabase) -> None:
    def fail(write: Any) -> None:
        write.driver.execute("INSERT INTO t VALUES (1)")
        connection = write.connection  # made now, over what is in a transaction
        assert write.driver.in_transaction
        connection.exec_driver_sql("INSERT INTO t VALUES (2)")
        connection.commit()
        assert write.driver.in_transaction
        raise RuntimeError

    with pytest.raises(RuntimeError):
        database.write(fail)
    assert values(database) == [], "nothing was committed"

    def succeed(write: Any) -> None:
        write.driver.execute("INSERT INTO t VALUES (3)")
        write.connection.exec_driver_sql("INSERT INTO t VALUES (4)")
        write.connection.rollback()

    database.write(succeed)
    assert values(database) == [3, 4], "nothing was rolled back"


def test_connections_are_kept_but_not_those_in_a_transaction_and_not_all(tmp_path: Path) -> None:
    made: list[sqlite3.Connection] = []
    connect = counted(lambda: sqlite3.connect(tmp_path / "a.db", isolation_level=None), made)
    connections = Connections(connect, keeps=8)
    for _ in range(3):
        with connections.one() as held:
            held.driver.execute("SELECT 1")
    assert len(made) == 1
    with connections.one() as held:
        held.driver.execute("BEGIN")
    assert not is_open(made[0]), "it could not end its transaction"
    with ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(connections.one())
    assert sum(map(is_open, made)) == 8
    with connections.one() as held:
        connections.release()
        assert is_open(held.driver)
    assert not any(map(is_open, made)), "that one too, once it came back"
    with Connections(connect, keeps=0).one() as held:
        assert is_open(held.driver)
    assert not is_open(held.driver)


def test_a_store_that_was_closed_keeps_no_connection_that_an_operation_opens_later(database: SQLiteDatabase) -> None:
    made: list[sqlite3.Connection] = []
    database._connections.connect = counted(database._connections.connect, made)  # type: ignore[method-assign]
    locked = sqlite3.OperationalError("database is locked")
    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY

    def work(_read: Any) -> None:
        if len(made) == 1:  # somebody closes the store while this waits to try again
            database.close()
            raise locked

    database.read(work)
    assert [is_open(each) for each in made] == [False, False]


def test_what_looks_for_writes_while_the_store_is_closed_leaves_no_connection(database: SQLiteDatabase) -> None:
    made: list[sqlite3.Connection] = []
    watched = database._watch.connections
    connect = counted(watched.connect, made)

    def connected() -> sqlite3.Connection:
        connection: sqlite3.Connection = connect()
        database.close()
        return connection

    watched.connect = connected  # type: ignore[method-assign]
    assert database.write_mark() is not None
    assert [is_open(each) for each in made] == [False]
    assert database.write_mark() is None
