"""An index of the few entities that are deleted, by which those that are not are counted fast.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    condition = sa.text("deleted_at IS NOT NULL")
    op.create_index(
        "entities_deleted",
        "entities",
        ["kind", "entity_pk"],
        unique=False,
        sqlite_where=condition,
        postgresql_where=condition,
    )
