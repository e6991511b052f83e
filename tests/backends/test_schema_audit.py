"""A database whose schema is not the one that ModelDB makes is named, and takes no batch that it swallows."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import event

from modeldb_core.audit import verify
from modeldb_core.backends._sql.audit import check_tables
from modeldb_core.backends.postgres import PostgresStore
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.cli.program import run
from modeldb_core.errors import StoreReadOnlyError, StoreUnavailableError
from modeldb_core.queries import Query
from modeldb_core.testing import StreamWriter


def a_run(name="one"):
    writer = StreamWriter()
    run_id = writer.create_run(name=name, tags=["a"], hyperparameters={"lr": 0.1, "kind": "x"}).entity_id
    writer.append(run_id, {"loss": [1.0, 2.0]})
    return writer


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "modeldb.db"
    with SQLiteStore(f"sqlite:///{path}") as store:
        store.apply(a_run().changes)
    return path


def altered(path, *statements):
    """Run statements past ModelDB, the schema itself included."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def findings(url, of=SQLiteStore):
    with of(url) as store:
        return [str(each) for each in verify(store).findings]


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON facts BEGIN DELETE FROM facts; END", "has the trigger 't'"),
        ("CREATE VIEW v AS SELECT * FROM facts", "has the view 'v'"),
        ("CREATE TEMPORARY VIEW v AS SELECT 1", None),
        ("CREATE TABLE further (x)", "has the table 'further'"),
        ("CREATE INDEX further ON facts (text)", "has the index 'further'"),
        ("DROP INDEX facts_by_number", "lacks the index 'facts_by_number'"),
        ("DROP TABLE actors", "lacks the table 'actors'"),
        ("ALTER TABLE facts ADD COLUMN further", "the table 'facts' is not as ModelDB makes it"),
        (
            "UPDATE sqlite_master SET sql = replace(sql, 'kind, entity_pk', 'entity_pk') WHERE name = 'entities_deleted'",
            "the index 'entities_deleted' is not as ModelDB makes it",
        ),
    ],
)
def test_a_schema_that_somebody_altered_is_named(path, statement, named):
    altered(path, statement)
    found = findings(f"sqlite:///{path}")
    assert (found == []) if named is None else any(named in each for each in found)


def test_the_doctor_names_what_is_not_of_modeldb(path, capsys, monkeypatch, tmp_path):
    altered(path, "CREATE TRIGGER t AFTER INSERT ON facts BEGIN DELETE FROM facts; END")
    monkeypatch.setenv("MODELDB_JOURNAL_DIR", str(tmp_path / "journals"))
    assert run(["doctor", "--url", f"sqlite:///{path}"]) == 1
    assert "has the trigger 't'" in capsys.readouterr().out


def test_a_schema_that_is_newer_is_asked_for_what_no_version_has(path, next_version, monkeypatch):
    next_version()
    SQLiteStore.upgrade_schema(f"sqlite:///{path}")
    monkeypatch.undo()
    assert findings(f"sqlite:///{path}") == []
    altered(path, "CREATE TRIGGER t AFTER INSERT ON facts BEGIN SELECT 1; END")
    (found,) = findings(f"sqlite:///{path}")
    assert "has the trigger 't'" in found


def test_rows_that_are_there_twice_are_named(path):
    table = "entity_pk BIGINT, key_pk BIGINT, value_type SMALLINT, number FLOAT, text TEXT"
    altered(
        path,
        "ALTER TABLE facts RENAME TO once",
        f"CREATE TABLE facts ({table})",
        "INSERT INTO facts SELECT * FROM once UNION ALL SELECT * FROM once",
        "DROP TABLE once",
    )
    with SQLiteStore(f"sqlite:///{path}") as store:
        assert len(store.find(Query(filter="hyperparameters.lr > 0")).entities) == 2
    assert any("facts hold several rows for one entity_pk, key_pk" in each for each in findings(f"sqlite:///{path}"))


TABLES = ("streams", "actors", "changes", "entities", "documents", "keys", "facts", "metrics", "pending", "key_counts")


@pytest.mark.parametrize("table", TABLES)
def test_a_write_that_a_trigger_swallows_is_not_acknowledged(path, table):
    altered(path, f"CREATE TRIGGER t BEFORE INSERT ON {table} BEGIN SELECT RAISE(IGNORE); END")
    writer = StreamWriter(actor="another")
    run_id = writer.create_run(name="two", hyperparameters={"new": 1}).entity_id
    writer.append(run_id, {"loss": [1.0]})
    with SQLiteStore(f"sqlite:///{path}") as store:
        before = store.heads()
        with pytest.raises(StoreUnavailableError, match="did not write all rows of a batch"):
            store.apply(writer.changes)
        assert store.heads() == before
        altered(path, "DROP TRIGGER t")
        store.apply(writer.changes)
        assert verify(store).findings == []


def test_no_function_of_the_program_is_called_by_a_schema(path):
    altered(path, "CREATE VIEW v AS SELECT load_extension('nothing')")
    with SQLiteStore(f"sqlite:///{path}") as store:
        trusted = store._database.read(lambda read: read.connection.exec_driver_sql("PRAGMA trusted_schema").scalar())
    assert trusted == 0


# PostgreSQL


@pytest.fixture
def execute(postgres, postgres_url):
    name = postgres_url.rpartition("/")[2]
    with PostgresStore(postgres_url) as store:
        store.apply(a_run().changes)
    return lambda statement: postgres.execute(statement, database=name)


