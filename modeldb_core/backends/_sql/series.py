"""Reading a series: the points of one key from chunks, and from what still waits to become one."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import and_, bindparam, select

from modeldb_core.backends._sql.chunks import MAX_ROWS, Segments
from modeldb_core.backends._sql.tables import chunks, columns, entities, keys, metrics, pending
from modeldb_core.errors import IntegrityError, NotFoundError
from modeldb_core.log.packing import unpack_floats, unpack_ints
from modeldb_core.log.points import Series, decode_points, thin_out
from modeldb_core.model.schema import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Select

    from modeldb_core.backends._sql.database import Database, Transaction


class _Part:
    """Consecutive points of the series: of a chunk, or of a group of a payload that waits."""

    __slots__ = ("first", "last", "segments", "steps", "stream_pk", "times", "values")

    def __init__(
        self,
        stream_pk: int,
        segments: Segments,
        steps: NDArray[np.int64],
        times: NDArray[np.int64],
        values: NDArray[np.float64],
    ) -> None:
        self.stream_pk, self.segments = stream_pk, segments
        self.steps, self.times, self.values = steps, times, values
        self.first = (int(segments.positions[0]), int(segments.groups[0]))
        self.last = (int(segments.positions[-1]), int(segments.groups[-1]))


def read_series(
    transaction: Transaction,
    url: str,
    run_id: str,
    key: str,
    steps: tuple[int, int] | None,
    max_points: int | None,
) -> Series:
    """Return the points of a series; see ``MetadataStore.read_series``."""
    found = transaction.rows(_find, {"run_id": run_id, "key": key})
    if not found:
        msg = f"run {run_id!r} in {url} has no series {key!r}"
        raise NotFoundError(msg)
    ((entity_pk, key_pk, count),) = found
    parts = _parts(transaction, entity_pk, key_pk, key)
    if sum(len(part.steps) for part in parts) != count:
        msg = f"points of {key!r} of run {run_id} are missing: some of its {count:,} were lost or altered"
        raise IntegrityError(msg)
    ordered = _in_order_of_arrival(parts)
    all_steps, times, values = (
        np.concatenate([getattr(part, name) for part in parts])[ordered]
        if ordered is not None
        else np.concatenate([getattr(part, name) for part in parts])
        for name in ("steps", "times", "values")
    )
    if len({part.stream_pk for part in parts}) > 1:
        by_time = np.argsort(times, kind="stable")
        all_steps, times, values = all_steps[by_time], times[by_time], values[by_time]
    if steps is not None:
        inside = np.flatnonzero((all_steps >= steps[0]) & (all_steps <= steps[1]))
        all_steps, times, values = all_steps[inside], times[inside], values[inside]
    total = len(all_steps)
    if max_points is not None:
        chosen = thin_out(all_steps, values, max_points)
        all_steps, times, values = all_steps[chosen], times[chosen], values[chosen]
    for column in (all_steps, times, values):
        column.setflags(write=False)
    return Series(run_id, key, all_steps, times, values, total)


def _parts(transaction: Transaction, entity_pk: int, key_pk: int, key: str) -> list[_Part]:
    parts = []
    parameters = {"entity": entity_pk, "key": key_pk}
    for row in transaction.rows(_chunks, parameters):
        stream_pk, row_count, segments, steps, times, values = row
        columns = unpack_ints(steps, MAX_ROWS), unpack_ints(times, MAX_ROWS), unpack_floats(values, MAX_ROWS)
        part = _Part(stream_pk, Segments.load(segments), *columns)
        if not row_count == len(part.steps) == len(part.times) == len(part.values):
            msg = f"a chunk of points of {key!r} is damaged: its columns are of different lengths"
            raise IntegrityError(msg)
        if row_count:
            parts.append(part)
    for position, stream_pk, payload in transaction.rows(_pending, {"entity": entity_pk}):
        for index, group in enumerate(decode_points(payload)):
            if key in group.keys and len(group):
                segments = Segments.of([(position, index, len(group))])
                values = group.values[group.keys.index(key)]
                parts.append(_Part(stream_pk, segments, group.steps, group.times, values))
    return parts


def _in_order_of_arrival(parts: list[_Part]) -> NDArray[np.intp] | None:
    """Sort ``parts`` by their first point; return the order of all points where that alone does not suffice."""
    parts.sort(key=lambda part: part.first)
    if all(part.last <= after.first for part, after in pairwise(parts)):
        return None
    places = [(part.segments.positions, part.segments.groups, part.segments.rows) for part in parts]
    positions, groups, rows = (np.concatenate(column) for column in zip(*places, strict=True))
    return np.lexsort((np.repeat(groups, rows), np.repeat(positions, rows)))


def _find(_database: Database) -> Select[Any]:
    joined = entities.join(metrics, metrics.c.entity_pk == entities.c.entity_pk)
    joined = joined.join(keys, and_(keys.c.key_pk == metrics.c.key_pk, keys.c.section == METRICS))
    wanted = select(entities.c.entity_pk, keys.c.key_pk, metrics.c.count).select_from(joined)
    return wanted.where(
        entities.c.entity_id == bindparam("run_id"),
        entities.c.kind == "run",
        keys.c.key == bindparam("key"),
        metrics.c.count.is_not(None),
    )


def _chunks(_database: Database) -> Select[Any]:
    joined = columns.join(chunks, chunks.c.chunk_pk == columns.c.chunk_pk)
    table = chunks.c
    wanted = (table.stream_pk, table.rows, table.segments, table.steps, table.times, columns.c["values"])
    wanted_rows = select(*wanted).select_from(joined)
    wanted_rows = wanted_rows.where(columns.c.entity_pk == bindparam("entity"), columns.c.key_pk == bindparam("key"))
    return wanted_rows.order_by(table.first_position, table.chunk_pk)


def _pending(_database: Database) -> Select[Any]:
    table = pending.c
    wanted = select(table.position, table.stream_pk, table.payload).where(table.entity_pk == bindparam("entity"))
    return wanted.order_by(table.position)
