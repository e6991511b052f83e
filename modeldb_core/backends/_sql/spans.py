"""Spans: the outlines of many full chunks of a key in one row, so that a long series has few rows to look at.

A full chunk is merged no more, so neither does its outline change: once ``FAN_IN`` of a stream are there, they are
taken out of ``outlines`` and packed into a span. Only erasing takes a span apart again. What a span says besides its
outlines follows from them, and an audit compares it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.database import MANY
from modeldb_core.backends._sql.outlines import OUTLINE, load_outlines, pack_outlines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Select
    from sqlalchemy.sql.dml import Delete, Insert

    from modeldb_core.backends._sql.database import Database, Transaction

FAN_IN = 64
"""Outlines of a span: so many rows that a series of any length has beside its spans, and what a zoom reads of one."""


def gather(transaction: Transaction, entity_pk: int, stream_pk: int, key_pks: Sequence[int], full_rows: int) -> None:
    """Pack the outlines of full chunks that a stream has written of keys, of each that has enough of them."""
    of_stream = {"entity": entity_pk, "stream": stream_pk, "full": full_rows}
    found = transaction.rows(
        _crowded, {**of_stream, "enough": FAN_IN, MANY: transaction.database.many(sorted(set(key_pks)))}
    )
    packed, gone = [], []
    for key_pk, count in found:
        rows = transaction.rows(_full, {**of_stream, "key": key_pk})
        for at in range(0, count - count % FAN_IN, FAN_IN):
            some = rows[at : at + FAN_IN]
            packed.append(span_of(entity_pk, key_pk, stream_pk, load_outlines([pack_outlines(some)])))
            gone += [{"entity": entity_pk, "column": key_pk, "pk": row[0]} for row in some]
    transaction.write(_insert_span, packed)
    transaction.write(_delete_outline, gone)


def scatter(transaction: Transaction, entity_pk: int, chunk_pk: int) -> None:
    """Take the spans apart that hold outlines of a chunk."""
    written, gone = [], []
    for key_pk, first_chunk, stream_pk, data in transaction.rows(_around, {"entity": entity_pk, "chunk": chunk_pk}):
        members = load_outlines([data])
        if chunk_pk in members["chunk_pk"]:
            written += rows_of(entity_pk, key_pk, stream_pk, members)
            gone.append({"entity": entity_pk, "column": key_pk, "first": first_chunk})
    transaction.write(_insert_outline, written)
    transaction.write(_delete_span, gone)


def span_of(entity_pk: int, key_pk: int, stream_pk: int, members: NDArray[Any]) -> dict[str, Any]:
    """Return the row of ``spans`` that outlines make, which are ordered by their chunks."""
    return {
        "entity_pk": entity_pk,
        "key_pk": key_pk,
        "first_chunk": int(members["chunk_pk"][0]),
        "last_chunk": int(members["chunk_pk"][-1]),
        "stream_pk": stream_pk,
        "rows": int(members["rows"].sum()),
        "min_step": int(members["min_step"].min()),
        "max_step": int(members["max_step"].max()),
        "outlines": members.tobytes(),
    }


def rows_of(entity_pk: int, key_pk: int, stream_pk: int, members: NDArray[Any]) -> list[dict[str, Any]]:
    """Return the rows of ``outlines`` that those of a span would be."""
    same = {"entity_pk": entity_pk, "key_pk": key_pk, "stream_pk": stream_pk}
    names = [name for name in OUTLINE.names or () if name != "summary"]
    plain = zip(*(members[name].tolist() for name in names), strict=True)
    return [
        {**same, **dict(zip(names, row, strict=True)), "summary": summary.tobytes()}
        for row, summary in zip(plain, members["summary"], strict=True)
    ]


def _crowded(database: Database) -> Select[Any]:
    table = tables.outlines.c
    wanted = sa.select(table.key_pk, sa.func.count()).where(*_of_stream(), database.among(table.key_pk))
    return wanted.group_by(table.key_pk).having(sa.func.count() >= sa.bindparam("enough"))


def _full(_database: Database) -> Select[Any]:
    table = tables.outlines.c
    wanted = sa.select(table.chunk_pk, table.rows, table.min_step, table.max_step, table.summary)
    return wanted.where(*_of_stream(), table.key_pk == sa.bindparam("key")).order_by(table.chunk_pk)


def _of_stream() -> tuple[Any, ...]:
    table = tables.outlines.c
    return (
        table.entity_pk == sa.bindparam("entity"),
        table.stream_pk == sa.bindparam("stream"),
        table.rows >= sa.bindparam("full"),
    )


def _around(_database: Database) -> Select[Any]:
    table = tables.spans.c
    return sa.select(table.key_pk, table.first_chunk, table.stream_pk, table.outlines).where(
        table.entity_pk == sa.bindparam("entity"),
        table.first_chunk <= sa.bindparam("chunk"),
        table.last_chunk >= sa.bindparam("chunk"),
    )


def _insert_span(_database: Database) -> Insert:
    return sa.insert(tables.spans)


def _insert_outline(_database: Database) -> Insert:
    return sa.insert(tables.outlines)


def _delete_outline(_database: Database) -> Delete:
    table = tables.outlines.c
    return sa.delete(tables.outlines).where(
        table.entity_pk == sa.bindparam("entity"),
        table.key_pk == sa.bindparam("column"),
        table.chunk_pk == sa.bindparam("pk"),
    )


def _delete_span(_database: Database) -> Delete:
    table = tables.spans.c
    return sa.delete(tables.spans).where(
        table.entity_pk == sa.bindparam("entity"),
        table.key_pk == sa.bindparam("column"),
        table.first_chunk == sa.bindparam("first"),
    )
