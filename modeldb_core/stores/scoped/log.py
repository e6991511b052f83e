"""The log as a principal sees it: the streams that say something of what it may see, each of them whole.

The chain of a stream can only be verified as a whole, so the changes of others that stand in such a stream come along,
with their payloads withheld. Streams that say nothing of what is seen are not there.
"""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.log.changes import EMPTY_HEAD, STREAM, UPDATE
from modeldb_core.model.schema import KINDS
from modeldb_core.stores.pages import ChangePage, touch_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modeldb_core.log.changes import Change, Head
    from modeldb_core.log.erasures import Name
    from modeldb_core.stores.contract import MetadataStore
    from modeldb_core.stores.pages import Touch
    from modeldb_core.stores.scoped.sight import Sight

PAGE = 500
MAX_STRAYS = 10_000


class NarrowedLog:
    """Narrows the log of a store. Which streams are shown is found out by reading the log once, and what is new of it later.

    Args:
        store: the whole store.
        sight: what is seen of it.
    """

    def __init__(self, store: MetadataStore, sight: Sight) -> None:
        self._store, self._sight = store, sight
        self._lock = threading.RLock()
        self._forget()

    def _forget(self) -> None:
        self._scanned = 0
        self._end = 0, 0  # the last change that is shown: a position before it, and how many changes later it comes
        self._shown: set[str] = set()
        self._own: set[str] = set()  # streams that were written to, and will be shown
        self._strays: dict[Name, None] = {}  # entities that may come to be seen

    # Which streams are shown

    def is_of_others(self, stream_id: str) -> bool:
        """Return whether a stream speaks of something, and of nothing that is seen."""
        if stream_id in self._shown or stream_id in self._own:
            return False
        after, speaks = 0, False
        while (page := self._store.read_changes(after=after, limit=PAGE, stream_id=stream_id)).changes:
            names = {(change.kind, change.entity_id) for change in page.changes if change.kind != STREAM}
            if self._sight.held_of(names):
                self._own.add(stream_id)
                return False
            after, speaks = page.cursor, speaks or bool(names)
        return speaks

    def heads(self) -> Mapping[str, Head]:
        """Return the heads of the streams that are shown."""
        shown = self._catch_up()
        return {stream_id: head for stream_id, head in self._store.heads().items() if stream_id in shown}

    def heads_after(self, stream_id: str, limit: int) -> Mapping[str, Head]:
        """Return the heads of the next streams that are shown, in the order of their identifiers."""
        shown = self._catch_up()
        found: dict[str, Head] = {}
        while len(found) < limit and (page := self._store.heads_after(stream_id, PAGE)):
            found.update((name, head) for name, head in page.items() if name in shown)
            stream_id = max(page)
        return dict(islice(found.items(), max(limit, 0)))

    def head(self, stream_id: str) -> Head:
        """Return the head of one stream, an empty one where it is not shown."""
        return self._store.head(stream_id) if stream_id in self._catch_up() else EMPTY_HEAD

    def end(self) -> int:
        """Return the position after the last change that is shown."""
        with self._lock:
            self._catch_up()
            position, more = self._end
            if more:
                position = self._store.read_touches(after=position, limit=more).cursor
                self._end = position, 0
            return position

    def _catch_up(self) -> set[str]:
        """Look through what is new; return the streams that are shown."""
        with self._lock:
            start = self._scanned
            has_moved = self._read_on()
            is_new = self._scanned > start
            if start and (has_moved or (is_new and self._sight.held_of(self._strays))):
                # What lay elsewhere may lie in the scope now, and the streams that spoke of it were passed.
                self._forget()
                self._read_on()
            return self._shown

    def _read_on(self) -> bool:
        """Look through the rest of the log; return whether something may have been put elsewhere."""
        has_moved = False
        while (page := self._store.read_touches(after=self._scanned, limit=PAGE)).touches:
            touches, cursor = page.touches, page.cursor
            if any(map(_may_put_elsewhere, touches)):  # only what such a change says tells whether it did
                changes = self._store.read_changes(after=self._scanned, limit=PAGE)
                has_moved = has_moved or any(map(_puts_elsewhere, changes.changes))
                touches, cursor = tuple(map(touch_of, changes.changes)), changes.cursor
            self._note(touches)
            self._scanned = cursor
        return has_moved

    def _note(self, touches: Sequence[Touch]) -> None:
        passed = [touch for touch in touches if touch.kind != STREAM and touch.stream_id not in self._shown]
        names = {(touch.kind, touch.entity_id) for touch in passed}
        held, strays = self._sight.held_and_strays_of(names)
        self._shown.update(touch.stream_id for touch in passed if (touch.kind, touch.entity_id) in held)
        self._strays.update(dict.fromkeys(sorted(strays)))
        while len(self._strays) > MAX_STRAYS:
            del self._strays[next(iter(self._strays))]
        for number, touch in enumerate(touches, 1):
            if touch.stream_id in self._shown:
                self._end = self._scanned, number

    # Reading

    def read(self, after: int, limit: int, entity_id: str | None, stream_id: str | None) -> ChangePage:
        """Return changes as :meth:`~modeldb_core.stores.MetadataStore.read_changes` does, of what is shown.

        The cursor is the position of the last one: what others write afterwards does not move it.
        """
        after = max(after, 0)
        shown = self._catch_up()
        if (stream_id is not None and stream_id not in shown) or (entity_id is None and after >= self.end()):
            return ChangePage((), after)

        def read(after: int, limit: int) -> ChangePage:
            return self._store.read_changes(after=after, limit=limit, entity_id=entity_id, stream_id=stream_id)

        def select(changes: Sequence[Change]) -> list[tuple[int, Change]]:
            found = [(place, change) for place, change in enumerate(changes) if change.stream_id in shown]
            held = self._sight.held_of((change.kind, change.entity_id) for _, change in found)
            is_held = [change.kind == STREAM or (change.kind, change.entity_id) in held for _, change in found]
            if entity_id is not None:  # of others that have the identifier nothing is said
                return [one for one, is_seen in zip(found, is_held, strict=True) if is_seen]
            return [
                (place, change if is_seen else change.without_payload())
                for (place, change), is_seen in zip(found, is_held, strict=True)
            ]

        return _gather(read, select, after, limit)


