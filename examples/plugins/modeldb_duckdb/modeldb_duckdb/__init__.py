"""A store in a DuckDB file: the example of a further SQL dialect."""

from __future__ import annotations

from modeldb_core import hookimpl
from modeldb_core.stores import Backend


@hookimpl
def modeldb_register_backends() -> list[Backend]:
    """Say which class serves ``duckdb://``."""
    return [
        Backend("duckdb", "metadata", "modeldb_duckdb.store:DuckDBStore", extra="modeldb-duckdb", description="DuckDB")
    ]
