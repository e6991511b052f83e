"""Which writers are gone, by what their streams said last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.backends._sql import sa, tables

if TYPE_CHECKING:
    from modeldb_core.backends._sql.conditions import Condition

NOW = "now"
"""The name of the parameter with the time of the question."""


def is_gone() -> Condition:
    """Return whether the writer of an entity has ended its stream or stopped renewing its lease."""
    writer = tables.streams.alias()
    return sa.exists().where(
        writer.c.stream_pk == tables.entities.c.stream_pk,
        writer.c.seq > 0,
        sa.or_(writer.c.closed == 1, writer.c.lease_until < sa.bindparam(NOW)),
    )
