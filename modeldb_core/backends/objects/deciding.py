"""One line of decisions per bucket: how changes are applied under conditions where nothing but the bucket decides.

A decision is an object ``packs/-<number>.chg`` that holds what was applied, written so that it fails where the object is
there (``If-None-Match: *``; in a folder, a link). Who is to write number n has seen all decisions before it, and looked at
its conditions in a replica that holds them. So of two that look at the same state one gets the number; the other
one finds it taken, and looks again. Claim and changes are one object, so a writer that dies leaves both or nothing.

Conditions so hold among all that is decided. What somebody writes without conditions asks nobody, and counts where its
stamp puts it: a decision cannot know of what becomes visible only after it.
"""

from __future__ import annotations

import random
import time
import uuid
from typing import TYPE_CHECKING

from modeldb_core.backends.objects.admission import check_meaning
from modeldb_core.backends.objects.layout import PACKS, Part, decision_name, pack_of_decision
from modeldb_core.errors import ConditionsUnsupportedError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modeldb_core.backends.objects.bucket import Bucket
    from modeldb_core.backends.objects.follower import Follower
    from modeldb_core.log.changes import Change, Head
    from modeldb_core.log.conditions import Condition

PATIENCE_S = 120.0
"""How long a writer tries to get its turn."""
_LONGEST_PAUSE_S = 0.5
_spread = random.Random()  # a generator of our own: the training script's must not notice us


def can_decide(bucket: Bucket) -> bool:
    """Return whether a bucket refuses to write what is there, found out by trying.

    Raises:
        StoreUnavailableError: it cannot be reached.
        StoreReadOnlyError: it may not be written.
    """
    if not bucket.knows_create:
        return False
    name = f"{PACKS}-probe-{uuid.uuid4().hex}"
    try:
        return bucket.create(name, b"1") and not bucket.create(name, b"2") and bucket.read(name) == b"1"
    finally:
        bucket.delete([name])


def decide(
    bucket: Bucket,
    follower: Follower,
    changes: Sequence[Change],
    expect: Sequence[Condition],
    stamp: Callable[[], int],
) -> dict[str, Head]:
    """Apply changes if conditions hold; return the heads of their streams after them.

    Raises:
        PreconditionError: a condition does not hold.
        ConditionsUnsupportedError: the bucket does not decide.
        StoreUnavailableError: it cannot be reached, or does not answer: the changes may or may not be there.
    """
    deadline = time.monotonic() + PATIENCE_S
    pause_s = 0.01
    while time.monotonic() < deadline:
        replica = follower.fresh(max_staleness_s=0)
        # First the number, then the conditions: other processes may bring the same replica further in between, and then
        # the number is taken.
        number = replica.next_decision()
        if number is None:  # a listing is not an instant: it may show a decision and not the one before it
            pause_s = _pause(pause_s)
            continue
        new, heads = replica.admit(changes)
        if not new:
            return heads
        check_meaning(new)
        replica.check(expect)
        if not _may_decide(bucket, follower):
            msg = (
                f"{bucket.url} overwrites what is there even when told not to (If-None-Match), so nothing there decides "
                f"who comes first; use a database, a server, or a bucket with conditional writes"
            )
            raise ConditionsUnsupportedError(msg)
        name, content = decision_name(number), pack_of_decision(Part(stamp(), tuple(new)))
        if bucket.create(name, content):
            follower.remember(name, content)
            return heads
        pause_s = _pause(pause_s)  # so many at once: let somebody through
    msg = (
        f"others have decided in {bucket.url} for {PATIENCE_S:g} s, or one of its decisions (packs/-….chg) is missing, so that "
        f"this had no turn; try again"
    )
    raise StoreUnavailableError(msg)


def _pause(pause_s: float) -> float:
    """Wait for up to ``pause_s`` seconds; return how long to wait at most the next time."""
    time.sleep(_spread.uniform(0, pause_s))
    return min(2 * pause_s, _LONGEST_PAUSE_S)


def _may_decide(bucket: Bucket, follower: Follower) -> bool:
    """Return whether a bucket decides; what was found out once is kept in the replica."""
    replica = follower.fresh()
    if (known := replica.state("decides")) is None:
        known = int(can_decide(bucket))
        replica.set_state(decides=known)
    return bool(known)
