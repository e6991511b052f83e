"""Tables are made once, upgraded after a backup, and refused where a newer ModelDB made them."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from modeldb_core.audit import verify
from modeldb_core.backends._sql import schema
from modeldb_core.backends._sql.sqlite import SQLiteDatabase
from modeldb_core.backends.sqlite import SQLiteStore, path_of
from modeldb_core.errors import ConfigurationError, NotFoundError, StoreReadOnlyError, StoreVersionError
from modeldb_core.movement.copying import copy
from modeldb_core.plugins import open_store
from modeldb_core.queries import Query
from modeldb_core.testing import StreamWriter
from tests.backends.versions import NEXT, NOW


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/modeldb.db"


@pytest.fixture
def run_id(url):
    """A run in a database of the present version."""
    writer = StreamWriter()
    with SQLiteStore(url) as store:
        run_id = writer.create_run(name="old").entity_id
        store.apply(writer.changes)
    return run_id


def tables_of(path):
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: " ".join(sql.split()) for name, sql in rows}


def version_in(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version_num FROM modeldb_version").fetchall()


def set_version(path, version):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE modeldb_version SET version_num = ?", (version,))
        connection.commit()


def test_migrations_make_the_same_tables_as_a_new_store(url, tmp_path):
    from alembic import command

    SQLiteStore(url).close()
    migrated = tmp_path / "migrated.db"
    engine = create_engine(f"sqlite:///{migrated}")
    config = Config()
    config.set_main_option("script_location", schema.MIGRATIONS)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()
    assert tables_of(migrated) == tables_of(tmp_path / "modeldb.db")


def test_versions_are_those_of_the_migrations():
    config = Config()
    config.set_main_option("script_location", schema.MIGRATIONS)
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == tuple(each.version for each in schema.REVISIONS)


def test_opening_a_store_that_is_up_to_date_does_not_import_alembic(url, run_id):
    code = f"""
import sys
from modeldb_core.backends.sqlite import SQLiteStore
SQLiteStore({url!r}).get("run", {run_id!r})
assert "alembic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)


def test_an_old_store_is_upgraded_after_a_backup(url, run_id, next_version, tmp_path):
    next_version()
    SQLiteStore.upgrade_schema(url)
    assert version_in(tmp_path / "modeldb.db") == [(NEXT,)]
    assert "colour" in tables_of(tmp_path / "modeldb.db")["entities"]
    (backup,) = tmp_path.glob(f"modeldb.db.backup-{NOW}-*")
    assert version_in(backup) == [(NOW,)]
    shutil.rmtree(tmp_path / "migrations")  # it is not needed again
    with SQLiteStore(url) as store:
        assert store.get("run", run_id).name == "old"


def test_the_backup_is_a_store(url, run_id, next_version, tmp_path, monkeypatch):
    next_version()
    SQLiteStore.upgrade_schema(url)
    monkeypatch.undo()
    (backup,) = tmp_path.glob("modeldb.db.backup-*")
    with SQLiteStore(f"sqlite:///{backup}") as store:
        assert store.get("run", run_id).name == "old"


def test_a_migration_that_fails_leaves_the_store_as_it_was(url, run_id, next_version, tmp_path):
    before = tables_of(tmp_path / "modeldb.db")
    next_version("op.execute('INSERT INTO nowhere VALUES (1)')")
    with pytest.raises(Exception, match="nowhere"):
        SQLiteStore.upgrade_schema(url)
    assert tables_of(tmp_path / "modeldb.db") == before
    assert version_in(tmp_path / "modeldb.db") == [(NOW,)]


def test_a_store_that_many_write_at_once_is_upgraded_once(url, run_id, next_version, tmp_path):
    next_version()
    names, barrier = [], threading.Barrier(6)

    def write():
        writer = StreamWriter()
        own = writer.create_run(name="new").entity_id
        barrier.wait()
        with SQLiteStore(url) as store:
            store.apply(writer.changes)
            names.append(store.get("run", own).name)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert names == ["new"] * 6
    assert len(list(tmp_path.glob("modeldb.db.backup-*"))) == 1


