"""Copying: the streams and blobs that one store has and another lacks.

The source's log is followed in the order of its arrival, and what the target lacks of it is applied in that order, in
batches, each after the blobs that it names. So the target is a store in its own right whenever the copy ends, by
whatever: it holds a beginning of the source's log, and every blob that this names. A copy keeps no notes. Where it has
to go on follows from the heads of both stores and a few looks into the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from modeldb_core.errors import (
    ConflictError,
    IntegrityError,
    InvalidArgumentError,
    StreamGapError,
)
from modeldb_core.log.changes import EMPTY_HEAD, Change, by_stream
from modeldb_core.movement.blobs import WORKERS, BlobCopier
from modeldb_core.movement.erasing import Losses, MayErase
from modeldb_core.movement.logs import changes_of, heads_of
from modeldb_core.movement.named_blobs import NamedBlobs

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from modeldb_core.movement.blobs import BlobTarget
    from modeldb_core.movement.logs import ChangeTarget, Log
    from modeldb_core.stores import ArtifactStore

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called now and then with what is being done, how much of it is, and of how much in all if that is known."""

BATCH_CHANGES = 1000
BATCH_BYTES = 8 << 20
_PAGE = 500
_PAGE_BYTES = 32 << 20  # after a page larger than this, smaller ones are asked for
_OVERHEAD = 300  # bytes of a change beside its payload
_REFUSED = (ConflictError, StreamGapError, IntegrityError, InvalidArgumentError)
"""What a store says of changes that it will never take."""


