"""The points of a run, for another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.commands import runs
from modeldb_core.commands.operation import Operation
from modeldb_core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from modeldb_core.model.entities import Run
    from modeldb_server.context import ServerContext

MOST_POINTS = 1_000_000
"""Of a run that is copied."""


def copy_points(context: ServerContext, run: Run, copy_id: str) -> Operation:
    """Return the operation that gives a copy the points of a run.

    Raises:
        InvalidArgumentError: there are too many.
    """
    if (count := sum(each.count for each in run.series.values())) > MOST_POINTS:
        msg = f"the run {run.name[:80]!r} has {count:,} points; at most {MOST_POINTS:,} are copied"
        raise InvalidArgumentError(msg)
    read = [context.store.read_series(run.entity_id, key) for key in run.series]
    if not read:
        return Operation(())
    return runs.log_points(
        copy_id,
        [runs.Points({each.key: each.values.tolist()}, each.steps.tolist(), each.times.tolist()) for each in read],
    )