def test_a_newer_store_is_refused_and_stays_as_it_is(url, run_id, tmp_path):
    set_version(tmp_path / "modeldb.db", "0815")
    for open_it in (SQLiteStore, SQLiteStore.schema_state, SQLiteStore.upgrade_schema):
        with pytest.raises(StoreVersionError, match=r"0815.*newer"):
            open_it(url)
    assert version_in(tmp_path / "modeldb.db") == [("0815",)]
    assert list(tmp_path.glob("*.backup-*")) == []


def test_the_state_of_a_store_can_be_asked_without_altering_it(url, run_id, next_version, tmp_path):
    assert SQLiteStore.schema_state(url) == schema.SchemaState(url, NOW, NOW, ())
    next_version()
    state = SQLiteStore.schema_state(url)
    assert (state.version, state.latest, state.pending) == (NOW, NEXT, (NEXT,))
    assert version_in(tmp_path / "modeldb.db") == [(NOW,)]


def test_an_upgrade_says_what_it_did(url, run_id, next_version, tmp_path):
    assert SQLiteStore.upgrade_schema(url) == schema.Upgrade(NOW, NOW, None)
    next_version()
    done = SQLiteStore.upgrade_schema(url)
    assert (done.before, done.after) == (NOW, NEXT)
    assert Path(done.backup).parent == tmp_path
    assert SQLiteStore.upgrade_schema(url) == schema.Upgrade(NEXT, NEXT, None)


# What another version may do


def write_run(store, name="further"):
    writer = StreamWriter()
    run_id = writer.create_run(name=name).entity_id
    store.apply(writer.changes)
    return run_id


def everything_of(store, run_id):
    """Ask all that can be asked."""
    with pytest.raises(NotFoundError):
        store.read_series(run_id, "loss")
    page = store.find(Query(order_by="name", count=True))
    return store.get("run", run_id).name, page.total, store.find_keys(Query()), store.read_changes(), store.heads()


@pytest.mark.parametrize("options", [{}, {"read_only": True}])
def test_reading_an_old_store_alters_nothing(url, run_id, next_version, tmp_path, options):
    path = tmp_path / "modeldb.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    before, names = path.read_bytes(), sorted(each.name for each in tmp_path.iterdir())
    next_version()
    elsewhere = (tmp_path / "migrations").rename(tmp_path.with_name("elsewhere"))
    with SQLiteStore(url, **options) as store:
        assert everything_of(store, run_id)[:2] == ("old", 1)  # without any migration
        elsewhere.rename(tmp_path / "migrations")
        assert verify(store).findings == []  # which compares with the tables of that version
    shutil.rmtree(tmp_path / "migrations")
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == names


def test_a_write_upgrades_a_file_of_ones_own_and_older_code_goes_on(url, run_id, next_version, tmp_path, monkeypatch):
    with SQLiteStore(url) as older:
        write_run(older)
        with monkeypatch.context() as newer:
            for name, value in next_version().values.items():
                newer.setattr(schema, name, value)
            with SQLiteStore(url) as store:
                assert version_in(tmp_path / "modeldb.db") == [(NOW,)]
                write_run(store)
            assert version_in(tmp_path / "modeldb.db") == [(NEXT,)]
            assert len(list(tmp_path.glob("modeldb.db.backup-*"))) == 1
        monkeypatch.undo()
        write_run(older)
        assert everything_of(older, run_id)[:2] == ("old", 4)
    with SQLiteStore(url) as again:
        write_run(again)
        assert everything_of(again, run_id)[:2] == ("old", 5)


def test_a_file_of_somebody_else_is_written_as_it_is(url, run_id, next_version, tmp_path, monkeypatch):
    monkeypatch.setattr(SQLiteDatabase, "is_own", False)
    next_version()
    with SQLiteStore(url) as store:
        write_run(store)
    assert version_in(tmp_path / "modeldb.db") == [(NOW,)]


def test_a_write_that_needs_an_upgrade_with_which_older_code_cannot_go_on_is_refused(
    url, run_id, next_version, tmp_path
):
    next_version(writable_since=NEXT, oldest_writable=NEXT)
    with SQLiteStore(url) as store:
        assert everything_of(store, run_id)[:2] == ("old", 1)
        with pytest.raises(StoreVersionError, match=f"version {NOW}.*may read but not write; run: modeldb db upgrade"):
            write_run(store)
        assert version_in(tmp_path / "modeldb.db") == [(NOW,)]
        SQLiteStore.upgrade_schema(url)
        write_run(store)
        assert everything_of(store, run_id)[:2] == ("old", 2)