@dataclass(slots=True)
class Copied:
    """What a copy did, or with ``dry_run`` would do.

    Attributes:
        changes: that the target lacked and has now.
        streams: to which they belong.
        present: changes that the target had before.
        blobs, blob_bytes: blobs that it lacked and has now.
        refused: by stream, why the rest of it was not copied: it differs from the one in the target, for example.
        absent: digests of blobs that changes need and the source does not have, because something else took their
            place, or because they have not arrived there.
        missing: those of them that an entity still needs, with its kind and identifier, and the location in its tree.
        damaged: by digest, what is wrong with a blob at the source.
        erased: payloads that the target had before and that changes from the source erase, in accord with the rule for
            that (:mod:`modeldb_core.log.erasures`).
        erased_names: the entities of which, some of them.
    """

    changes: int = 0
    streams: int = 0
    present: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    missing: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    erased: int = 0
    erased_names: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the target has now all that the source had."""
        return not (self.refused or self.missing or self.damaged)


def copy(
    source: Log,
    target: ChangeTarget,
    *,
    artifacts: tuple[ArtifactStore, BlobTarget] | None = None,
    streams: Container[str] | None = None,
    view: Callable[[Change], Change] | None = None,
    every_blob: bool = False,
    dry_run: bool = False,
    may_erase: MayErase | None = None,
    workers: int = WORKERS,
    progress: Progress | None = None,
) -> Copied:
    """Give ``target`` what it lacks of ``source`` as it is now: what arrives meanwhile is left for the next time.

    Memory holds a batch of changes, the heads of all streams (some 300 bytes each), and the digests of blobs that were
    seen lately.

    Args:
        artifacts: from where to where blobs are copied; without it none are.
        streams: only these, whole; by default all.
        view: what the target gets to see of a change; its hashes must stay. By default all of it.
        every_blob: also copy missing blobs of those changes that the target has already.
        dry_run: alter nothing, and count what would be.
        may_erase: asked before something is applied that erases what the target has, with how many payloads and some
            names of what they are of; where it says no, nothing more is copied. By default all may be.
        workers: how many blobs are copied at once.

    Raises:
        StoreUnavailableError, StoreReadOnlyError: a store cannot be read or written. What was copied is there, and the
            same call goes on from there.
        PermissionDeniedError: ``may_erase`` said no.
        InvalidArgumentError: payloads are withheld from the source, and no ``view`` says what becomes of those: the target
            would take the changes as they are, and never get the payloads.
    """
    if source.is_partial and view is None:
        msg = f"payloads of other entities are withheld from {source.url}, so no store takes it in; read it where it is"
        raise InvalidArgumentError(msg)
    work = _Copy(source, target, streams, every_blob=every_blob, dry_run=dry_run, tell=progress or (lambda *_: None))
    work.view = view or work.view
    work.may_erase = may_erase
    work.run(None if artifacts is None else BlobCopier(*artifacts, workers=workers, dry_run=dry_run))
    return work.done


@dataclass(slots=True)
class _Stream:
    """A stream of which the target lacks something.

    Attributes:
        start: how far it had come in the target before.
        seq, hash: how far it has come now.
        goal: how far it is to come.
    """

    start: int
    seq: int
    hash: bytes
    goal: int


class _Copy:
    def __init__(
        self,
        source: Log,
        target: ChangeTarget,
        chosen: Container[str] | None,
        *,
        every_blob: bool,
        dry_run: bool,
        tell: Progress,
    ) -> None:
        self.done = Copied()
        self._source, self._target = source, target
        self._every_blob, self._dry_run, self._tell = every_blob, dry_run, tell
        self._named: NamedBlobs | None = None
        self._lacking: dict[str, _Stream] = {}
        self._goals: dict[str, int] = {}  # of all chosen streams
        self._limit = _PAGE
        self._batch: list[Change] = []
        self._batch_bytes = 0
        self.view: Callable[[Change], Change] = lambda change: change
        self.may_erase: MayErase | None = None
        self._losses = Losses(target, dry_run=dry_run)
        self._plan(chosen)
        self._open = len(self._lacking)  # streams that have not come to their goal
        self._total = sum(stream.goal - stream.seq for stream in self._lacking.values())

    def run(self, blobs: BlobCopier | None) -> None:
        """Copy."""
        if blobs is not None:
            whole = self._every_blob
            self._named = NamedBlobs(self._source, self._target, blobs, whole=whole, tell=self._tell)
        if self._every_blob and blobs is not None:
            self._follow(0)
        elif self._open:
            start = self._first_lacking()
            if not self._follow(start, is_guess=start > 0):
                self._follow(0)
        for stream_id, stream in self._lacking.items():
            if stream_id not in self.done.refused and stream.seq < stream.goal:
                self._refuse(stream_id, f"its head says {stream.goal:,} changes, but only {stream.seq:,} can be read")
        self.done.streams = sum(stream.seq > stream.start for stream in self._lacking.values())
        self.done.changes = sum(stream.seq - stream.start for stream in self._lacking.values())
        if blobs is not None and self._named is not None:
            self.done.blobs, self.done.blob_bytes, self.done.damaged = blobs.copied, blobs.copied_bytes, blobs.damaged
            self.done.absent, self.done.missing = self._named.absent, self._named.missing()

    # What lacks

    def _plan(self, chosen: Container[str] | None) -> None:
        """Compare the heads of both stores, a page at a time."""
        have = heads_of(self._target)
        other, there_next = next(have, ("", EMPTY_HEAD))
        for stream_id, head in heads_of(self._source):
            while other and other < stream_id:
                other, there_next = next(have, ("", EMPTY_HEAD))
            if head.seq == 0 or (chosen is not None and stream_id not in chosen):
                continue
            there = there_next if other == stream_id else EMPTY_HEAD
            self.done.present += min(head.seq, there.seq)
            self._goals[stream_id] = head.seq
            if there.seq < head.seq:
                self._lacking[stream_id] = _Stream(there.seq, there.seq, there.hash, head.seq)
            elif (there.hash if there.seq == head.seq else self._hash_at(stream_id, head.seq)) != head.hash:
                self.done.refused[stream_id] = self._differs()

    def _hash_at(self, stream_id: str, seq: int) -> bytes | None:
        """Return the hash of a change in the target, which is ahead of the source there."""
        for change in changes_of(self._target, stream_id=stream_id):
            if change.seq >= seq:
                return change.hash if change.seq == seq else None
        return None

    def _first_lacking(self) -> int:
        """Return a place in the log before which the target has everything: a guess where it was not filled by a copy.

        After a copy that was interrupted the target has a beginning of the source's log, so that its end can be found by
        halving.
        """
        low, high = 0, 1
        if self._is_lacking(low):
            return low
        while self._is_lacking(high) is False:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            if self._is_lacking(middle) is False:
                low = middle
            else:
                high = middle
        return high if self._is_lacking(high) else 0

    def _is_lacking(self, position: int) -> bool | None:
        """Return whether the target lacks the change that follows a place in the log; ``None`` at its end."""
        page = self._source.read_changes(after=position, limit=1)
        if not page.changes:
            return None
        change = page.changes[0]
        stream = self._lacking.get(change.stream_id)
        return stream is not None and stream.seq < change.seq <= stream.goal

    # Following the log

    def _follow(self, cursor: int, *, is_guess: bool = False) -> bool:
        """Copy what lacks from a place in the log on; ``False`` where it turns out to have lacked something before."""
        must_read_all = self._every_blob and self._named is not None
        left = sum(self._goals.values()) if must_read_all else 0
        while self._open or left > 0:
            page = self._source.read_changes(after=cursor, limit=self._limit)
            if not page.changes:
                break
            cursor = page.cursor
            self._adapt(page.changes)
            for change in page.changes:
                stream = self._lacking.get(change.stream_id)
                if change.seq > self._goals.get(change.stream_id, 0):
                    continue
                left -= 1
                if stream is None or change.seq <= stream.seq:
                    if must_read_all:
                        self._gather(change)
                elif change.stream_id not in self.done.refused:
                    if is_guess and change.seq > stream.seq + 1:
                        self._ship()
                        return False
                    self._take(stream, change)
        self._ship()
        return not self._open

    def _take(self, stream: _Stream, change: Change) -> None:
        if change.seq != stream.seq + 1 or change.previous_hash != stream.hash:
            self._ship()  # what came before it is sound
            is_gap = change.seq != stream.seq + 1
            missing = f"number {stream.seq + 1:,} is missing in {self._source.url}"
            self._refuse(change.stream_id, missing if is_gap else self._differs())
            return
        stream.seq, stream.hash = change.seq, change.hash
        self._open -= stream.seq == stream.goal
        self._gather(change)

    def _gather(self, change: Change) -> None:
        self._batch.append(self.view(change))
        self._batch_bytes += len(change.payload or b"") + _OVERHEAD
        if len(self._batch) >= BATCH_CHANGES or self._batch_bytes >= BATCH_BYTES:
            self._ship()

    def _adapt(self, changes: Sequence[Change]) -> None:
        """Ask for pages of a size that memory bears, whatever the changes are like."""
        size = sum(len(change.payload or b"") for change in changes)
        if size > _PAGE_BYTES:
            self._limit = max(1, self._limit * _PAGE_BYTES // (2 * size))
        elif size < _PAGE_BYTES // 8 and self._limit < 4 * _PAGE:
            self._limit *= 2

    def _ship(self) -> None:
        """Send what was gathered: blobs first, so that nothing in the target names one that is not there."""
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if not batch:
            return
        if self._named is not None:
            self._named.copy(batch)
        fresh = [change for change in batch if self._is_new(change)]
        more = self._losses.look(fresh, self._was_there)
        self.done.erased, self.done.erased_names = self._losses.count, self._losses.names
        if more and not self._dry_run:
            self._losses.ask(self.may_erase, self._source.url)
        if fresh and not self._dry_run:
            self._apply(fresh)
        done = sum(stream.seq - stream.start for stream in self._lacking.values())
        self._tell("changes", done, max(self._total, done))

    def _was_there(self, change: Change) -> bool:
        stream = self._lacking.get(change.stream_id)
        return stream is None or change.seq <= stream.start

    def _is_new(self, change: Change) -> bool:
        stream = self._lacking.get(change.stream_id)
        return stream is not None and change.seq > stream.start and change.stream_id not in self.done.refused

    def _apply(self, changes: Sequence[Change]) -> None:
        try:
            self._target.apply(changes)
        except _REFUSED:
            for stream_id, some in by_stream(changes).items():
                try:
                    self._target.apply(some)
                except _REFUSED as error:
                    stream = self._lacking[stream_id]
                    was_open = stream.seq < stream.goal
                    stream.seq, stream.hash = some[0].seq - 1, some[0].previous_hash
                    self._refuse(stream_id, str(error), was_open=was_open)

    def _refuse(self, stream_id: str, reason: str, *, was_open: bool = True) -> None:
        if stream_id not in self.done.refused:
            self.done.refused[stream_id] = reason
            self._open -= was_open

    def _differs(self) -> str:
        return f"it differs from the one in {self._target.url}: two writers used one stream, or one of them was altered"
