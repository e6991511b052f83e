"""How records of the journal become changes of the stream.

It is a function of a segment and a :class:`Seal` alone. So what was sent before a crash is rebuilt bit for bit after it,
and the store recognizes it as seen.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from modeldb_core.changes import APPEND, SALT_BYTES, Change, seal
from modeldb_core.journal import (
    CHECK_BYTES,
    DRAFT,
    PLAN,
    RECORD,
    ROW,
    ROW_AT,
    ROW_HEAD,
    SEAL,
    Segment,
    make_record,
    records,
)
from modeldb_core.points import PointGroup, concatenate, encode_points

_SEAL = struct.Struct("<QQQQqq32s32s16s")
_WINDOW = 4096  # rows looked at together: enough to be fast, few enough that alternating plans stay linear


@dataclass(frozen=True, slots=True)
class Draft:
    """A change that has no number yet.

    Attributes:
        ends_run: whether points of the run that were logged before it must come before it in the stream.
    """

    action: str
    kind: str
    entity_id: str
    recorded_at: int
    payload: bytes
    ends_run: bool = False

    def record(self) -> bytes:
        """Return it as a record of the journal."""
        head = json.dumps([self.action, self.kind, self.entity_id, self.recorded_at, self.ends_run])
        return make_record(DRAFT, head.encode() + b"\n" + self.payload)

    @classmethod
    def from_body(cls, body: bytes) -> Draft:
        """Return the draft that a record's body holds."""
        head, _, payload = body.partition(b"\n")
        action, kind, entity_id, recorded_at, ends_run = json.loads(head)
        return cls(action, kind, entity_id, recorded_at, payload, ends_run)


@dataclass(frozen=True, slots=True)
class Chain:
    """Where a stream stands: its last number and hash, and the last time a point was logged (nanoseconds)."""

    seq: int
    hash: bytes
    last_time: int = 0


@dataclass(frozen=True, slots=True)
class Seal:
    """Says which records became changes ``first.seq + 1`` to ``last_seq``.

    Attributes:
        start: position of the first record within its segment.
        end: position after the last one.
        first: where the stream stood before.
        sealed_at: microseconds since 1970-01-01 UTC; the time of changes that have none of their own.
        salt: from which the salts of the changes are made.
        last_hash: the hash of the last change, to check what is rebuilt.
    """

    start: int
    end: int
    first: Chain
    sealed_at: int
    salt: bytes
    last_seq: int
    last_hash: bytes

    def record(self) -> bytes:
        """Return it as a record of the journal."""
        first = self.first
        numbers = (self.start, self.end, first.seq, self.last_seq, self.sealed_at, first.last_time)
        return make_record(SEAL, _SEAL.pack(*numbers, first.hash, self.last_hash, self.salt))

    @classmethod
    def from_body(cls, body: bytes) -> Seal:
        """Return the seal that a record's body holds."""
        start, end, seq, last_seq, sealed_at, last_time, previous, last_hash, salt = _SEAL.unpack(body)
        return cls(start, end, Chain(seq, previous, last_time), sealed_at, salt, last_seq, last_hash)


@dataclass(frozen=True, slots=True)
class Plan:
    """The run and the keys that rows of metrics belong to."""

    run_id: str
    keys: tuple[str, ...]

    def record(self, number: int) -> bytes:
        """Return it as a record of the journal."""
        return make_record(PLAN, number.to_bytes(4, "little") + json.dumps([self.run_id, self.keys]).encode())

    @property
    def row_bytes(self) -> int:
        """The size of a row's record."""
        return ROW_HEAD.size + 8 * len(self.keys) + CHECK_BYTES


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
    chain = _ChainWriter(stream_id, actor, first, salt)
    rows = _Rows(first.last_time)
    for item in _scan(segment, start, end, plans):
        if isinstance(item, Draft):
            if item.ends_run:
                rows.write(chain, sealed_at, only=item.entity_id)
            chain.add(item.action, item.kind, item.entity_id, item.recorded_at, item.payload)
        else:
            rows.add(*item)
    rows.write(chain, sealed_at)
    return chain.changes, Chain(chain.seq, chain.previous_hash, rows.last_time)


class _ChainWriter:
    def __init__(self, stream_id: str, actor: str, first: Chain, salt: bytes) -> None:
        self.stream_id, self.actor, self.salt = stream_id, actor, salt
        self.seq, self.previous_hash = first.seq, first.hash
        self.changes: list[Change] = []

    def add(self, action: str, kind: str, entity_id: str, recorded_at: int, payload: bytes) -> None:
        self.seq += 1
        salt = hashlib.sha256(self.salt + self.seq.to_bytes(8, "big")).digest()[:SALT_BYTES]
        change = seal(
            self.stream_id,
            self.seq,
            self.previous_hash,
            recorded_at=recorded_at,
            actor=self.actor,
            action=action,
            kind=kind,
            entity_id=entity_id,
            payload=payload,
            salt=salt,
        )
        self.previous_hash = change.hash
        self.changes.append(change)


class _Rows:
    """Collects spans of rows by run and plan. Times within a stream never go back, even where the clock did."""

    def __init__(self, last_time: int) -> None:
        self.last_time = last_time
        self._runs: dict[str, dict[tuple[str, ...], list[PointGroup]]] = {}

    def add(self, plan: Plan, data: Any, explicit_times: bool) -> None:  # noqa: ANN401 - a structured array
        times = data["time"]
        if not explicit_times:
            times = np.maximum.accumulate(np.maximum(times, self.last_time))
            self.last_time = int(times[-1])
        values = np.ascontiguousarray(data["values"].T)
        group = PointGroup(plan.keys, data["step"].astype(np.int64), times // 1000, values)
        self._runs.setdefault(plan.run_id, {}).setdefault(plan.keys, []).append(group)

    def write(self, chain: _ChainWriter, sealed_at: int, only: str | None = None) -> None:
        for run_id in [only] if only is not None else list(self._runs):
            groups = self._runs.pop(run_id, None)
            if groups:
                payload = encode_points(concatenate(spans) for spans in groups.values())
                chain.add(APPEND, "run", run_id, sealed_at, payload)


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
                plans.update(_parse_plan(body))
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
    for _, record_type, body in records(segment.memory, 0, end):
        if record_type == PLAN:
            plans.update(_parse_plan(bytes(body)))
        body.release()
    return plans


def _parse_plan(body: bytes) -> dict[int, Plan]:
    run_id, keys = json.loads(body[4:])
    return {int.from_bytes(body[:4], "little"): Plan(run_id, tuple(keys))}


def read_seals(segment: Segment) -> list[Seal]:
    """Return the seals of a segment in their order."""
    seals = []
    for _, record_type, body in records(segment.memory, 0, segment.used):
        if record_type == SEAL:
            seals.append(Seal.from_body(bytes(body)))
        body.release()
    return seals
