"""The server's own stream of changes: what people alter through the API."""

from __future__ import annotations

import getpass
import os
import secrets
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from modeldb_core import __version__
from modeldb_core.errors import StoreReadOnlyError
from modeldb_core.log.changes import CLOSE, GENESIS, OPEN, SALT_BYTES, STREAM, Change, payload_of, seal
from modeldb_core.model.entities import new_id, now_us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.stores import MetadataStore

FALLBACK_ACTOR = "web"

Draft: TypeAlias = tuple[str, str, str, "dict[str, Any]"]
"""A change that is to be made: action, kind, identifier, and what its payload holds."""


def login_name() -> str:
    """Return the name of the user who runs the server, or ``web`` where the system has none for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return FALLBACK_ACTOR


class ChangeWriter:
    """Seals changes into a stream and applies them at once, one at a time.

    A stream belongs to one process: a forked worker starts its own. When the store fails, nobody can know whether the
    changes arrived; the stream is then left as it is (the store keeps what it got, and its chain is whole) and the next
    change begins a new one. So a number is never used twice.

    Args:
        actor: who is recorded as the author.
    """

    def __init__(self, store: MetadataStore, actor: str = "", *, read_only: bool = False) -> None:
        self.store = store
        self.actor = actor or login_name()
        self.read_only = read_only
        self._lock = threading.Lock()
        self._process_id = 0
        self._stream_id = ""
        self._seq = 0
        self._hash = GENESIS

    def write(self, action: str, kind: str, entity_id: str, data: dict[str, Any]) -> None:
        """Record one change of an entity, durably before it returns; see :meth:`write_all`."""
        self.write_all([(action, kind, entity_id, data)])

    def write_all(self, drafts: Sequence[Draft]) -> None:
        """Record changes, all or none of them, with one time, durably before it returns.

        Raises:
            StoreReadOnlyError: the server was told to change nothing, or the store may not be written.
            StoreUnavailableError: the store cannot be reached; the change may or may not have arrived.
        """
        if self.read_only:
            msg = "this server changes nothing: it was started read-only"
            raise StoreReadOnlyError(msg)
        written = [(action, kind, entity_id, payload_of(data)) for action, kind, entity_id, data in drafts]
        with self._lock:
            if self._process_id != os.getpid():
                self._begin()
                opening = payload_of({"pid": self._process_id, "version": __version__, "server": True})
                written.insert(0, (OPEN, STREAM, self._stream_id, opening))
            self._apply(written)

    def close(self) -> None:
        """Seal the stream with its closing change, so that a lost tail shows. The writer can still be used."""
        with self._lock:
            if self._process_id == os.getpid():
                self._apply([(CLOSE, STREAM, self._stream_id, payload_of({}))])
                self._process_id = 0

    def _begin(self) -> None:
        self._process_id, self._stream_id, self._seq, self._hash = os.getpid(), new_id(), 0, GENESIS

    def _apply(self, drafts: list[tuple[str, str, str, bytes]]) -> None:
        changes = []
        now = now_us()  # one for all: what is deleted together is restored together
        for draft in drafts:
            changes.append(self._seal(now, *draft))
            self._seq, self._hash = changes[-1].seq, changes[-1].hash
        try:
            self.store.apply(changes)
        except BaseException:
            self._process_id = 0  # a new stream for the next change
            raise

    def _seal(self, recorded_at: int, action: str, kind: str, entity_id: str, payload: bytes) -> Change:
        return seal(
            self._stream_id,
            self._seq + 1,
            self._hash,
            recorded_at=recorded_at,
            actor=self.actor,
            action=action,
            kind=kind,
            entity_id=entity_id,
            payload=payload,
            salt=secrets.token_bytes(SALT_BYTES),
        )
