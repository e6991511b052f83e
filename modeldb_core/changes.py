"""Changes and streams: the one idea that everything else follows from.

A :class:`Change` says that something happened. A writer owns one *stream*: changes numbered from 1 without a gap, each
carrying the hash of the one before. ``docs/format.md`` gives the hashed bytes, so that a verifier can be written from
it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modeldb_core.entities import to_datetime
from modeldb_core.errors import IntegrityError
from modeldb_core.values import decode, encode, normalize

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

GENESIS = bytes(32)
"""What the first change of a stream carries as the hash of the one before."""

SALT_BYTES = 16
DEFAULT_LEASE_S = 30.0

CREATE, UPDATE, DELETE, RESTORE, APPEND = "create", "update", "delete", "restore", "append"
OPEN, BEAT, CLOSE = "open", "beat", "close"  # of a stream
ERASE = "erase"  # of a payload: names the stream and number whose payload is gone
STREAM = "stream"
"""The kind of the entity that ``open``, ``beat`` and ``close`` speak of; its identifier is the stream's."""

_DOMAIN = b"modeldb-change-1\n"
_NUMBERS = struct.Struct(">QQ")
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened, as one link of a stream's chain.

    Attributes:
        stream_id: the writer's stream.
        seq: the number within it, from 1.
        recorded_at: microseconds since 1970-01-01 UTC, by the writer's clock.
        actor: who did it.
        action: create, update, delete, restore, append, open, beat, close or erase.
        kind: the kind of the entity it is about.
        entity_id: that entity.
        payload: JSON (see ``values``), or the plain form of points for ``append``; ``None`` once erased.
        salt: what makes the payload's digest unguessable; erased with the payload.
        payload_digest: SHA-256 of salt and payload.
        previous_hash: the hash of the change before, ``GENESIS`` for the first.
        hash: SHA-256 over all of this but salt and payload.
    """

    stream_id: str
    seq: int
    recorded_at: int
    actor: str
    action: str
    kind: str
    entity_id: str
    payload: bytes | None
    salt: bytes | None
    payload_digest: bytes
    previous_hash: bytes
    hash: bytes

    @property
    def time(self) -> datetime:
        """When it happened, as an aware UTC datetime."""
        time = to_datetime(self.recorded_at)
        assert time is not None
        return time

    def data(self) -> dict[str, Any]:
        """Return the JSON payload as Python values; empty once erased, and for points."""
        if self.payload is None or self.action == APPEND:
            return {}
        data = decode(self.payload)
        return data if isinstance(data, dict) else {}

    def erased(self) -> Change:
        """Return the change without its payload and salt: the chain still verifies."""
        return replace(self, payload=None, salt=None)


@dataclass(frozen=True, slots=True)
class Head:
    """How much of a stream has arrived, and whether its writer still renews its lease."""

    seq: int
    hash: bytes
    recorded_at: int
    lease_s: float = DEFAULT_LEASE_S
    closed: bool = False

    @property
    def lease_until(self) -> int:
        """Until when the writer is believed to live, in microseconds since 1970-01-01 UTC."""
        return self.recorded_at + int(self.lease_s * 1_000_000)


EMPTY_HEAD = Head(0, GENESIS, 0)


def payload_digest(salt: bytes, payload: bytes) -> bytes:
    """Return the digest that a change's hash covers in place of its payload."""
    digest = hashlib.sha256(salt)
    digest.update(payload)
    return digest.digest()


def change_hash(
    stream_id: str,
    seq: int,
    recorded_at: int,
    actor: str,
    action: str,
    kind: str,
    entity_id: str,
    digest: bytes,
    previous_hash: bytes,
) -> bytes:
    """Return the hash of a change; texts are length-prefixed, so that none can run into another."""
    parts = [_DOMAIN, _NUMBERS.pack(seq, recorded_at)]
    for text in (stream_id, actor, action, kind, entity_id):
        data = text.encode()
        parts += (_LENGTH.pack(len(data)), data)
    parts += (digest, previous_hash)
    return hashlib.sha256(b"".join(parts)).digest()


def seal(
    stream_id: str,
    seq: int,
    previous_hash: bytes,
    *,
    recorded_at: int,
    actor: str,
    action: str,
    kind: str,
    entity_id: str,
    payload: bytes,
    salt: bytes,
) -> Change:
    """Return the change with its digest and hash worked out."""
    digest = payload_digest(salt, payload)
    value = change_hash(stream_id, seq, recorded_at, actor, action, kind, entity_id, digest, previous_hash)
    return Change(
        *(stream_id, seq, recorded_at, actor, action, kind, entity_id, payload, salt, digest, previous_hash, value)
    )


def payload_of(data: dict[str, Any], where: str = "payload") -> bytes:
    """Return ``data`` as the payload of a change; raises what :func:`~modeldb_core.values.normalize` raises."""
    return encode(normalize(data, where))


def verify_change(change: Change, previous_hash: bytes) -> None:
    """Check that a change is what its writer sealed and follows the one whose hash is given.

    Raises:
        IntegrityError: it names the change and what does not match.
    """
    where = f"change {change.seq} of stream {change.stream_id} ({change.action} {change.kind} {change.entity_id})"
    if change.previous_hash != previous_hash:
        msg = f"{where} does not follow the change before it: one of the two was altered, dropped or moved"
        raise IntegrityError(msg)
    if change.payload is not None and (
        change.salt is None or payload_digest(change.salt, change.payload) != change.payload_digest
    ):
        msg = f"the payload of {where} does not match its digest: it was altered"
        raise IntegrityError(msg)
    expected = change_hash(
        *(change.stream_id, change.seq, change.recorded_at, change.actor, change.action, change.kind),
        *(change.entity_id, change.payload_digest, change.previous_hash),
    )
    if expected != change.hash:
        msg = f"{where} does not match its hash: it was altered"
        raise IntegrityError(msg)


def advance(head: Head, change: Change) -> Head:
    """Return the head of a stream after ``change``."""
    lease_s, closed = head.lease_s, change.action == CLOSE
    if change.kind == STREAM and change.payload is not None:
        lease_s = float(json.loads(change.payload).get("lease_s", lease_s))
    return Head(change.seq, change.hash, change.recorded_at, lease_s, closed)


def by_stream(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """Return the changes of every stream, in the order given."""
    streams: dict[str, list[Change]] = {}
    for change in changes:
        streams.setdefault(change.stream_id, []).append(change)
    return streams
