"""Outlines: what is known of the points of one key in one chunk without decompressing them.

They say which chunks a range of steps touches, and what a pixel column shows that holds all of a chunk. They follow from
the points: whatever writes a chunk writes its outlines, and an audit compares them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.backends._sql import sa, tables
from modeldb_core.errors import IntegrityError
from modeldb_core.log.plots import MAX_X, MIN_X

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Select, Table

    from modeldb_core.backends._sql.database import Database, Row, Transaction

MIN_ROWS = 512
"""Of a chunk with summaries; reading the points of a smaller one costs little more than a summary."""

SUMMARY = np.dtype(
    [
        ("nan_count", "<u4"),
        ("infinite_count", "<u4"),
        ("nonpositive_count", "<u4"),  # of the finite values
        ("times_rise", "<u4"),  # 1: no time is before the one logged before it
        ("mean", "<f8"),  # this and the next two: of the finite values; NaN where there are none
        ("minimum", "<f8"),
        ("maximum", "<f8"),
        ("min_time", "<i8"),
        ("max_time", "<i8"),
        ("step_offset", "<f8"),  # mean of step - min_step
        ("time_offset", "<f8"),  # mean of time - min_time
        # The last point by step: its value, time, position in the log and group of the change there.
        ("step_last", "<f8"),
        ("step_last_time", "<i8"),
        ("step_last_position", "<i8"),
        ("step_last_group", "<i8"),
        # The first and the last point by time.
        ("time_first_step", "<i8"),
        ("time_first_position", "<i8"),
        ("time_first_group", "<i8"),
        ("time_last", "<f8"),
        ("time_last_step", "<i8"),
        ("time_last_position", "<i8"),
        ("time_last_group", "<i8"),
    ]
)
"""A summary. Of several points of one step, or time, the last is the one that was logged last."""

OUTLINE = np.dtype(
    [("chunk_pk", "<i8"), ("rows", "<i8"), ("min_step", "<i8"), ("max_step", "<i8"), ("summary", SUMMARY)]
)
"""An outline in a span: what its row was, and its summary."""

_HEAD = struct.Struct("<4q")
_BY_ROUNDING = {"mean": ("minimum", "maximum"), "step_offset": (), "time_offset": ()}


@dataclass(frozen=True, slots=True)
class Placed:
    """Steps and times of points in the order of logging, and where they came from.

    Attributes:
        steps: int64, shape (n,).
        times: int64, shape (n,).
        ends: int64, shape (m,): the row after the last one of each group.
        positions: int64, shape (m,): of the change of each group, in the log.
        groups: int64, shape (m,): the number of each group in its change.
    """

    steps: NDArray[np.int64]
    times: NDArray[np.int64]
    ends: NDArray[np.int64]
    positions: NDArray[np.int64]
    groups: NDArray[np.int64]


def summarize(placed: Placed, columns: Sequence[NDArray[np.float64]]) -> list[bytes | None]:
    """Return a summary for each column of values; none where the points are few."""
    if len(placed.steps) < MIN_ROWS:
        return [None] * len(columns)
    common = _of_places(placed)
    return [_of_values(common, values) for values in columns]


def _of_places(placed: Placed) -> NDArray[Any]:
    """Return what the summaries of all keys have in common, and at ``step_last`` and ``time_last`` which rows to look up."""
    steps, times, last = placed.steps, placed.times, len(placed.steps) - 1
    summary = np.zeros((), SUMMARY)
    rows = {
        "step_last": last - int(np.argmax(steps[::-1])),
        "time_first": int(np.argmin(times)),
        "time_last": last - int(np.argmax(times[::-1])),
    }
    for name, at in rows.items():
        segment = int(np.searchsorted(placed.ends, at, "right"))
        summary[f"{name}_position"] = placed.positions[segment]
        summary[f"{name}_group"] = placed.groups[segment]
    summary["step_last"], summary["time_last"] = rows["step_last"], rows["time_last"]
    summary["step_last_time"] = times[rows["step_last"]]
    summary["time_first_step"], summary["time_last_step"] = steps[rows["time_first"]], steps[rows["time_last"]]
    summary["min_time"], summary["max_time"] = times[rows["time_first"]], times[rows["time_last"]]
    summary["times_rise"] = bool(np.all(times[1:] >= times[:-1]))
    for name, column in (("step_offset", steps), ("time_offset", times)):
        summary[name] = (column.astype(np.float64) - float(column.min())).mean()
    return summary


def _of_values(common: NDArray[Any], values: NDArray[np.float64]) -> bytes:
    summary = common.copy()
    for name in ("step_last", "time_last"):
        summary[name] = values[int(common[name])]
    finite = values[np.isfinite(values)]
    summary["nan_count"] = np.isnan(values).sum()
    summary["infinite_count"] = len(values) - len(finite) - summary["nan_count"]
    summary["nonpositive_count"] = (finite <= 0).sum()
    for name in ("mean", "minimum", "maximum"):
        summary[name] = np.nan
    if len(finite):
        # Divided first, or the sum of large numbers would overflow.
        summary["mean"] = (finite / len(finite)).sum()
        summary["minimum"], summary["maximum"] = finite.min(), finite.max()
    return summary.tobytes()


@dataclass(frozen=True, slots=True)
class Outlines:
    """The outlines of one series, or of the part of it that a range of steps touches, in the order of their first steps.

    Attributes:
        chunk_pks: int64, shape (n,): the chunks.
        rows: int64, shape (n,): how many points each holds.
        min_steps: int64, shape (n,).
        max_steps: int64, shape (n,).
        total: points in all chunks of the series.
        stream_pks: the streams that wrote chunks of the series; of three or more only two.
        packed: ``OUTLINE``: those of them that lie in spans, with their summaries.
    """

    chunk_pks: NDArray[np.int64]
    rows: NDArray[np.int64]
    min_steps: NDArray[np.int64]
    max_steps: NDArray[np.int64]
    total: int
    stream_pks: frozenset[int]
    packed: NDArray[Any]

    @classmethod
    def read(cls, transaction: Transaction, entity_pk: int, key_pk: int, steps: tuple[int, int] | None) -> Outlines:
        """Return those that touch a range of steps.

        Raises:
            IntegrityError: a span is damaged.
        """
        of_series = {"entity": entity_pk, "key": key_pk}
        ((total, low, high),) = transaction.rows(_totals, of_series)
        wanted = {**of_series, **_range(steps)}
        loose = np.array(transaction.rows(_touched, wanted), np.int64).reshape(-1, 4)
        packed = load_outlines([data for (data,) in transaction.rows(_spans, wanted)])
        if steps is not None:
            packed = packed[(packed["max_step"] >= steps[0]) & (packed["min_step"] <= steps[1])]
        names = ("chunk_pk", "rows", "min_step", "max_step")
        columns = np.stack([np.concatenate([loose[:, at], packed[name]]) for at, name in enumerate(names)])
        numbers, counts, first, last = columns[:, np.lexsort((columns[0], columns[2]))]
        return cls(numbers, counts, first, last, total or 0, frozenset({low, high} - {None}), packed)


def read_summaries(
    transaction: Transaction, entity_pk: int, key_pk: int, steps: tuple[int, int] | None
) -> Sequence[Row]:
    """Return number, rows, first and last step, and summary of the chunks that a range touches and no span holds."""
    return transaction.rows(_summaries, {"entity": entity_pk, "key": key_pk, **_range(steps)})


def pack_outlines(rows: Sequence[Row]) -> bytes:
    """Return rows of number, rows, first and last step, and summary as bytes.

    Raises:
        IntegrityError: a summary is damaged.
    """
    if any(len(row[-1]) != SUMMARY.itemsize for row in rows):
        msg = f"a summary of points is damaged: it does not have {SUMMARY.itemsize} bytes"
        raise IntegrityError(msg)
    return b"".join(_HEAD.pack(*head) + summary for *head, summary in rows)


def load_outlines(data: Sequence[bytes]) -> NDArray[Any]:
    """Return the outlines of spans as an array of ``OUTLINE``.

    Raises:
        IntegrityError: one is not of that form.
    """
    if any(not each or len(each) % OUTLINE.itemsize for each in data):
        msg = f"a span of outlines is damaged: it does not have a multiple of {OUTLINE.itemsize} bytes"
        raise IntegrityError(msg)
    return np.frombuffer(b"".join(data), OUTLINE)


def is_same(stored: bytes | None, expected: bytes | None) -> bool:
    """Return whether a summary is the expected one, but for rounding."""
    if stored is None or expected is None or len(stored) != len(expected):
        return stored is expected
    one, other = np.frombuffer(stored, SUMMARY)[0], np.frombuffer(expected, SUMMARY)[0]
    for name in SUMMARY.names or ():
        a, b = one[name].item(), other[name].item()
        if a == b or (a != a and b != b):
            continue
        if name not in _BY_ROUNDING:
            return False
        # The order in which numbers are added differs between processors.
        largest = max((abs(other[each].item()) for each in _BY_ROUNDING[name]), default=abs(b))
        if not abs(a - b) <= largest * 2.0**-40:
            return False
    return True


def _range(steps: tuple[int, int] | None) -> dict[str, int]:
    first, last = steps or (MIN_X, MAX_X)
    return {"first": min(max(first, MIN_X), MAX_X), "last": min(max(last, MIN_X), MAX_X)}


def _totals(_database: Database) -> Select[Any, Any, Any]:
    parts = (
        sa.select(table.c.rows, table.c.stream_pk).where(
            table.c.entity_pk == sa.bindparam("entity"), table.c.key_pk == sa.bindparam("key")
        )
        for table in (tables.outlines, tables.spans)
    )
    both = sa.union_all(*parts).subquery()
    # The sum of large integers is a decimal number in some databases.
    total = sa.cast(sa.func.sum(both.c.rows), sa.BigInteger)
    return sa.select(total, sa.func.min(both.c.stream_pk), sa.func.max(both.c.stream_pk))


def _touched(_database: Database) -> Select[Any]:
    table = tables.outlines.c
    return _in_range(sa.select(table.chunk_pk, table.rows, table.min_step, table.max_step), tables.outlines)


def _summaries(_database: Database) -> Select[Any]:
    table = tables.outlines.c
    return _in_range(
        sa.select(table.chunk_pk, table.rows, table.min_step, table.max_step, table.summary), tables.outlines
    )


def _spans(_database: Database) -> Select[Any]:
    return _in_range(sa.select(tables.spans.c.outlines), tables.spans)


def _in_range(query: Select[Any], of: Table) -> Select[Any]:
    table = of.c
    return query.where(
        table.entity_pk == sa.bindparam("entity"),
        table.key_pk == sa.bindparam("key"),
        table.max_step >= sa.bindparam("first"),
        table.min_step <= sa.bindparam("last"),
        table.rows > 0,
    )
