"""The public base of stores on SQL databases: for databases that ModelDB brings no store for.

The tables, and how changes are applied and questions answered, are the same on every database and are shared with
SQLite and PostgreSQL. A further one is a subclass of :class:`EngineDatabase`, which says what is particular to it, and one of
:class:`SQLStore`, which says what its URLs mean. ``docs/backends.md`` shows both; ``examples/plugins/modeldb_duckdb`` is the whole.
"""

from __future__ import annotations

from modeldb_core.backends._sql.database import Database, SwallowedError, Transaction
from modeldb_core.backends._sql.engine import EngineDatabase
from modeldb_core.backends._sql.store import MigratedStore as SQLStore
from modeldb_core.backends._sql.tables import metadata
from modeldb_core.backends._urls import split_options

__all__ = ["Database", "EngineDatabase", "SQLStore", "SwallowedError", "Transaction", "metadata", "split_options"]
