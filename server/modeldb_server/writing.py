"""What is changed through the API, in the name of the one who asks for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

from modeldb_core.commands.operation import execute
from modeldb_core.errors import ModelDBError, StoreReadOnlyError
from modeldb_core.runtime.users import login_name
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.stores.scoped import ScopedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modeldb_core.commands.operation import Operation
    from modeldb_core.stores import MetadataStore
    from modeldb_core.stores.direct import Applies
    from modeldb_core.stores.scoped import Scope

_ABOUT = {"server": True}
_MOST_OPEN = 1000
"""Streams that are kept open; those of whom nobody has heard for longest are sealed."""


class Writers:
    """The streams of this process: one for each user in whose name something is changed, and each scope of theirs.

    Args:
        store: where it is changed.
        door: takes the changes.
        actor: whose name is recorded where the server does not know who asks; default: the login name.
        read_only: whether nothing may be changed.
        on_written: called with the number of changes that were made.
    """

    def __init__(
        self,
        store: MetadataStore,
        door: Applies,
        *,
        actor: str = "",
        read_only: bool = False,
        on_written: Callable[[int], object] | None = None,
    ) -> None:
        self.actor = actor or login_name()
        self._store, self._door = store, door
        self._read_only = read_only
        self._on_written = on_written
        self._writers: OrderedDict[tuple[str, Scope | None], DirectWriter] = OrderedDict()
        self._lock = threading.Lock()

    def execute(
        self,
        operation: Operation,
        actor: str = "",
        *,
        store: MetadataStore | None = None,
        stream_id: str = "",
        request: str = "",
    ) -> None:
        """Carry an operation out; it is durable when this returns, and counted once.

        Args:
            operation: what is to be done.
            actor: in whose name; default: the one of the server.
            store: as they see it; default: the whole one.
            stream_id: of a stream that holds this operation alone.
            request: what is noted in that stream of the request that it comes from.

        Raises:
            StoreReadOnlyError: the server was told to change nothing.
            ModelDBError: as :func:`~modeldb_core.commands.operation.execute`.
        """
        if self._read_only:
            msg = "this server changes nothing: it was started read-only"
            raise StoreReadOnlyError(msg)
        narrowed = store if isinstance(store, ScopedStore) else None
        if stream_id:
            execute(self._new(actor, narrowed, {"request": request}), operation, stream_id=stream_id)
        else:
            execute(self._of(actor, narrowed), operation)
        if self._on_written is not None:
            self._on_written(len(operation.entries))

    def close(self) -> None:
        """Seal the streams with their closing changes, so that a lost tail shows. They can still be used."""
        for writer in list(self._writers.values()):
            writer.close()

    def _of(self, actor: str, narrowed: ScopedStore | None) -> DirectWriter:
        key = actor or self.actor, narrowed.scope if narrowed else None
        oldest = None
        with self._lock:
            writer = self._writers.get(key)
            if writer is None:
                writer = self._writers[key] = self._new(actor, narrowed, {})
            self._writers.move_to_end(key)
            if len(self._writers) > _MOST_OPEN:
                _, oldest = self._writers.popitem(last=False)
        if oldest is not None:
            with suppress(ModelDBError):  # its stream stays open; whoever comes now has nothing to do with it
                oldest.close()
        return writer

    def _new(self, actor: str, narrowed: ScopedStore | None, about: Mapping[str, str]) -> DirectWriter:
        store, door = (narrowed, narrowed) if narrowed else (self._store, self._door)
        return DirectWriter(store, actor or self.actor, {**_ABOUT, **about}, door=door)
