"""What is known of the tables without SQLAlchemy; ``table_definitions.py`` has the rest."""

from __future__ import annotations

ERASED = 2
"""What ``entities.present`` is for an entity of whose document and points nothing is left: no answer shows it."""
PREFIX_LENGTH = 100
"""Characters of a text that its index holds. (PostgreSQL refuses index rows beyond a third of a page.)"""
VERSION_TABLE = "modeldb_version"
"""The name of the table that Alembic keeps."""
COMPATIBILITY_TABLE = "modeldb_compatibility"
"""The name of the table that says which code may use the tables."""
INDEXED_PLACES = ("container_id", "workspace_id", "project_id", "parent_id")
"""The columns of ``entities`` of which an index lists the entities that hold a value."""
SUMMARY_COLUMNS = (
    "count",
    "nan_count",
    "first",
    "last",
    "minimum",
    "maximum",
    "mean",
    "total",
    "first_step",
    "last_step",
    "min_step",
    "max_step",
    "first_at",
    "last_at",
    "exact",
)
"""The columns of ``metrics`` that hold the summary of a series."""
