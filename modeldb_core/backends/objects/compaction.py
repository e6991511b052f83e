"""Puts many small objects together into few large ones, and takes erased payloads out of the bucket.

It runs in any process, in several at once, and may die at any point. Two rules make that safe:

- A pack is written under a name that is new, from what the replica holds, and verified by reading it back. Nothing is
  deleted then.
- An object is deleted only when every part of it is in a pack that a *listing* has shown, and a pack only when that one
  has a higher name. So of all packs that hold a change, the one with the highest name stays; and anyone who lists the
  bucket late still finds either the old objects or the new ones.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from modeldb_core.backends.objects.inbox import adopt
from modeldb_core.backends.objects.layout import (
    DECISIONS_LIKE,
    PACKS,
    Part,
    gaps,
    is_pack,
    number_of_decision,
    pack_of,
    pack_of_decision,
    pack_time,
    parts_of,
    range_of,
)
from modeldb_core.backends.objects.snapshots import drop_outdated
from modeldb_core.errors import IntegrityError, NotFoundError, StoreUnavailableError
from modeldb_core.log.changes import GENESIS, verify_change
from modeldb_core.model.entities import now_us

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from modeldb_core.backends.objects.bucket import Bucket
    from modeldb_core.backends.objects.replica import Replica
    from modeldb_core.log.changes import Change

ENOUGH_OBJECTS = 100
"""Of ended streams: so many are worth a pack when nobody asked for one."""
MANY_OBJECTS = 64
"""Of one stream that still grows: so many are put together."""
_MANY_PACKS = 8  # of about the same size
_PACK_BYTES = 32 << 20  # of objects that go into one pack
_PACK_OBJECTS = 1000
_LARGE_PACK_BYTES = 16 << 20  # a pack of this size is not merged any more
_LONG_OVER_US = 3600 * 1_000_000  # a lease that has been over for so long belongs to a dead writer


@dataclass(frozen=True, slots=True)
class Compaction:
    """What was done.

    Attributes:
        packs: packs that were written.
        packed: objects whose parts they took over.
        deleted: objects that were deleted, because packs hold what they held.
    """

    packs: int = 0
    packed: int = 0
    deleted: int = 0

    def __add__(self, other: Compaction) -> Compaction:
        return Compaction(self.packs + other.packs, self.packed + other.packed, self.deleted + other.deleted)


@dataclass(frozen=True, slots=True)
class _Row:
    """A part of an object, as far as one stream is concerned."""

    stream_id: str
    first: int
    last: int
    stamp: int
    tie: str


class Compactor:
    """Compacts one bucket; the replica must be up to date, and nobody else on this machine use it meanwhile."""

    def __init__(self, bucket: Bucket, replica: Replica) -> None:
        self._bucket = bucket
        self._replica = replica
        self._erased = _erased(replica)
        self._waiting = {name for (name,) in replica.query("SELECT DISTINCT name FROM bucket_inbox")}

    def may_be_worth_it(self) -> bool:
        """Return, at little cost, whether there may be something to do that nobody asked for."""
        rows = self._replica.query(
            "SELECT sum(name LIKE 'streams/%'), sum(name LIKE 'packs/%' AND name NOT LIKE ? AND size < ?) "
            "FROM bucket_objects",
            (DECISIONS_LIKE, _LARGE_PACK_BYTES),
        )
        of_streams, packs = rows[0]
        return (
            (of_streams or 0) >= min(ENOUGH_OBJECTS, MANY_OBJECTS) or (packs or 0) >= _MANY_PACKS or bool(self._erased)
        )

    def run(self, *, full: bool) -> Compaction:
        """Delete what packs that were listed hold, and write packs of what is worth it, at most one unless ``full``.

        Raises:
            StoreReadOnlyError: the bucket may not be written.
            StoreUnavailableError: it cannot be reached.
            IntegrityError: the replica does not hold what it took in.
        """
        done = self._delete_covered()
        if self._erased:
            done += Compaction(deleted=drop_outdated(self._bucket, self._replica))
        for names in self._plan(full=full):
            self._write_pack(names)
            done += Compaction(packs=1, packed=len(names))
            if not full:
                break
        return done

    # Deleting

    def _delete_covered(self) -> Compaction:
        names = [*self._covered(), *self._debris()]
        decisions = [name for name in names if number_of_decision(name) is not None]
        for name in decisions:  # who has not seen it must find its number taken
            self._bucket.write(name, pack_of_decision(None))
        if names:
            self._bucket.delete([name for name in names if name not in decisions])
            self._replica.forget(names)
        return Compaction(deleted=len(names))

    def _covered(self) -> list[str]:
        """Return the objects of which every part is in a pack that was listed, for packs in one of a higher name."""
        rows = self._replica.query(
            "SELECT own.name, own.stream_id, own.first, own.stamp, own.tie, pack.gone "
            "FROM bucket_parts own JOIN bucket_parts pack USING (stream_id, first, stamp, tie, last) "
            "JOIN bucket_objects holder ON holder.name = pack.name "
            "JOIN bucket_objects owner ON owner.name = own.name "
            "WHERE pack.name LIKE 'packs/%' AND (own.name LIKE 'streams/%' OR own.name < pack.name) "
            "AND holder.mark != '' AND holder.note IS NULL AND owner.note IS NULL"
        )
        held: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
        for name, stream_id, first, stamp, tie, gone in rows:
            if gone is None or set(json.loads(gone)) <= self._erased[stream_id]:
                held[name].add((stream_id, first, stamp, tie))
        if not held:
            return []
        counts = dict(self._replica.query("SELECT name, count(*) FROM bucket_parts GROUP BY name"))
        return sorted(name for name, parts in held.items() if len(parts) == counts[name] and name not in self._waiting)

    def _debris(self) -> list[str]:
        """Return what is left of uploads that broke off, where what they were to hold arrived another way."""
        found = []
        for (name,) in self._replica.query("SELECT name FROM bucket_objects WHERE state = 'damaged'"):
            wanted = range_of(name)
            folder = name.split("/")[1]
            rows = self._replica.query(
                "SELECT first, last FROM bucket_parts WHERE stream_id = ? AND name != ?", (folder, name)
            )
            if wanted is not None and not any(gaps([(first, last) for first, last in rows], *wanted)):
                found.append(name)
        return found

    # Planning

    def _plan(self, *, full: bool) -> list[list[str]]:
        """Return the objects that are worth packs, those of each pack together."""
        sizes: dict[str, int] = dict(
            self._replica.query("SELECT name, size FROM bucket_objects WHERE state = 'applied' AND note IS NULL")
        )
        for name in (*self._waiting, *self._packed()):
            sizes.pop(name, None)
        dirty = [name for name in self._dirty() if name in sizes]
        ended, growing = self._small_objects(sizes.keys())
        chosen = [*dirty, *growing]
        if len(ended) >= (2 if full else ENOUGH_OBJECTS):
            chosen += ended
        chosen += _mergeable({name: size for name, size in sizes.items() if is_pack(name)}, full=full)
        groups = _groups({name: sizes[name] for name in chosen})
        return [names for names in groups if len(names) > 1 or names[0] in dirty]

    def _packed(self) -> list[str]:
        """Return the objects that packs hold already, whether they were listed since or not."""
        return [
            name
            for name, parts, packed in self._replica.query(
                "SELECT name, count(*), sum(EXISTS (SELECT 1 FROM bucket_parts pack WHERE pack.stream_id = own.stream_id "
                "AND pack.first = own.first AND pack.stamp = own.stamp AND pack.tie = own.tie AND pack.gone IS own.gone "
                "AND pack.name LIKE 'packs/%' AND (own.name LIKE 'streams/%' OR own.name < pack.name))) "
                "FROM bucket_parts own GROUP BY name"
            )
            if parts == packed
        ]

    def _small_objects(self, names: Container[str]) -> tuple[list[str], list[str]]:
        """Return those of ``names`` that belong to streams that have ended, or to growing ones that have very many."""
        now = now_us()
        rows = self._replica.query(
            "SELECT DISTINCT p.name, p.stream_id, s.closed OR s.lease_until < ? FROM bucket_parts p "
            "JOIN streams s ON s.stream_id = p.stream_id WHERE p.name LIKE 'streams/%' ORDER BY p.name",
            (now - _LONG_OVER_US,),
        )
        rows = [row for row in rows if row[0] in names]
        ended = [name for name, _, is_over in rows if is_over]
        growing: dict[str, list[str]] = defaultdict(list)
        for name, stream_id, is_over in rows:
            if not is_over:
                growing[stream_id].append(name)
        return ended, [name for of_stream in growing.values() if len(of_stream) >= MANY_OBJECTS for name in of_stream]

    def _dirty(self) -> list[str]:
        """Return the objects that still hold payloads that are erased."""
        dirty: dict[str, None] = {}
        for stream_id, seqs in self._erased.items():
            gone_here = _gone(self._replica, stream_id)
            rows = self._replica.query(
                "SELECT name, first, last, gone FROM bucket_parts WHERE stream_id = ?", (stream_id,)
            )
            for name, first, last, gone in rows:
                kept_out = set(json.loads(gone)) if gone else set()
                if any(first <= seq <= last and seq not in kept_out for seq in seqs & gone_here):
                    dirty[name] = None
        return list(dirty)

    # Writing

    def _write_pack(self, names: Sequence[str]) -> None:
        parts = self._parts(names)
        # Its name is higher than those of the packs that it is to replace.
        time = max([now_us(), *(pack_time(name) + 1 for name in names if name.startswith(PACKS))])
        name, content = pack_of(parts, time)
        self._bucket.write(name, content)
        try:
            is_there = self._bucket.read(name) == content
        except NotFoundError:
            is_there = False
        if not is_there:
            msg = f"the object {name} was written to {self._bucket.url} and reads differently; check the storage system"
            raise StoreUnavailableError(msg)
        adopt(self._replica, name, len(content), parts_of(name, content))

    def _parts(self, names: Sequence[str]) -> list[Part]:
        """Return the parts of objects, each once, in their order."""
        rows: dict[_Row, None] = {}
        for name in names:
            found = self._replica.query(
                "SELECT stream_id, first, last, stamp, tie FROM bucket_parts WHERE name = ?", (name,)
            )
            rows.update((_Row(*row), None) for row in found)
        changes = self._changes(rows)
        ordered = sorted(rows, key=lambda row: (row.stamp, row.tie))
        parts = []
        for (stamp, _), of_part in groupby(ordered, key=lambda row: (row.stamp, row.tie)):
            found_changes = [
                changes[row.stream_id, seq] for row in dict.fromkeys(of_part) for seq in range(row.first, row.last + 1)
            ]
            found_changes.sort(key=lambda pair: pair[0])  # as they arrived, where several streams are in it
            parts.append(Part(stamp, tuple(change for _, change in found_changes)))
        return parts

    def _may_lack(self, stream_id: str, seq: int) -> bool:
        """Return whether the payload of a change was erased, here or before it was copied into the bucket."""
        if seq in self._erased[stream_id]:
            return True
        query = "SELECT gone FROM bucket_parts WHERE stream_id = ? AND first <= ? AND last >= ? AND gone IS NOT NULL"
        return any(seq in json.loads(gone) for (gone,) in self._replica.query(query, (stream_id, seq, seq)))

    def _changes(self, rows: Iterable[_Row]) -> dict[tuple[str, int], tuple[int, Change]]:
        """Return the changes that parts are made of, by stream and number, each with its position; all verified."""
        ends: dict[str, tuple[int, int]] = {}
        for row in rows:
            first, last = ends.get(row.stream_id, (row.first, row.last))
            ends[row.stream_id] = min(first, row.first), max(last, row.last)
        found: dict[tuple[str, int], tuple[int, Change]] = {}
        for stream_id, (first, last) in ends.items():
            stored = self._replica.stored(stream_id, first, last)
            positions = _positions(self._replica, stream_id, first, last)
            if [change.seq for change in stored] != list(range(first, last + 1)):
                msg = f"the replica lacks changes between {first} and {last} of stream {stream_id}"
                raise IntegrityError(msg)
            previous = stored[0].previous_hash if first > 1 else GENESIS
            for change in stored:
                verify_change(change, previous)
                previous = change.hash
                if change.payload is None and not self._may_lack(stream_id, change.seq):
                    msg = f"the replica lacks the payload of change {change.seq} of stream {stream_id}"
                    raise IntegrityError(msg)
                found[stream_id, change.seq] = positions[change.seq], change
        return found


def _erased(replica: Replica) -> dict[str, set[int]]:
    """Return the numbers of the changes whose payloads were erased, by stream."""
    found: dict[str, set[int]] = defaultdict(set)
    for stream_id, seq in replica.query(
        "SELECT stream_id, erased.seq FROM erased JOIN streams USING (stream_pk) WHERE done = 1"
    ):
        found[stream_id].add(seq)
    return found


def _gone(replica: Replica, stream_id: str) -> set[int]:
    """Return the numbers of the changes of a stream that are in the replica without their payloads."""
    rows = replica.query(
        "SELECT changes.seq FROM changes JOIN streams USING (stream_pk) WHERE stream_id = ? AND salt IS NULL",
        (stream_id,),
    )
    return {seq for (seq,) in rows}


def _positions(replica: Replica, stream_id: str, first: int, last: int) -> dict[int, int]:
    """Return the places in the log of changes of a stream, by number."""
    rows = replica.query(
        "SELECT changes.seq, position FROM changes JOIN streams USING (stream_pk) "
        "WHERE stream_id = ? AND changes.seq BETWEEN ? AND ?",
        (stream_id, first, last),
    )
    return dict(tuple(row) for row in rows)


def _mergeable(packs: dict[str, int], *, full: bool) -> list[str]:
    """Return packs that are worth merging: many of about the same size, or all small ones."""
    tiers: dict[int, list[str]] = defaultdict(list)
    for name, size in sorted(packs.items()):
        if size < _LARGE_PACK_BYTES:
            tiers[0 if full else size.bit_length() // 3].append(name)
    return [name for names in tiers.values() if len(names) >= (2 if full else _MANY_PACKS) for name in names]


def _groups(sizes: dict[str, int]) -> list[list[str]]:
    """Return the names of objects in groups of a size that fits one pack."""
    groups: list[list[str]] = []
    total = 0
    for name, size in sizes.items():
        if not groups or total + size > _PACK_BYTES or len(groups[-1]) >= _PACK_OBJECTS:
            groups.append([])
            total = 0
        groups[-1].append(name)
        total += size
    return groups
