"""Tables in PostgreSQL: made once by the one who comes first, upgraded with a backup, refused where they are not ours."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.config import Config

from modeldb_core.audit import verify
from modeldb_core.backends._sql import schema
from modeldb_core.backends._sql.tables import metadata
from modeldb_core.backends.postgres import PostgresStore
from modeldb_core.cli.program import run
from modeldb_core.errors import ConfigurationError, StoreReadOnlyError, StoreVersionError
from modeldb_core.queries import Query
from tests.backends.versions import NEXT, NOW
from tests.backends.writers import assert_all_there, in_children, write_runs


@pytest.fixture
def execute(postgres, postgres_url):
    """Runs statements past ModelDB."""
    name = postgres_url.rpartition("/")[2]
    return lambda statement: postgres.execute(statement, database=name)


def tables_of(execute, name="public"):
    """Return everything that describes the tables of a schema."""
    columns = execute(
        f"SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name "
        f"FROM information_schema.columns WHERE table_schema = '{name}' ORDER BY 1, 2"
    )
    indexes = execute(f"SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = '{name}' ORDER BY 1")
    constraints = execute(
        f"SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = '{name}'::regnamespace "
        f"ORDER BY 1"
    )
    return columns, indexes, constraints


def test_migrations_make_the_same_tables_as_a_new_store(postgres_url, execute):
    with PostgresStore(postgres_url) as store:
        made = tables_of(execute)
        execute("DROP SCHEMA public CASCADE")
        execute("CREATE SCHEMA public")

        def migrate(transaction):
            config = Config()
            config.set_main_option("script_location", schema.MIGRATIONS)
            config.attributes["connection"] = transaction.connection
            command.upgrade(config, "head")

        store._database.write(migrate)
    assert tables_of(execute) == made
    assert len(made[0]) > 80


def test_texts_compare_by_code_point(postgres_url, execute):
    PostgresStore(postgres_url).close()
    query = "SELECT DISTINCT collation_name FROM information_schema.columns WHERE data_type = 'text'"
    assert execute(f"{query} AND table_schema = 'public'") == [("C",)]


def test_many_processes_make_one_database(postgres_url):
    url = f"{postgres_url}?schema=new"

    def work():
        with PostgresStore(url) as store:
            write_runs(store, 1)

    in_children(8, work)
    with PostgresStore(url) as store:
        assert_all_there(store, 8)


def test_schemas_of_one_database_are_stores_of_their_own(postgres_url):
    with PostgresStore(postgres_url) as one, PostgresStore(postgres_url, schema='a "b" %') as other:
        write_runs(one, 1)
        write_runs(other, 2)
        assert_all_there(one, 1)
        assert_all_there(other, 2)
        assert "?" not in one.url
        assert other.url.endswith("?schema=a%20%22b%22%20%25")


def test_an_old_store_is_upgraded_with_a_backup_that_is_a_store(postgres_url, next_version, execute, capsys):
    with PostgresStore(postgres_url) as store:
        write_runs(store, 3)
        before = schema.LATEST
        as_it_was = tables_of(execute)
        next_version()
        state = PostgresStore.schema_state(postgres_url)
        assert (state.version, state.latest, state.pending) == (before, NEXT, (NEXT,))
        assert run(["db", "upgrade", "--dry-run", "--url", postgres_url]) == 0
        assert "to be done: 0099" in capsys.readouterr().out
        done = PostgresStore.upgrade_schema(postgres_url)
        assert (done.before, done.after) == (before, NEXT)
        assert f"?schema=modeldb_backup_{before}_" in done.backup
        assert PostgresStore.upgrade_schema(postgres_url) == schema.Upgrade(NEXT, NEXT, None)
        assert_all_there(store, 3)
    assert execute("SELECT count(*) FROM information_schema.columns WHERE column_name = 'colour'") == [(1,)]
    name = done.backup.partition("=")[2]
    columns, indexes, _ = tables_of(execute, name)
    assert [column[:4] for column in columns] == [column[:4] for column in as_it_was[0]]
    assert len(indexes) == len(as_it_was[1])
    with PostgresStore(postgres_url, schema=name) as backup:
        assert_all_there(backup, 3)
        write_runs(backup, 1)
        assert verify(backup).findings == []


def test_many_that_upgrade_a_store_at_once_do_it_once(postgres_url, next_version, execute):
    with PostgresStore(postgres_url) as store:
        write_runs(store, 1)
    next_version()
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: PostgresStore.upgrade_schema(postgres_url), range(6)))
    assert sorted(each.before for each in done) == [NOW, *[NEXT] * 5]
    assert execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'modeldb_backup%'") == [(1,)]


def test_a_store_of_a_team_is_upgraded_by_nobody_who_reads_or_writes_it(postgres_url, next_version, execute):
    with PostgresStore(postgres_url) as store:
        write_runs(store, 1)
        next_version()
        with PostgresStore(postgres_url) as newer:
            assert newer.find(Query(count=True)).total == 1
            assert verify(newer).findings == []
            write_runs(newer, 1)
        write_runs(store, 1)
    with PostgresStore(postgres_url, read_only=True) as reader:
        assert_all_there(reader, 3)
    assert execute("SELECT version_num FROM modeldb_version") == [(NOW,)]
    assert execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'modeldb_backup%'") == [(0,)]


def test_a_writer_that_is_open_meets_an_upgrade_in_a_sentence_or_not_at_all(postgres_url, next_version, monkeypatch):
    with PostgresStore(postgres_url) as older:
        write_runs(older, 1)
        next_version()
        PostgresStore.upgrade_schema(postgres_url)
        monkeypatch.undo()
        write_runs(older, 1)  # an upgrade with which older code can go on
    with PostgresStore(postgres_url) as again:
        assert_all_there(again, 2)
        again._database.write(
            lambda write: write.connection.exec_driver_sql("UPDATE modeldb_compatibility SET writable_since = '0098'")
        )
        again._database.write(
            lambda write: write.connection.exec_driver_sql(
                "UPDATE modeldb_version SET version_num = '0098'; UPDATE modeldb_compatibility SET version = '0098'"
            )
        )
        with pytest.raises(StoreVersionError, match="version 0098.*may read but not write; install the newer ModelDB"):
            write_runs(again, 1)
        assert_all_there(again, 2)


def test_an_upgrade_that_fails_leaves_everything_as_it_was(postgres_url, next_version, execute):
    with PostgresStore(postgres_url) as store:
        write_runs(store, 1)
        before = tables_of(execute)
        next_version('raise RuntimeError("no")')
        with pytest.raises(RuntimeError, match="no"):
            PostgresStore.upgrade_schema(postgres_url)
        assert tables_of(execute) == before
        assert execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'modeldb_backup%'") == [(0,)]
        assert_all_there(store, 1)


def test_a_newer_store_is_refused_and_stays_as_it_is(postgres_url, execute):
    PostgresStore(postgres_url).close()
    execute("UPDATE modeldb_version SET version_num = '0815'")
    for open_it in (PostgresStore, PostgresStore.schema_state, PostgresStore.upgrade_schema):
        with pytest.raises(StoreVersionError, match=r"0815.*newer"):
            open_it(postgres_url)
    assert execute("SELECT version_num FROM modeldb_version") == [("0815",)]


def test_a_database_of_something_else_is_refused_and_stays_as_it_is(postgres_url, execute):
    execute("CREATE TABLE recipes (name text)")
    for open_it in (PostgresStore, PostgresStore.schema_state, PostgresStore.upgrade_schema):
        with pytest.raises(ConfigurationError, match=r"recipes.*schema of its own, such as \?schema=modeldb"):
            open_it(postgres_url)
    assert execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [("recipes",)]
    PostgresStore(postgres_url, schema="modeldb").close()


def test_the_command_upgrades_the_schema_that_the_configuration_names(
    postgres_url, tmp_path, monkeypatch, capsys, execute
):
    settings = tmp_path / "modeldb.toml"
    settings.write_text(f'url = "{postgres_url}"\n\n[stores.postgresql]\nschema = "configured"\n')
    monkeypatch.setenv("MODELDB_CONFIG", str(settings))
    assert run(["db", "upgrade"]) == 0
    assert "schema=configured" in capsys.readouterr().out
    assert execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'configured'") == [(len(metadata.tables) + 1,)]
    with pytest.raises(StoreReadOnlyError):
        PostgresStore(postgres_url, read_only=True)
