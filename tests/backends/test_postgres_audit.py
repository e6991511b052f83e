"""An audit of a PostgreSQL store names whatever was altered with SQL behind our back."""

from __future__ import annotations

import random

import psycopg2
import pytest

from modeldb_core.audit import verify
from modeldb_core.backends._sql.tables import metadata
from modeldb_core.backends.postgres import PostgresStore
from tests.core.test_audit import ROUNDED, SURROGATES, TABLES, another, fill

ALWAYS = ("changes", "facts", "metrics")
"""The tables that every run of the tests alters; ``tox -e thorough`` alters all, and every run does in SQLite."""


@pytest.fixture(scope="module")
def url(postgres):
    """A database with something of everything in it."""
    url = postgres.new_database()
    with PostgresStore(url) as store:
        fill(store)
    yield url
    postgres.give_back(url)


@pytest.fixture
def connection(url):
    connection = psycopg2.connect(url)
    connection.autocommit = True
    yield connection.cursor()
    connection.close()


def audit(url):
    with PostgresStore(url) as store:
        return verify(store)


def test_what_is_untouched_verifies(url):
    report = audit(url)
    assert report.findings == []
    assert report.has_search_rows
    assert report.erased == 2


@pytest.mark.parametrize(
    "table", [pytest.param(table, marks=[] if table in ALWAYS else pytest.mark.thorough) for table in TABLES]
)
def test_any_altered_value_shows(url, connection, table):
    columns = [column.name for column in metadata.tables[table].columns]
    keys = [column.name for column in metadata.tables[table].primary_key.columns]
    connection.execute(f'SELECT * FROM "{table}" ORDER BY {", ".join(keys)}')
    rows = [[bytes(value) if isinstance(value, memoryview) else value for value in row] for row in connection]
    missed = []
    # Some: the same code looks at all of them in SQLite.
    told = [column for column in columns if (table, column) not in SURROGATES]
    for column in random.Random(table).sample(told, min(4, len(told))):
        place = columns.index(column)
        row = random.Random(column).choice([row for row in rows if row[place] is not None] or rows)
        identity = [row[columns.index(key)] for key in keys]
        value = alter(connection, table, column, row[place], dict(zip(keys, identity, strict=True)))
        if audit(url).ok:
            missed.append((column, row[place], value))
        altered = [value if key == column else known for key, known in zip(keys, identity, strict=True)]
        where = " AND ".join(f'"{key}" = %s' for key in keys)
        connection.execute(f'UPDATE "{table}" SET "{column}" = %s WHERE {where}', [row[place], *altered])
        assert connection.rowcount == 1
    assert missed == []
    assert audit(url).ok


def alter(connection, table, column, value, identity):
    """Set a value of a row to another one that the table takes, and return that."""
    where = " AND ".join(f'"{key}" = %s' for key in identity)
    for candidate in another(value)[1 if (table, column) in ROUNDED else 0 :]:
        try:
            connection.execute(f'UPDATE "{table}" SET "{column}" = %s WHERE {where}', [candidate, *identity.values()])
        except psycopg2.Error:
            continue
        assert connection.rowcount == 1
        return candidate
    pytest.fail(f"no other value for {column} {value!r} is possible")


@pytest.mark.thorough
@pytest.mark.parametrize("table", TABLES)
def test_any_deleted_row_shows(url, connection, table):
    keys = [column.name for column in metadata.tables[table].primary_key.columns]
    connection.execute(f"SELECT {', '.join(keys)} FROM {table} ORDER BY {', '.join(keys)}")
    identity = random.Random(table).choice(connection.fetchall())
    where = " AND ".join(f'"{key}" = %s' for key in keys)
    connection.execute(f"CREATE TABLE pg_temp.gone AS SELECT * FROM {table} WHERE {where}", identity)
    connection.execute(f"DELETE FROM {table} WHERE {where}", identity)
    report = audit(url)
    connection.execute(f"INSERT INTO {table} SELECT * FROM pg_temp.gone")
    assert not report.ok
    assert all(finding.subject and finding.message for finding in report.findings)
