"""Follows a bucket: keeps the replica, and brings it up to date by listing."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from modeldb_core.backends._sql.fingerprint import fingerprint
from modeldb_core.backends.objects import snapshots
from modeldb_core.backends.objects.compaction import Compaction, Compactor
from modeldb_core.backends.objects.inbox import Arrived, Inbox, RebuildNeededError
from modeldb_core.backends.objects.layout import PACKS, STREAMS, is_known, is_marker, parts_of
from modeldb_core.backends.objects.lock import ReplicaLock
from modeldb_core.backends.objects.replica import UNLISTED, Replica, is_damage
from modeldb_core.backends.objects.replica_files import forget_outdated, replica_folder
from modeldb_core.errors import (
    IntegrityError,
    ModelDBError,
    NotFoundError,
    PermissionDeniedError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from modeldb_core.runtime import forks
from modeldb_core.runtime.notices import warn
from modeldb_core.runtime.owned import Folder, read_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modeldb_core.backends.objects.bucket import Bucket

Result = TypeVar("Result")
logger = logging.getLogger("modeldb")

_ATTEMPTS = 6  # objects may be compacted away between listing and reading
_ROUNDS = 100  # of a compaction that goes on until nothing is left to do
_COMPACT_EVERY_S = 60.0
_MOST_LOCK_BYTES = 20
_OWN_BYTES = 8 << 20  # of objects just written that are kept in memory, so that they need not be read back


class Follower:
    """Answers from a replica of a bucket that is at most so old, and not older than this object.

    Processes of one machine share the replica: while one of them brings it up to date, the others wait, and find it
    done.

    Args:
        bucket: what to follow.
        identity: distinguishes the bucket from others.
        cache_dir: where replicas lie; default: ``modeldb`` in the cache folder of the user.
        max_staleness_s: list again for an answer when the last listing is older.
        allow_stale: answer from what there is while the bucket cannot be reached.
        compact: tidy up now and then.
    """

    def __init__(
        self,
        bucket: Bucket,
        *,
        identity: str,
        cache_dir: str | None,
        max_staleness_s: float,
        allow_stale: bool,
        compact: bool,
    ) -> None:
        self.is_closed = False
        self.newest_stamp = 0
        # No answer is from a listing before this moment, also where another process made one: a program that opens the
        # store right after another has ended must see everything that the other wrote.
        self._opened_at = time.time()
        self._bucket = bucket
        self._max_staleness_s = max_staleness_s
        self._allow_stale = allow_stale
        self._compact = compact
        self._compact_at = 0.0
        self._folder = replica_folder(cache_dir)
        # A replica made by other code lacks for good what that code did not know, so each code has one of its own.
        self._store = hashlib.sha256(identity.encode()).hexdigest()[:24]
        self._code = fingerprint()
        self._stem = f"{self._store}-{self._code}"
        self._takes_snapshots = True
        self._own: OrderedDict[str, bytes] = OrderedDict()  # objects written here that no listing has shown yet
        self._evicted = self._evicted_listed = 0  # how many of those were not kept; how many of them a listing showed
        self._notes: list[str] = []  # what is to be said once the replica is in order
        self._replica: Replica | None = None
        self._old: list[Replica] = []
        self._lock = ReplicaLock(
            self._folder / f"{self._stem}.lock", bucket.url, lambda: self._folder.glob(f"{self._stem}.*")
        )
        self._own_lock = threading.Lock()
        forks.register(self)

    def remember(self, name: str, content: bytes) -> None:
        """Take note of an object that was written just now: answers show it at once."""
        with self._own_lock:
            self._own[name] = content
            while sum(map(len, self._own.values())) > _OWN_BYTES:
                self._own.popitem(last=False)
                self._evicted += 1

    def answer(self, question: Callable[[Replica], Result], max_staleness_s: float | None = None) -> Result:
        """Return what the replica says, brought up to date first; a damaged one is made again.

        Args:
            question: asks it.
            max_staleness_s: as of :meth:`fresh`.

        Raises:
            StoreUnavailableError: the bucket cannot be reached.
        """
        try:
            return question(self.fresh(max_staleness_s))
        except ModelDBError as error:
            if not is_damage(error):
                raise
        with self._lock.held():
            if self._replica is None or self._replica.path == self._path():  # else somebody else was faster
                self._renew()
        return question(self.fresh(max_staleness_s))

    def fresh(self, max_staleness_s: float | None = None) -> Replica:
        """Return the replica, no older than asked for.

        Raises:
            StoreUnavailableError: the bucket cannot be reached.
        """
        limit_s = self._max_staleness_s if max_staleness_s is None else max_staleness_s
        asked_at = time.time()
        replica = self._replica
        if (
            replica is not None
            and not self._own
            and replica.is_current()
            and self._is_fresh(replica, asked_at, limit_s)
        ):
            return replica
        with self._lock.held():
            try:
                return self._brought_up(asked_at, limit_s)
            except ModelDBError as error:
                if not is_damage(error):
                    raise
            self._renew()
            return self._brought_up(asked_at, limit_s)

    def _brought_up(self, asked_at: float, limit_s: float) -> Replica:
        replica = self._open()
        if not self._is_fresh(replica, asked_at, limit_s):
            try:
                return self._catch_up()
            except StoreUnavailableError:
                if not self._allow_stale or replica.state("listed_at") is None:
                    raise
                warn(f"{self._bucket.url} cannot be reached; answers come from what this machine knew of it")
        try:
            self._take_own(replica)
        except RebuildNeededError:
            self._renew()
            return self._catch_up()
        return replica

    def _is_fresh(self, replica: Replica, asked_at: float, limit_s: float) -> bool:
        listed_at = None if self._evicted > self._evicted_listed else replica.state("listed_at")
        return listed_at is not None and max(asked_at - limit_s, self._opened_at) <= listed_at <= time.time() + 1

    def compact(self) -> Compaction:
        """Compact all that is worth it, and delete what it replaces.

        Raises:
            StoreReadOnlyError: the bucket may not be written.
            StoreUnavailableError: it cannot be reached.
        """
        done = Compaction()
        for _ in range(_ROUNDS):
            # Each round sees by a new listing what the one before has written.
            self.fresh(max_staleness_s=0)
            with self._lock.held():
                more = Compactor(self._bucket, self._open()).run(full=True)
            if not any((more.packs, more.deleted)):
                break
            done += more
        with self._lock.held():
            snapshots.put(self._bucket, self._open(), self._code)
        return done

    def _compact_a_little(self, replica: Replica) -> None:
        """Tidy up now and then; anyone who asked something does not notice, but for some hundred milliseconds."""
        if not self._compact or time.monotonic() < self._compact_at:
            return
        self._compact_at = time.monotonic() + _COMPACT_EVERY_S
        try:
            compactor = Compactor(self._bucket, replica)
            done = compactor.run(full=False) if compactor.may_be_worth_it() else Compaction()
            if done.packs:
                self._compact_at = 0.0  # what it replaces goes after the next listing
        except (StoreReadOnlyError, PermissionDeniedError):
            self._compact = False
        except ModelDBError as error:
            logger.info("%s could not be compacted: %s", self._bucket.url, error)

    def close(self) -> None:
        """Release the replica."""
        self.is_closed = True
        forks.forget(self)
        with self._lock.threads:
            for replica in (self._replica, *self._old):
                if replica is not None:
                    replica.close()
            self._replica, self._old = None, []

    # Forks. What the replica has open, it closes by itself.

    def before_fork(self) -> None:
        """Do nothing."""

    def after_fork(self, *, in_child: bool) -> None:
        """Give a child locks of its own: a thread of the parent may have held them."""
        if in_child:
            self._lock.begin()
            self._own_lock = threading.Lock()

    # The replica

    def _open(self) -> Replica:
        path = self._path()
        if self._replica is None or self._replica.path != path or not self._replica.is_current():
            if self._replica is not None:
                self._old.append(self._replica)  # other threads may be reading it
            self._replica = None
            if self._takes_snapshots and not path.exists():
                snapshots.take(self._bucket, self._code, path)
            self._replica = Replica(path, self._bucket.url)
            forget_outdated(self._folder, self._store, self._stem)
        return self._replica

    def _path(self) -> Path:
        return self._folder / f"{self._stem}.{self._generation()}.db"

    def _generation(self) -> int:
        with suppress(OSError, ValueError):
            return int(read_file(self._folder / f"{self._stem}.lock", _MOST_LOCK_BYTES) or 0)
        return 0

    def _renew(self) -> None:
        """Begin a new replica, from the bucket. The file of the one before stays for a while: others may have it open."""
        self._takes_snapshots = False
        generation = self._generation()
        with Folder.open(self._folder, is_given=True) as folder:
            for suffix in ("", "-wal", "-shm"):
                folder.unlink(f"{self._stem}.{generation - 1}.db{suffix}")
                folder.unlink(f"{self._stem}.{generation + 1}.db{suffix}")
            # Written in place: the lock belongs to this very file.
            with os.fdopen(folder.open_file(f"{self._stem}.lock", os.O_RDWR), "r+") as file:
                file.truncate()
                file.write(str(generation + 1))

    def _catch_up(self) -> Replica:
        """List the bucket, and take in what is new."""
        for _ in range(_ATTEMPTS):
            replica = self._open()
            try:
                if self._follow(replica):
                    if snapshots.is_unchecked(replica) and not snapshots.fits(replica):
                        self._renew()
                        continue
                    self._compact_a_little(replica)
                    return replica
            except RebuildNeededError:
                self._renew()
        msg = f"{self._bucket.url} changes faster than it can be read; the same call may succeed later"
        raise StoreUnavailableError(msg)

    def _follow(self, replica: Replica) -> bool:
        """Take in what is new; return whether that could be done, or else must be tried again with a new listing."""
        started_at = time.time()
        evicted = self._evicted
        # Streams first: what compaction moves in between is then seen twice and not missed.
        listed = self._bucket.listing(STREAMS)
        listed.update(self._bucket.listing(PACKS))
        self._check_identity(replica, min(filter(is_marker, listed), default=None))
        known = replica.objects()
        is_whole = self._receive(replica, _unknown(listed, known))
        if not is_whole:
            return False  # what came waits, so that it is taken in its order
        self._take_own(replica, drain=False)
        self._notes += Inbox(replica).drain()
        self._put_in_order(replica, listed, known)
        self.newest_stamp = max(self.newest_stamp, replica.newest_stamp())
        replica.set_state(listed_at=started_at)
        self._opened_at = 0.0  # this listing is a later one, whatever the clock says once it is set back
        self._evicted_listed = evicted
        self._tell()
        return True

    def _put_in_order(
        self, replica: Replica, listed: dict[str, tuple[str, int]], known: dict[str, tuple[str, str]]
    ) -> None:
        """Forget what is no longer listed, and what was written here and is listed now."""
        with self._own_lock:
            for name in [name for name in self._own if name in listed]:
                del self._own[name]
            own = set(self._own)
        replica.mark(
            {name: listed[name][0] for name, (mark, _) in known.items() if mark == UNLISTED and name in listed}
        )
        replica.forget(name for name in known if name not in listed and name not in own)

    def _receive(self, replica: Replica, new: dict[str, tuple[str, int]]) -> bool:
        """Read objects into the inbox; return whether all were still there."""
        inbox, is_whole = Inbox(replica), True
        with self._own_lock:
            own = dict(self._own)
        sizes = {name: size for name, (_, size) in new.items() if name not in own}
        for window in self._bucket.read_many(sizes):
            arrived = []
            for name, content in window:
                if isinstance(content, NotFoundError):
                    is_whole = False  # compacted away since it was listed
                elif isinstance(content, ModelDBError):
                    raise content
                else:
                    arrived.append(self._opened(name, *new[name], content))
            inbox.receive(arrived)
        inbox.receive([self._opened(name, *new[name], own[name]) for name in new.keys() & own.keys()])
        return is_whole

    def _opened(self, name: str, mark: str, size: int, content: bytes) -> Arrived:
        try:
            return Arrived(name, mark, size, parts_of(name, content))
        except IntegrityError as error:
            note = f"the object {name} in {self._bucket.url} is damaged and left out: {error}"
            self._notes.append(note)
            return Arrived(name, mark, size, note=note)

    def _take_own(self, replica: Replica, *, drain: bool = True) -> None:
        """Take in objects that were written here and that no listing has shown yet."""
        with self._own_lock:
            own = dict(self._own)
        new = [name for name in own if not replica.knows(name)]
        inbox = Inbox(replica)
        inbox.receive([self._opened(name, UNLISTED, len(own[name]), own[name]) for name in new])
        if not drain:
            return
        if new:
            self._notes += inbox.drain()
            self.newest_stamp = max(self.newest_stamp, replica.newest_stamp())
        with self._own_lock:
            for name in own:
                self._own.pop(name, None)
        self._tell()

    def _check_identity(self, replica: Replica, marker: str | None) -> None:
        """Begin again where the bucket holds another store than the one that the replica was made from."""
        before = replica.state("marker")
        if marker is not None and before is not None and before != marker:
            raise RebuildNeededError
        if marker is not None and before is None:
            replica.set_state(marker=marker)

    def _tell(self) -> None:
        notes, self._notes = self._notes, []
        for note in notes:
            warn(note)


def _unknown(listed: dict[str, tuple[str, int]], known: dict[str, tuple[str, str]]) -> dict[str, tuple[str, int]]:
    """Return the objects that are to be read: new ones, and those that somebody wrote again."""
    return {
        name: info
        for name, info in listed.items()
        if is_known(name) and (name not in known or known[name][0] not in (UNLISTED, info[0]))
    }
