"""Streams are bound to who opened them: nobody records a change in another's name, or adds to another's stream.

Where the server knows who asks (by a token), the actor of every change that arrives is that user. So the first change of a
stream says, within its chain, who opened it, and nothing beside it has to be believed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modeldb_core.errors import PermissionDeniedError
from modeldb_core.log.changes import CREATE, UPDATE
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modeldb_core.log.changes import Change
    from modeldb_core.stores import MetadataStore

_MOST_STREAMS = 10_000
"""Of so many streams it is remembered who opened them."""


class BoundStreams:
    """Knows who opened the streams of a store, as its log says."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store
        self._openers: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, changes: Sequence[Change], user: str) -> None:
        """See that changes are those of ``user``, in streams that they opened.

        Raises:
            PermissionDeniedError: one is not; nothing may be applied.
        """
        for change in changes:
            if change.actor != user:
                msg = (
                    f"a change of stream {change.stream_id} names {change.actor[:80]!r} as its actor, and this token is that of"
                    f" {user!r}; set MODELDB_USER={user}, or let one of server.erase_tokens bring in what others recorded"
                )
                raise PermissionDeniedError(msg)
            for field, named in _actors_in(change):
                if named != user:
                    msg = f"a {change.kind} names {str(named)[:80]!r} as its {field}; this token is that of {user!r}"
                    raise PermissionDeniedError(msg)
        for stream_id in {change.stream_id for change in changes}:
            opener = self._opener(stream_id)
            if opener not in ("", user):
                msg = f"stream {stream_id} was opened by {opener[:80]!r}; {user!r} may not add to it"
                raise PermissionDeniedError(msg)

    def _opener(self, stream_id: str) -> str:
        """Return the actor of the first change of a stream; "" where the store has none of it."""
        with self._lock:
            if (known := self._openers.get(stream_id)) is not None:
                self._openers.move_to_end(stream_id)
                return known
        first = self._store.read_changes(stream_id=stream_id, limit=1).changes
        if not first:
            return ""
        with self._lock:
            self._openers[stream_id] = first[0].actor
            while len(self._openers) > _MOST_STREAMS:
                self._openers.popitem(last=False)
        return first[0].actor


def _actors_in(change: Change) -> Iterator[tuple[str, object]]:
    """Iterate over the fields by which a change names who makes it, with whom it names."""
    declaration = KINDS.get(change.kind)
    if declaration is None or not declaration.actors or change.payload is None or change.action not in (CREATE, UPDATE):
        return
    data = change.data()
    said = data if change.action == CREATE else data.get("set", {})
    for field in declaration.actors:
        if isinstance(said, Mapping) and field in said:
            yield field, said[field]
