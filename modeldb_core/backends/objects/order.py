"""Whether it shows that a replica took parts in late.

Parts arrive when a listing shows them, and count by their stamps. One that arrives after others that it comes before is
late. Mostly that alters nothing: the others were about other entities, or said the same. Where it does, the replica must
be made again, so that every replica comes to the same answers, and its log to the same order.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from modeldb_core.backends._sql.documents import dump_document, load_document
from modeldb_core.backends._sql.items import complete
from modeldb_core.backends._sql.log import rebuild_payloads
from modeldb_core.errors import ModelDBError
from modeldb_core.log.changes import APPEND, CREATE, ERASE, STREAM, Change, OrderDigest
from modeldb_core.log.erasures import Place, erased_in
from modeldb_core.log.replay import Record, replay
from modeldb_core.log.settling import settles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.backends.objects.layout import Part

Key: TypeAlias = tuple[int, str]
"""Stamp and tie of a part."""


class Touch(NamedTuple):
    """A change of an entity, as the log has it."""

    position: int
    stream_id: str
    seq: int
    action: str
    actor: str
    recorded_at: int
    payload: bytes | None
    is_erased: int
    hash: bytes


def lateness_shows(write: Transaction, parts: Iterable[Part]) -> bool:
    """Return whether an entity that late parts touch would be another one, had every part come in its order.

    Called when the parts were applied, in the same transaction.
    """
    names = {(change.kind, change.entity_id) for part in parts for change in part.changes if change.kind != STREAM}
    return any(_shows_in(write, kind, entity_id) for kind, entity_id in names)


def misplaced(read: Transaction) -> Iterator[tuple[str, str]]:
    """Iterate over the entities that would be other ones, were they made again in the order of the stamps."""
    rows = read.connection.exec_driver_sql(
        "SELECT kind, entity_id FROM entities WHERE entity_pk IN (SELECT entity_pk FROM changes "
        "WHERE entity_pk IS NOT NULL GROUP BY entity_pk HAVING min(stream_pk) <> max(stream_pk)) ORDER BY entity_pk"
    ).all()
    return ((kind, entity_id) for kind, entity_id in rows if _shows_in(read, kind, entity_id))


def _shows_in(write: Transaction, kind: str, entity_id: str) -> bool:
    row = write.connection.exec_driver_sql(
        "SELECT entity_pk, document, apart FROM entities JOIN documents USING (entity_pk) WHERE entity_id = ? AND kind = ?",
        (entity_id, kind),
    ).one_or_none()
    if row is None or not _is_shared(write, row.entity_pk):
        return False
    touches = _touches(write, row.entity_pk)
    keys = _keys(write, row.entity_pk)
    in_order = _in_order(kind, entity_id, touches, keys)
    if _erased(kind, entity_id, touches) != _erased(kind, entity_id, in_order):
        return True
    taken, ordered = ([touch for touch in some if touch.action != ERASE] for some in (touches, in_order))
    at = _parting(taken, ordered)
    if at is None:
        return False
    if at > 0 and all(touch.action == CREATE and touch.payload == taken[at].payload for touch in taken[at:]):
        return False  # a container that several writers say is there: the first of them counts, and has its place
    try:
        # Without the points: series are looked at by themselves.
        made = replay(
            kind,
            entity_id,
            (_change(kind, entity_id, touch, None if touch.action == APPEND else touch.payload) for touch in ordered),
        )
    except ModelDBError:
        return True  # in its place one of them means nothing: let it be refused there
    complete(write, [(row.entity_pk, stored := load_document(row.document), row.apart)])
    return not _are_alike(made.document, stored) or _shows_in_series(
        write, row.entity_pk, kind, entity_id, taken, ordered
    )


def _in_order(
    kind: str, entity_id: str, touches: Sequence[Touch], keys: Mapping[str, list[tuple[int, Key]]]
) -> list[Touch]:
    """Return touches by the stamps of their parts; what the replica settled by itself is in none, and follows its cause."""
    of_parts = [touch for touch in touches if keys[touch.stream_id]]
    in_order = sorted(of_parts, key=lambda touch: _key_of(keys[touch.stream_id], touch.seq))
    for made in (touch for touch in touches if not keys[touch.stream_id]):
        causes = (at for at, one in enumerate(in_order) if settles(made.stream_id, _change(kind, entity_id, one, None)))
        in_order.insert(next(causes, -1) + 1, made)
    return in_order


def _is_shared(write: Transaction, entity_pk: int) -> bool:
    """Return whether changes of several streams made an entity; a run is, as a rule, its own writer's alone."""
    query = (
        "SELECT EXISTS (SELECT 1 FROM changes WHERE entity_pk = ? AND stream_pk <> "
        "(SELECT stream_pk FROM changes WHERE entity_pk = ? LIMIT 1))"
    )
    return bool(write.connection.exec_driver_sql(query, (entity_pk, entity_pk)).scalar_one())


def _touches(write: Transaction, entity_pk: int) -> list[Touch]:
    rows = write.connection.exec_driver_sql(
        "SELECT position, stream_id, changes.seq, action, actor, changes.recorded_at, payload, salt IS NULL, changes.hash "
        "FROM changes JOIN streams USING (stream_pk) JOIN actors USING (actor_pk) "
        "WHERE entity_pk = ? ORDER BY position",
        (entity_pk,),
    )
    return [Touch(*row) for row in rows]


def _erased(kind: str, entity_id: str, touches: Sequence[Touch]) -> set[Place]:
    if all(touch.action != ERASE for touch in touches):
        return set()
    return erased_in(_change(kind, entity_id, touch, touch.payload) for touch in touches)


