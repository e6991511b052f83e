"""The one writer of chains: everything that becomes a change of a stream is sealed here."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from modeldb_core.log.changes import GENESIS, SALT_BYTES, payload_of, seal

if TYPE_CHECKING:
    from modeldb_core.log.changes import Change


class Entry(NamedTuple):
    """A change that is to be made: what its writer says, before a stream gives it a number.

    Attributes:
        action: what is done, such as ``create``.
        kind: of the entity.
        entity_id: which entity.
        data: the payload, as values; points are bytes already.
    """

    action: str
    kind: str
    entity_id: str
    data: dict[str, Any] | bytes

    @property
    def values(self) -> dict[str, Any]:
        """The payload as values; none of points."""
        return {} if isinstance(self.data, bytes) else self.data

    @property
    def payload(self) -> bytes:
        """The payload of the change; raises what :func:`~modeldb_core.model.values.normalize` raises."""
        return self.data if isinstance(self.data, bytes) else payload_of(self.data, f"{self.kind} {self.entity_id}")


class StreamWriter:
    """Seals changes of one stream, each linked to the one before. Nothing is sent anywhere.

    Args:
        stream_id: the stream.
        actor: who acts.
        seq: the number of the last change that there is; 0 where the stream begins.
        previous_hash: the hash of that change.
        salt: what the salts of the payloads are made of; a stretch that is sealed again from the same is the same
            to the last bit. Random by default.
    """

    def __init__(
        self, stream_id: str, actor: str, seq: int = 0, previous_hash: bytes = GENESIS, *, salt: bytes | None = None
    ) -> None:
        self.stream_id = stream_id
        self.actor = actor
        self.seq = seq
        self.previous_hash = previous_hash
        self._salt = os.urandom(SALT_BYTES) if salt is None else salt

    def write(self, entry: Entry, recorded_at: int) -> Change:
        """Return the next change of the stream.

        Args:
            entry: what it says.
            recorded_at: when, in microseconds since 1970-01-01 UTC.
        """
        seq = self.seq + 1
        change = seal(
            self.stream_id,
            seq,
            self.previous_hash,
            recorded_at=recorded_at,
            actor=self.actor,
            action=entry.action,
            kind=entry.kind,
            entity_id=entry.entity_id,
            payload=entry.payload,
            salt=hashlib.sha256(self._salt + seq.to_bytes(8, "big")).digest()[:SALT_BYTES],
        )
        self.seq, self.previous_hash = seq, change.hash
        return change

    def take_back(self, change: Change) -> None:
        """Free the numbers from ``change`` on: no store has it."""
        self.seq, self.previous_hash = change.seq - 1, change.previous_hash
        self._salt = os.urandom(SALT_BYTES)  # what was taken back shares no salt with what comes in its place
