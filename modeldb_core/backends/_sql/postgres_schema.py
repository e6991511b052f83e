"""Whether the schema of a PostgreSQL database is the one that the migrations make, as far as its catalog tells.

Only a writer could make a second schema to compare with, so the tables of the latest version are compared with what
``table_definitions.py`` declares; the tests prove that the migrations make the same. Of other versions only that is told which no
version has: triggers, rules, views, row security.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import dialect

from modeldb_core.backends._sql import schema
from modeldb_core.backends._sql.layout import VERSION_TABLE
from modeldb_core.backends._sql.postgres_connections import quoted
from modeldb_core.backends._sql.tables import keys, metadata, version_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection, Table

IndexShape: TypeAlias = tuple[bool, str, tuple[str, ...], str]
"""Whether it is unique, its method, what it holds, and of which rows."""

_SERIAL = (("columns", "column_pk"),)  # what the database numbers by itself
_DIALECT = dialect()  # type: ignore[no-untyped-call]
_OF_SCHEMA = "FROM pg_class c WHERE c.relnamespace = to_regnamespace(:schema)"
_OF_EXTENSION = "EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"
_TABLES = f"""
SELECT c.relname, c.relkind::text, c.relpersistence::text,
       EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid), c.relrowsecurity,
       EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid)
{_OF_SCHEMA} AND c.relkind NOT IN ('i', 'I', 'S', 't', 'c') AND NOT {_OF_EXTENSION} ORDER BY 1
"""
_TRIGGERS = """
SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = to_regnamespace(:schema) AND NOT t.tgisinternal ORDER BY 1, 2
"""
_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, coalesce(l.collname, '')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE c.relnamespace = to_regnamespace(:schema) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
"""
_INDEXES = """
SELECT t.relname, c.relname, i.indisvalid AND i.indisready AND i.indislive, i.indisunique, m.amname,
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, n, true) FROM generate_series(1, i.indnkeyatts) AS n),
       coalesce(pg_get_expr(i.indpred, i.indrelid, true), '')
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_am m ON m.oid = c.relam WHERE t.relnamespace = to_regnamespace(:schema) ORDER BY 1, 2
"""
_CAN_CHECK = """
SELECT p.oid::regproc::text FROM pg_proc p JOIN pg_extension e ON e.extname = 'amcheck' AND e.extnamespace = p.pronamespace
WHERE p.proname = 'bt_index_check' AND p.pronargs = 2 AND has_function_privilege(p.oid, 'EXECUTE')
"""
_BY_INDEX = ("enable_seqscan", "enable_sort", "enable_bitmapscan")
_BY_TABLE = ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan")


def check_schema(connection: Connection, schema_name: str, version: str) -> Iterator[str]:
    """Iterate over sentences on what no version of ModelDB makes, and on what the latest one makes otherwise."""
    own = {*metadata.tables, VERSION_TABLE}
    is_latest = version == schema.LATEST
    for name, kind, persistence, has_rules, has_security, has_heirs in _ask(connection, _TABLES, schema_name):
        if name not in own:
            if is_latest or kind != "r":
                yield f"the schema has {'the table' if kind == 'r' else 'what is not a table:'} {name!r}, which is not one of ModelDB's"
            continue
        flaws = {
            "is not a table": kind != "r",
            "does not outlive a crash of the server (it is unlogged)": kind == "r" and persistence != "p",
            "has rules": kind == "r" and has_rules,
            "has row security": has_security,
            "has tables that inherit from it": has_heirs,
        }
        yield from (f"the table {name!r} {flaw}; ModelDB makes none of that" for flaw, is_so in flaws.items() if is_so)
    for table, name in _ask(connection, _TRIGGERS, schema_name):
        yield f"the table {table!r} has the trigger {name!r}; ModelDB makes none"
    if is_latest:
        yield from _check_columns(connection, schema_name)
        yield from _check_indexes(connection, schema_name)


def check_indexes(connection: Connection, schema_name: str) -> Iterator[str]:
    """Iterate over sentences on indexes that do not hold every row of their table: a search would not find it."""
    checker = connection.execute(text(_CAN_CHECK)).scalar()
    for table, name, is_valid, _, method, columns, predicate in _ask(connection, _INDEXES, schema_name):
        if table not in metadata.tables or method != "btree":
            continue
        if not is_valid:
            yield f"the index {name!r} is not valid; run: REINDEX INDEX {quoted(name)}"
            continue
        if checker:
            with connection.begin_nested() as nested:
                try:
                    connection.execute(text(f"SELECT {checker}(:index, true)"), {"index": quoted(name)})
                except Exception as error:
                    nested.rollback()
                    yield f"the index {name!r} is damaged: {error}"
            continue
        where = f" WHERE {predicate}" if predicate else ""
        source = f"{quoted(table)}{where}"  # found by the search path of the transaction
        ordered = f"SELECT count(*) FROM (SELECT 1 FROM {source} ORDER BY {', '.join(columns)} OFFSET 0) AS rows"
        by_index = _count(connection, ordered, _BY_INDEX)
        by_table = _count(connection, f"SELECT count(*) FROM {source}", _BY_TABLE)
        if by_index != by_table:
            yield (
                f"the index {name!r} holds {by_index:,} rows, and the table {table!r} {by_table:,}; "
                f"run: REINDEX INDEX {quoted(name)}"
            )


