"""How records of the journal become changes of the stream.

It is a function of a segment and a :class:`~modeldb_core.journal.records.Seal` alone. So what was sent before a crash is rebuilt
bit for bit after it, and the store recognizes it as seen.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.errors import CorruptJournalError
from modeldb_core.journal.records import (
    CHECK_BYTES,
    DRAFT,
    PLAN,
    RECORD,
    ROW,
    ROW_AT,
    ROW_HEAD,
    SEAL,
    Chain,
    Draft,
    Plan,
    Seal,
    parse_plan,
)
from modeldb_core.journal.segments import Segment, read_records
from modeldb_core.log.changes import APPEND, ERASE
from modeldb_core.log.points import PointGroup, concatenate, encode_points
from modeldb_core.log.stream import Entry, StreamWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modeldb_core.log.changes import Change

_WINDOW = 4096  # rows looked at together: enough to be fast, few enough that alternating plans stay linear


def build(
    segment: Segment,
    start: int,
    end: int,
    *,
    stream_id: str,
    actor: str,
    first: Chain,
    sealed_at: int,
    salt: bytes,
    plans: dict[int, Plan],
) -> tuple[list[Change], Chain]:
    """Return the changes that the records from ``start`` to ``end`` of ``segment`` make, and where the stream then is.

    ``plans`` are those defined before ``start``; those in between are added.
    """
    stream = StreamWriter(stream_id, actor, first.seq, first.hash, salt=salt)
    changes: list[Change] = []
    rows = _Rows(first.last_time)
    for item in _scan(segment, start, end, plans):
        if isinstance(item, Draft):
            if item.action == ERASE:  # people erase, through a store; a prepared journal would do so in their name
                msg = f"it holds an erasure of {item.kind} {item.entity_id}, and no program logs one"
                raise CorruptJournalError(msg)
            if item.ends_run:
                changes += rows.write(stream, sealed_at, only=item.entity_id)
            changes.append(stream.write(Entry(item.action, item.kind, item.entity_id, item.payload), item.recorded_at))
        else:
            rows.add(*item)
    changes += rows.write(stream, sealed_at)
    return changes, Chain(stream.seq, stream.previous_hash, rows.last_time)


class _Rows:
    """Collects spans of rows by run. Times within a stream never go back, even where the clock did."""

    def __init__(self, last_time: int) -> None:
        self.last_time = last_time
        self._runs: dict[str, list[PointGroup]] = {}

    def add(self, plan: Plan, data: Any, explicit_times: bool) -> None:  # noqa: ANN401 - a structured array
        times = data["time"]
        if not explicit_times:
            times = np.maximum.accumulate(np.maximum(times, self.last_time))
            self.last_time = int(times[-1])
        values = np.ascontiguousarray(data["values"].T)
        group = PointGroup(plan.keys, data["step"].astype(np.int64), times // 1000, values)
        self._runs.setdefault(plan.run_id, []).append(group)

    def write(self, stream: StreamWriter, sealed_at: int, only: str | None = None) -> Iterator[Change]:
        for run_id in [only] if only is not None else list(self._runs):
            spans = self._runs.pop(run_id, None)
            if spans:
                yield stream.write(Entry(APPEND, "run", run_id, encode_points(_in_order(spans))), sealed_at)


def _in_order(spans: list[PointGroup]) -> Iterator[PointGroup]:
    """Return the groups of spans: each series in one, in the order of logging, whatever was logged together with it.

    Keys that were always logged together have a group of their own.
    """
    logged: dict[tuple[str, ...], list[int]] = {}
    for number, span in enumerate(spans):
        logged.setdefault(span.keys, []).append(number)
    together: dict[str, list[tuple[str, ...]]] = {}
    for keys in logged:
        for key in keys:
            together.setdefault(key, []).append(keys)
    groups: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for key, found in together.items():
        groups.setdefault(tuple(found), []).append(key)
    for plans, shared in groups.items():
        rows = {plan: [plan.index(key) for key in shared] for plan in plans}
        numbers = sorted(number for plan in plans for number in logged[plan])
        yield concatenate([_picked(spans[number], tuple(shared), rows[spans[number].keys]) for number in numbers])


def _picked(span: PointGroup, keys: tuple[str, ...], rows: list[int]) -> PointGroup:
    return span if span.keys == keys else PointGroup(keys, span.steps, span.times, span.values[rows])


def _scan(segment: Segment, start: int, end: int, plans: dict[int, Plan]) -> Iterable[Draft | tuple[Plan, Any, bool]]:
    """Iterate over drafts, and spans of consecutive rows of one plan as (plan, structured array, explicit times)."""
    view = memoryview(segment.memory)
    try:
        at = start
        while at < end:
            size, record_type = RECORD.unpack_from(view, at)
            if record_type in (ROW, ROW_AT):
                plan = plans[int.from_bytes(view[at + RECORD.size : at + RECORD.size + 4], "little")]
                span = _span(view, at, end, plan)
                yield plan, span, record_type == ROW_AT
                at += len(span) * plan.row_bytes
                continue
            body = bytes(view[at + RECORD.size : at + size - CHECK_BYTES])
            if record_type == DRAFT:
                yield Draft.from_body(body)
            elif record_type == PLAN:
                plans.update(parse_plan(body))
            at += size
    finally:
        view.release()


def _span(view: memoryview, at: int, end: int, plan: Plan) -> Any:  # noqa: ANN401 - a structured array
    """Return a copy of the rows from ``at`` on that have the head of the first one."""
    dtype = _row_dtype(len(plan.keys))
    count = min((end - at) // plan.row_bytes, _WINDOW)
    rows = np.frombuffer(view, dtype, count, at)
    other = np.flatnonzero((rows["head"] != rows["head"][0]) | (rows["plan"] != rows["plan"][0]))
    return rows[: other[0] if len(other) else count].copy()


@lru_cache(256)
def _row_dtype(keys: int) -> np.dtype[Any]:
    return np.dtype(
        {
            "names": ["head", "plan", "step", "time", "values"],
            "formats": ["<u8", "<u4", "<i8", "<i8", ("<f8", (keys,))],
            "offsets": [0, 8, 12, 20, 28],
            "itemsize": ROW_HEAD.size + 8 * keys + CHECK_BYTES,
        }
    )


def read_plans(segment: Segment, end: int) -> dict[int, Plan]:
    """Return the plans that stand in a segment before ``end``."""
    plans: dict[int, Plan] = {}
    for _, record_type, body in read_records(segment.memory, 0, end):
        if record_type == PLAN:
            plans.update(parse_plan(bytes(body)))
        body.release()
    return plans


def read_seals(segment: Segment) -> list[Seal]:
    """Return the seals of a segment in their order."""
    seals = []
    for _, record_type, body in read_records(segment.memory, 0, segment.used):
        if record_type == SEAL:
            seals.append(Seal.from_body(bytes(body)))
        body.release()
    return seals
