"""The version of the tables: making them, checking them, and bringing old ones up to date.

A store does that by itself when it is opened. For the command ``modeldb db upgrade`` there are :func:`version_of`, which
says where a database stands without altering it, and :func:`upgrade`, which says what it did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, String, Table, insert, select

from modeldb_core.backends._sql.tables import metadata

if TYPE_CHECKING:
    from modeldb_core.backends.sqlite import SQLiteDatabase

VERSION_TABLE = "modeldb_version"
REVISIONS = ("0001",)
"""All versions of the tables, the oldest first. Each has a migration of that name."""
LATEST = REVISIONS[-1]

_version = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True))


def prepare(database: SQLiteDatabase) -> None:
    version = database.read(_read_version)
    if version is None:
        def make(t):
            connection=t.connection
            if _read_version(t) is None:
                metadata.create_all(connection)
                _version.create(connection)
                connection.execute(insert(_version), {"version_num": LATEST})
        database.write(make)

def _read_version(t):
    connection=t.connection
    if not connection.dialect.has_table(connection, VERSION_TABLE):
        return None
    return connection.execute(select(_version)).scalar_one_or_none()