def copying(schema_name: str, copy_name: str, tables: Iterable[str]) -> Iterator[str]:
    """Iterate over statements that make a schema with copies of tables."""
    own = quoted(schema_name)
    yield "SET LOCAL statement_timeout = 0"  # no limit for a migration that follows either
    yield f"CREATE SCHEMA {copy_name}"
    for table in map(quoted, tables):
        yield f"CREATE TABLE {copy_name}.{table} (LIKE {own}.{table} INCLUDING ALL)"
        yield f"INSERT INTO {copy_name}.{table} SELECT * FROM {own}.{table}"
    for table, column in _SERIAL:  # a copy takes its numbers from a sequence of its own
        sequence = f"{copy_name}.{table}_{column}_seq"
        yield f"CREATE SEQUENCE {sequence} OWNED BY {copy_name}.{table}.{column}"
        yield f"ALTER TABLE {copy_name}.{table} ALTER COLUMN {column} SET DEFAULT nextval('{sequence}')"
        last = f"(SELECT coalesce(max({column}), 0) + 1 FROM {copy_name}.{table})"
        yield f"SELECT setval('{sequence}', {last}, false)"


def _count(connection: Connection, query: str, without: Iterable[str]) -> int:
    """Return a count, with some ways of looking at a table switched off."""
    names = tuple(without)
    for name in names:
        connection.exec_driver_sql(f"SET LOCAL {name} = off")
    try:
        return int(connection.exec_driver_sql(query).scalar_one())
    finally:
        for name in names:
            connection.exec_driver_sql(f"SET LOCAL {name} = on")


def _check_columns(connection: Connection, schema_name: str) -> Iterator[str]:
    found: dict[str, dict[str, Any]] = {}
    for table, name, kind, is_required, collation in _ask(connection, _COLUMNS, schema_name):
        found.setdefault(table, {})[name] = (kind, is_required, collation)
    for table in _tables():
        if table.name not in found:
            yield f"the schema lacks the table {table.name!r}"
            continue
        expected = {}
        for column in table.columns:
            kind = column.type.compile(dialect=_DIALECT).partition(" COLLATE ")
            name = _TYPE_NAMES.get(kind[0], kind[0].lower())
            collation = kind[2].strip('"') or ("default" if name.startswith("character") else "")
            expected[column.name] = (name, not column.nullable, collation)
        for name in sorted(expected.keys() | found[table.name].keys()):
            if expected.get(name) != found[table.name].get(name):
                yield f"the column {name!r} of the table {table.name!r} is not as ModelDB makes it"


def _check_indexes(connection: Connection, schema_name: str) -> Iterator[str]:
    found: dict[str, list[IndexShape]] = {}
    for table, _, _, is_unique, method, columns, predicate in _ask(connection, _INDEXES, schema_name):
        shape = (is_unique, method, tuple(map(_plain, columns)), _plain(predicate))
        found.setdefault(table, []).append(shape)
    for table in _tables():
        expected, there = sorted(_indexes(table)), sorted(found.get(table.name, []))
        for shape in expected:
            if shape in there:
                there.remove(shape)
            else:
                yield f"the table {table.name!r} lacks its index of {', '.join(shape[2])}"
        for shape in there:
            yield f"the table {table.name!r} has an index of {', '.join(shape[2])}, which is not one of ModelDB's"


def _indexes(table: Table) -> Iterator[IndexShape]:
    # The longest keys fit into no ordered index of PostgreSQL: see table_definitions.py.
    unique = [each.columns for each in table.constraints if isinstance(each, UniqueConstraint) and table is not keys]
    for columns in (table.primary_key.columns, *unique):
        yield True, "btree", tuple(column.name for column in columns), ""
    for index in table.indexes:
        yield _shape(index)


def _shape(index: Index) -> IndexShape:
    options = index.dialect_options["postgresql"]
    where = options["where"]
    columns = tuple(_plain(_sql(each)) for each in index.expressions)
    condition = "" if where is None else _plain(_sql(where))
    return bool(index.unique), options["using"] or "btree", columns, condition


def _sql(expression: Any) -> str:  # noqa: ANN401 - of SQLAlchemy
    return str(expression.compile(dialect=_DIALECT))


def _tables() -> Iterator[Table]:
    yield from metadata.sorted_tables
    yield version_table


_TYPE_NAMES = {"BYTEA": "bytea", "FLOAT": "double precision", "VARCHAR(32)": "character varying(32)"}


def _plain(expression: str) -> str:
    """Return an expression without quotes, and without the names of tables and the spaces that nobody needs."""
    return re.sub(r"\b\w+\.(?=\w)|[\"() ]", "", expression)


def _ask(connection: Connection, query: str, schema_name: str) -> Iterable[Any]:
    return connection.execute(text(query), {"schema": quoted(schema_name)}).all()
