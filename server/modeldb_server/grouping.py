"""Writes that wait together are made together: one transaction of the store for all that arrived during the last one.

A store lets one writer in at a time, and a transaction costs more than the changes in it. While one thread writes, the
others put down what they have; anyone who comes next takes all of it along. Each request keeps what the contract promises
it: where the whole is refused, every part is applied by itself, and gets its own error.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modeldb_core.errors import StoreReadOnlyError, StoreUnavailableError
from modeldb_core.log.batches import MAX_BATCH_BYTES, MAX_BATCH_CHANGES
from modeldb_server.limits import BusyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modeldb_core.log.changes import Change
    from modeldb_core.log.conditions import Condition
    from modeldb_core.stores import MetadataStore

MAX_CHANGES = 5000
"""A group is not begun to be filled further once it has so many: readers and other servers get their turns."""

LONGEST_WAIT_S = 0.002


class Room:
    """How much may be unpacked at once, over all requests: a few short bodies must not fill memory and processors."""

    def __init__(self, changes: int = 2 * MAX_BATCH_CHANGES, size_bytes: int = 2 * MAX_BATCH_BYTES) -> None:
        self._left = [changes, size_bytes]
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, count: int, size_bytes: int) -> Iterator[None]:
        """Take room for changes that are about to be unpacked, and give it back.

        Raises:
            BusyError: there is too little left now.
        """
        with self._lock:
            if count > self._left[0] or size_bytes > self._left[1]:
                msg = "the server is taking in as many changes as it can; try again"
                raise BusyError(msg, status=429)
            self._left = [self._left[0] - count, self._left[1] - size_bytes]
        try:
            yield
        finally:
            with self._lock:
                self._left = [self._left[0] + count, self._left[1] + size_bytes]


class GroupedWrites:
    """Applies changes to a store, those of several threads at once."""

    def __init__(self, store: MetadataStore) -> None:
        self.room = Room()
        self._store = store
        self._turn = threading.Lock()
        self._waiting: list[_Part] = []
        self._waiting_lock = threading.Lock()
        self._last_count = 1

    def apply(self, changes: Sequence[Change], *, expect: Sequence[Condition] = ()) -> None:
        """Record ``changes`` as :meth:`~modeldb_core.stores.MetadataStore.apply` does, and raise what it raises."""
        part = _Part(changes, expect)
        with self._waiting_lock:
            self._waiting.append(part)
        with self._turn:
            while not part.is_done:  # the one before may have taken it along
                self._await_others()
                self._apply(self._take())
        if part.error is not None:
            raise part.error

    def _await_others(self) -> None:
        """Wait a moment for as many as came together the last time: they have their answers, and send again soon."""
        until = time.monotonic() + LONGEST_WAIT_S
        while len(self._waiting) < self._last_count and time.monotonic() < until:
            time.sleep(LONGEST_WAIT_S / 4)

    def _take(self) -> list[_Part]:
        count = length = 0
        with self._waiting_lock:
            while count < len(self._waiting) and length < MAX_CHANGES:
                length += len(self._waiting[count].changes)
                count += 1
            taken, self._waiting = self._waiting[:count], self._waiting[count:]
        self._last_count = count
        return taken

    def _apply(self, parts: list[_Part]) -> None:
        """Apply parts: those without conditions together, each other one by itself, so that it answers for itself."""
        free = [part for part in parts if not part.expect]
        for group in (free, *([part] for part in parts if part.expect)):
            if group:
                self._apply_together(group)

    def _apply_together(self, parts: list[_Part]) -> None:
        try:
            self._store.apply([change for part in parts for change in part.changes], expect=parts[0].expect)
        except BaseException as error:
            is_alone = len(parts) == 1 or isinstance(error, (StoreUnavailableError, StoreReadOnlyError))
            for part in parts:
                if is_alone:
                    part.finish(error)
                else:
                    self._apply_together([part])
        else:
            for part in parts:
                part.finish(None)


class _Part:
    """What one thread wants to have applied, and what came of it."""

    __slots__ = ("changes", "error", "expect", "is_done")

    def __init__(self, changes: Sequence[Change], expect: Sequence[Condition]) -> None:
        self.changes = changes
        self.expect = expect
        self.error: BaseException | None = None
        self.is_done = False

    def finish(self, error: BaseException | None) -> None:
        self.error, self.is_done = error, True
