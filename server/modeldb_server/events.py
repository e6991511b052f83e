"""Live updates: one thread follows the store, any number of event streams tell browsers what it saw.

The WSGI server answers a request in a thread of a pool, and an event stream holds its thread for as long as a page is
open. Three things keep that from hurting anyone. The number of streams is limited, and the pool has that many threads
*more* than it has for ordinary requests, so streams can never take the last one. The waiting costs no work: the store
is asked once per interval however many streams there are, and not at all when there are none; only a stream of somebody
who may see a part asks for its own part, when there is something new. And what a stream holds
is bounded: changes are coalesced to "which entities", and anyone who is too far behind is told to reload.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modeldb_core.errors import ModelDBError
from modeldb_core.log.changes import STREAM
from modeldb_core.stores.scoped import ScopedStore
from modeldb_server.documents import is_secret
from modeldb_server.limits import BusyError
from modeldb_server.responses import dump_json

if TYPE_CHECKING:
    from modeldb_core.stores import MetadataStore, TouchPage

logger = logging.getLogger("modeldb_server")

PAGE_SIZE = 500
MAX_PAGES = 10
"""So many pages are read at a time: a store that takes in a large import is followed in steps."""
MAX_BATCHES = 600
MAX_ENTITIES = 1000
"""More entities in one event are not listed: the page reloads what it shows."""
TICK_S = 1.0
"""So often a waiting stream looks whether its client is still there."""
RETRY_MS = 3000

Touched = tuple[str, str, str]
"""Kind, identifier and action of an entity that changed."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What happened between two positions of the store.

    Attributes:
        truncated: there was more than is listed: look again at everything.
    """

    after: int
    cursor: int
    entities: tuple[Touched, ...]
    truncated: bool = False


def read_batch(store: MetadataStore, after: int) -> tuple[Batch, bool]:
    """Return what happened after a position, and whether that is everything until now."""
    touched: dict[Touched, None] = {}
    cursor = after
    at_end = False
    for _ in range(MAX_PAGES):
        page = store.read_touches(after=cursor, limit=PAGE_SIZE)
        touched.update(_touched(page))
        cursor = max(cursor, page.cursor)
        if len(page.touches) < PAGE_SIZE:
            at_end = True
            break
    return _batch(after, cursor, touched), at_end


def _touched(page: TouchPage) -> dict[Touched, None]:
    return {
        (touch.kind, touch.entity_id, touch.action): None
        for touch in page.touches
        if touch.kind != STREAM and not is_secret(touch.kind) and not touch.withheld
    }


def _batch(after: int, cursor: int, touched: dict[Touched, None]) -> Batch:
    if len(touched) > MAX_ENTITIES:
        return Batch(after, cursor, (), truncated=True)
    return Batch(after, cursor, tuple(touched))


class EventHub:
    """Follows a store and hands out event streams. Its thread lives while a stream is open.

    Args:
        max_streams: that may be open at once.
        interval_s: how often the store is asked for changes.
        heartbeat_s: after so long without an event a stream sends a comment, which keeps proxies from closing it.
    """

    def __init__(
        self, store: MetadataStore, *, max_streams: int = 32, interval_s: float = 1.0, heartbeat_s: float = 15.0
    ) -> None:
        self.store = store
        self.max_streams = max_streams
        self.interval_s = interval_s
        self.heartbeat_s = heartbeat_s
        self._changed = threading.Condition()
        self._streams = 0
        self._closed = False
        self._poller: threading.Thread | None = None
        self._cursor = 0
        self._batches: deque[Batch] = deque(maxlen=MAX_BATCHES)

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return self._streams

    def cursor(self, store: MetadataStore | None = None) -> int | None:
        """Return a position of the store that lies before whatever is read from now on; ``None`` where it cannot be told.

        A page that begins with it and reads afterwards misses nothing when it follows the changes later.

        Args:
            store: as who asks may see it; default: the whole one.
        """
        with self._changed:
            if store in (None, self.store) and self._poller is not None and self._poller.is_alive():
                return self._cursor
        try:
            return (store or self.store).end_of_log()
        except ModelDBError:
            return None

    def open(
        self,
        after: int | None = None,
        is_gone: Callable[[], bool] = lambda: False,
        store: MetadataStore | None = None,
    ) -> EventStream:
        """Return a stream of the changes after ``after``, or from now on. Close it.

        Args:
            after: a cursor.
            is_gone: says whether the client has hung up.
            store: as who follows it may see it; default: the whole one.

        Raises:
            BusyError: as many streams as allowed are open, or the server is stopping.
        """
        with self._changed:
            if self._closed:
                msg = "the server is stopping"
                raise BusyError(msg)
            if self._streams >= self.max_streams:
                msg = f"{self._streams} event streams are open, which is the limit; ask again or poll /api/v2/changes"
                raise BusyError(msg)
            self._streams += 1
        try:
            start = self._ensure_polling()
            narrowed = store if isinstance(store, ScopedStore) else None
            if narrowed is not None:
                start = narrowed.end_of_log()
            return EventStream(self, start if after is None else min(after, start), is_gone, narrowed)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give back the place of a stream that ended."""
        with self._changed:
            self._streams -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """End all streams and the thread. Streams cannot be opened again."""
        with self._changed:
            self._closed = True
            poller = self._poller
            self._changed.notify_all()
        if poller is not None:
            poller.join(timeout=5)

    def wait(self, cursor: int, timeout_s: float) -> int | None:
        """Wait until the hub has seen more than ``cursor``; return what it has seen, ``None`` where the stream must end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._cursor > cursor, timeout_s)
            return None if self._closed else self._cursor

    def since(self, cursor: int, narrowed: ScopedStore | None = None) -> Batch | None:
        """Return what was seen after ``cursor``, as one batch; ``None`` where that is nothing."""
        if narrowed is not None:
            batch, at_end = read_batch(narrowed, cursor)
            return batch if at_end else Batch(cursor, batch.cursor, (), truncated=True)
        with self._changed:
            end = self._cursor
            batches = [batch for batch in self._batches if batch.cursor > cursor]
            known = bool(batches) and batches[0].after <= cursor
        if cursor >= end:
            return None
        if known:
            touched = dict.fromkeys(item for batch in batches for item in batch.entities)
            batch = _batch(cursor, end, touched)
            return Batch(cursor, end, (), truncated=True) if any(item.truncated for item in batches) else batch
        batch, at_end = read_batch(self.store, cursor)  # from before the thread began
        return batch if at_end else Batch(cursor, end, (), truncated=True)

    def _ensure_polling(self) -> int:
        with self._changed:
            if self._poller is not None and self._poller.is_alive():
                return self._cursor
        cursor = self.store.end_of_log()
        with self._changed:
            if self._poller is None or not self._poller.is_alive():
                self._cursor = max(self._cursor, cursor)
                self._batches.clear()
                self._poller = threading.Thread(target=self._poll, name="modeldb-events", daemon=True)
                self._poller.start()
            return self._cursor

    def _poll(self) -> None:
        failing = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or not self._streams, self.interval_s)
                if self._closed or not self._streams:
                    self._poller = None
                    return
            try:
                self._catch_up()
                failing = False
            except ModelDBError as error:
                if not failing:
                    logger.warning("live updates pause: %s", error)
                failing = True

    def _catch_up(self) -> None:
        at_end = False
        while not (at_end or self._closed):
            batch, at_end = read_batch(self.store, self._cursor)
            if batch.cursor > batch.after:
                with self._changed:
                    self._batches.append(batch)
                    self._cursor = batch.cursor
                    self._changed.notify_all()


class EventStream(Iterator[bytes]):
    """The body of an answer of type ``text/event-stream``. It must be closed, also when it was never read."""

    def __init__(
        self, hub: EventHub, cursor: int, is_gone: Callable[[], bool], narrowed: ScopedStore | None = None
    ) -> None:
        self._hub = hub
        self._cursor = cursor
        self._narrowed = narrowed
        self._seen = cursor if narrowed is None else -1  # of what the hub has seen: a narrowed log ends before it
        self._is_gone = is_gone
        self._greeted = False
        self._ended = False

    def __next__(self) -> bytes:
        """Wait for the next event, or a sign of life; ends when the client has gone or the server stops."""
        if not self._greeted:
            self._greeted = True
            return b"retry: %d\nevent: ready\n%s" % (RETRY_MS, _data(self._cursor, {"cursor": self._cursor}))
        silent_until = time.monotonic() + self._hub.heartbeat_s
        while not self._ended:
            left = silent_until - time.monotonic()
            if left <= 0:
                return b": alive\n\n"
            seen = self._hub.wait(self._seen, min(left, TICK_S))
            if seen is None or self._is_gone():
                break
            if seen > self._seen and (event := self._event(seen)):
                return event
        raise StopIteration

    def close(self) -> None:
        """Give back the place. Calling it twice is not an error."""
        if not self._ended:
            self._ended = True
            self._hub.release()

    def _event(self, seen: int) -> bytes | None:
        try:
            batch = self._hub.since(self._cursor, self._narrowed)
        except ModelDBError:
            time.sleep(self._hub.interval_s)  # it is said by the thread that follows the store
            return None
        self._seen = seen
        if batch is None:
            return None
        self._cursor = max(self._cursor, batch.cursor)
        if self._narrowed is None:
            self._seen = self._cursor
        if not batch.entities and not batch.truncated:
            return None
        data = {
            "cursor": batch.cursor,
            "entities": [
                {"kind": kind, "entity_id": entity_id, "action": action} for kind, entity_id, action in batch.entities
            ],
            "truncated": batch.truncated,
        }
        return b"event: changes\n" + _data(batch.cursor, data)


def _data(cursor: int, data: object) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (cursor, dump_json(data))
