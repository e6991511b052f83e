"""The store in a bucket: what it writes, and how it answers."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from modeldb_core.backends._fsspec import METADATA_OPTIONS, Remote, split_url
from modeldb_core.backends.objects.admission import check_meaning, follow
from modeldb_core.backends.objects.audit import check_bucket
from modeldb_core.backends.objects.bucket import Bucket
from modeldb_core.backends.objects.deciding import can_decide, decide
from modeldb_core.backends.objects.follower import Follower
from modeldb_core.backends.objects.layout import (
    MAX_STAMP,
    NAMES,
    PACKS,
    STREAMS,
    Part,
    folder_of,
    is_marker,
    may_hold,
    new_marker,
    object_of,
)
from modeldb_core.backends.objects.order import digest_of_order
from modeldb_core.errors import ConfigurationError, StoreReadOnlyError, StoreUnavailableError
from modeldb_core.log.changes import EMPTY_HEAD
from modeldb_core.log.conditions import check_form
from modeldb_core.model.entities import now_us
from modeldb_core.runtime import forks
from modeldb_core.stores import PARTS_ADDED_TO_QUERY, ChangePage, KeyInfo, MetadataStore, Page, TouchPage
from modeldb_core.stores.naming import alters_names, derive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from modeldb_core.backends.objects.compaction import Compaction
    from modeldb_core.backends.objects.replica import Replica
    from modeldb_core.log.changes import Change, Head
    from modeldb_core.log.conditions import Condition
    from modeldb_core.log.plots import Canvas, Plot
    from modeldb_core.log.points import Series
    from modeldb_core.model.entities import Document, Entity, SeriesSummary
    from modeldb_core.queries import GroupPage, Query

Result = TypeVar("Result")

MAX_STALENESS_S = 1.0
_DECISIONS = "packs/-"  # as what those take turns at who decide
_CURSOR_EPOCH = 1 << 40  # cursors below are plain positions; those above count from the base of a replica


class ObjectMetadataStore(MetadataStore):
    """Streams as immutable objects in a bucket or folder, and a replica on this machine that answers.

    Nothing is asked of the bucket before the store is first used. A process that only writes keeps no replica.

    Args:
        url: where the objects are; all options may follow a question mark.
        cache_dir: where the replica lies; default: ``modeldb`` in the cache folder of the user.
        durability: "fsync" waits for the disk where objects are files of this machine.
        options: of ``docs/stores/objects.md``: ``max_staleness_s``, ``allow_stale``, ``compact``, and those of the
            scheme's driver.

    Raises:
        ConfigurationError: the URL names no bucket or folder, or an option is unknown or has an invalid value.
        MissingDependencyError: a package is not installed.
    """

    understands = PARTS_ADDED_TO_QUERY

    def __init__(
        self,
        url: str,
        *,
        cache_dir: str | Path | None = None,
        durability: str | None = None,
        **options: Any,  # noqa: ANN401 - as the URL may have them
    ) -> None:
        options |= {"cache_dir": None if cache_dir is None else str(cache_dir), "durability": durability}
        bare, driver, own = split_url(url, options, METADATA_OPTIONS)
        remote = Remote(bare, driver)
        self.url = remote.url
        staleness_s = own.get("max_staleness_s", MAX_STALENESS_S)
        if not 0 <= staleness_s < float("inf"):
            msg = f"the option 'max_staleness_s' of {self.url} is {staleness_s}; expected 0 or more seconds"
            raise ConfigurationError(msg)
        if own.get("durability", "normal") not in ("normal", "process", "fsync"):
            msg = f"the option 'durability' of {self.url} is {own['durability']!r}; expected 'normal' or 'fsync'"
            raise ConfigurationError(msg)
        self._bucket = Bucket(remote, fsync=own.get("durability") == "fsync")
        self._follower = Follower(
            self._bucket,
            identity=remote.identity,
            cache_dir=own.get("cache_dir"),
            max_staleness_s=staleness_s,
            allow_stale=own.get("allow_stale", False),
            compact=own.get("compact", True),
        )
        self._begin()
        self._heads: dict[str, Head] = {}  # of streams that this store has written to
        self._stamp = 0
        self._has_marker = self._is_unmarked = False  # neither: nobody has looked
        self._has_names = False
        self._decides: bool | None = None
        self.is_local = remote.scheme == "file"
        forks.register(self)

    def _begin(self) -> None:
        self._turns = _Turns()
        self._lock = threading.Lock()

    def before_fork(self) -> None:
        """Do nothing: what is on its way may arrive twice, which is once."""

    def after_fork(self, *, in_child: bool) -> None:
        """Give a child locks of its own: a thread of the parent may have held them."""
        if in_child:
            self._begin()

    # Writing

    def apply(self, changes: Sequence[Change], *, expect: Sequence[Condition] = ()) -> None:
        check_form(expect)
        if not changes:
            return
        self._check_open()
        stream_ids = {change.stream_id for change in changes}
        if expect:
            self._decide(changes, expect, stream_ids)
            return
        with self._turns.of(stream_ids):
            new, heads = self._admit(changes, stream_ids)
            if not new:
                return
            check_meaning(new)
            self._note_names(new)
            for stream_id in stream_ids:
                self._heads.pop(stream_id, None)  # unknown, where writing fails: it may have been done all the same
            self._write(Part(self._next_stamp(), tuple(new)))
            self._heads.update(heads)

    @property
    def decides(self) -> bool:
        self._check_open()
        if self._decides is None:
            try:
                self._decides = can_decide(self._bucket)
            except StoreReadOnlyError:
                self._decides = False
        return self._decides

    def _decide(self, changes: Sequence[Change], expect: Sequence[Condition], stream_ids: set[str]) -> None:
        with self._turns.of({_DECISIONS, *stream_ids}):  # of this process one at a time, or it would race with itself
            self._mark()
            self._note_names(changes)
            for stream_id in stream_ids:
                self._heads.pop(stream_id, None)  # unknown, where writing fails
            self._heads.update(decide(self._bucket, self._follower, changes, expect, self._next_stamp))

    def identify(self, *path: tuple[str, str]) -> tuple[str, ...]:
        # A process that only writes needs no replica: as long as nobody renames anything, names alone do.
        self._check_open()
        self._has_names = self._has_names or NAMES in self._bucket.listing(PACKS)
        return self._ask(lambda replica: replica.identify(*path)) if self._has_names else derive(path)

    def _note_names(self, changes: Sequence[Change]) -> None:
        """Have the bucket say that names may lead elsewhere than to the identifiers that follow from them."""
        if not self._has_names and any(map(alters_names, changes)):
            self._bucket.write(NAMES, b"1")
            self._has_names = True

    def _admit(self, changes: Sequence[Change], stream_ids: set[str]) -> tuple[list[Change], dict[str, Head]]:
        """Return those of ``changes`` that are new, and the heads of their streams after them."""
        unknown = {stream_id for stream_id in stream_ids if stream_id not in self._heads}
        starting = {change.stream_id for change in changes if change.seq == 1}
        if unknown <= starting and self._are_new(unknown):
            heads = {stream_id: self._heads.get(stream_id, EMPTY_HEAD) for stream_id in stream_ids}
            if (followed := follow(changes, heads)) is not None:
                return followed
        replica = self._follower.fresh(max_staleness_s=0)
        return replica.admit(changes)

    def _are_new(self, stream_ids: set[str]) -> bool:
        """Return whether nothing can have been written of streams yet; asks as little of the bucket as it can."""
        if not stream_ids:
            return True
        if len(stream_ids) > 1:
            return False
        folders = [folder_of(stream_id) for stream_id in stream_ids]
        if any(self._bucket.listing(f"{STREAMS}{folder}/") for folder in folders):
            return False
        packs = self._bucket.listing(PACKS)
        self._has_marker = self._has_marker or any(map(is_marker, packs))
        self._is_unmarked = not self._has_marker
        return not any(may_hold(name, folder) for name in packs for folder in folders)

    def _write(self, part: Part) -> None:
        self._mark()
        name, content = object_of(part)
        self._bucket.write(name, content)
        self._follower.remember(name, content)

    def _mark(self) -> None:
        """Make sure that the bucket says that there is a store; two processes may do so at once without harm."""
        if self._has_marker:
            return
        with self._turns.of({PACKS}):
            if not self._has_marker:
                if self._is_unmarked or not any(map(is_marker, self._bucket.listing(PACKS))):
                    self._bucket.write(new_marker(), b'{"format": 1}')
                self._has_marker = True

    def _next_stamp(self) -> int:
        with self._lock:
            self._stamp = max(now_us(), min(max(self._stamp, self._follower.newest_stamp) + 1, MAX_STAMP))
            return self._stamp

    # Reading

    def get(self, kind: str, entity_id: str) -> Entity:
        return self._ask(lambda replica: replica.get(kind, entity_id))

    def find(self, query: Query) -> Page:
        return self._ask(lambda replica: replica.find(query))

    def find_keys(self, query: Query) -> tuple[KeyInfo, ...]:
        return self._ask(lambda replica: replica.find_keys(query))

    def find_groups(self, query: Query, by: str, measures: Sequence[str] = ()) -> GroupPage:
        return self._ask(lambda replica: replica.find_groups(query, by, measures))

    def read_series(
        self, run_id: str, key: str, *, steps: tuple[int, int] | None = None, max_points: int | None = None
    ) -> Series:
        return self._ask(lambda replica: replica.read_series(run_id, key, steps=steps, max_points=max_points))

    def plot_series(self, run_id: str, key: str, canvas: Canvas) -> Plot:
        return self._ask(lambda replica: replica.plot_series(run_id, key, canvas))

    def read_changes(
        self, *, after: int = 0, limit: int = 1000, entity_id: str | None = None, stream_id: str | None = None
    ) -> ChangePage:
        def work(replica: Replica) -> ChangePage:
            start = _place_in(replica, after)
            page = replica.read_changes(after=start, limit=limit, entity_id=entity_id, stream_id=stream_id)
            return ChangePage(page.changes, replica.base + page.cursor)

        return self._ask(work)

    def read_touches(self, *, after: int = 0, limit: int = 1000) -> TouchPage:
        def work(replica: Replica) -> TouchPage:
            page = replica.read_touches(after=_place_in(replica, after), limit=limit)
            return TouchPage(page.touches, replica.base + page.cursor)

        return self._ask(work)

    def end_of_log(self) -> int:
        return self._ask(lambda replica: replica.base + replica.end_of_log())

    def carries(self) -> bool:
        return self._ask(lambda replica: replica.carries())

    def heads(self) -> Mapping[str, Head]:
        return self._ask_now(lambda replica: replica.heads())

    def heads_after(self, stream_id: str, limit: int = 1000) -> Mapping[str, Head]:
        ask = self._ask if stream_id else self._ask_now  # who goes on has asked for the first page just now
        return ask(lambda replica: replica.heads_after(stream_id, limit))

    def head(self, stream_id: str) -> Head:
        return self._ask_now(lambda replica: replica.head(stream_id))

    def refresh(self) -> None:
        """List the bucket now, so that the next answer shows everything that was written before this call."""
        self._check_open()
        self._follower.fresh(max_staleness_s=0)

    def compact(self) -> Compaction:
        """Put the objects of ended streams together into packs, and take erased payloads out of the bucket.

        Any number of processes may do so at once, and die at any point.

        Raises:
            StoreReadOnlyError: the bucket may not be written.
        """
        self._check_open()
        return self._follower.compact()

    is_read_in_order = False  # a replica has what came late further back, as long as that does not show

    def digest_of_order(self, upto: Mapping[str, int]) -> bytes:
        """Return the digest of the order in which changes count, up to these numbers of streams: that of the stamps."""
        return self._ask(lambda replica: replica.ask(lambda read: digest_of_order(read, upto)))

    def audit_entity(
        self, kind: str, entity_id: str, document: Document, series: Mapping[str, SeriesSummary]
    ) -> Sequence[str]:
        """Return a sentence on each row of an entity that does not follow from its document and series."""
        return self._ask(lambda replica: replica.audit_entity(kind, entity_id, document, series))

    def audit_tables(self) -> Sequence[str]:
        """Return a sentence on each row of the replica, and each object of the bucket, that contradicts others."""
        return self._ask(lambda replica: [*replica.audit_tables(), *check_bucket(self._bucket, replica)])

    def close(self) -> None:
        forks.forget(self)
        self._follower.close()

    def _ask(self, question: Callable[[Replica], Result]) -> Result:
        self._check_open()
        return self._follower.answer(question)

    def _ask_now(self, question: Callable[[Replica], Result]) -> Result:
        """Ask what somebody goes on from, with another number or another store: a head of a second ago would not do."""
        self._check_open()
        return self._follower.answer(question, max_staleness_s=0)

    def _check_open(self) -> None:
        if self._follower.is_closed:
            msg = f"the store {self.url} was closed; open it again"
            raise StoreUnavailableError(msg)


def _place_in(replica: Replica, after: int) -> int:
    """Return the position in a replica that a cursor names."""
    start = after - replica.base if after >= replica.base else after
    if (start == after >= _CURSOR_EPOCH) or (start != after and start > replica.last_position()):
        return 0  # it is of another replica: rather all once more than some of it never
    return start


class _Turns:
    """Lets those who write the same stream take turns, and all others pass."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._busy: set[str] = set()

    @contextmanager
    def of(self, stream_ids: set[str]) -> Iterator[None]:
        """Wait until nobody else writes one of the streams, and keep others from it meanwhile."""
        with self._condition:
            while self._busy & stream_ids:
                self._condition.wait()
            self._busy |= stream_ids
        try:
            yield
        finally:
            with self._condition:
                self._busy -= stream_ids
                self._condition.notify_all()
