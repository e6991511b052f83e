"""Runs the migrations inside the transaction that ``schema.upgrade`` has begun."""

from __future__ import annotations

from alembic import context

from modeldb_core.backends._sql.layout import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], version_table=VERSION_TABLE, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
