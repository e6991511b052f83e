"""What an audit looks at beyond the replica: that the bucket holds what the replica answers from, unaltered."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from modeldb_core.backends._sql.chain import check_content
from modeldb_core.backends.objects.layout import PACKS, STREAMS, Part, gaps, is_known, parts_of
from modeldb_core.backends.objects.order import misplaced
from modeldb_core.errors import IntegrityError, ModelDBError, NotFoundError
from modeldb_core.log.settling import settles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modeldb_core.backends.objects.bucket import Bucket
    from modeldb_core.backends.objects.replica import Replica
    from modeldb_core.log.changes import Head

_MOST = 1 << 20
Ranges = dict[str, list[tuple[int, int]]]


def check_bucket(bucket: Bucket, replica: Replica) -> Iterator[str]:
    """Iterate over sentences on objects that are damaged, and on changes that are altered or gone.

    Every object is read. The replica must be up to date; what is written meanwhile is left for the next time.
    """
    heads = replica.heads()
    listed = {name: size for folder in (STREAMS, PACKS) for name, (_, size) in bucket.listing(folder).items()}
    seen: Ranges = defaultdict(list)
    for window in bucket.read_many({name: size for name, size in listed.items() if is_known(name)}):
        for name, content in window:
            if isinstance(content, NotFoundError):
                continue  # compacted away since it was listed
            if isinstance(content, ModelDBError):
                raise content
            try:
                parts = parts_of(name, content)
            except IntegrityError as error:
                yield f"the object {name} is damaged: {error}"
                continue
            for part in parts:
                yield from _check_part(replica, name, part, seen)
    yield from (note for name, note in replica.problems() if name in listed)
    for (name,) in replica.query("SELECT DISTINCT name FROM bucket_inbox ORDER BY name"):
        yield f"the object {name} goes on with a stream whose changes before are missing: they are in no object"
    for kind, entity_id in replica.ask(lambda read: list(misplaced(read))):
        yield (
            f"{kind} {entity_id} reads otherwise on a machine that sees {bucket.url} for the first time: an object was "
            f"written again with another stamp, so that its changes count in another order"
        )
    for stream_id, first, last in uncovered(replica, heads, seen):
        yield f"changes {first} to {last} of stream {stream_id} are in no object of {bucket.url} any more"


def uncovered(
    replica: Replica, heads: Mapping[str, Head], seen: Mapping[str, list[tuple[int, int]]]
) -> Iterator[tuple[str, int, int]]:
    """Iterate over the changes up to ``heads`` that are in none of the ranges ``seen``: stream, first and last number."""
    for stream_id, head in heads.items():
        if stream_id not in seen and _was_settled(replica, stream_id):
            continue  # made by every replica, from what is in objects
        for first, last in gaps(seen.get(stream_id, ()), 1, head.seq):
            yield stream_id, first, last


def _was_settled(replica: Replica, stream_id: str) -> bool:
    """Return whether a stream follows from others: it settles who keeps a unique value."""
    for change in replica.stored(stream_id, 1, 1):
        history = replica.read_changes(limit=_MOST, entity_id=change.entity_id).changes
        return any(settles(stream_id, taking) for taking in history if taking.kind == change.kind)
    return False


def _check_part(replica: Replica, name: str, part: Part, seen: Ranges) -> Iterator[str]:
    wrong = check_content(part.changes)
    known = {
        (stream_id, change.seq): change
        for stream_id, (first, last) in part.ranges().items()
        for change in replica.stored(stream_id, first, last)
    }
    for place, change in enumerate(part.changes):
        where = f"change {change.seq} of stream {change.stream_id} in the object {name}"
        stored = known.get((change.stream_id, change.seq))
        if place in wrong:
            yield f"{where} was altered: {wrong[place]}"
        elif stored is None:
            continue  # written since, or waiting for what comes before it
        elif stored.hash != change.hash:
            yield f"{where} is not the one that counts: another one with that number was written first"
        elif change.payload is None and stored.payload is not None:
            yield f"{where} has lost its payload, though no change erased it"
        else:
            ranges = seen[change.stream_id]
            if ranges and ranges[-1][1] == change.seq - 1:
                ranges[-1] = (ranges[-1][0], change.seq)
            else:
                ranges.append((change.seq, change.seq))
