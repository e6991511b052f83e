"""Runs the migrations inside the transaction that ``database.py`` has begun."""

from __future__ import annotations

from alembic import context

from modeldb_server.accounts.database import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    version_table_schema=context.config.attributes["schema"],
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
