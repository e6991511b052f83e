"""What a writer checks before it writes an object, without looking at anything but its own streams.

A stream may arrive in a store before the ones that it builds upon. So whether a change makes sense can be seen from the
change alone, and a process that only writes needs no replica.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.log.changes import EMPTY_HEAD, Change, Head, advance, alters_entity, verify_change
from modeldb_core.log.erasures import check_targets
from modeldb_core.log.replay import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def follow(changes: Sequence[Change], heads: Mapping[str, Head]) -> tuple[list[Change], dict[str, Head]] | None:
    """Return the changes, each once, and the heads after them, where each stream goes on right after its known head.

    ``None`` where it does not, so that somebody must look whether the store has seen them.

    Raises:
        IntegrityError: a change does not match its hash, or not the one before it.
        InvalidArgumentError: it says what no change says.
    """
    after = dict(heads)
    hashes: dict[tuple[str, int], bytes] = {}
    kept = []
    for change in changes:
        head = after.get(change.stream_id, EMPTY_HEAD)
        if hashes.get((change.stream_id, change.seq)) == change.hash:
            continue
        if change.seq != head.seq + 1:
            return None
        verify_change(change, head.hash)
        after[change.stream_id] = advance(head, change)
        hashes[change.stream_id, change.seq] = change.hash
        kept.append(change)
    return kept, after


def check_meaning(changes: Sequence[Change]) -> None:
    """Check that the payloads say something that every store can record.

    Raises:
        InvalidArgumentError: a payload does not fit its action, or the kind or action is unknown.
        IntegrityError: the payload of an ``append`` change holds no points.
    """
    check_targets(changes)
    for change in changes:
        if alters_entity(change):
            Record(change.kind, change.entity_id).after(change)
