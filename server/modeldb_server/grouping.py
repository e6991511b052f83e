"""Writes that wait together are made together: one transaction of the store for all that arrived during the last one.

A store lets one writer in at a time, and a transaction costs more than the changes in it. While one thread writes, the
others put down what they have; whoever comes next takes all of it along. Each request keeps what the contract promises
it: where the whole is refused, every part is applied by itself, and gets its own error.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from modeldb_core.errors import StoreReadOnlyError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.changes import Change
    from modeldb_core.stores import MetadataStore

MAX_CHANGES = 5000
"""A group is not begun to be filled further once it has so many: readers and other servers get their turns."""

LONGEST_WAIT_S = 0.002


class GroupedWrites:
    """Applies changes to a store, those of several threads at once."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store
        self._turn = threading.Lock()
        self._waiting: list[_Part] = []
        self._waiting_lock = threading.Lock()
        self._last_count = 1

    def apply(self, changes: Sequence[Change]) -> None:
        """Record ``changes`` as :meth:`~modeldb_core.stores.MetadataStore.apply` does, and raise what it raises."""
        part = _Part(changes)
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
        try:
            self._store.apply([change for part in parts for change in part.changes])
        except BaseException as error:
            is_alone = len(parts) == 1 or isinstance(error, (StoreUnavailableError, StoreReadOnlyError))
            for part in parts:
                if is_alone:
                    part.finish(error)
                else:
                    self._apply([part])
        else:
            for part in parts:
                part.finish(None)


class _Part:
    """What one thread wants to have applied, and what came of it."""

    __slots__ = ("changes", "error", "is_done")

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = changes
        self.error: BaseException | None = None
        self.is_done = False

    def finish(self, error: BaseException | None) -> None:
        self.error, self.is_done = error, True
