"""A stream of its own for what is done to a store directly, without a journal: deletions, erasures, renamings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from modeldb_core.log.changes import CLOSE, GENESIS, OPEN, SALT_BYTES, STREAM, payload_of, seal
from modeldb_core.model.entities import new_id, now_us

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modeldb_core.log.changes import Change
    from modeldb_core.stores import MetadataStore

Entry: TypeAlias = "tuple[str, str, str, dict[str, Any]]"
"""Action, kind, identifier and payload of a change."""


class Recorder:
    """Applies changes to a store at once, in a stream that begins with the first and ends with the ``with`` block.

    What has not been applied when it fails is not kept anywhere and never will be: nothing that was decided on what the
    store said then can arrive later, when it says something else.
    """

    def __init__(self, store: MetadataStore, actor: str) -> None:
        self.store = store
        self.actor = actor
        self._stream_id = new_id()
        self._seq, self._hash = 0, GENESIS

    def record(self, entries: Iterable[Entry], *, recorded_at: int | None = None) -> None:
        """Apply changes: all or none of them, and all with one time.

        Raises:
            StoreUnavailableError, StoreReadOnlyError: the store cannot be written.
        """
        at = now_us() if recorded_at is None else recorded_at
        drafts = [(action, kind, entity_id, payload_of(data)) for action, kind, entity_id, data in entries]
        if not drafts:
            return
        if self._seq == 0:
            drafts.insert(0, (OPEN, STREAM, self._stream_id, payload_of({"pid": os.getpid()})))
        changes: list[Change] = []
        seq, value = self._seq, self._hash
        for action, kind, entity_id, payload in drafts:
            seq += 1
            change = seal(
                *(self._stream_id, seq, value),
                recorded_at=at,
                actor=self.actor,
                action=action,
                kind=kind,
                entity_id=entity_id,
                payload=payload,
                salt=os.urandom(SALT_BYTES),
            )
            value = change.hash
            changes.append(change)
        self.store.apply(changes)
        self._seq, self._hash = seq, value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._seq:
            self.record([(CLOSE, STREAM, self._stream_id, {})])
