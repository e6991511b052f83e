"""A further version of the tables, which is there for tests alone: it proves what upgrading and compatibility promise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modeldb_core.backends._sql import schema

NOW, NEXT = schema.LATEST, "0099"
MIGRATION = f'''
"""Remember a colour."""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{NOW}"


def upgrade():
    op.add_column("entities", sa.Column("colour", sa.Text()))
    {{more}}
'''


@dataclass(frozen=True)
class NextVersion:
    """A ModelDB whose tables have a further version, one with a column more."""

    migrations: Path
    readable_since: str
    writable_since: str
    oldest_readable: str
    oldest_writable: str

    @property
    def values(self):
        revision = schema.Revision(NEXT, self.readable_since, self.writable_since)
        return {
            "MIGRATIONS": str(self.migrations),
            "REVISIONS": (*(each for each in schema.REVISIONS if each.version != NEXT), revision),
            "LATEST": NEXT,
            "OLDEST_READABLE": self.oldest_readable,
            "OLDEST_WRITABLE": self.oldest_writable,
        }

    @property
    def program(self):
        """What makes another process one of that version."""
        lines = [
            f"schema.{name} = {value!r}".replace("Revision(", "schema.Revision(") for name, value in self.values.items()
        ]
        return "\n".join(["from modeldb_core.backends._sql import schema", *lines])
