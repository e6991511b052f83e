"""Whether the schema of a SQLite file is the one that the migrations make: no table, trigger or index more or less."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from modeldb_core.backends._sql import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

Objects: TypeAlias = "Mapping[tuple[str, str], tuple[str, str]]"
"""Type and name of each object of a schema, with its table and its SQL."""


def check_schema(connection: Connection, version: str, further_tables: frozenset[str]) -> Iterator[str]:
    """Iterate over sentences on the objects that no migration made, and on those that are missing or altered."""
    found = {name: (table, sql) for name, (table, sql) in _objects(connection).items() if table not in further_tables}
    if all(version != known.version for known in schema.REVISIONS):
        for kind, name in found:
            if kind in ("trigger", "view"):
                yield f"the schema has the {kind} {name!r}; ModelDB makes none"
        return
    expected = _expected(version, schema.MIGRATIONS)
    for kind, name in sorted(found.keys() - expected.keys()):
        yield f"the schema has the {kind} {name!r}, which is not one of ModelDB's"
    for kind, name in sorted(expected.keys() - found.keys()):
        yield f"the schema lacks the {kind} {name!r}"
    for kind, name in sorted(found.keys() & expected.keys()):
        if found[kind, name] != expected[kind, name]:
            yield f"the {kind} {name!r} is not as ModelDB makes it"


@cache
def _expected(version: str, migrations: str) -> Objects:
    del migrations  # where they are; only a key of the cache
    engine = create_engine("sqlite://", poolclass=StaticPool)
    try:
        with engine.begin() as connection:
            schema.migrate(connection, version)
            return _objects(connection)
    finally:
        engine.dispose()


def _objects(connection: Connection) -> Objects:
    rows = connection.exec_driver_sql("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master")
    # What begins so is SQLite's own: it lets nobody make such a name.
    return {
        (kind, name): (table, " ".join(sql.split()))
        for kind, name, table, sql in rows
        if not name.startswith("sqlite_")
    }
