"""A store in a DuckDB file: the example of a further SQL dialect."""

from __future__ import annotations

from modeldb_core import hookimpl
from modeldb_core.stores import Backend, Files


@hookimpl
def modeldb_register_backends() -> list[Backend]:
    """Say which class serves ``duckdb://``."""
    place = Files("duckdb:///", companions=(".wal",))
    store = "modeldb_duckdb.store:DuckDBStore"
    return [Backend("duckdb", "metadata", store, extra="modeldb-duckdb", description="one DuckDB file", place=place)]
