"""The records of the journal: what each kind holds, and its bytes.

size u32 | type u8 | 3 bytes 0 | body | adler32 u32 of all before it          (little endian; a size of 0: the end)
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from zlib import adler32

from modeldb_core.model.values import MAX_NAME_LENGTH

HEADER, PLAN, ROW, ROW_AT, DRAFT, SEAL = 1, 2, 3, 4, 5, 6
RECORD = struct.Struct("<IBxxx")
ROW_HEAD = struct.Struct("<IBxxxIqq")  # size, type, plan, step, time in nanoseconds; then one float64 for each key
CHECK_BYTES = 4

_SEAL = struct.Struct("<QQQQqq32s32s16s")
MAX_SEAL_BYTES = RECORD.size + _SEAL.size + 4 * MAX_NAME_LENGTH + CHECK_BYTES
"""Of the seal of an actor with the longest name that the settings take."""


def make_record(record_type: int, body: bytes) -> bytes:
    """Return a whole record."""
    data = RECORD.pack(RECORD.size + len(body) + CHECK_BYTES, record_type) + body
    return data + adler32(data).to_bytes(CHECK_BYTES, "little")


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
        action, kind, entity_id, recorded_at, ends_run = json.loads(head.decode())
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
        actor: who acts in these changes. The header of a journal may not know it yet (``is_actor_known``).
    """

    start: int
    end: int
    first: Chain
    sealed_at: int
    salt: bytes
    last_seq: int
    last_hash: bytes
    actor: str

    def record(self) -> bytes:
        """Return it as a record of the journal."""
        first = self.first
        numbers = (self.start, self.end, first.seq, self.last_seq, self.sealed_at, first.last_time)
        return make_record(SEAL, _SEAL.pack(*numbers, first.hash, self.last_hash, self.salt) + self.actor.encode())

    @classmethod
    def from_body(cls, body: bytes) -> Seal:
        """Return the seal that a record's body holds."""
        start, end, seq, last_seq, sealed_at, last_time, previous, last_hash, salt = _SEAL.unpack_from(body)
        actor = body[_SEAL.size :].decode()
        return cls(start, end, Chain(seq, previous, last_time), sealed_at, salt, last_seq, last_hash, actor)


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


def parse_plan(body: bytes) -> dict[int, Plan]:
    """Return the plan that a record's body holds, by its number."""
    run_id, keys = json.loads(body[4:])
    return {int.from_bytes(body[:4], "little"): Plan(run_id, tuple(keys))}
