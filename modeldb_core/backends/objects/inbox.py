"""The way of parts from objects into the replica, in the order of their stamps and whatever may be wrong with them."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from modeldb_core.backends.objects.layout import Part
from modeldb_core.backends.objects.order import Key, lateness_shows
from modeldb_core.backends.objects.replica import APPLIED, DAMAGED, UNLISTED, many
from modeldb_core.errors import (
    ConflictError,
    InvalidArgumentError,
    ModelDBError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StreamGapError,
)
from modeldb_core.log.batches import decode_changes, encode_changes
from modeldb_core.log.changes import GENESIS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.backends.objects.replica import Replica

_SOME_PARTS = 500  # that are applied in one transaction
_SOME_BYTES = 4 << 20
_MAX_BYTES = 1 << 31
_MAX_CHANGES = 1 << 24
_PUT_PART = "INSERT OR REPLACE INTO bucket_parts VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT_OBJECT = "INSERT OR REPLACE INTO bucket_objects VALUES (?, ?, ?, ?, ?)"


class RebuildNeededError(Exception):
    """What the replica holds is not what follows from the bucket any more."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An object that was read: what it holds, or what is wrong with it."""

    name: str
    mark: str
    size: int
    parts: Sequence[Part] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A part in the inbox; ``place`` is its key there."""

    place: tuple[int, str, str]
    part: Part

    @property
    def name(self) -> str:
        """The object that brought it."""
        return self.place[2]

    @property
    def key(self) -> Key:
        """Its place among all parts."""
        return self.place[:2]

    @property
    def stream_ids(self) -> set[str]:
        """The streams that it goes on with."""
        return {change.stream_id for change in self.part.changes}


class Inbox:
    """The parts that are on their way into a replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._newest: Key | None = None  # of the parts that were taken before; None: everything comes in its order

    def receive(self, objects: Sequence[Arrived]) -> None:
        """Put what objects hold into the inbox, and remember those that are damaged."""
        rows = []
        for item in objects:
            for part in item.parts:
                content = encode_changes(part.changes, compress=False)
                rows.append((part.stamp, part.tie, item.name, len(content), content))
        empty = [(item.name,) for item in objects if not item.parts]
        known = [(item.name, item.mark, item.size, DAMAGED if item.note else APPLIED, item.note) for item in objects]

        def work(write: Transaction) -> None:
            many(write, "INSERT OR REPLACE INTO bucket_inbox VALUES (?, ?, ?, ?, ?)", rows)
            many(write, _PUT_OBJECT, known)
            many(write, "DELETE FROM bucket_parts WHERE name = ?", empty)  # a pack holds now what a decision was

        self._replica.write(work)

    def drain(self) -> list[str]:
        """Take in what waits, as far as that goes; return what is to be said of parts that were refused.

        Raises:
            RebuildNeededError: a part comes before others that were taken in, and that shows.
        """
        said: list[str] = []
        self._newest = self._replica.newest_key()
        while self._pass(said):
            pass
        return said

    def _pass(self, said: list[str]) -> bool:
        """Go through the inbox; return whether to begin again, because one may be taken now that had to wait."""
        after: tuple[int, str, str] = (-1, "", "")
        awaited: set[str] = set()
        while batch := self._next(after):
            after = batch[-1].place
            # What waits is taken right after what it waits for, no matter who follows the bucket.
            if not any(awaited & waiting.stream_ids for waiting in batch):
                try:
                    self._take(batch)
                except ModelDBError as error:
                    _pass_on(error)
                else:
                    continue
            for waiting in batch:
                try:
                    self._take([waiting])
                except StreamGapError:
                    awaited |= waiting.stream_ids
                except ModelDBError as refusal:
                    _pass_on(refusal)
                    said.append(self._refuse(waiting, refusal))
                else:
                    if awaited & waiting.stream_ids:
                        return True
        return False

    def _next(self, after: tuple[int, str, str]) -> list[Waiting]:
        """Return the parts of the inbox that come next, about as many as fit into one transaction."""
        query = (
            "SELECT stamp, tie, name, {} FROM bucket_inbox WHERE (stamp, tie, name) > (?, ?, ?) "
            "ORDER BY stamp, tie, name LIMIT ?"
        )
        count = size = 0
        for *_, length in self._replica.query(query.format("size"), (*after, _SOME_PARTS)):
            if count and size + length > _SOME_BYTES:
                break
            count, size = count + 1, size + length
        found = []
        for stamp, tie, name, content in self._replica.query(query.format("content"), (*after, count)):
            changes = decode_changes(content, max_bytes=_MAX_BYTES, max_changes=_MAX_CHANGES)
            found.append(Waiting((stamp, tie, name), Part(stamp, changes)))
        return found

    def _take(self, batch: Sequence[Waiting]) -> None:
        changes = [change for waiting in batch for change in waiting.part.changes]
        rows = [row for waiting in batch for row in part_rows(waiting.name, waiting.part)]
        late = self._late(batch)

        def also(write: Transaction) -> None:
            many(write, _PUT_PART, rows)
            _leave(write, batch)
            if late and lateness_shows(write, late):
                raise RebuildNeededError  # and with it, what was just taken goes back

        self._replica.apply_and(changes, also)
        if self._newest is not None:
            self._newest = max(self._newest, batch[-1].key)

    def _late(self, batch: Sequence[Waiting]) -> list[Part]:
        """Return the parts that come before others that were taken, but for those that another object brought."""
        if self._newest is None:
            return []
        late = [waiting for waiting in batch if waiting.key < self._newest]
        if not late:
            return []
        places = [
            [number, stream_id, first, last, *waiting.key]
            for number, waiting in enumerate(late)
            for stream_id, (first, last) in waiting.part.ranges().items()
        ]
        unknown = self._replica.query(
            "WITH late AS (SELECT json_extract(value, '$[0]') AS number, json_extract(value, '$[1]') AS stream_id, "
            "json_extract(value, '$[2]') AS first, json_extract(value, '$[3]') AS last, "
            "json_extract(value, '$[4]') AS stamp, json_extract(value, '$[5]') AS tie FROM json_each(?)) "
            "SELECT DISTINCT number FROM late WHERE NOT EXISTS (SELECT 1 FROM bucket_parts AS known "
            "WHERE known.stream_id = late.stream_id AND known.first = late.first AND known.stamp = late.stamp "
            "AND known.tie = late.tie AND known.last = late.last)",
            (json.dumps(places),),
        )
        return [late[number].part for (number,) in unknown]

    def _refuse(self, waiting: Waiting, error: ModelDBError) -> str:
        """Put a part aside that contradicts what is there, and return the sentence on it."""
        is_late = self._newest is not None and waiting.key < self._newest
        # In its place it may mean something, or be the one that counts.
        if is_late and (
            isinstance(error, InvalidArgumentError) or (isinstance(error, ConflictError) and self._is_first(waiting))
        ):
            raise RebuildNeededError
        note = f"{waiting.name} in {self._replica.url} holds changes that are left out: {error}"

        def work(write: Transaction) -> None:
            many(write, "UPDATE bucket_objects SET note = ? WHERE name = ?", [(note, waiting.name)])
            _leave(write, [waiting])

        self._replica.write(work)
        return note

    def _is_first(self, waiting: Waiting) -> bool:
        """Return whether a part comes before all those that hold the changes that it contradicts.

        Of changes that contradict each other the one with the lowest stamp counts, for every reader alike.
        """
        for change in waiting.part.changes:
            stored = {
                known.seq: known.hash for known in self._replica.stored(change.stream_id, change.seq - 1, change.seq)
            }
            if stored.get(change.seq, change.hash) == change.hash:
                continue
            if stored.get(change.seq - 1, GENESIS) != change.previous_hash:
                return False  # it would not fit even where the other one was not
            rows = self._replica.query(
                "SELECT stamp, tie, name FROM bucket_parts WHERE stream_id = ? AND first <= ? AND last >= ? "
                "ORDER BY stamp, tie LIMIT 1",
                (change.stream_id, change.seq, change.seq),
            )
            if not rows:
                return True
            *place, name = rows[0]
            return waiting.place[:2] < tuple(place) and name != waiting.name  # else somebody altered the object
        return False


