"""Reading a series: the points of one key, of a range of steps, as many as are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.backends._sql.parts import StoredSeries
from modeldb_core.log.points import Series, thin_out

if TYPE_CHECKING:
    from modeldb_core.backends._sql.database import Transaction


def read_series(
    transaction: Transaction,
    url: str,
    run_id: str,
    key: str,
    steps: tuple[int, int] | None,
    max_points: int | None,
) -> Series:
    """Return the points of a series; see ``MetadataStore.read_series``."""
    stored = StoredSeries(transaction, url, run_id, key, steps)
    parts = [part.between(steps) for part in stored.waiting]
    for some in stored.chunks(stored.outlines.chunk_pks):
        parts += [part.between(steps) for part in some]
    all_steps, times, values = stored.in_order([part for part in parts if len(part)])
    total = len(all_steps)
    if max_points is not None:
        chosen = thin_out(all_steps, values, max_points)
        all_steps, times, values = all_steps[chosen], times[chosen], values[chosen]
    for column in (all_steps, times, values):
        column.setflags(write=False)
    return Series(run_id, key, all_steps, times, values, total)
