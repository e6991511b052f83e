"""Changes that are made at once: sealed into a stream, and applied to a store before the call returns.

For people and programs that act on a store and wait for it: the server, the command line, garbage collection. What is
logged while a program trains goes through the journal instead, which waits for nobody.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, Self

from modeldb_core.errors import (
    ConditionsUnsupportedError,
    InvalidArgumentError,
    InvalidTypeError,
    PermissionDeniedError,
    PreconditionError,
    StoreReadOnlyError,
    StreamDeniedError,
)
from modeldb_core.log.changes import CLOSE, OPEN, STREAM
from modeldb_core.log.stream import Entry, StreamWriter
from modeldb_core.model.entities import new_id, now_us
from modeldb_core.runtime import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from modeldb_core.log.changes import Change
    from modeldb_core.log.conditions import Condition
    from modeldb_core.stores.contract import MetadataStore

_REFUSALS = (
    PreconditionError,
    PermissionDeniedError,
    ConditionsUnsupportedError,
    InvalidArgumentError,
    InvalidTypeError,
    StoreReadOnlyError,
)
"""What says for certain that nothing was applied."""


class Applies(Protocol):
    """What takes changes: a store, or what passes them on to one."""

    def apply(self, changes: Sequence[Change], *, expect: Sequence[Condition] = ()) -> None:
        """Record changes; see :meth:`~modeldb_core.stores.MetadataStore.apply`."""


class DirectWriter:
    """Writes one actor's stream into a store, a batch at a time; safe for any number of threads.

    The stream begins with the first batch and ends with :meth:`close`, or with the ``with`` block. It belongs to one
    process: a forked child begins its own. Where a store refuses a batch, its numbers are free for the next one; where
    nobody knows whether a batch arrived, the stream is left as it is and the next batch begins another. What has not
    been applied when it fails is kept nowhere: what was decided on what the store said then cannot arrive later.

    Args:
        store: where the changes go.
        actor: who acts.
        about: what is said of the writer when the stream is opened.
        door: takes the changes, where that is not the store itself.
    """

    def __init__(
        self, store: MetadataStore, actor: str, about: Mapping[str, Any] | None = None, *, door: Applies | None = None
    ) -> None:
        self.store = store
        self.actor = actor
        self._door: Applies = door or store
        self._about = dict(about or {})
        self._lock = threading.Lock()
        self._stream: StreamWriter | None = None
        self._process_id = 0

    def apply(
        self, entries: Iterable[Entry], *, expect: Sequence[Condition] = (), recorded_at: int | None = None
    ) -> None:
        """Make changes, all or none of them, all with one time; durably before it returns. No entries: nothing happens.

        Raises:
            PreconditionError: a condition does not hold, so nothing was done.
            StoreReadOnlyError: the store cannot be written.
            StoreUnavailableError: it cannot be reached; the changes may have arrived or not.
        """
        written = _written(entries)
        if not written:
            return
        with self._lock:
            at = now_us() if recorded_at is None else recorded_at
            try:
                self._append(written, expect, at)
            except StreamDeniedError:
                # All that the stream spoke of is out of the writer's sight by now.
                self._stream = None
                self._append(written, expect, at)

    def close(self) -> None:
        """Seal the stream with its closing change, so that a lost tail shows. The writer can be used further."""
        with self._lock:
            stream, self._stream = self._stream, None
            if stream is not None and stream.seq and self._process_id == os.getpid():
                with suppress(StreamDeniedError):  # it stays open
                    self._apply(stream, [_closing(stream.stream_id)], (), now_us())

    def apply_alone(self, stream_id: str, entries: Iterable[Entry], *, expect: Sequence[Condition] = ()) -> None:
        """Make changes that are a whole stream by themselves: anyone who sends them again finds it there.

        Raises:
            ConflictError: the stream is there already, with other changes.
            PreconditionError, StoreReadOnlyError, StoreUnavailableError: as :meth:`apply`.
        """
        stream, at = StreamWriter(stream_id, self.actor), now_us()
        written = [self._opening(stream_id), *_written(entries), _closing(stream_id)]
        self._send([stream.write(entry, at) for entry in written], expect)

    def _append(self, entries: list[Entry], expect: Sequence[Condition], at: int) -> None:
        if self._stream is None or self._process_id != os.getpid():
            self._stream, self._process_id = StreamWriter(new_id(), self.actor), os.getpid()
        stream = self._stream
        self._apply(stream, entries if stream.seq else [self._opening(stream.stream_id), *entries], expect, at)

    def _apply(self, stream: StreamWriter, entries: list[Entry], expect: Sequence[Condition], at: int) -> None:
        changes = [stream.write(entry, at) for entry in entries]
        try:
            self._send(changes, expect)
        except _REFUSALS:
            stream.take_back(changes[0])
            raise
        except BaseException:
            self._stream = None
            raise

    def _send(self, changes: Sequence[Change], expect: Sequence[Condition]) -> None:
        if expect:
            self._door.apply(changes, expect=expect)
        else:
            self._door.apply(changes)  # also to a store of a plugin that knows no conditions

    def _opening(self, stream_id: str) -> Entry:
        return Entry(OPEN, STREAM, stream_id, {"pid": os.getpid(), "version": __version__, **self._about})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()


def _written(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries with their payloads as bytes: what cannot be written raises before anything is numbered."""
    return [entry._replace(data=entry.payload) for entry in entries]


def _closing(stream_id: str) -> Entry:
    return Entry(CLOSE, STREAM, stream_id, {})