def adopt(replica: Replica, name: str, size: int, parts: Iterable[Part]) -> None:
    """Take note of a pack that was made from what the replica holds."""
    rows = [row for part in parts for row in part_rows(name, part)]

    def work(write: Transaction) -> None:
        many(write, _PUT_PART, rows)
        many(write, _PUT_OBJECT, [(name, UNLISTED, size, APPLIED, None)])

    replica.write(work)


def part_rows(name: str, part: Part) -> list[tuple[Any, ...]]:
    """Return the rows of ``bucket_parts`` for a part of an object."""
    gone: Mapping[str, list[int]] = defaultdict(list)
    for change in part.changes:
        if change.payload is None:
            gone[change.stream_id].append(change.seq)
    return [
        (stream_id, first, name, last, part.stamp, part.tie, json.dumps(gone[stream_id]) if stream_id in gone else None)
        for stream_id, (first, last) in part.ranges().items()
    ]


def _leave(write: Transaction, batch: Sequence[Waiting]) -> None:
    many(
        write,
        "DELETE FROM bucket_inbox WHERE stamp = ? AND tie = ? AND name = ?",
        [waiting.place for waiting in batch],
    )


def _pass_on(error: ModelDBError) -> None:
    """Raise what says nothing of a part, but that the replica cannot be written now, or is damaged."""
    of_replica = isinstance(error.__cause__, (DBAPIError, sqlite3.Error))
    if of_replica or isinstance(error, (StoreUnavailableError, StoreReadOnlyError)):
        raise error
