"""The baseline: the tables with which the versions begin.

Revision ID: 0001
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_PK = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "modeldb_compatibility",
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("readable_since", sa.String(32), nullable=False),
        sa.Column("writable_since", sa.String(32), nullable=False),
        sa.Column("stamp", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("modeldb_compatibility_pkey")),
    )
    _create_log()
    _create_entities()
    _create_unique_values()
    _create_metrics()
    _create_key_counts()
    _create_points()


def _create_log() -> None:
    op.create_table(
        "streams",
        sa.Column("stream_pk", _PK, autoincrement=False, nullable=False),
        sa.Column("stream_id", _TEXT, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_s", sa.Float(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("closed", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stream_pk", name=op.f("streams_pkey")),
        sa.UniqueConstraint("stream_id", name=op.f("streams_by_stream_id")),
    )
    op.create_table(
        "actors",
        sa.Column("actor_pk", _PK, autoincrement=False, nullable=False),
        sa.Column("actor", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("actor_pk", name=op.f("actors_pkey")),
        sa.UniqueConstraint("actor", name=op.f("actors_by_actor")),
    )
    op.create_table(
        "changes",
        sa.Column("position", _PK, autoincrement=False, nullable=False),
        sa.Column("stream_pk", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("actor_pk", sa.BigInteger(), nullable=False),
        sa.Column("entity_pk", sa.BigInteger(), nullable=True),
        sa.Column("action", _TEXT, nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=True),
        sa.Column("payload_digest", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("position", name=op.f("changes_pkey")),
        sa.UniqueConstraint("stream_pk", "seq", name=op.f("changes_by_stream_pk_seq")),
    )
    op.create_index("changes_by_entity", "changes", ["entity_pk", "position"], unique=False)
    op.create_table(
        "erased",
        sa.Column("stream_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("done", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stream_pk", "seq", name=op.f("erased_pkey")),
        sqlite_with_rowid=False,
    )


def _create_entities() -> None:
    op.create_table(
        "entities",
        sa.Column("entity_pk", _PK, autoincrement=False, nullable=False),
        sa.Column("entity_id", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("present", sa.SmallInteger(), nullable=False),
        sa.Column("name", _TEXT, nullable=True),
        sa.Column("owner", _TEXT, nullable=True),
        sa.Column("status", _TEXT, nullable=True),
        sa.Column("container_id", _TEXT, nullable=True),
        sa.Column("workspace_id", _TEXT, nullable=True),
        sa.Column("project_id", _TEXT, nullable=True),
        sa.Column("parent_id", _TEXT, nullable=True),
        sa.Column("stream_pk", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("entity_pk", name=op.f("entities_pkey")),
        sa.UniqueConstraint("entity_id", "kind", name=op.f("entities_by_entity_id_kind")),
    )
    op.create_index(
        "entities_by_container", "entities", ["container_id", "kind", "created_at", "entity_id"], unique=False
    )
    op.create_index("entities_by_kind", "entities", ["kind", "created_at", "entity_id"], unique=False)
    op.create_index(
        "entities_deleted", "entities", ["kind", "entity_pk"], unique=False, **_where("deleted_at IS NOT NULL")
    )
    for name in ("workspace", "project", "parent"):
        op.create_index(
            f"entities_by_{name}",
            "entities",
            [f"{name}_id", "kind", "created_at", "entity_id"],
            unique=False,
            **_where(f"{name}_id IS NOT NULL"),
        )
    _create_declared()
    op.create_table(
        "documents",
        sa.Column("entity_pk", _PK, autoincrement=False, nullable=False),
        sa.Column("document", _TEXT, nullable=False),
        sa.Column("apart", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("entity_pk", name=op.f("documents_pkey")),
    )
    op.create_table(
        "items",
        sa.Column("entity_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("field", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("item", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("entity_pk", "field", "name", name=op.f("items_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "keys",
        sa.Column("key_pk", _PK, autoincrement=False, nullable=False),
        sa.Column("section", _TEXT, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("key_pk", name=op.f("keys_pkey")),
        *((sa.UniqueConstraint("section", "key", name=op.f("keys_by_section_key")),) if _is_sqlite() else ()),
    )
    if not _is_sqlite():
        op.create_index("keys_by_hash", "keys", ["key"], unique=False, postgresql_using="hash")
    op.create_table(
        "facts",
        sa.Column("entity_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value_type", sa.SmallInteger(), nullable=False),
        sa.Column("number", sa.Float(), nullable=True),
        sa.Column("text", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("entity_pk", "key_pk", name=op.f("facts_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("facts_by_number", "facts", ["key_pk", "number", "value_type"], unique=False)
    op.create_index(
        "facts_by_text",
        "facts",
        ["key_pk", sa.text("substr(text, 1, 100)"), "value_type"],
        unique=False,
        **_where("text IS NOT NULL"),
    )


def _create_unique_values() -> None:
    op.create_table(
        "unique_values",
        sa.Column("digest", _TEXT, nullable=False),
        sa.Column("entity_pk", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("unique_values_pkey")),
        sqlite_with_rowid=False,
    )


def _create_declared() -> None:
    op.create_table(
        "links",
        sa.Column("target_id", _TEXT, nullable=False),
        sa.Column("field", _TEXT, nullable=False),
        sa.Column("entity_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("target_kind", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("target_id", "field", "entity_pk", "target_kind", name=op.f("links_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("links_by_entity", "links", ["entity_pk"], unique=False)
    op.create_table(
        "declarations",
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("declarations_pkey")),
    )
    op.create_table(
        "outdated",
        sa.Column("entity_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("action", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("entity_pk", "action", name=op.f("outdated_pkey")),
        sqlite_with_rowid=False,
    )


def _create_metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("key_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entity_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value_type", sa.SmallInteger(), nullable=False),
        sa.Column("number", sa.Float(), nullable=True),
        sa.Column("text", _TEXT, nullable=True),
        sa.Column("once", sa.SmallInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=True),
        sa.Column("nan_count", sa.BigInteger(), nullable=True),
        sa.Column("first", sa.Float(), nullable=True),
        sa.Column("last", sa.Float(), nullable=True),
        sa.Column("minimum", sa.Float(), nullable=True),
        sa.Column("maximum", sa.Float(), nullable=True),
        sa.Column("mean", sa.Float(), nullable=True),
        sa.Column("total", sa.Float(), nullable=True),
        sa.Column("first_step", sa.BigInteger(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("min_step", sa.BigInteger(), nullable=True),
        sa.Column("max_step", sa.BigInteger(), nullable=True),
        sa.Column("first_at", sa.BigInteger(), nullable=True),
        sa.Column("last_at", sa.BigInteger(), nullable=True),
        sa.Column("exact", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("key_pk", "entity_pk", name=op.f("metrics_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("metrics_by_entity", "metrics", ["entity_pk"], unique=False, **_where("count IS NOT NULL"))
    op.create_index("metrics_by_number", "metrics", ["key_pk", "number", "value_type"], unique=False)


def _create_key_counts() -> None:
    op.create_table(
        "key_counts",
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("project_id", _TEXT, nullable=False),
        sa.Column("workspace_id", _TEXT, nullable=False),
        sa.Column("key_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("form", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "project_id", "workspace_id", "key_pk", "form", name=op.f("key_counts_pkey")),
        sqlite_with_rowid=False,
    )


def _create_points() -> None:
    op.create_table(
        "key_lists",
        sa.Column("list_pk", _PK, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("key_pks", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("list_pk", name=op.f("key_lists_pkey")),
        sa.UniqueConstraint("digest", name=op.f("key_lists_by_digest")),
    )
    op.create_table(
        "pending",
        sa.Column("position", _PK, autoincrement=False, nullable=False),
        sa.Column("entity_pk", sa.BigInteger(), nullable=False),
        sa.Column("stream_pk", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pending_pkey")),
    )
    op.create_index("pending_by_entity", "pending", ["entity_pk", "position", "size"], unique=False)
    op.create_table(
        "chunks",
        sa.Column("chunk_pk", _PK, autoincrement=False, nullable=False),
        sa.Column("entity_pk", sa.BigInteger(), nullable=False),
        sa.Column("list_pk", sa.BigInteger(), nullable=False),
        sa.Column("stream_pk", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("first_position", sa.BigInteger(), nullable=False),
        sa.Column("last_position", sa.BigInteger(), nullable=False),
        sa.Column("segments", sa.LargeBinary(), nullable=False),
        sa.Column("steps", sa.LargeBinary(), nullable=False),
        sa.Column("times", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chunk_pk", name=op.f("chunks_pkey")),
    )
    op.create_index(
        "chunks_by_list", "chunks", ["entity_pk", "list_pk", "stream_pk", "first_position", "rows"], unique=False
    )
    op.create_table(
        "columns",
        sa.Column("column_pk", _PK, nullable=False),
        sa.Column("entity_pk", sa.BigInteger(), nullable=False),
        sa.Column("key_pk", sa.BigInteger(), nullable=False),
        sa.Column("chunk_pk", sa.BigInteger(), nullable=False),
        sa.Column("values", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("column_pk", name=op.f("columns_pkey")),
        sa.UniqueConstraint("entity_pk", "key_pk", "chunk_pk", name=op.f("columns_by_entity_pk_key_pk_chunk_pk")),
    )
    op.create_index("columns_by_chunk", "columns", ["chunk_pk"], unique=False)
    op.create_table(
        "outlines",
        sa.Column("entity_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("chunk_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stream_pk", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("min_step", sa.BigInteger(), nullable=True),
        sa.Column("max_step", sa.BigInteger(), nullable=True),
        sa.Column("summary", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("entity_pk", "key_pk", "chunk_pk", name=op.f("outlines_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "outlines_by_step",
        "outlines",
        ["entity_pk", "key_pk", "max_step", "min_step", "rows", "stream_pk", "chunk_pk"],
        unique=False,
    )
    op.create_table(
        "spans",
        sa.Column("entity_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_chunk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_chunk", sa.BigInteger(), nullable=False),
        sa.Column("stream_pk", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("min_step", sa.BigInteger(), nullable=False),
        sa.Column("max_step", sa.BigInteger(), nullable=False),
        sa.Column("outlines", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("entity_pk", "key_pk", "first_chunk", name=op.f("spans_pkey")),
    )
    op.create_index(
        "spans_by_step",
        "spans",
        ["entity_pk", "key_pk", "max_step", "min_step", "rows", "stream_pk", "first_chunk", "last_chunk"],
        unique=False,
    )


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