def _may_put_elsewhere(touch: Touch | Change) -> bool:
    """Return whether a change may give an entity that may have been there another container."""
    return touch.kind in KINDS and touch.action == UPDATE and bool(KINDS[touch.kind].containers)


def _puts_elsewhere(change: Change) -> bool:
    """Return whether a change gives an entity that may have been there another container."""
    if not _may_put_elsewhere(change) or not change.payload:
        return False
    names = [each.name for each in KINDS[change.kind].containers if each.name.encode() in change.payload]
    if not names:
        return False
    try:
        given = change.data().get("set")
    except InvalidArgumentError:
        return False
    return isinstance(given, dict) and any(name in given for name in names)


def _gather(
    read: Callable[[int, int], ChangePage],
    select: Callable[[Sequence[Change]], list[tuple[int, Change]]],
    after: int,
    limit: int,
) -> ChangePage:
    """Read on until there are ``limit`` changes of those that are selected, or no more at all."""
    found: list[Change] = []
    at = cursor = after
    while len(found) < limit:
        asked = max(limit - len(found), PAGE)
        page = read(at, asked)
        selected = select(page.changes)[: limit - len(found)]
        if selected:
            found += [change for _, change in selected]
            read_upto = selected[-1][0] + 1
            # The position after a change that is not the last one of its page, only another page can tell.
            cursor = page.cursor if read_upto == asked else read(at, read_upto).cursor
        if len(page.changes) < asked:
            break
        at = page.cursor
    return ChangePage(tuple(found), cursor)