def test_an_old_store_that_cannot_be_read_as_it_is_says_what_to_run(url, run_id, next_version, tmp_path):
    next_version(oldest_readable=NEXT)
    for options in ({}, {"read_only": True}):
        with pytest.raises(StoreVersionError, match=f"version {NOW}.*reads those of {NEXT}.*run: modeldb db upgrade"):
            SQLiteStore(url, **options)
    assert version_in(tmp_path / "modeldb.db") == [(NOW,)]


def test_older_code_reads_and_writes_what_the_upgrade_lets_it(url, run_id, next_version, monkeypatch):
    for writable_since, readable_since in ((NOW, NOW), (NEXT, NOW), (NEXT, NEXT)):
        with SQLiteStore(url) as older:
            write_run(older)
            next_version(writable_since=writable_since, readable_since=readable_since)
            SQLiteStore.upgrade_schema(url)
            monkeypatch.undo()
            with closing(sqlite3.connect(path_of(url))) as connection:
                rows = connection.execute(
                    "SELECT version, readable_since, writable_since FROM modeldb_compatibility"
                ).fetchall()
            assert rows == [(NEXT, readable_since, writable_since)]
            if readable_since == NEXT:
                for use in (lambda: SQLiteStore(url), lambda older=older: write_run(older)):
                    with pytest.raises(StoreVersionError, match=rf"{NEXT}.*newer"):
                        use()
            elif writable_since == NEXT:
                with SQLiteStore(url) as reader:
                    for store in (older, reader):
                        assert everything_of(store, run_id)[0] == "old"
                        with pytest.raises(
                            StoreVersionError, match="may read but not write; install the newer ModelDB"
                        ):
                            write_run(store)
            else:
                write_run(older)
        for file in path_of(url).parent.glob("modeldb.db*"):
            file.unlink()
        writer = StreamWriter()
        run_id = writer.create_run(name="old").entity_id
        with SQLiteStore(url) as store:
            store.apply(writer.changes)


def test_a_database_of_something_else_is_refused_and_stays_as_it_is(url, tmp_path):
    path = tmp_path / "modeldb.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="recipes"):
        SQLiteStore(url)
    assert tables_of(path).keys() == {"recipes"}
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store(url, tmp_path):
    (tmp_path / "modeldb.db").touch()
    with pytest.raises(StoreReadOnlyError, match="empty"):
        SQLiteStore(url, read_only=True)
    with SQLiteStore(url) as store:
        assert store.heads() == {}


def test_migrations_are_installed_with_the_package():
    spec = importlib.util.find_spec("modeldb_core.backends._sql.migrations.versions.v0001_baseline")
    assert spec is not None


@pytest.mark.parametrize("sort", ["sqlite", "postgres"])
@pytest.mark.parametrize(
    ("missing", "statement"),
    [
        ("key_counts", "DROP TABLE key_counts"),
        ("number", "ALTER TABLE metrics RENAME COLUMN number TO before"),
    ],
)
def test_a_store_that_lacks_what_this_code_works_with_says_so_and_is_made_again_by_a_copy(
    request, tmp_path, url, sort, missing, statement
):
    url = request.getfixturevalue("postgres_url") if sort == "postgres" else url
    writer = StreamWriter()
    with open_store(url) as store:
        run_id = writer.create_run(name="old", metrics={"auc": 0.5}).entity_id
        store.apply(writer.changes)
        store._database.write(lambda transaction: transaction.connection.exec_driver_sql(statement))
    writer.create_run(name="new", metrics={"auc": 0.6})
    with open_store(url) as store:
        for ask in (
            lambda: (store.find_keys(Query()), store.find(Query(filter="metrics.auc > 0"))),
            lambda: store.apply(writer.changes),
        ):
            with pytest.raises(StoreVersionError, match=rf"lacks .*{missing}.*modeldb db upgrade.*modeldb copy"):
                ask()
        with open_store(f"sqlite:///{tmp_path}/again.db") as again:
            copy(store, again)
            assert again.get("run", run_id).name == "old"
            assert again.find_keys(Query())