NOTHING = "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
ALTERED = (
    ("CREATE TRIGGER t AFTER INSERT ON facts EXECUTE FUNCTION nothing()", "DROP TRIGGER t ON facts", "the trigger 't'"),
    ("CREATE RULE r AS ON INSERT TO facts DO INSTEAD NOTHING", "DROP RULE r ON facts", "'facts' has rules"),
    ("ALTER TABLE keys ENABLE ROW LEVEL SECURITY", "ALTER TABLE keys DISABLE ROW LEVEL SECURITY", "has row security"),
    ("CREATE VIEW v AS SELECT * FROM facts", "DROP VIEW v", "'v', which is not one of ModelDB's"),
    ("CREATE TABLE further (x int)", "DROP TABLE further", "the table 'further'"),
    ("CREATE TABLE heir () INHERITS (facts)", "DROP TABLE heir", "has tables that inherit"),
    ("ALTER TABLE pending SET UNLOGGED", "ALTER TABLE pending SET LOGGED", "is unlogged"),
    (
        "ALTER TABLE facts ALTER text TYPE varchar",
        'ALTER TABLE facts ALTER text TYPE text COLLATE "C"',
        "column 'text'",
    ),
    ("CREATE INDEX further ON facts (text)", "DROP INDEX further", "has an index of text"),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'entities_by_kind'::regclass",
        "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'entities_by_kind'::regclass",
        "'entities_by_kind' is not valid",
    ),
    (
        "DROP INDEX facts_by_number",
        "CREATE INDEX facts_by_number ON facts (key_pk, number, value_type)",
        "lacks its index",
    ),
)


def test_a_schema_in_postgresql_that_somebody_altered_is_named(postgres_url, execute):
    execute(NOTHING)
    with PostgresStore(postgres_url) as store:
        for statement, undo, named in ALTERED:
            execute(statement)
            assert any(named in each for each in (*store.audit_schema(), *store.audit_tables())), statement
            execute(undo)
    assert findings(postgres_url, PostgresStore) == []


def test_rows_in_postgresql_that_are_there_twice_are_named(postgres_url, execute):
    execute("ALTER TABLE facts DROP CONSTRAINT facts_pkey")
    execute("INSERT INTO facts SELECT * FROM facts")
    found = findings(postgres_url, PostgresStore)
    assert any("facts hold several rows for one entity_pk, key_pk" in each for each in found)
    assert any("lacks its index of entity_pk, key_pk" in each for each in found)


def test_a_missing_entry_of_an_index_in_postgresql_is_named(postgres_url, execute):
    ready = "UPDATE pg_index SET indisready = {} WHERE indexrelid = 'facts_by_text'::regclass"
    execute(ready.format("false"))
    with PostgresStore(postgres_url) as store:
        store.apply(a_run("two").changes)
    execute(ready.format("true"))
    found = findings(postgres_url, PostgresStore)
    assert any("the index 'facts_by_text' holds" in each and "REINDEX INDEX" in each for each in found)
    execute("REINDEX INDEX facts_by_text")
    assert findings(postgres_url, PostgresStore) == []


def test_a_write_that_postgresql_swallows_is_not_acknowledged(postgres_url, execute):
    execute(NOTHING)
    with PostgresStore(postgres_url) as store:
        before = store.heads()
        for table in TABLES:
            writer = StreamWriter(actor="another")
            run_id = writer.create_run(name="two", hyperparameters={"new": 1}).entity_id
            writer.append(run_id, {"loss": [1.0]})
            for make, drop in (
                ("TRIGGER t BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION nothing()", "TRIGGER t ON {}"),
                ("RULE t AS ON INSERT TO {} DO INSTEAD NOTHING", "RULE t ON {}"),
            ):
                execute(f"CREATE {make.format(table)}")
                with pytest.raises(StoreUnavailableError):
                    store.apply(writer.changes)
                execute(f"DROP {drop.format(table)}")
        execute("CREATE TRIGGER t BEFORE UPDATE OR DELETE ON streams FOR EACH ROW EXECUTE FUNCTION nothing()")
        writer = a_run("three")
        store.apply(writer.changes[:1])
        with pytest.raises(StoreUnavailableError, match="did not write all rows of a batch"):
            store.apply(writer.changes)
        execute("DROP TRIGGER t ON streams")
        store.apply(writer.changes)
        assert len(store.heads()) == len(before) + 1
        assert verify(store).findings == []


def test_row_security_that_hides_what_is_written_is_not_acknowledged(postgres, postgres_url, execute):
    name = postgres_url.rpartition("/")[2]
    execute("CREATE ROLE blinkered LOGIN PASSWORD 'x'")
    execute("GRANT USAGE ON SCHEMA public TO blinkered")
    execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO blinkered")
    execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO blinkered")
    execute("ALTER TABLE facts ENABLE ROW LEVEL SECURITY")
    execute("CREATE POLICY p ON facts FOR INSERT WITH CHECK (true)")
    try:
        with PostgresStore(postgres.url(name, user="blinkered", password="x")) as store:
            before = store.heads()
            with pytest.raises(StoreReadOnlyError, match="row-level security"):
                store.apply(a_run("two").changes)
            assert store.heads() == before
    finally:
        execute("DROP OWNED BY blinkered CASCADE")
        execute("DROP ROLE blinkered")


def test_the_tables_are_checked_in_as_many_questions_however_many_runs_there_are(path):
    """Each page of a walk in pages looked for its first run among all: the audit took four times as long for twice as many."""
    with SQLiteStore(f"sqlite:///{path}") as store:
        asked = []
        event.listen(store._database.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))

        def questions():
            asked.clear()
            assert store._database.read(lambda transaction: list(check_tables(transaction))) == []
            return len(asked)

        writer = StreamWriter()
        writer.create_run(name="first", metrics={"auc": 0})
        store.apply(writer.changes)
        few = questions()
        for number in range(450):
            writer.create_run(name=f"run {number}", metrics={"auc": number})
        store.apply(writer.changes)
        assert questions() == few
