"""The tables. ``docs/stores/sqlite.md`` explains them; a change here needs a migration, and ``preparing.py`` to run.

Wide things lie apart from narrow ones: a search runs over ``entities``, ``facts`` and ``metrics``, and only what it
returns is looked up in ``documents``. Text compares by code point in every database.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    literal_column,
)

from modeldb_core.backends._sql.layout import COMPATIBILITY_TABLE, PREFIX_LENGTH, VERSION_TABLE

metadata = MetaData(naming_convention={"pk": "%(table_name)s_pkey", "uq": "%(table_name)s_by_%(column_0_N_name)s"})

_Pk = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only where the type is INTEGER
partial_indexes: dict[Index, ColumnElement[bool]] = {}
"""Indexes of some of the rows, and of which ones. (Saying so to every database would import all their dialects.)"""

_Text = Text().with_variant(Text(collation="C"), "postgresql")


def _partial(name: str, *columns: Any, where: ColumnElement[bool]) -> None:  # noqa: ANN401 - what an index takes
    partial_indexes[Index(name, *columns, sqlite_where=where)] = where


version_table = Table(  # as Alembic makes it, which keeps it
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)

compatibility = Table(  # one row: which code may use the tables; schema.Revision
    COMPATIBILITY_TABLE,
    metadata,
    Column("version", String(32), primary_key=True),
    Column("readable_since", String(32), nullable=False),
    Column("writable_since", String(32), nullable=False),
    Column("stamp", String(32), nullable=False),  # another one whenever declarations change
)

streams = Table(
    "streams",
    metadata,
    Column("stream_pk", _Pk, primary_key=True, autoincrement=False),
    Column("stream_id", _Text, nullable=False, unique=True),
    Column("seq", BigInteger, nullable=False),  # 0: named by a run, but nothing of it has arrived
    Column("hash", LargeBinary, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("lease_s", Float, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("closed", SmallInteger, nullable=False),
)

actors = Table(
    "actors",
    metadata,
    Column("actor_pk", _Pk, primary_key=True, autoincrement=False),
    Column("actor", _Text, nullable=False, unique=True),
)

entities = Table(
    "entities",
    metadata,
    Column("entity_pk", _Pk, primary_key=True, autoincrement=False),
    Column("entity_id", _Text, nullable=False),
    Column("kind", _Text, nullable=False),
    Column("present", SmallInteger, nullable=False),  # 0: named by a change, without a document; 2: erased
    Column("name", _Text),  # texts too long to be searched are NULL here
    Column("owner", _Text),
    Column("status", _Text),
    Column("container_id", _Text),  # KindDeclaration.home
    Column("workspace_id", _Text),  # where it lies: homes.py
    Column("project_id", _Text),
    Column("parent_id", _Text),
    Column("stream_pk", BigInteger),  # of the writer
    Column("created_at", BigInteger),
    Column("updated_at", BigInteger),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("deleted_at", BigInteger),
    UniqueConstraint("entity_id", "kind"),
)
Index("entities_by_kind", entities.c.kind, entities.c.created_at, entities.c.entity_id)
Index("entities_by_container", entities.c.container_id, entities.c.kind, entities.c.created_at, entities.c.entity_id)
for _name in ("workspace", "project", "parent"):
    _partial(
        f"entities_by_{_name}",
        entities.c[f"{_name}_id"],
        entities.c.kind,
        entities.c.created_at,
        entities.c.entity_id,
        where=entities.c[f"{_name}_id"].is_not(None),
    )
_partial(
    "entities_deleted",  # so few that counting can do without looking at every entity
    entities.c.kind,
    entities.c.entity_pk,
    where=entities.c.deleted_at.is_not(None),
)

documents = Table(
    "documents",
    metadata,
    Column("entity_pk", _Pk, primary_key=True, autoincrement=False),
    Column("document", _Text, nullable=False),
    Column("apart", _Text),  # the maps whose items are rows of items, and the next place in each; as a rule NULL
)

items = Table(
    "items",  # of large maps of documents
    metadata,
    Column("entity_pk", BigInteger, primary_key=True, autoincrement=False),
    Column("field", _Text, primary_key=True),
    Column("name", _Text, primary_key=True),  # items.name_of
    Column("place", BigInteger, nullable=False),  # in the order of the map
    Column("item", _Text, nullable=False),  # key and value as JSON
    sqlite_with_rowid=False,
)

changes = Table(
    "changes",
    metadata,
    Column("position", _Pk, primary_key=True, autoincrement=False),
    Column("stream_pk", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("actor_pk", BigInteger, nullable=False),
    Column("entity_pk", BigInteger),  # NULL: the stream itself
    Column("action", _Text, nullable=False),
    Column("salt", LargeBinary),  # NULL: erased
    Column("payload_digest", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("payload", LargeBinary),  # NULL: erased, or the points of a series
    UniqueConstraint("stream_pk", "seq"),
)
Index("changes_by_entity", changes.c.entity_pk, changes.c.position)

erased = Table(  # which payloads somebody erased, or tried to, also of changes that have not arrived yet
    "erased",
    metadata,
    Column("stream_pk", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("done", SmallInteger, nullable=False),  # 1: it took effect
    sqlite_with_rowid=False,
)

unique_values = Table(  # names and the like: who has them
    "unique_values",
    metadata,
    Column("digest", _Text, primary_key=True),  # claims.Claim.digest
    Column("entity_pk", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

links = Table(  # which entity names which, by the fields that the schema calls references
    "links",
    metadata,
    Column("target_id", _Text, primary_key=True),
    Column("field", _Text, primary_key=True),  # before what it is a field of: of one field most entities have few
    Column("entity_pk", BigInteger, primary_key=True, autoincrement=False),
    Column("target_kind", _Text, primary_key=True),  # "": of any kind
    sqlite_with_rowid=False,
)
Index("links_by_entity", links.c.entity_pk)

declarations = Table(  # by which declaration of a kind its rows are made
    "declarations",
    metadata,
    Column("kind", _Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("fingerprint", _Text, nullable=False),
)

outdated = Table(  # entities whose rows, or document, were made by code that knew less
    "outdated",
    metadata,
    Column("entity_pk", BigInteger, primary_key=True, autoincrement=False),
    Column("action", _Text, primary_key=True),  # of a change that nobody has interpreted; "": only the rows
    sqlite_with_rowid=False,
)

keys = Table(
    "keys",
    metadata,
    Column("key_pk", _Pk, primary_key=True, autoincrement=False),
    Column("section", _Text, nullable=False),
    Column("key", _Text, nullable=False),
    UniqueConstraint("section", "key").ddl_if(dialect="sqlite"),
)
# The longest keys do not fit into an ordered index of PostgreSQL. That no key is there twice, its writers' lock ensures.
hashed_index = Index("keys_by_hash", keys.c.key).ddl_if(dialect="postgresql")


def _prefix(column: Column[str]) -> Any:  # noqa: ANN401 - what an index takes
    """Return the expression by which a text is indexed; its numbers must stand in it literally."""
    return func.substr(column, literal_column("1"), literal_column(str(PREFIX_LENGTH)))


facts = Table(
    "facts",
    metadata,
    Column("entity_pk", BigInteger, primary_key=True, autoincrement=False),
    Column("key_pk", BigInteger, primary_key=True, autoincrement=False),
    Column("value_type", SmallInteger, nullable=False),  # documents.VALUE_TYPES
    Column("number", Float),  # NULL for NaN
    Column("text", _Text),  # or the digits of an integer beyond 2^53
    sqlite_with_rowid=False,
)
Index("facts_by_number", facts.c.key_pk, facts.c.number, facts.c.value_type)
_partial(
    "facts_by_text",
    facts.c.key_pk,
    _prefix(facts.c.text),
    facts.c.value_type,
    where=facts.c.text.is_not(None),
)

key_counts = Table(  # how many entities carry a key: those that a question without a filter finds, by where they lie
    "key_counts",
    metadata,
    Column("kind", _Text, primary_key=True),
    Column("project_id", _Text, primary_key=True),  # "" where there is none
    Column("workspace_id", _Text, primary_key=True),
    Column("key_pk", BigInteger, primary_key=True, autoincrement=False),  # 0: the entities themselves
    Column("form", SmallInteger, primary_key=True, autoincrement=False),  # counting.py
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

metrics = Table(
    "metrics",
    metadata,
    Column("key_pk", BigInteger, primary_key=True, autoincrement=False),
    Column("entity_pk", BigInteger, primary_key=True, autoincrement=False),
    Column("value_type", SmallInteger, nullable=False),
    Column("number", Float),  # the value logged once, else the last one of the series; NULL for NaN
    Column("text", _Text),
    Column("once", SmallInteger, nullable=False),
    # The series; NULL where there is none. Of the floats, NULL is NaN.
    Column("count", BigInteger),
    Column("nan_count", BigInteger),
    Column("first", Float),
    Column("last", Float),
    Column("minimum", Float),
    Column("maximum", Float),
    Column("mean", Float),
    Column("total", Float),
    Column("first_step", BigInteger),
    Column("last_step", BigInteger),
    Column("min_step", BigInteger),
    Column("max_step", BigInteger),
    Column("first_at", BigInteger),
    Column("last_at", BigInteger),
    Column("exact", LargeBinary),  # the floats, where one is -0.0, which SQLite stores as 0
    sqlite_with_rowid=False,
)
Index("metrics_by_number", metrics.c.key_pk, metrics.c.number, metrics.c.value_type)
_partial(
    "metrics_by_entity",
    metrics.c.entity_pk,
    where=metrics.c.count.is_not(None),
)

key_lists = Table(
    "key_lists",
    metadata,
    Column("list_pk", _Pk, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("key_pks", LargeBinary, nullable=False),
)

pending = Table(
    "pending",
    metadata,
    Column("position", _Pk, primary_key=True, autoincrement=False),
    Column("entity_pk", BigInteger, nullable=False),
    Column("stream_pk", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
Index("pending_by_entity", pending.c.entity_pk, pending.c.position, pending.c.size)

chunks = Table(
    "chunks",
    metadata,
    Column("chunk_pk", _Pk, primary_key=True, autoincrement=False),
    Column("entity_pk", BigInteger, nullable=False),
    Column("list_pk", BigInteger, nullable=False),
    Column("stream_pk", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("first_position", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column("segments", LargeBinary, nullable=False),
    Column("steps", LargeBinary, nullable=False),
    Column("times", LargeBinary, nullable=False),
)
Index(
    "chunks_by_list",
    chunks.c.entity_pk,
    chunks.c.list_pk,
    chunks.c.stream_pk,
    chunks.c.first_position,
    chunks.c.rows,
)

columns = Table(
    "columns",
    metadata,
    Column("column_pk", _Pk, primary_key=True),
    Column("entity_pk", BigInteger, nullable=False),
    Column("key_pk", BigInteger, nullable=False),
    Column("chunk_pk", BigInteger, nullable=False),
    Column("values", LargeBinary, nullable=False),
    UniqueConstraint("entity_pk", "key_pk", "chunk_pk"),
)
Index("columns_by_chunk", columns.c.chunk_pk)

outlines = Table(  # what can be said of each row of columns without reading its points
    "outlines",
    metadata,
    Column("entity_pk", BigInteger, primary_key=True, autoincrement=False),
    Column("key_pk", BigInteger, primary_key=True, autoincrement=False),
    Column("chunk_pk", BigInteger, primary_key=True, autoincrement=False),
    Column("stream_pk", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("min_step", BigInteger),  # NULL: it holds no points
    Column("max_step", BigInteger),
    Column("summary", LargeBinary),  # outlines.SUMMARY; NULL where the points are few
    sqlite_with_rowid=False,
)
Index(
    "outlines_by_step",  # a zoom looks at nothing else before it reads points
    outlines.c.entity_pk,
    outlines.c.key_pk,
    outlines.c.max_step,
    outlines.c.min_step,
    outlines.c.rows,
    outlines.c.stream_pk,
    outlines.c.chunk_pk,
)

spans = Table(  # outlines of full chunks, which change no more: many in one row instead of a row each
    "spans",
    metadata,
    Column("entity_pk", BigInteger, primary_key=True, autoincrement=False),
    Column("key_pk", BigInteger, primary_key=True, autoincrement=False),
    Column("first_chunk", BigInteger, primary_key=True, autoincrement=False),  # the lowest number of a chunk in it
    Column("last_chunk", BigInteger, nullable=False),
    Column("stream_pk", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),  # points in all of its chunks
    Column("min_step", BigInteger, nullable=False),
    Column("max_step", BigInteger, nullable=False),
    Column("outlines", LargeBinary, nullable=False),  # of outlines.OUTLINE
)
Index(
    "spans_by_step",
    spans.c.entity_pk,
    spans.c.key_pk,
    spans.c.max_step,
    spans.c.min_step,
    spans.c.rows,
    spans.c.stream_pk,
    spans.c.first_chunk,
    spans.c.last_chunk,
)
