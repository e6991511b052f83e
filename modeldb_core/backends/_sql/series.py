"""Reading a series: the points of one key, of a range of steps, as many as are wanted."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from modeldb_core.backends._sql.parts import Batch, Part, StoredSeries, rises
from modeldb_core.log.plots import MAX_X, MIN_X
from modeldb_core.log.points import Series, candidates, column_edges, thin_out, thin_out_candidates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from modeldb_core.backends._sql.database import Transaction

    Columns: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]

_FEW = 65_536  # points that are read at once and then thinned out


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
    if max_points is not None and int(stored.outlines.rows.sum()) > max(_FEW, max_points):
        columns, total = _thinned_out(stored, steps, max_points)
    else:
        columns = stored.in_order([part for batch in _read(stored, steps) for part in batch.parts])
        total = len(columns[0])
        if max_points is not None:
            chosen = thin_out(columns[0], columns[2], max_points)
            columns = columns[0][chosen], columns[1][chosen], columns[2][chosen]
    for column in columns:
        column.setflags(write=False)
    return Series(run_id, key, *columns, total)


def _thinned_out(stored: StoredSeries, steps: tuple[int, int] | None, max_points: int) -> tuple[Columns, int]:
    """Return at most so many points, and how many the range holds, with the points of a few chunks in memory."""
    low, high, total = _extent(stored, steps)
    if total <= max_points:
        columns = stored.in_order([part for batch in _read(stored, steps) for part in batch.parts])
        chosen = thin_out(columns[0], columns[2], max_points)
    else:
        edges = column_edges(low, high, max_points)
        columns = stored.in_order(_candidates(stored, steps, edges))
        chosen = thin_out_candidates(columns[0], columns[2], edges, max_points)
    return (columns[0][chosen], columns[1][chosen], columns[2][chosen]), total


def _candidates(stored: StoredSeries, steps: tuple[int, int] | None, edges: NDArray[np.float64]) -> list[Part]:
    """Return the points that thinning out may choose, of which a bounded number are kept."""
    kept: list[Part] = []
    count, most = 0, max(_FEW, 8 * len(edges))
    for batch in _read(stored, steps):
        if not stored.has_several_streams and rises(batch.steps, batch.begins):
            found = batch.take(candidates(batch.steps, batch.values, edges))
        else:
            found = [_candidates_of(stored, part, edges) for part in batch.parts]
        kept += found
        count += sum(map(len, found))
        if count > most:  # steps that go back and forth bring candidates for the same columns again and again
            joined, order = stored.arrange(kept)
            order = np.arange(count) if order is None else order
            chosen = order[candidates(joined.steps[order], joined.values[order], edges)]
            kept, count = joined.take(np.sort(chosen)), len(chosen)
    return kept


def _candidates_of(stored: StoredSeries, part: Part, edges: NDArray[np.float64]) -> Part:
    # Of points of one step it matters which comes first: where several streams wrote, that goes by time.
    ordered = part.take(np.argsort(part.times, kind="stable")) if stored.has_several_streams else part
    return ordered.take(candidates(ordered.steps, ordered.values, edges))


def _extent(stored: StoredSeries, steps: tuple[int, int] | None) -> tuple[int, int, int]:
    """Return the lowest and the highest step of the range, and how many points it holds."""
    outlines = stored.outlines
    first, last = steps or (MIN_X, MAX_X)
    within = (outlines.min_steps >= first) & (outlines.max_steps <= last)
    count = int(outlines.rows[within].sum())
    found = [(int(outlines.min_steps[within].min()), int(outlines.max_steps[within].max()))] if count else []
    for batch in _read(stored, steps, outlines.chunk_pks[~within]):
        count += len(batch.steps)
        found.append((int(batch.steps.min()), int(batch.steps.max())))
    return min((low for low, _ in found), default=0), max((high for _, high in found), default=0), count


def _read(
    stored: StoredSeries, steps: tuple[int, int] | None, chunk_pks: NDArray[np.int64] | None = None
) -> Iterator[Batch]:
    """Iterate over points of a range, some at a time: those in chunks, of all or of some, and what waits."""
    numbers = stored.outlines.chunk_pks if chunk_pks is None else chunk_pks
    for batch in chain(stored.chunks(numbers), stored.waiting_batch()):
        if steps is None or (batch.steps.min() >= steps[0] and batch.steps.max() <= steps[1]):
            yield batch
        elif inside := batch.take(np.flatnonzero((batch.steps >= steps[0]) & (batch.steps <= steps[1]))):
            yield Batch.of(inside)
