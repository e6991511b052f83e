"""The public base of stores on SQL databases: a dialect that a stranger writes, here another one for SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects.sqlite import insert

from modeldb_core.audit import verify
from modeldb_core.backends.sql import Database, EngineDatabase, SQLStore, Transaction, split_options
from modeldb_core.errors import ConfigurationError, ModelDBError, StoreReadOnlyError, StoreUnavailableError
from modeldb_core.testing import StreamWriter
from modeldb_core.testing.applying import ApplyTests
from modeldb_core.testing.deciding import DecisionTests
from modeldb_core.testing.linking import LinkTests
from modeldb_core.testing.scoping import ScopeTests

PAGE = Path(__file__).parents[2] / "docs" / "backends.md"
PREFIX = "plain://"


class PlainDatabase(EngineDatabase):
    def __init__(self, path: str, **options: Any) -> None:
        self.path = path
        super().__init__(PREFIX + path, **options)

    def make_engine(self) -> Engine:
        engine = create_engine(f"sqlite:///{self.path}", connect_args={"timeout": 0.1}, enable_from_linting=False)
        event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
        return engine

    def begin(self, connection: Connection, *, writing: bool) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    def insert(self, table: Table) -> Any:
        return insert(table)

    def may_pass(self, error: BaseException | None) -> bool:
        return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)

    def translate(self, error: BaseException | None) -> ModelDBError:
        return StoreUnavailableError(f"{self.url} refused an operation: {error}; try again")

    def backup(self, transaction: Transaction, version: str) -> str:
        raise NotImplementedError  # there is one version


class PlainStore(SQLStore):
    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(self.database_at(url, **options))

    @classmethod
    def database_at(cls, url: str, **options: Any) -> Database:
        bare, found = split_options(url, {"read_only": bool, "timeout_s": float})
        return PlainDatabase(bare.removeprefix(PREFIX), **{**options, **found})


class TestPlainStore(ApplyTests, DecisionTests, LinkTests, ScopeTests):
    """The parts of the contract that need the most of a dialect; ``tox -e duckdb`` proves the whole with another one."""

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], PlainStore]:
        return lambda: PlainStore(f"{PREFIX}{tmp_path}/plain.db")


def test_the_tables_are_audited_and_a_foreign_one_is_named(tmp_path: Path) -> None:
    url = f"{PREFIX}{tmp_path}/plain.db"
    store = PlainStore(url)
    writer = StreamWriter()
    writer.create_run(name="run", metrics={"auc": 0.5}, **writer.create_containers("p", "e"))
    store.apply(writer.changes)
    assert verify(store).ok
    with closing(sqlite3.connect(tmp_path / "plain.db")) as connection, connection:
        connection.execute("CREATE TABLE strange (a)")
        connection.execute("ALTER TABLE facts ADD COLUMN more")
    assert list(store.audit_schema()) == [
        "the schema has the table 'strange', which is not one of ModelDB's",
        "the table 'facts' has the column 'more'",
    ]
    state = PlainStore.schema_state(url)
    assert state.pending == ()
    store.close()
    with pytest.raises(StoreUnavailableError, match="was closed"):
        store.heads()


def test_what_cannot_be_written_is_said_and_not_tried(tmp_path: Path) -> None:
    url = f"{PREFIX}{tmp_path}/plain.db"
    with pytest.raises(StoreReadOnlyError, match="is empty"):
        PlainStore(url, read_only=True)
    PlainStore(url).close()
    reader = PlainStore(f"{url}?read_only=1")
    assert not reader.decides
    with pytest.raises(StoreReadOnlyError, match="may only be read"):
        reader.apply(StreamWriter().changes or [StreamWriter().open()])
    reader.close()
    locked = PlainStore(f"{url}?timeout_s=0.2")
    with closing(sqlite3.connect(tmp_path / "plain.db", isolation_level=None)) as other, other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="refused an operation.*locked"):
            locked.apply([StreamWriter().open()])
        other.execute("ROLLBACK")
    locked.apply([StreamWriter().open()])
    locked.close()
    with pytest.raises(ConfigurationError, match="did you mean 'read_only'"):
        PlainStore(f"{url}?read_onyl=1")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "plain.db")) as connection, connection:
        connection.execute("CREATE TABLE other (a)")
    with pytest.raises(ConfigurationError, match="is not a database of ModelDB"):
        PlainStore(f"{PREFIX}{tmp_path}/plain.db")


def test_the_page_names_all_that_a_dialect_has_to_say() -> None:
    section = PAGE.read_text("utf-8").partition("## A further SQL dialect")[2].partition("\n## ")[0]
    for name in (*EngineDatabase.__abstractmethods__, "begin", "create_tables", "among", "database_at"):
        assert f"`{name}(" in section, name