def _change(kind: str, entity_id: str, touch: Touch, payload: bytes | None) -> Change:
    return Change(
        stream_id=touch.stream_id,
        seq=touch.seq,
        recorded_at=touch.recorded_at,
        actor=touch.actor,
        action=touch.action,
        kind=kind,
        entity_id=entity_id,
        payload=payload,
        salt=b"",
        payload_digest=b"",
        previous_hash=b"",
        hash=touch.hash,
    )


# The order that stamps give


def _keys(write: Transaction, entity_pk: int) -> Mapping[str, list[tuple[int, Key]]]:
    """Return, for each stream that touches an entity, up to which number its changes have which key."""
    rows = write.connection.exec_driver_sql(
        "SELECT parts.stream_id, first, last, stamp, tie "
        "FROM (SELECT stream_pk, max(seq) AS seq FROM changes WHERE entity_pk = ? GROUP BY stream_pk) AS touched "
        "JOIN streams USING (stream_pk) "
        "JOIN bucket_parts AS parts ON parts.stream_id = streams.stream_id AND parts.first <= touched.seq "
        "ORDER BY parts.stream_id, stamp, tie",
        (entity_pk,),
    )
    found: Mapping[str, list[tuple[int, Key]]] = defaultdict(list)
    for stream_id, of_stream in groupby(rows, key=lambda row: row[0]):
        found[stream_id].extend(_ends([tuple(row[1:]) for row in of_stream]))
    return found


def digest_of_order(read: Transaction, upto: Mapping[str, int]) -> bytes:
    """Return the digest of the order that stamps give to the changes up to these numbers of streams."""
    parts = read.connection.exec_driver_sql(
        "SELECT stream_id, first, last, stamp, tie FROM bucket_parts ORDER BY stream_id, stamp, tie"
    )
    stretches: list[tuple[Any, ...]] = []
    for stream_id, of_stream in groupby(parts, key=lambda row: row[0]):
        first = 1
        for last, key in _ends(tuple(row[1:]) for row in of_stream):
            stretches.append((stream_id, first, last, *key))
            first = last + 1
    digest = OrderDigest(upto)
    rows = read.connection.execution_options(stream_results=True).exec_driver_sql(_IN_ORDER, (json.dumps(stretches),))
    for stream_id, seq, value in rows:
        digest.take(stream_id, seq, value)
    return digest.digest()


_IN_ORDER = (
    "WITH stretches AS (SELECT json_extract(value, '$[0]') AS stream_id, json_extract(value, '$[1]') AS first, "
    "json_extract(value, '$[2]') AS last, json_extract(value, '$[3]') AS stamp, json_extract(value, '$[4]') AS tie "
    "FROM json_each(?)) "
    "SELECT stretches.stream_id, changes.seq, changes.hash FROM stretches JOIN streams USING (stream_id) "
    "JOIN changes ON changes.stream_pk = streams.stream_pk AND changes.seq BETWEEN first AND last "
    "ORDER BY stamp, tie, position"
)


def _ends(parts: Iterable[tuple[Any, ...]]) -> list[tuple[int, Key]]:
    """Return up to which number a stream comes with which part, where each waits for those before it in the stream."""
    ends: list[tuple[int, Key]] = []
    head, key, waiting = 0, (0, ""), list[tuple[Any, ...]]()
    for part in parts:
        waiting.append(part)
        while fitting := next((item for item in waiting if item[0] <= head + 1), None):
            waiting.remove(fitting)
            _, last, stamp, tie = fitting
            key = max(key, (stamp, tie))
            if last > head:
                head = last
                ends.append((head, key))
    return ends


def _key_of(ends: Sequence[tuple[int, Key]], seq: int) -> Key:
    at = bisect_left(ends, seq, key=lambda end: end[0])
    return ends[at][1] if at < len(ends) else (ends[-1][1] if ends else (0, ""))


def _parting(one: Sequence[Touch], other: Sequence[Touch]) -> int | None:
    """Return where two orders part, ``None`` where they do not."""
    return next((at for at, pair in enumerate(zip(one, other, strict=True)) if pair[0] is not pair[1]), None)


# What shows


def _are_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two documents say the same; the order of keys says nothing."""
    return dump_document(_by_key(one)) == dump_document(_by_key(other))


def _by_key(value: Any) -> Any:  # noqa: ANN401 - whatever a document holds
    if isinstance(value, dict):
        return {name: _by_key(value[name]) for name in sorted(value)}
    return [_by_key(item) for item in value] if isinstance(value, list) else value


def _shows_in_series(
    write: Transaction, entity_pk: int, kind: str, entity_id: str, taken: Sequence[Touch], ordered: Sequence[Touch]
) -> bool:
    """Return whether series differ: points of several streams are sorted by time, and order decides where that ties."""
    one, other = (
        [touch for touch in touches if touch.action == APPEND and not touch.is_erased] for touches in (taken, ordered)
    )
    at = _parting(one, other)
    if at is None:
        return False
    # What comes before is the same in both, and so counts only where what comes after ties.
    for start in dict.fromkeys((at, 0)):
        payloads = {touch.position: touch.payload for touch in one[start:]}
        missing = [position for position, payload in payloads.items() if payload is None]
        payloads.update(rebuild_payloads(write, entity_pk, missing) if missing else {})
        left, right = (
            replay(kind, entity_id, [_change(kind, entity_id, touch, payloads[touch.position]) for touch in touches])
            for touches in (one[start:], other[start:])
        )
        if all(_series(left, key) == _series(right, key) for key in left.series):
            return False
    return True


def _series(record: Record, key: str) -> tuple[bytes | str, ...]:
    # The mean is a sum, whose last bits depend on the order in every store.
    points = record.points(key)
    summary = repr(replace(record.summary(key), mean=0.0))
    return points.steps.tobytes(), points.times.tobytes(), points.values.tobytes(), summary
